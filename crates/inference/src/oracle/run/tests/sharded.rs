//! Tests that shards, merged, are the run that was not divided.

use super::*;
use std::path::Path;

/// Runs a shard into a file of its own.
fn run_shard(model: &Llama, items: &[Item], folder: &Path, (index, of): (usize, usize)) -> PathBuf {
    let file = folder.join(format!("{index}-{of}"));
    let shard = Some(Shard::new(index, of).unwrap());
    oracle_run(model, OracleOptions { shard, ..options() }).run(&file, items, |_| {}).unwrap();
    file
}

#[test]
fn merged_shards_are_the_undivided_run() {
    let (model, items, (_folder, whole)) = (model(), items(7), scratch());
    let results = oracle_run(&model, options()).run(&whole, &items, |_| {}).unwrap();
    let mut rng = ChaCha8Rng::seed_from_u64(2);
    for of in [1, 2, 3, 7, 9] {
        let folder = tempfile::tempdir().unwrap();
        let mut files: Vec<PathBuf> =
            (0..of).map(|index| run_shard(&model, &items, folder.path(), (index, of))).collect();
        // One of them was killed, and runs again.
        let bytes = std::fs::read(&files[of / 2]).unwrap();
        std::fs::write(&files[of / 2], &bytes[..rng.random_range(0..bytes.len())]).unwrap();
        run_shard(&model, &items, folder.path(), (of / 2, of));
        files.reverse();
        let merged = folder.path().join("merged");
        // Into a new file, again, and over an unfinished run.
        for time in 0..3 {
            if time == 2 {
                std::fs::remove_file(&merged).unwrap();
                oracle_run(&model, options()).run(&merged, &items[..2], |_| {}).unwrap();
            }
            let found = oracle_run(&model, options()).merge(&files, &merged, &items).unwrap();
            assert_eq!(timeless(&merged), timeless(&whole), "{of} shards, time {time}");
            assert_eq!(found.evidence().unwrap(), results.evidence().unwrap());
        }
        // The whole run finds its items finished.
        let mut seen = Vec::new();
        oracle_run(&model, options()).run(&merged, &items, |progress| seen.push(progress.resumed)).unwrap();
        assert_eq!(seen, [7]);
    }
}

#[test]
fn what_does_not_fit_is_not_merged() {
    let (model, items, folder) = (model(), items(5), tempfile::tempdir().unwrap());
    let shard = |part| run_shard(&model, &items, folder.path(), part);
    let (first, second, half) = (shard((0, 2)), shard((1, 2)), shard((0, 1)));
    let merged = folder.path().join("merged");
    let refused = |options: OracleOptions<'static>, files: &[&PathBuf], items: &[Item]| {
        let error = oracle_run(&model, options).merge(files, &merged, items).unwrap_err();
        assert!(!merged.exists());
        error.to_string()
    };
    let changed = [Item { reference: "x".into(), ..items[0].clone() }, items[1].clone()];
    let seed = OracleOptions { run: RunSettings { seed: 6, ..options().run }, ..options() };
    let shards = OracleOptions { shard: Some(Shard::new(0, 2).unwrap()), ..options() };
    let none = folder.path().join("none");
    for (error, expected) in [
        (refused(options(), &[&first], &items), "2 of 5 items are in no shard, item 99 first"),
        (refused(options(), &[], &items), "5 of 5 items are in no shard"),
        (refused(options(), &[&first, &second, &first], &items), "item 100 is in"),
        (refused(options(), &[&half, &second], &items), "item 99 is in"),
        (refused(seed, &[&first, &second], &items), "differs in run.seed: expected 6, found 5"),
        (refused(options(), &[&first, &second], &items[..2]), "line 3: expected an item of this run, found item 98"),
        (refused(options(), &[&first, &second], &changed), "line 2: expected item 100 with the prompt"),
        (refused(shards, &[&first, &second], &items), "shard: expected none, to merge all, found 0/2"),
        (refused(options(), &[&first, &none], &items), "reading failed"),
    ] {
        assert!(error.contains(expected), "{error}");
    }
    // Neither is a shard continued as another one or as the whole run, nor is the file of another run replaced.
    let continued = oracle_run(&model, options()).run(&first, &items, |_| {}).unwrap_err().to_string();
    assert!(continued.contains("differs in shard: expected nothing, found \"0/2\""), "{continued}");
    let before = std::fs::read(&half).unwrap();
    let replaced = oracle_run(&model, options()).merge([&first, &second], &half, &items).unwrap_err().to_string();
    assert!(replaced.contains("differs in shard"), "{replaced}");
    assert_eq!(std::fs::read(&half).unwrap(), before);
    // The settings of a run over other items are the same.
    let more: Vec<Item> = super::items(7);
    for (finished, found) in
        [(&changed[..], "line 2: expected item 100 with"), (&more, "line 7: expected no more than 5")]
    {
        std::fs::remove_file(&merged).unwrap_or_default();
        oracle_run(&model, options()).run(&merged, finished, |_| {}).unwrap();
        let before = std::fs::read(&merged).unwrap();
        let error = oracle_run(&model, options()).merge([&first, &second], &merged, &items).unwrap_err().to_string();
        assert!(error.contains(found), "{error}");
        assert_eq!(std::fs::read(&merged).unwrap(), before);
    }
}
