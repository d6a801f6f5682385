//! Checkpoints from a hub, on a server of our own that has the embedded model's files.

mod server;

use dynlayer::inference::{Action, controller_fn, generate};
use dynlayer::model::{Checkpoint, HubError, HubErrorKind, HubOptions, LoadError, WeightDtype};
use dynlayer_tiny as tiny;
use server::{COMMIT, Request, Server};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

const NAME: &str = "org/tiny";
const WEIGHTS: &str = "model.safetensors";

/// The files that a download of the embedded model needs.
const NEEDED: [&str; 4] = ["config.json", WEIGHTS, "tokenizer.json", "tokenizer_config.json"];

fn asset(name: &str) -> Vec<u8> {
    fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("crates/tiny/assets").join(name)).unwrap()
}

/// The embedded model's files, and some that nobody needs.
fn files() -> BTreeMap<String, Vec<u8>> {
    let others = ["README.md", "pytorch_model.bin", "onnx/model.onnx", "tokenizer.model", ".gitattributes"];
    let others = others.map(|name| (name.to_owned(), b"not needed".to_vec()));
    NEEDED.iter().map(|name| ((*name).to_owned(), asset(name))).chain(others).collect()
}

/// A server and a cache folder.
struct Fixture {
    server: Server,
    cache: TempDir,
}

impl Fixture {
    fn new() -> Self {
        Self::with(files())
    }

    fn with(files: BTreeMap<String, Vec<u8>>) -> Self {
        Self { server: Server::start(files), cache: tempfile::tempdir().unwrap() }
    }

    fn options(&self) -> HubOptions {
        HubOptions {
            token: Some(String::new()),
            cache: Some(self.cache.path().to_owned()),
            endpoint: Some(self.server.url()),
            ..HubOptions::default()
        }
    }

    fn open(&self) -> Result<Checkpoint, LoadError> {
        Checkpoint::from_hub(NAME, self.options(), |_| ())
    }

    /// The path of a file that was downloaded.
    fn path(&self, file: &str) -> PathBuf {
        self.cache.path().join("models--org--tiny/snapshots").join(COMMIT).join(file)
    }

    fn weights_are_right(&self) {
        assert!(fs::read(self.path(WEIGHTS)).unwrap() == asset(WEIGHTS));
    }

    /// The names of the files in the folder of contents.
    fn blobs(&self) -> Vec<String> {
        let folder = fs::read_dir(self.cache.path().join("models--org--tiny/blobs")).unwrap();
        folder.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }
}

#[track_caller]
fn hub_error(result: Result<Checkpoint, LoadError>) -> HubError {
    match result {
        Err(LoadError::Hub(error)) => error,
        other => panic!("{other:?}"),
    }
}

/// Returns those of the requests that asked the storage for bytes.
fn of_storage(requests: &[Request]) -> Vec<&Request> {
    requests.iter().filter(|request| request.line.starts_with("GET /storage/")).collect()
}

#[test]
fn a_checkpoint_comes_from_the_hub_and_answers() {
    let fixture = Fixture::new();
    let mut seen = Vec::new();
    let checkpoint =
        Checkpoint::from_hub(NAME, fixture.options(), |progress| seen.push((progress.done, progress.total))).unwrap();

    let total: usize = NEEDED.iter().map(|name| asset(name).len()).sum();
    assert!(seen.iter().all(|(_, of)| *of == total as u64) && seen.is_sorted());
    assert_eq!(seen.last(), Some(&(total as u64, total as u64)));
    let requests = fixture.server.requests();
    for request in &requests {
        let is_needed = NEEDED.iter().any(|name| request.line.ends_with(&format!("/{name}")));
        assert!(is_needed || request.line == "GET /api/models/org/tiny/revision/main", "{request:?}");
    }
    assert_eq!(fixture.blobs().len(), NEEDED.len());

    let tokenizer = checkpoint.tokenizer().unwrap();
    let model = checkpoint.load(WeightDtype::F32, &crate::support::device(), |_| ()).unwrap();
    let prompt = tokenizer.encode("sort 52938174=", true).unwrap();
    let full = controller_fn(|_| Action::Run);
    let (completions, _) = generate(&model, full, &[prompt], tiny::options(&tokenizer)).unwrap().finish().unwrap();
    assert_eq!(completions[0].text, "12345789");

    // The next time, the hub is only asked for the commit. Without the hub, the cache is enough.
    fixture.open().unwrap();
    let lines: Vec<String> = fixture.server.requests().into_iter().map(|request| request.line).collect();
    assert_eq!(lines, ["GET /api/models/org/tiny/revision/main"]);
    let Fixture { server, cache } = fixture;
    let options = HubOptions {
        token: Some(String::new()),
        cache: Some(cache.path().to_owned()),
        endpoint: Some(server.url()),
        ..HubOptions::default()
    };
    drop(server);
    Checkpoint::from_hub(NAME, options.clone(), |_| panic!("nothing to download")).unwrap();
    Checkpoint::from_hub(NAME, HubOptions { revision: COMMIT.into(), ..options.clone() }, |_| ()).unwrap();
    let offline = HubOptions { offline: true, ..options.clone() };
    Checkpoint::from_hub(NAME, offline.clone(), |_| ()).unwrap();

    let other = HubOptions { revision: "other".into(), ..options };
    assert!(matches!(hub_error(Checkpoint::from_hub(NAME, other, |_| ())).kind(), HubErrorKind::Network { .. }));
    let error = hub_error(Checkpoint::from_hub("org/other", offline, |_| ()));
    assert!(matches!(error.kind(), HubErrorKind::Offline { .. }), "{error}");
}

