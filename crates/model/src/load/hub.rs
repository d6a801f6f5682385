//! Checkpoints from the Hugging Face hub: the files that are needed, downloaded once into the usual cache folder.

mod cache;
mod client;

use super::hub_error::{HubError, HubErrorKind};
use super::{Checkpoint, LoadError};
use crate::format::{INDEX, SINGLE as WEIGHTS};
use cache::{Cache, variable};
use client::{Client, Listing, Source};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

const CONFIG: &str = "config.json";
const TOKENIZER: &str = "tokenizer.json";

/// Files that a checkpoint may have, besides its configuration, tokenizer and weights.
const OPTIONAL: [&str; 4] =
    ["generation_config.json", "tokenizer_config.json", "special_tokens_map.json", "chat_template.jinja"];

/// The address of the hub if neither the options nor the environment give one.
const HUB: &str = "https://huggingface.co";

/// Options of [`Checkpoint::from_hub`]: what to get from the hub, and how.
///
/// Fields that are `None` take what the environment says, by the variables of the Python package `huggingface_hub`.
#[derive(Clone, PartialEq, Eq)]
pub struct HubOptions {
    /// A branch, a tag or a commit.
    pub revision: String,
    /// The GGUF file to get, by its name in the repository; of a split file, the first part. Without it, the
    /// repository's Hugging Face checkpoint is taken.
    pub file: Option<String>,
    /// The token for private and gated repositories. Absent: `HF_TOKEN`, or else the token that `hf auth login` saved.
    /// An empty text is no token.
    pub token: Option<String>,
    /// The cache folder. Absent: `HF_HUB_CACHE`, or else the folder `hub` in `HF_HOME`, which is usually
    /// `~/.cache/huggingface`.
    pub cache: Option<PathBuf>,
    /// The address of the hub. Absent: `HF_ENDPOINT`, or else `https://huggingface.co`.
    pub endpoint: Option<String>,
    /// If `true`, no request is made and only the cache is used. `HF_HUB_OFFLINE=1` does the same.
    pub offline: bool,
}

impl Default for HubOptions {
    /// The newest commit of the branch `main`, and the environment's settings.
    fn default() -> Self {
        Self { revision: "main".to_owned(), file: None, token: None, cache: None, endpoint: None, offline: false }
    }
}

impl fmt::Debug for HubOptions {
    /// Shows everything but the token.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HubOptions")
            .field("revision", &self.revision)
            .field("file", &self.file)
            .field("token", &self.token.as_ref().map(|_| "secret"))
            .field("cache", &self.cache)
            .field("endpoint", &self.endpoint)
            .field("offline", &self.offline)
            .finish()
    }
}

/// The progress of a download, reported often.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HubProgress<'a> {
    /// The file that is being downloaded.
    pub file: &'a str,
    /// The number of bytes that are there, of all files. It goes down if a file has to begin anew.
    pub done: u64,
    /// The number of bytes of all files that were not in the cache.
    pub total: u64,
}

impl Checkpoint {
    /// Opens a checkpoint of the Hugging Face hub, such as `"HuggingFaceTB/SmolLM2-135M-Instruct"`.
    ///
    /// Downloads what the cache folder lacks of the files that [`open`](Self::open) reads; the layout is that of the
    /// Python package `huggingface_hub`, so that both share their files. A download that breaks off is tried again, a
    /// few times, and goes on where it broke off, in a later call too. Sizes are checked, and SHA-256 digests where
    /// the hub has them.
    ///
    /// Each call asks the hub for the revision's commit. If the hub cannot be reached, the commit that was downloaded
    /// last is opened. `progress` is not called if nothing is downloaded.
    ///
    /// ```no_run
    /// use dynlayer_model::{Checkpoint, HubOptions};
    ///
    /// let options = HubOptions { revision: "main".into(), ..HubOptions::default() };
    /// let checkpoint = Checkpoint::from_hub("HuggingFaceTB/SmolLM2-135M-Instruct", options, |progress| {
    ///     eprintln!("{}: {} of {} bytes", progress.file, progress.done, progress.total);
    /// })?;
    /// # Ok::<(), dynlayer_model::LoadError>(())
    /// ```
    ///
    /// # Errors
    /// [`LoadError::Hub`] if the hub refuses, lacks the files or cannot be reached, or if the cache folder cannot be
    /// written. Otherwise the errors of [`open`](Self::open).
    pub fn from_hub(
        name: &str,
        options: HubOptions,
        mut progress: impl FnMut(HubProgress<'_>),
    ) -> Result<Self, LoadError> {
        Self::open(download(name, &options, &mut progress)?)
    }
}

/// Returns `true` if a variable's value means yes to the Python package.
fn is_true(value: &OsStr) -> bool {
    ["1", "on", "yes", "true"].iter().any(|yes| value.eq_ignore_ascii_case(yes))
}

/// Returns the path of the folder, or of the GGUF file, after everything is there.
fn download(name: &str, options: &HubOptions, progress: &mut dyn FnMut(HubProgress<'_>)) -> Result<PathBuf, HubError> {
    let at = |kind: HubErrorKind| kind.at(name, &options.revision, None);
    check_names(name, options).map_err(at)?;
    let root = options.cache.clone().map_or_else(cache::default_root, Ok).map_err(at)?;
    let repository = Repository { name, options, cache: Cache::new(&root, name) };

    if options.offline || variable("HF_HUB_OFFLINE").is_some_and(|value| is_true(&value)) {
        return repository.cached().ok_or_else(|| at(HubErrorKind::Offline { cache: root }));
    }
    let from_environment = || variable("HF_ENDPOINT").and_then(|endpoint| endpoint.into_string().ok());
    let endpoint = options.endpoint.clone().or_else(from_environment).unwrap_or_else(|| HUB.to_owned());
    let token = options.token.clone().or_else(cache::default_token);
    let client = Client::new(&endpoint, token.as_deref()).map_err(at)?;
    match client.list(name, &options.revision) {
        Ok(listing) => repository.complete(&client, &listing, progress),
        Err(error) if error.is_transient() => repository.cached().ok_or_else(|| at(error)),
        Err(error) => Err(at(error)),
    }
}

/// A repository of the hub and its part of the cache.
struct Repository<'a> {
    name: &'a str,
    options: &'a HubOptions,
    cache: Cache,
}

impl Repository<'_> {
    /// Returns the path that [`Checkpoint::open`] gets, in the folder of a commit.
    fn path(&self, commit: &str) -> PathBuf {
        let folder = self.cache.snapshot(commit);
        match &self.options.file {
            Some(file) => folder.join(file),
            None => folder,
        }
    }

