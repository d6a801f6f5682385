//! Files that appear complete or not at all.

use std::io::{self, BufWriter, IntoInnerError, Write};
use std::path::Path;

/// Writes a file under a temporary name in its folder, and renames it when it is complete and on the disk.
///
/// The file has the permissions of any new file.
pub(crate) fn write_atomic(file: &Path, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
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
