//! An identity that outlives its process: a UUID in a file, drawn once and synced before it is used.

use crate::clock::fresh_id;
use crate::data::{FolderError, write_synced};
use std::io;
use std::path::{Path, PathBuf};
use uuid::Uuid;

/// Why there is no identity.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The file is there and cannot be read.
    #[error("could not read the identity in {}", path.display())]
    Unreadable {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// The file holds something else. A new identity would be another servant's: a person must decide.
    #[error(
        "{} should hold a UUID and holds {found:?}; put the UUID back, or remove the file to become somebody new",
        path.display()
    )]
    Damaged { path: PathBuf, found: String },
    /// The new identity could not be stored.
    #[error("could not store a new identity")]
    NotStored(#[from] FolderError),
}

/// The identity in this file; drawn and stored when the file is missing.
///
/// # Errors
/// When the file is damaged, or cannot be read or written.
pub fn load_or_create(path: &Path) -> Result<Uuid, IdentityError> {
    match std::fs::read_to_string(path) {
        Ok(text) => text.trim().parse().map_err(|_| IdentityError::Damaged {
            path: path.to_owned(),
            found: text.trim().chars().take(64).collect(),
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => create(path),
        Err(source) => Err(IdentityError::Unreadable { path: path.to_owned(), source }),
    }
}

fn create(path: &Path) -> Result<Uuid, IdentityError> {
    let id = fresh_id();
    write_synced(path, format!("{id}\n").as_bytes(), 0o600)?;
    Ok(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_stays() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("id");
        let first = load_or_create(&path).expect("drawn");
        assert_eq!(load_or_create(&path).expect("kept"), first);
    }

    #[test]
    fn a_damaged_identity_is_not_replaced() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("id");
        std::fs::write(&path, "nonsense").expect("written");
        let message = load_or_create(&path).expect_err("damaged").to_string();
        assert!(message.contains("nonsense"), "{message}");
        assert_eq!(std::fs::read(&path).expect("kept"), b"nonsense");
    }
}