    /// Returns the path of what is in the cache for the revision, without asking the hub.
    fn cached(&self) -> Option<PathBuf> {
        let commit = self.cache.commit(&self.options.revision)?;
        let asked_for = self.options.file.as_deref().unwrap_or(CONFIG);
        self.cache.snapshot(&commit).join(asked_for).exists().then(|| self.path(&commit))
    }

    fn at(&self, file: Option<&str>) -> impl Fn(HubErrorKind) -> HubError {
        move |kind: HubErrorKind| kind.at(self.name, &self.options.revision, file)
    }

    /// Downloads what is missing.
    fn complete(
        &self,
        client: &Client,
        listing: &Listing,
        progress: &mut dyn FnMut(HubProgress<'_>),
    ) -> Result<PathBuf, HubError> {
        let mut needed = needed(&listing.files, self.options.file.as_deref()).map_err(self.at(None))?;
        if needed.iter().any(|file| file == INDEX) {
            self.fetch(client, &listing.commit, &[INDEX.to_owned()], &mut |_| ())?;
            needed.extend(shards(&self.cache.snapshot(&listing.commit).join(INDEX)).map_err(self.at(Some(INDEX)))?);
        }
        self.fetch(client, &listing.commit, &needed, progress)?;
        // Last, so that a revision that the cache knows is complete.
        self.cache.set_commit(&self.options.revision, &listing.commit).map_err(self.at(None))?;
        Ok(self.path(&listing.commit))
    }

    /// Downloads those of the files that the cache lacks.
    fn fetch(
        &self,
        client: &Client,
        commit: &str,
        files: &[String],
        progress: &mut dyn FnMut(HubProgress<'_>),
    ) -> Result<(), HubError> {
        let folder = self.cache.snapshot(commit);
        let mut sources = Vec::new();
        for file in files.iter().map(String::as_str).filter(|file| !folder.join(file).exists()) {
            let located = check_path("file name", file).and_then(|()| client.locate(self.name, commit, file));
            sources.push((file, located.map_err(self.at(Some(file)))?));
        }
        let total = sources.iter().map(|(_, source)| source.size).fold(0, u64::saturating_add);
        let mut before = 0_u64;
        for (file, source) in &sources {
            let mut report = |done: u64| progress(HubProgress { file, done: before.saturating_add(done), total });
            self.fetch_one(client, commit, file, source, &mut report).map_err(self.at(Some(file)))?;
            before = before.saturating_add(source.size);
        }
        Ok(())
    }

    fn fetch_one(
        &self,
        client: &Client,
        commit: &str,
        file: &str,
        source: &Source,
        progress: &mut dyn FnMut(u64),
    ) -> Result<(), HubErrorKind> {
        let blob = self.cache.blob(&source.etag);
        cache::create_parent(&blob)?;
        let lock = self.cache.lock(&source.etag)?;
        // Another revision may have the same content, and another process may have downloaded it meanwhile.
        if blob.exists() {
            progress(source.size);
        } else {
            let partial = blob.with_file_name(format!("{}.incomplete", source.etag));
            client.download(source, &partial, progress)?;
            fs::rename(&partial, &blob).map_err(cache::at(&blob))?;
        }
        drop(lock);
        self.cache.link(&source.etag, commit, file)
    }
}

/// Returns the files that are needed of those that a repository has, the largest last.
fn needed(files: &BTreeSet<String>, file: Option<&str>) -> Result<Vec<String>, HubErrorKind> {
    let weights = || -> Vec<String> {
        let is_weights =
            |name: &&String| [".safetensors", ".gguf", ".bin", ".pth"].iter().any(|end| name.ends_with(*end));
        files.iter().filter(is_weights).cloned().collect()
    };
    if let Some(file) = file {
        if !files.contains(file) {
            let advice = "check the field `file`";
            return Err(HubErrorKind::Missing { missing: file.to_owned(), found: weights(), advice });
        }
        return Ok(parts(files, file));
    }
    let Some(last) = [WEIGHTS, INDEX].into_iter().find(|name| files.contains(*name)) else {
        let missing = format!("{WEIGHTS} nor {INDEX}");
        let advice = "of a repository with GGUF files, name one in the field `file`; other formats are not read";
        return Err(HubErrorKind::Missing { missing, found: weights(), advice });
    };
    if !files.contains(CONFIG) {
        let advice = "a checkpoint needs it; perhaps this is an adapter, or a model of another library";
        return Err(HubErrorKind::Missing { missing: CONFIG.to_owned(), found: Vec::new(), advice });
    }
    // `tokenizer.model` alone is refused, but the error should say that it is there.
    let tokenizer = if files.contains(TOKENIZER) { TOKENIZER } else { "tokenizer.model" };
    let optional = OPTIONAL.into_iter().chain([tokenizer]).filter(|name| files.contains(*name));
    Ok([CONFIG].into_iter().chain(optional).chain([last]).map(str::to_owned).collect())
}

/// Returns a GGUF file, or all parts of a split one: those of `a-00001-of-00003.gguf` differ in the first number.
fn parts(files: &BTreeSet<String>, file: &str) -> Vec<String> {
    let is_number = |text: &str| text.len() == 5 && text.bytes().all(|byte| byte.is_ascii_digit());
    let split = |name: &str| {
        let (start, count) = name.strip_suffix(".gguf")?.rsplit_once("-of-")?;
        let (start, number) = start.rsplit_once('-')?;
        (is_number(number) && is_number(count)).then(|| (start.to_owned(), count.to_owned()))
    };
    match split(file) {
        Some(whole) => files.iter().filter(|name| split(name).as_ref() == Some(&whole)).cloned().collect(),
        None => vec![file.to_owned()],
    }
}

/// Returns the names of the shards that an index lists. What else an index may do wrong is found when it is opened.
fn shards(index: &Path) -> Result<BTreeSet<String>, HubErrorKind> {
    #[derive(Deserialize)]
    struct Index {
        weight_map: BTreeMap<String, String>,
    }
    let json = fs::read(index).map_err(cache::at(index))?;
    let index: Index = serde_json::from_slice(&json).map_err(|error| HubErrorKind::Answer {
        what: "index of shards",
        found: format!("invalid ({error})"),
        expected: "JSON with `weight_map`",
    })?;
    Ok(index.weight_map.into_values().collect())
}

/// Checks what becomes a part of paths and addresses.
fn check_names(name: &str, options: &HubOptions) -> Result<(), HubErrorKind> {
    let plain = |part: &str| {
        let ends = [part.chars().next(), part.chars().next_back()];
        let inside = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        ends.iter().all(|end| end.is_some_and(|c| c.is_ascii_alphanumeric() || c == '_')) && part.chars().all(inside)
    };
    if name.len() > 96
        || name.split('/').count() > 2
        || !name.split('/').all(plain)
        || ["..", "--"].iter().any(|odd| name.contains(*odd))
    {
        return Err(HubErrorKind::Invalid {
            what: "repository name",
            found: name.to_owned(),
            expected: "organisation/name, of letters, digits, dots, dashes and underscores",
        });
    }
    check_path("revision", &options.revision)?;
    options.file.as_ref().map_or(Ok(()), |file| check_path("file name", file))
}

/// Checks that a relative path stays inside of its folder on every operating system.
fn check_path(what: &'static str, path: &str) -> Result<(), HubErrorKind> {
    let plain = |part: &str| !part.is_empty() && part != "." && part != "..";
    let odd = |c: char| matches!(c, '\\' | ':') || c.is_control();
    if path.len() <= 512 && path.split('/').all(plain) && !path.contains(odd) {
        return Ok(());
    }
    let found = path.chars().take(80).collect();
    Err(HubErrorKind::Invalid { what, found, expected: "a name, perhaps in folders with slashes between them" })
}
