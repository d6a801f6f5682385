//! Atomic writing of files.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

/// Writes a file through a temporary file in the same folder and a rename, so that no reader ever sees half of it.
///
/// The file gets the permissions that the umask gives to new files. A link stays, and the file that it leads to is
/// written. A pipe or a device is opened and written to, and never replaced; a pipe waits for its reader.
///
/// # Errors
/// If the path is a folder or has no file name, or if creating, writing or renaming the file fails. An existing file of
/// that name is then unchanged.
pub fn write_atomic(path: &Path, bytes: &[u8]) -> io::Result<()> {
    match fs::metadata(path) {
        Ok(found) if found.is_file() => replace(&fs::canonicalize(path)?, bytes),
        Ok(found) if found.is_dir() => {
            Err(io::Error::new(ErrorKind::IsADirectory, "this is a folder; give the path of a file"))
        }
        Ok(_) => File::options().write(true).open(path)?.write_all(bytes),
        Err(error) if error.kind() == ErrorKind::NotFound => replace(&end_of_links(path)?, bytes),
        Err(error) => Err(error),
    }
}

/// Returns the path of the missing file that a link leads to; a path that is no link is returned as it is.
fn end_of_links(path: &Path) -> io::Result<PathBuf> {
    /// The largest number of links in a row that Linux follows.
    const MOST: usize = 40;
    let mut end = path.to_owned();
    for _ in 0..MOST {
        if !fs::symlink_metadata(&end).is_ok_and(|found| found.is_symlink()) {
            break;
        }
        // A relative target counts from the link's folder.
        let target = fs::read_link(&end)?;
        end = end.parent().unwrap_or(Path::new("")).join(target);
    }
    Ok(end)
}

/// Writes a regular file, whether it exists or not.
fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let name = path.file_name().ok_or_else(|| io::Error::new(ErrorKind::InvalidInput, "the path names no file"))?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut prefix = std::ffi::OsString::from(".");
    prefix.push(name);
    let mut builder = tempfile::Builder::new();
    builder.prefix(&prefix).suffix(".tmp");
    // Temporary files are private by default. With this mode the umask decides, as for other new files.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    let mut file = builder.tempfile_in(folder)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replaces_a_file_and_leaves_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.json");
        write_atomic(&path, b"first, and longer").unwrap();
        write_atomic(&path, b"second").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"second");
        let normal = folder.path().join("normal");
        fs::write(&normal, b"x").unwrap();
        let permissions = |path: &Path| fs::metadata(path).unwrap().permissions();
        assert_eq!(permissions(&path), permissions(&normal));
        fs::remove_file(normal).unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_failure_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let taken = folder.path().join("folder");
        fs::create_dir(&taken).unwrap();
        let error = write_atomic(&taken, b"x").unwrap_err();
        assert!(error.to_string().contains("this is a folder"), "{error}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        assert!(write_atomic(Path::new("/"), b"x").is_err());
        assert!(write_atomic(&folder.path().join("none/a"), b"x").is_err());
    }

    #[cfg(unix)]
    #[test]
    fn links_stay_and_their_targets_are_written() {
        use std::os::unix::fs::symlink;
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::create_dir(at("data")).unwrap();
        fs::write(at("data/real"), "old").unwrap();
        let links = [
            ("data/real", "first"),
            ("first", "second"),
            ("data/new", "dangling"),
            ("dangling", "to dangling"),
            ("loop", "loop"),
        ];
        for (target, link) in links {
            symlink(target, at(link)).unwrap();
        }
        write_atomic(&at("second"), b"through two links").unwrap();
        write_atomic(&at("to dangling"), b"new").unwrap();
        assert_eq!(fs::read(at("data/real")).unwrap(), b"through two links");
        assert_eq!(fs::read(at("data/new")).unwrap(), b"new");
        assert!(write_atomic(&at("loop"), b"x").is_err());
        for (_, link) in links {
            assert!(fs::symlink_metadata(at(link)).unwrap().is_symlink(), "{link}");
        }
        assert_eq!(fs::read_dir(at("data")).unwrap().count(), 2);
    }

    #[cfg(unix)]
    #[test]
    fn a_pipe_is_written_to() {
        use std::os::unix::fs::FileTypeExt;
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let reader = std::thread::spawn({
            let pipe = pipe.clone();
            move || fs::read(pipe).unwrap()
        });
        write_atomic(&pipe, b"through the pipe").unwrap();
        // Without a writer the reader would wait for ever, so this comes first.
        assert!(fs::metadata(&pipe).unwrap().file_type().is_fifo(), "the pipe was replaced");
        assert_eq!(reader.join().unwrap(), b"through the pipe");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
