//! Output: files that are tried before the work begins, and what a terminal may be shown.

use std::fmt::Display;
use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind, IsTerminal, Write};
use std::path::{Path, PathBuf};

/// The number of links in a row that are followed, as on Linux.
const LINKS: usize = 40;

/// Tries whether a file can be written at `path`, so that the user learns it before the work and not after. Changes
/// nothing. Links are followed. Of a pipe or a device only the permissions are read: opening one could block, or end
/// the input of its reader.
///
/// # Errors
/// If `path` names a folder, if the file or its folder cannot be written, or if the folder does not exist.
pub fn check(path: &Path) -> Result<(), String> {
    try_file(path).map_err(|error| format!("{}: cannot be written: {error}", path.display()))
}

/// Creates the folder at `path` if it does not exist, and tries whether files can be written in it.
///
/// # Errors
/// If the folder cannot be created, or no file can be written in it.
pub fn check_folder(path: &Path) -> Result<(), String> {
    let tried = fs::create_dir_all(path).and_then(|()| try_new_file(path, "dynlayer"));
    tried.map_err(|error| format!("{}: no file can be written in this folder: {error}", path.display()))
}

/// Creates the folder, and tries every one of these files in it, as [`check`] does. Files that are there already are
/// refused unless `overwrite`: another run may have written them.
///
/// # Errors
/// If the folder or a file cannot be written, or a file is there already.
pub fn check_files(folder: &Path, names: &[impl AsRef<Path>], overwrite: bool) -> Result<(), String> {
    check_folder(folder)?;
    for file in names.iter().map(|name| folder.join(name)) {
        check(&file)?;
        if !overwrite && file.is_file() {
            let file = file.display();
            return Err(format!("{file} is of an earlier run; give another --out, or --overwrite to replace it"));
        }
    }
    Ok(())
}

/// Returns `true` if both paths name the same regular file, or would if it existed.
pub fn same_file(first: &Path, second: &Path) -> bool {
    let place = |path: &Path| {
        let end = end_of_links(path).ok()?;
        let folder = end.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        Some((fs::canonicalize(folder).ok()?, end.file_name()?.to_owned()))
    };
    let special = |path: &Path| fs::metadata(path).is_ok_and(|found| !found.is_file());
    !special(first) && place(first).is_some_and(|first| place(second) == Some(first))
}

/// Returns an argument as bash reads it in a command line. A line break becomes an escape, so that the command stays one line.
pub fn shell_word(argument: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:,+@%=".contains(c);
    if !argument.is_empty() && argument.chars().all(plain) {
        return argument.to_owned();
    }
    let text = argument.replace('\\', "\\\\").replace('\'', "\\'");
    if text.contains(char::is_control) {
        return format!("$'{}'", text.replace('\n', "\\n").replace('\t', "\\t").replace('\r', "\\r"));
    }
    format!("'{}'", argument.replace('\'', "'\\''"))
}

/// Writes a warning to standard error.
pub fn warn(text: impl Display) {
    tell(format_args!("warning: {text}\n"));
}

/// Writes text to standard error. A reader that has gone is no error.
pub fn tell(text: impl Display) {
    // There is nobody left to tell.
    let _ = write!(io::stderr(), "{text}");
}

/// Returns `true` if standard output may be given colours: it is a terminal that knows them, and `NO_COLOR` is not set.
pub fn colours() -> bool {
    io::stdout().is_terminal() && escape_codes()
}

/// Returns `true` if terminals may be sent escape codes at all: `NO_COLOR` is not set, and `TERM` names a
/// terminal that is not `dumb`.
pub(crate) fn escape_codes() -> bool {
    let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    // Windows sets no TERM, and its terminals know the codes.
    !no_color && std::env::var_os("TERM").map_or(cfg!(windows), |term| term != "dumb")
}

fn try_file(path: &Path) -> io::Result<()> {
    let no_file = || io::Error::new(ErrorKind::IsADirectory, "this is a folder; expected the name of a file");
    let ends_in_separator =
        path.as_os_str().as_encoded_bytes().last().is_some_and(|byte| std::path::is_separator(char::from(*byte)));
    if ends_in_separator {
        return Err(no_file());
    }
    let target = match fs::metadata(path) {
        Ok(found) if found.is_dir() => return Err(no_file()),
        Ok(found) if !found.is_file() => {
            let denied = found.permissions().readonly();
            return if denied { Err(ErrorKind::PermissionDenied.into()) } else { Ok(()) };
        }
        Ok(_) => {
            OpenOptions::new().append(true).open(path)?;
            fs::canonicalize(path)?
        }
        Err(error) if error.kind() == ErrorKind::NotFound => end_of_links(path)?,
        Err(error) => return Err(error),
    };
    let name = target.file_name().ok_or_else(no_file)?.to_string_lossy();
    let folder = target.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if !folder.is_dir() {
        return Err(io::Error::new(ErrorKind::NotFound, format!("there is no folder {}", folder.display())));
    }
    try_new_file(folder, &name)
}