#[test]
fn a_broken_download_goes_on_where_it_broke_off() {
    let half = asset(WEIGHTS).len() / 2;
    // At once, in the same call.
    let fixture = Fixture::new();
    fixture.server.faults().cut_after = Some(half);
    fixture.open().unwrap();
    fixture.weights_are_right();
    let requests = fixture.server.requests();
    let ranges: Vec<_> = of_storage(&requests).iter().map(|request| request.range.clone()).collect();
    assert_eq!(ranges, [None, Some(format!("bytes={half}-"))]);

    // In the next call.
    let fixture = Fixture::new();
    *fixture.server.faults() = server::Faults { cut_after: Some(half), refuse: Some(403), ..Default::default() };
    let error = hub_error(fixture.open());
    assert!(matches!(error.kind(), HubErrorKind::Status { status: 403, .. }), "{error}");
    assert_eq!((error.name(), error.revision(), error.file()), (NAME, "main", Some(WEIGHTS)));
    let text = error.to_string();
    assert!(
        ["org/tiny", "main", WEIGHTS, "403", "not today", "licence"].iter().all(|part| text.contains(part)),
        "{text}"
    );
    assert!(!fixture.path(WEIGHTS).exists());
    fixture.server.faults().refuse = None;
    fixture.server.requests();
    fixture.open().unwrap();
    fixture.weights_are_right();
    let requests = fixture.server.requests();
    assert_eq!(of_storage(&requests)[0].range, Some(format!("bytes={half}-")));
    assert!(!requests.iter().any(|request| request.line.contains("config.json")), "{requests:?}");
    assert!(!fixture.blobs().iter().any(|name| name.ends_with("incomplete")));

    // From a server without ranges, from the beginning.
    let fixture = Fixture::new();
    *fixture.server.faults() = server::Faults { cut_after: Some(half), no_ranges: true, ..Default::default() };
    fixture.open().unwrap();
    fixture.weights_are_right();
}

#[test]
fn what_earlier_downloads_left_is_used_or_replaced() {
    let right = asset(WEIGHTS);
    let long = [&right[..], b"more"].concat();
    let wrong = vec![7; right.len() / 2];
    for (left, tries) in [(&right[..0], 1), (&right[..], 1), (&long[..], 1), (&wrong[..], 2)] {
        let fixture = Fixture::new();
        fixture.server.faults().refuse = Some(403);
        let _ = hub_error(fixture.open());
        let partial = fixture.blobs().into_iter().find(|name| name.ends_with(".incomplete")).unwrap();
        fs::write(fixture.cache.path().join("models--org--tiny/blobs").join(partial), left).unwrap();
        fixture.server.faults().refuse = None;
        for _ in 1..tries {
            let error = hub_error(fixture.open());
            assert!(matches!(error.kind(), HubErrorKind::Corrupt { what: "SHA-256", .. }), "{error}");
            assert!(!fixture.path(WEIGHTS).exists());
        }
        fixture.open().unwrap();
        fixture.weights_are_right();
    }
}

#[test]
fn contents_are_checked() {
    let fixture = Fixture::new();
    fixture.server.faults().etag = Some("ab".repeat(32));
    let error = hub_error(fixture.open());
    assert!(matches!(error.kind(), HubErrorKind::Corrupt { what: "SHA-256", .. }), "{error}");
    assert!(!fixture.path(WEIGHTS).exists());
    fixture.server.faults().etag = None;
    fixture.open().unwrap();
    fixture.weights_are_right();
}

#[test]
fn refusals_say_what_to_do() {
    let fixture = Fixture::new();
    let open = |name: &str, options| hub_error(Checkpoint::from_hub(name, options, |_| ())).to_string();
    let text = open("org/unknown", fixture.options());
    assert!(text.contains("org/unknown") && text.contains("401") && text.contains("check the name"), "{text}");
    let text = open(NAME, HubOptions { revision: "v9".into(), ..fixture.options() });
    assert!(text.contains("v9") && text.contains("404") && text.contains("Invalid rev id"), "{text}");

    fixture.server.faults().token = Some("secret".into());
    let text = open(NAME, fixture.options());
    assert!(text.contains("401") && text.contains("licence") && text.contains("HF_TOKEN"), "{text}");
    fixture.server.requests();
    let options = HubOptions { token: Some("secret\n".into()), ..fixture.options() };
    assert!(!format!("{options:?}").contains("secret\n"));
    Checkpoint::from_hub(NAME, options, |_| ()).unwrap();
    for request in fixture.server.requests() {
        let expected = if request.line.contains("/storage/") { None } else { Some("Bearer secret".to_owned()) };
        assert_eq!(request.token, expected, "{request:?}");
    }
}

