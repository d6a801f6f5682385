//! Files that appear complete or not at all.

use std::fs::{self, File};
use std::io::{self, BufWriter, ErrorKind, IntoInnerError, Write};
use std::path::{Path, PathBuf};

/// Writes a file under a temporary name in its folder, and renames it when it is complete and on the disk.
///
/// The file has the permissions of any new file. A link stays, and the file that it leads to is written. A pipe or a
/// device is opened and written to, and never replaced.
pub(crate) fn write_atomic(file: &Path, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    match fs::metadata(file) {
        Ok(found) if found.is_file() => replace(&fs::canonicalize(file)?, write),
        Ok(found) if found.is_dir() => {
            Err(io::Error::new(ErrorKind::IsADirectory, "this is a folder; give the path of a file"))
        }
        Ok(_) => {
            let mut out = BufWriter::new(File::options().write(true).open(file)?);
            write(&mut out)?;
            out.flush()
        }
        Err(error) if error.kind() == ErrorKind::NotFound => replace(&end_of_links(file)?, write),
        Err(error) => Err(error),
    }
}

/// The path of the missing file that a link leads to; a path that is no link is returned as it is.
fn end_of_links(file: &Path) -> io::Result<PathBuf> {
    let mut end = file.to_owned();
    // The system has followed all links, so there are not too many.
    while fs::symlink_metadata(&end).is_ok_and(|found| found.is_symlink()) {
        // A relative target counts from the link's folder.
        end = end.parent().unwrap_or(Path::new("")).join(fs::read_link(&end)?);
    }
    Ok(end)
}

/// Writes a regular file, whether it exists or not.
fn replace(file: &Path, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut builder = tempfile::Builder::new();
    #[cfg(unix)]
    {
        // The umask decides, as for any new file; a temporary file could by default be read only by its owner.
        use std::os::unix::fs::PermissionsExt;
        builder.permissions(std::fs::Permissions::from_mode(0o666));
    }
    let mut out = BufWriter::new(builder.tempfile_in(folder)?);
    write(&mut out)?;
    let temporary = out.into_inner().map_err(IntoInnerError::into_error)?;
    temporary.as_file().sync_all()?;
    temporary.persist(file)?;
    Ok(())
}

#[cfg(all(test, unix))]
mod tests {
    use super::write_atomic;
    use std::fs;
    use std::os::unix::fs::{FileTypeExt, symlink};
    use std::path::Path;

    fn write(file: &Path, text: &str) -> std::io::Result<()> {
        write_atomic(file, |out| out.write_all(text.as_bytes()))
    }

    #[test]
    fn links_stay_and_their_targets_are_written() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::create_dir(at("data")).unwrap();
        fs::write(at("data/real"), "old").unwrap();
        let links = [
            ("data/real", "first"),
            ("first", "second"),
            ("data/new", "dangling"),
            ("loop", "loop"),
            ("data", "to data"),
        ];
        for (target, link) in links {
            symlink(target, at(link)).unwrap();
        }
        write(&at("second"), "through two links").unwrap();
        write(&at("dangling"), "new").unwrap();
        assert_eq!(fs::read_to_string(at("data/real")).unwrap(), "through two links");
        assert_eq!(fs::read_to_string(at("data/new")).unwrap(), "new");
        assert!(write(&at("loop"), "x").is_err());
        let error = write(&at("to data"), "x").unwrap_err().to_string();
        assert!(error.contains("this is a folder"), "{error}");
        for (_, link) in links {
            assert!(fs::symlink_metadata(at(link)).unwrap().is_symlink(), "{link}");
        }
        assert_eq!(fs::read_dir(at("data")).unwrap().count(), 2, "nothing is left beside the files");
    }

    #[test]
    fn a_pipe_is_written_to_and_not_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let reader = std::thread::spawn({
            let pipe = pipe.clone();
            move || fs::read_to_string(pipe).unwrap()
        });
        write(&pipe, "through the pipe").unwrap();
        // Without a writer the reader would wait for ever, so this comes first.
        assert!(fs::metadata(&pipe).unwrap().file_type().is_fifo(), "the pipe was replaced");
        assert_eq!(reader.join().unwrap(), "through the pipe");
    }
}
