use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// The text of a file that holds secrets. If others than its owner and group may use it, the log says so.
///
/// # Errors
/// When it cannot be read.
pub fn read_secret(path: &Path) -> io::Result<String> {
    let text = std::fs::read_to_string(path)?;
    if std::fs::metadata(path)?.permissions().mode() & 0o007 != 0 {
        tracing::warn!(path = %path.display(), "everybody may use this file, although it holds secrets");
    }
    Ok(text)
}