#[test]
fn names_that_are_none_are_refused_without_a_request() {
    let fixture = Fixture::new();
    let invalid = |name: &str, options: HubOptions| {
        let error = hub_error(Checkpoint::from_hub(name, options, |_| ()));
        assert!(matches!(error.kind(), HubErrorKind::Invalid { .. }), "{error}");
    };
    for name in ["", "/", "a/b/c", "../x", "./x", "a/..", "a--b", "a b", "a/b?", "ä", &"a".repeat(97)] {
        invalid(name, fixture.options());
    }
    for path in ["", "/etc", "../x", "a/../b", "a\\b", "c:", "a\nb"] {
        invalid(NAME, HubOptions { revision: path.into(), ..fixture.options() });
        invalid(NAME, HubOptions { file: Some(path.into()), ..fixture.options() });
    }
    invalid(NAME, HubOptions { endpoint: Some("huggingface.co".into()), ..fixture.options() });
    assert!(fixture.server.requests().is_empty());
}

#[test]
fn answers_that_no_hub_gives_are_refused() {
    type Fault = fn(&mut server::Faults);
    let faults: [(&str, Fault); 6] = [
        ("commit", |faults| faults.commit = Some("../../../outside".into())),
        ("list of files", |faults| faults.list = Some("<html>".into())),
        ("etag", |faults| faults.etag = Some("../../outside".into())),
        ("etag", |faults| faults.etag = Some(String::new())),
        ("size", |faults| faults.no_size = true),
        ("redirect", |faults| faults.circle = true),
    ];
    for (expected, fault) in faults {
        let fixture = Fixture::new();
        fault(&mut fixture.server.faults());
        let error = hub_error(fixture.open());
        assert!(matches!(error.kind(), HubErrorKind::Answer { what, .. } if *what == expected), "{expected}: {error}");
    }
}

#[test]
fn only_the_shards_of_the_index_are_downloaded() {
    let shard = "model-00001-of-00001.safetensors";
    let mut files = files();
    let weights = files.remove(WEIGHTS).unwrap();
    let header = 8 + usize::try_from(u64::from_le_bytes(weights[..8].try_into().unwrap())).unwrap();
    let header: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(&weights[8..header]).unwrap();
    let places: BTreeMap<_, _> =
        header.keys().filter(|name| *name != "__metadata__").map(|name| (name.clone(), shard)).collect();
    let index = serde_json::json!({ "metadata": {}, "weight_map": places }).to_string();
    files.insert(shard.into(), weights);
    files.insert("other.safetensors".into(), vec![0]);
    files.insert("model.safetensors.index.json".into(), index.into_bytes());
    let fixture = Fixture::with(files.clone());
    fixture.open().unwrap();
    let requests = fixture.server.requests();
    assert_eq!(of_storage(&requests).len(), 1, "{requests:?}");

    for outside in ["../../../outside", "/etc/hostname"] {
        let index = serde_json::json!({ "weight_map": { "a": outside } }).to_string();
        files.insert("model.safetensors.index.json".into(), index.into_bytes());
        assert!(Fixture::with(files.clone()).open().is_err());
    }
}

#[test]
fn a_gguf_file_is_named_and_comes_with_its_parts() {
    let names = ["q4/a-00001-of-00002.gguf", "q4/a-00002-of-00002.gguf", "q4/a-00001-of-00003.gguf", "b.gguf"];
    let fixture = Fixture::with(names.iter().map(|name| ((*name).to_owned(), name.as_bytes().to_vec())).collect());
    let text = hub_error(fixture.open()).to_string();
    assert!(text.contains("b.gguf") && text.contains("`file`"), "{text}");
    let with = |file: &str| {
        let options = HubOptions { file: Some(file.into()), ..fixture.options() };
        Checkpoint::from_hub(NAME, options, |_| ()).map(|_| ())
    };
    assert!(matches!(with("c.gguf"), Err(LoadError::Hub(error)) if error.to_string().contains("b.gguf")));
    // The bytes are no GGUF file, which the reader says.
    assert!(matches!(with("b.gguf"), Err(LoadError::Format(_))));
    assert!(matches!(with(names[0]), Err(LoadError::Format(_))));
    let there = names.map(|name| fixture.path(name).exists());
    assert_eq!(there, [true, true, false, true]);
}

#[test]
fn two_downloads_at_once_share_the_work() {
    let fixture = Fixture::new();
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| fixture.open().unwrap());
        }
    });
    fixture.weights_are_right();
    assert_eq!(of_storage(&fixture.server.requests()).len(), 1);
}
