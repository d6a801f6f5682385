//! The cache folder, in the layout of the Python package `huggingface_hub`, so that a file is downloaded once for both.
//!
//! `models--ORG--NAME/blobs/ETAG` holds contents, `snapshots/COMMIT/FILE` links to them, and `refs/REVISION` names a
//! commit. `.locks/` holds locks, one for each blob.

use super::super::hub_error::HubErrorKind;
use std::env;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

/// The part of the cache folder that belongs to one repository.
#[derive(Debug)]
pub(super) struct Cache {
    folder: PathBuf,
    locks: PathBuf,
}

impl Cache {
    /// The repository's name must have been checked.
    pub(super) fn new(root: &Path, name: &str) -> Self {
        let folder = format!("models--{}", name.replace('/', "--"));
        Self { locks: root.join(".locks").join(&folder), folder: root.join(folder) }
    }

    /// The folder of a commit's files.
    pub(super) fn snapshot(&self, commit: &str) -> PathBuf {
        self.folder.join("snapshots").join(commit)
    }

    /// The path of the content with this etag.
    pub(super) fn blob(&self, etag: &str) -> PathBuf {
        self.folder.join("blobs").join(etag)
    }

    /// Returns the commit that a revision was when it was last downloaded; a commit is itself.
    pub(super) fn commit(&self, revision: &str) -> Option<String> {
        match fs::read_to_string(self.folder.join("refs").join(revision)) {
            Ok(commit) => Some(commit.trim().to_owned()).filter(|commit| is_commit(commit)),
            Err(_) => Some(revision.to_owned()).filter(|commit| is_commit(commit)),
        }
    }

    /// Notes the commit that a revision is.
    pub(super) fn set_commit(&self, revision: &str, commit: &str) -> Result<(), HubErrorKind> {
        if revision == commit {
            return Ok(());
        }
        let path = self.folder.join("refs").join(revision);
        create_parent(&path)?;
        fs::write(&path, commit).map_err(at(&path))
    }

    /// Waits until no other process downloads this content. The lock ends when the file is dropped.
    pub(super) fn lock(&self, etag: &str) -> Result<File, HubErrorKind> {
        let path = self.locks.join(format!("{etag}.lock"));
        create_parent(&path)?;
        let file = File::options().write(true).create(true).truncate(false).open(&path).map_err(at(&path))?;
        match file.lock() {
            // Some network file systems have no locks. The check of the whole file then finds mixed-up bytes.
            Err(error) if error.kind() == io::ErrorKind::Unsupported => Ok(file),
            locked => locked.map(|()| file).map_err(at(&path)),
        }
    }

    /// Puts a content into the folder of a commit.
    pub(super) fn link(&self, etag: &str, commit: &str, file: &str) -> Result<(), HubErrorKind> {
        let path = self.snapshot(commit).join(file);
        create_parent(&path)?;
        match link(etag, &self.blob(etag), &path, file.matches('/').count()) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            linked => linked.map_err(at(&path)),
        }
    }
}

/// Links relative to the link's own folder, so that the cache folder can be moved.
#[cfg(unix)]
fn link(etag: &str, _blob: &Path, path: &Path, folders: usize) -> io::Result<()> {
    std::os::unix::fs::symlink(format!("{}blobs/{etag}", "../".repeat(2 + folders)), path)
}

/// Moves the content, as the Python package does on systems where links need a privilege.
#[cfg(not(unix))]
fn link(_etag: &str, blob: &Path, path: &Path, _folders: usize) -> io::Result<()> {
    fs::rename(blob, path)
}

/// Returns a conversion of I/O errors that adds the path.
pub(super) fn at(path: &Path) -> impl FnOnce(io::Error) -> HubErrorKind {
    let path = path.to_owned();
    |source| HubErrorKind::Io { path, source }
}

/// Creates the folder that a file will be in.
pub(super) fn create_parent(path: &Path) -> Result<(), HubErrorKind> {
    path.parent().map_or(Ok(()), |parent| fs::create_dir_all(parent).map_err(at(parent)))
}

/// Returns `true` if a text can be the name of a commit, and so of a folder.
pub(super) fn is_commit(text: &str) -> bool {
    (7..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Returns the cache folder that the environment names, or the usual one.
pub(super) fn default_root() -> Result<PathBuf, HubErrorKind> {
    root(variable, env::home_dir()).ok_or(HubErrorKind::Invalid {
        what: "cache folder",
        found: String::new(),
        expected: "a folder in the field `cache`, HF_HUB_CACHE or HF_HOME, as there is no home folder",
    })
}

/// Returns the token of `HF_TOKEN`, or else of the file that `hf auth login` writes.
pub(super) fn default_token() -> Option<String> {
    match variable("HF_TOKEN") {
        Some(token) => token.into_string().ok(),
        None => {
            let path = variable("HF_TOKEN_PATH").map(PathBuf::from);
            fs::read_to_string(path.or_else(|| Some(home(&variable, env::home_dir())?.join("token")))?).ok()
        }
    }
}

/// Returns a variable of the environment, if it is set to something.
pub(super) fn variable(name: &str) -> Option<OsString> {
    env::var_os(name).filter(|value| !value.is_empty())
}

fn root(variable: impl Fn(&str) -> Option<OsString>, user: Option<PathBuf>) -> Option<PathBuf> {
    variable("HF_HUB_CACHE").map(PathBuf::from).or_else(|| Some(home(&variable, user)?.join("hub")))
}

fn home(variable: &impl Fn(&str) -> Option<OsString>, user: Option<PathBuf>) -> Option<PathBuf> {
    variable("HF_HOME").map(PathBuf::from).or_else(|| {
        let caches = variable("XDG_CACHE_HOME").map(PathBuf::from).or_else(|| Some(user?.join(".cache")));
        Some(caches?.join("huggingface"))
    })
}

#[cfg(test)]
mod tests {
    use super::root;
    use std::ffi::OsString;
    use std::path::PathBuf;

    #[test]
    fn the_cache_folder_is_where_the_python_package_has_it() {
        let with = |set: &[(&str, &str)]| {
            let set: Vec<(String, OsString)> = set.iter().map(|(k, v)| ((*k).to_owned(), OsString::from(v))).collect();
            let find = move |name: &str| set.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone());
            root(find, Some(PathBuf::from("/home/me")))
        };
        for (set, expected) in [
            (&[("OTHER", "/o")][..], "/home/me/.cache/huggingface/hub"),
            (&[("XDG_CACHE_HOME", "/c")], "/c/huggingface/hub"),
            (&[("XDG_CACHE_HOME", "/c"), ("HF_HOME", "/h")], "/h/hub"),
            (&[("HF_HOME", "/h"), ("HF_HUB_CACHE", "/x")], "/x"),
        ] {
            assert_eq!(with(set), Some(PathBuf::from(expected)), "{set:?}");
        }
        assert_eq!(root(|_| None, None), None);
    }
}
