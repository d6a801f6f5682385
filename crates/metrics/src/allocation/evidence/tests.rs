//! Tests that tables are the same after writing and reading, and that invalid tables are refused.

use super::builder::Builder;
use super::*;
use proptest::prelude::*;
use std::fs;
use std::path::PathBuf;

fn scratch() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("table");
    (folder, file)
}

fn jsonl(text: &[u8]) -> Result<Evidence, String> {
    let (_folder, file) = scratch();
    fs::write(&file, text).unwrap();
    Evidence::read_jsonl(&file).map_err(|error| error.to_string().replace(&file.display().to_string(), "FILE"))
}

fn csv(text: &str) -> Result<Evidence, String> {
    let (_folder, file) = scratch();
    fs::write(&file, text).unwrap();
    Evidence::read_csv(&file).map_err(|error| error.to_string().replace(&file.display().to_string(), "FILE"))
}

fn records() -> impl Strategy<Value = Vec<Record>> {
    let number = || any::<f64>().prop_filter("finite", |number| number.is_finite());
    let cell = (any::<u64>(), 0usize..6, number(), number(), [number(), number()], number());
    (prop::collection::vec(cell, 1..30), any::<bool>(), any::<bool>()).prop_map(|(cells, halves, label_free)| {
        let names = ["full", "skip:3,5", "a \"quoted\" \\ name", "line\nbreak", "{\"cost\":7}", "ünï"];
        let mut seen = std::collections::HashSet::new();
        let cells =
            cells.into_iter().map(|(id, name, ..)| (id % 5 + u64::MAX / 2, name)).zip(cells_values(halves, label_free));
        cells
            .filter(|(key, _)| seen.insert(*key))
            .map(|((sequence, name), value)| {
                // Every other sequence has halves, or none.
                let halves = value.halves.filter(|_| sequence % 2 == 0);
                Record { sequence, candidate: names[name].to_owned(), halves, ..value }
            })
            .collect()
    })
}

fn cells_values(halves: bool, label_free: bool) -> impl Iterator<Item = Record> {
    // Numbers whose last digits a careless parser loses, and the ends of the range.
    let awkward = [
        0.1,
        1.0 / 3.0,
        5e-324,
        f64::MAX,
        2.225_073_858_507_201_4e-308,
        1.797_693_134_862_315_7e308,
        0.0,
        123_456_789.123_456_78,
    ];
    (0usize..).map(move |i| {
        let at = |k: usize| awkward[(i * 7 + k * 3) % awkward.len()] * if k % 2 == 1 { -1.0 } else { 1.0 };
        Record {
            halves: halves.then(|| [at(1), at(2)]),
            label_free: label_free.then(|| at(3)),
            ..Record::new(0, "", at(5), at(4))
        }
    })
}

proptest! {
    #[test]
    fn what_is_written_is_read_bit_for_bit(records in records()) {
        let evidence = Evidence::new(records.clone()).unwrap();
        let (_folder, file) = scratch();
        evidence.write_jsonl(&file).unwrap();
        let back = Evidence::read_jsonl(&file).unwrap();
        prop_assert_eq!(&back, &evidence);
        let bits = |table: &Evidence| table.records().map(|r| (r.quality.to_bits(), r.cost.to_bits())).collect::<Vec<_>>();
        prop_assert_eq!(bits(&back), bits(&evidence));
        // The table holds all records.
        prop_assert_eq!(evidence.n_cells(), records.len());
        for record in &records {
            prop_assert!(evidence.records().any(|found| found == *record));
        }
        // It is the same after a conversion to records and back.
        let vector: Vec<Record> = evidence.clone().into();
        prop_assert_eq!(Evidence::new(vector).unwrap(), evidence);
    }

    #[test]
    fn random_doubles_survive(bits in any::<u64>()) {
        let number = f64::from_bits(bits);
        prop_assume!(number.is_finite());
        let evidence = Evidence::new([Record::new(0, "a", number, number.abs())]).unwrap();
        let (_folder, file) = scratch();
        evidence.write_jsonl(&file).unwrap();
        prop_assert_eq!(Evidence::read_jsonl(&file).unwrap().cell(0, 0).unwrap().quality.to_bits(), bits);
    }
}