/// Creates a file in a folder under a name like the one that atomic writing uses, and removes it.
fn try_new_file(folder: &Path, name: &str) -> io::Result<()> {
    let prefix = format!(".{name}");
    tempfile::Builder::new().prefix(&prefix).suffix(".tmp").tempfile_in(folder)?.close()
}

/// Follows links whose last target does not exist.
fn end_of_links(path: &Path) -> io::Result<PathBuf> {
    let mut path = path.to_owned();
    for _ in 0..LINKS {
        let Ok(target) = fs::read_link(&path) else { return Ok(path) };
        // Joining an absolute target replaces the whole path.
        path = path.parent().unwrap_or(Path::new("")).join(target);
    }
    Err(io::Error::other("too many links in a row"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(unix)]
    #[test]
    fn arguments_survive_a_shell() {
        let words = ["exit:3,uniform:4", "--stop=x", "", "two words", "it's", "a\nb'\\", "\\", "$HOME", "\t", "é"];
        let line = words.map(shell_word).join(" ");
        let script = format!("printf '%s|' {line}");
        let found = std::process::Command::new("bash").args(["-c", &script]).output().unwrap().stdout;
        assert_eq!(String::from_utf8(found).unwrap(), words.map(|word| format!("{word}|")).concat(), "{line}");
        assert_eq!(shell_word("exit:3,uniform:4"), "exit:3,uniform:4");
    }

    #[test]
    fn files_that_can_and_cannot_be_written() {
        let folder = tempfile::tempdir().unwrap();
        let (new, old) = (folder.path().join("new"), folder.path().join("old"));
        fs::write(&old, "kept").unwrap();
        check(&new).unwrap();
        check(&old).unwrap();
        assert_eq!(fs::read_to_string(&old).unwrap(), "kept");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left behind");
        let missing = folder.path().join("none/new");
        for wrong in [folder.path().to_owned(), missing, old.join("new"), PathBuf::from("new/"), PathBuf::new()] {
            let error = check(&wrong).unwrap_err();
            assert!(error.contains("cannot be written"), "{error}");
        }
        check_folder(&folder.path().join("a/b")).unwrap();
        assert!(check_folder(&old).is_err());
    }

    #[test]
    fn files_of_an_earlier_run_are_replaced_on_request_only() {
        let folder = tempfile::tempdir().unwrap();
        check_files(folder.path(), &["a.csv", "b.svg"], false).unwrap();
        fs::write(folder.path().join("b.svg"), "old").unwrap();
        assert!(
            check_files(folder.path(), &["a.csv", "b.svg"], false).unwrap_err().contains("b.svg is of an earlier run")
        );
        check_files(folder.path(), &["a.csv", "b.svg"], true).unwrap();
        fs::create_dir(folder.path().join("a.csv")).unwrap();
        assert!(check_files(folder.path(), &["a.csv", "b.svg"], true).unwrap_err().contains("a.csv"));
    }

    #[cfg(unix)]
    #[test]
    fn a_file_has_several_names() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        std::os::unix::fs::symlink("new", path("link")).unwrap();
        assert!(same_file(&path("new"), &path("./new")) && same_file(&path("new"), &path("link")));
        assert!(!same_file(&path("new"), &path("other")));
        assert!(!same_file(Path::new("/dev/null"), Path::new("/dev/null")));
    }

    #[cfg(unix)]
    #[test]
    fn links_are_followed_and_pipes_are_not_opened() {
        use std::os::unix::fs::symlink;
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        symlink("target", path("dangling")).unwrap();
        check(&path("dangling")).unwrap();
        assert!(!path("target").exists());
        symlink("none/target", path("nowhere")).unwrap();
        assert!(check(&path("nowhere")).is_err());
        symlink("loop", path("loop")).unwrap();
        assert!(check(&path("loop")).is_err());
        symlink(folder.path(), path("folder")).unwrap();
        assert!(check(&path("folder")).unwrap_err().contains("folder"));
        let made = std::process::Command::new("mkfifo").arg(path("pipe")).status().unwrap();
        assert!(made.success());
        check(&path("pipe")).unwrap();
        check(Path::new("/dev/null")).unwrap();
    }
}