#[test]
fn errors_name_the_line() {
    let good = r#"{"sequence":1,"candidate":"a","quality":0.5,"cost":2}"#;
    for (line, expected) in [
        ("1", "FILE, line 2: no JSON object; expected one JSON object per line, with sequence, candidate"),
        (
            r#"{"sequence":2,"candidate":"a","qual"#,
            "FILE, line 2: EOF while parsing a string at column 35; expected one",
        ),
        ("[1]", "FILE, line 2: no JSON object"),
        (r#"[2,"a",1,2]"#, "FILE, line 2: no JSON object"),
        (
            r#"{"sequence":-2,"candidate":"a","quality":1,"cost":2}"#,
            "line 2: invalid value: integer `-2`, expected u64 at",
        ),
        (
            r#"{"sequence":2.5,"candidate":"a","quality":1,"cost":2}"#,
            "line 2: invalid type: floating point `2.5`, expected u64 at column 15",
        ),
        (r#"{"sequence":2,"candidate":7,"quality":1,"cost":2}"#, "invalid type: integer `7`, expected a string"),
        (
            r#"{"sequence":2,"candidate":"","quality":1,"cost":2}"#,
            "column candidate: expected a name, found an empty text",
        ),
        (r#"{"sequence":2,"candidate":"a","cost":2}"#, "line 2: missing field `quality` at"),
        (
            r#"{"sequence":2,"candidate":"a","quality":null,"cost":2}"#,
            "line 2: invalid type: null, expected f64 at column 44",
        ),
        (r#"{"sequence":2,"candidate":"a","quality":[1],"cost":2}"#, "line 2: invalid type: sequence, expected f64"),
        (
            r#"{"sequence":2,"candidate":"a","quality":"1","cost":2}"#,
            "line 2: invalid type: string \"1\", expected f64",
        ),
        (r#"{"sequence":2,"candidate":"a","quality":NaN,"cost":2}"#, "FILE, line 2: expected value at column"),
        (r#"{"sequence":2,"candidate":"a","quality":1e999,"cost":2}"#, "FILE, line 2: number out of range at column"),
        (
            r#"{"sequence":2,"candidate":"a","quality":1,"cost":-0.5}"#,
            "column cost: expected a finite number of at least 0, found -0.5",
        ),
        (
            r#"{"sequence":2,"candidate":"a","quality":1,"cost":2,"price":3}"#,
            "line 2: unknown field `price`, expected one of `sequence`, `candidate`",
        ),
        (r#"{"sequence":2,"candidate":"a","quality":1,"quality":2,"cost":2}"#, "duplicate field `quality`"),
        (
            r#"{"sequence":2,"candidate":"a","quality":1,"cost":2,"halves":[1]}"#,
            "line 2: invalid length 1, expected an array of length 2",
        ),
        (
            r#"{"sequence":1,"candidate":"b","quality":1,"cost":2,"halves":[1,2]}"#,
            "line 2, column halves: expected nothing, as in the sequence's cells before, found a value for sequence 1",
        ),
        (
            r#"{"sequence":2,"candidate":"a","quality":1,"cost":2,"label_free":1}"#,
            "column label_free: expected nothing, as in the cells before, found a value",
        ),
        (good, "FILE, line 2: sequence 1 already has candidate \"a\"; expected each candidate once"),
    ] {
        let error = jsonl(format!("{good}\n{line}\n").as_bytes()).unwrap_err();
        assert!(error.contains(expected), "{line}\n{error}\nlacks {expected}");
    }
    assert!(jsonl(b"\xff\xfe\n").unwrap_err().contains("line 1: no JSON object"));
    assert!(
        jsonl(b"{\"sequence\":1,\"candidate\":\"\xff\"}\n").unwrap_err().contains("line 1: invalid unicode code point")
    );
    assert_eq!(jsonl(b"").unwrap_err(), "FILE: no evidence: expected at least one cell, found none");
    assert_eq!(jsonl(good.as_bytes()).unwrap().n_cells(), 1, "the last line needs no end");
}

#[test]
fn blank_lines_and_a_byte_order_mark_are_skipped_in_both_formats() {
    let line = r#"{"sequence":3,"candidate":"a","quality":1,"cost":2}"#;
    for text in [format!("\u{feff}{line}\n"), format!("{line}\n\n"), format!("\u{feff}\r\n\r\n{line}\r\n\r\n  \n")] {
        assert_eq!(jsonl(text.as_bytes()).unwrap().sequences(), [3], "{text:?}");
    }
    for text in
        ["\u{feff}sequence,candidate,quality,cost\n3,a,1,2\n", "sequence,candidate,quality,cost\n\n3,a,1,2\n\r\n"]
    {
        assert_eq!(csv(text).unwrap().sequences(), [3], "{text:?}");
    }
    // Lines are still counted, and the mark is one only at the beginning.
    assert!(jsonl(format!("\n\n{line}\n[1]\n").as_bytes()).unwrap_err().starts_with("FILE, line 4: no JSON"));
    assert!(jsonl(format!("{line}\n\u{feff}\n").as_bytes()).unwrap_err().starts_with("FILE, line 2: no JSON"));
    assert!(jsonl("\u{feff}\n".as_bytes()).unwrap_err().starts_with("FILE: no evidence"));
}

#[test]
fn sequences_have_halves_or_not_but_not_both() {
    let cell = |sequence, candidate: &str, halved: bool| Record {
        halves: halved.then_some([0.5, 1.5]),
        ..Record::new(sequence, candidate, 1.0, 2.0)
    };
    let evidence = Evidence::new([
        cell(7, "a", true),
        cell(8, "a", false),
        cell(8, "b", false),
        cell(7, "b", true),
        cell(9, "c", true),
    ])
    .unwrap();
    assert_eq!((evidence.has(Column::FirstHalf), evidence.has(Column::Quality)), (false, true));
    let halved = evidence.with_halves().unwrap();
    assert_eq!((halved.sequences(), halved.candidates().len()), (&[7, 9][..], 3));
    assert!(halved.has(Column::SecondHalf));
    assert_eq!(*halved.with_halves().unwrap(), *halved);
    assert_eq!(Evidence::new([cell(8, "a", false)]).unwrap().with_halves(), None);
    let refused = |cells: [Record; 2]| Evidence::new(cells).unwrap_err().to_string();
    assert_eq!(
        refused([cell(7, "a", true), cell(7, "b", false)]),
        "sequence 7, candidate \"b\", column halves: expected a value, as in the sequence's cells before, found nothing \
         for sequence 7"
    );
    // The same in a file of comma-separated values.
    let head = "sequence,candidate,quality,cost,first_half,second_half";
    assert_eq!(csv(&format!("{head}\n1,a,1,1,,\n2,a,1,1,1,2\n")).unwrap().cell(1, 0).unwrap().halves, Some([1.0, 2.0]));
    let error = csv(&format!("{head}\n1,a,1,1,,\n1,b,1,1,1,2\n")).unwrap_err();
    assert!(error.contains("line 3, column halves: expected nothing, as in the sequence's cells before"), "{error}");
    assert!(csv(&format!("{head}\n1,a,1,1,1,\n")).unwrap_err().contains("first_half or second_half alone"));
}

#[test]
fn comma_separated_values_are_read() {
    let evidence = csv("cost,candidate,sequence,quality,label_free,second_half,first_half\n\
                        2,\"skip:3,5\",7,0.25,0.75,1,2\n4.5,full,7,-1e-3,0.5,3,4\n2,full,8,1,0.1,5,6\n")
    .unwrap();
    assert_eq!(evidence.candidates(), ["skip:3,5", "full"]);
    assert_eq!(evidence.sequences(), [7, 8]);
    let cell = evidence.cell(0, 1).unwrap();
    assert_eq!((cell.quality, cell.cost, cell.halves, cell.label_free), (-1e-3, 4.5, Some([4.0, 3.0]), Some(0.5)));
    assert_eq!(evidence.cell(1, 0), None);
    assert_eq!((evidence.static_means(0), evidence.static_means(1)), (None, Some(((1.0 - 1e-3) / 2.0, 3.25))));

    let head = "sequence,candidate,quality,cost";
    for (text, expected) in [
        (String::new(), "FILE: no evidence"),
        (format!("{head}\n"), "FILE: no evidence"),
        (
            "sequence,candidate,quality\n1,a,1\n".to_owned(),
            "FILE, line 2: missing field `cost`; expected comma-separated",
        ),
        (format!("{head},depth\n1,a,1,1,1\n"), "line 2: unknown field `depth`, expected one of `sequence`"),
        (format!("{head},cost\n1,a,1,1,1\n"), "line 2: duplicate field `cost`"),
        (format!("{head},first_half\n1,a,1,1,1\n"), "line 2: first_half or second_half alone"),
        (format!("{head}\n1,a,0.5\n"), "line 2: 3 values under 4 columns; expected comma-separated values"),
        (format!("{head}\n1,a,half,1\n"), "line 2: column quality: invalid float literal; expected"),
        (format!("{head}\n1,a,,1\n"), "line 2: column quality: cannot parse float from empty string"),
        (format!("{head}\n1,a,NaN,1\n"), "line 2, column quality: expected a finite number, found NaN"),
        (format!("{head}\n1,a,1,inf\n"), "line 2, column cost: expected a finite number of at least 0, found inf"),
        (format!("{head}\n-1,a,1,1\n"), "line 2: column sequence: invalid digit found in string"),
        (format!("{head}\n1,,1,1\n"), "line 2, column candidate: expected a name, found an empty text"),
        (format!("{head},label_free\n1,a,1,1,1\n1,b,1,1,\n"), "line 3, column label_free: expected a value, as in"),
        (format!("{head}\n1,\"a\nb\",1,1\n1,c,1,1\n1,c,1,1\n"), "line 5: sequence 1 already has candidate \"c\""),
    ] {
        let error = csv(&text).unwrap_err();
        assert!(error.contains(expected), "{text}\n{error}\nlacks {expected}");
    }
}

#[test]
fn files_are_whole_or_not_there() {
    let evidence = Evidence::new([Record::new(0, "a", 1.0, 2.0)]).unwrap();
    let (folder, file) = scratch();
    fs::write(&file, "what was there before").unwrap();
    evidence.write_jsonl(&file).unwrap();
    assert_eq!(Evidence::read_jsonl(&file).unwrap(), evidence);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left beside it");

    let missing = folder.path().join("none").join("table");
    let error = evidence.write_jsonl(&missing).unwrap_err();
    assert!(matches!(&error, EvidenceError::Io { file, action: "writing", .. } if *file == missing), "{error}");
    // A folder has that name: the write fails, and leaves no file behind.
    let folder_there = folder.path().join("folder");
    fs::create_dir(&folder_there).unwrap();
    assert!(evidence.write_jsonl(&folder_there).is_err());
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
    let error = Evidence::read_jsonl(&missing).unwrap_err();
    assert!(matches!(error, EvidenceError::Io { action: "opening", .. }), "{error}");
    assert!(matches!(Evidence::read_csv(&missing), Err(EvidenceError::Io { .. })));
}

#[test]
fn cells_that_are_refused_leave_the_builder_as_it_was() {
    let mut builder = Builder::default();
    builder.push(&Record::new(3, "a", 1.0, 2.0)).unwrap();
    for bad in [
        Record::new(3, "b", f64::NAN, 1.0),
        Record::new(3, "b", f64::INFINITY, 1.0),
        Record::new(3, "b", 0.0, -1.0),
        Record { label_free: Some(1.0), ..Record::new(3, "b", 0.0, 1.0) },
    ] {
        let error = builder.push(&bad).unwrap_err().to_string();
        assert!(error.starts_with("sequence 3, candidate \"b\", column "), "{error}");
    }
    assert_eq!(builder.clone().finish().unwrap().candidates(), ["a"]);
    builder.push(&Record::new(3, "a", 5.0, 2.0)).unwrap();
    let error = builder.finish().unwrap_err();
    assert!(matches!(error, EvidenceError::Duplicate { sequence: 3, .. }), "{error}");
    assert!(matches!(Evidence::new([]), Err(EvidenceError::Empty { file: None })));
}
