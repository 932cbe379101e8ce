//! The King's key: made at its first start, kept in its data folder for its owner alone. It signs checkpoints.

use events::{Checkpoint, KingKey, Mark, Signature};
use ring::rand::{SecureRandom, SystemRandom};
use ring::signature::{Ed25519KeyPair, KeyPair};
use service::data::{FolderError, write_synced};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Bytes of the secret that the key is made of (RFC 8032, 5.1.5).
const SEED_BYTES: usize = 32;

/// Why a King has no key.
#[derive(Debug, thiserror::Error)]
pub enum SignerError {
    #[error("the key {} cannot be read", path.display())]
    Read {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error(
        "the key {} is damaged: it has {found} bytes, not {SEED_BYTES}; bring it back from a copy, or remove it and the \
         King makes another",
        path.display()
    )]
    Damaged { path: PathBuf, found: usize },
    #[error("the key cannot be written")]
    Write(#[from] FolderError),
    #[error("the system gives no random numbers, so no key can be made")]
    NoRandomness,
}

/// Signs in the name of one King. Cheap to clone.
#[derive(Clone)]
pub struct Signer {
    pair: Arc<Ed25519KeyPair>,
    key: KingKey,
}

impl std::fmt::Debug for Signer {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Signer({})", self.key)
    }
}

impl Signer {
    /// Reads the key, or makes one.
    ///
    /// # Errors
    /// When the file cannot be read or written, or is damaged.
    pub fn open(path: &Path) -> Result<Self, SignerError> {
        let seed = match std::fs::read(path) {
            Ok(seed) => seed,
            Err(error) if error.kind() == ErrorKind::NotFound => make(path)?,
            Err(source) => return Err(SignerError::Read { path: path.to_owned(), source }),
        };
        let damaged = |_| SignerError::Damaged { path: path.to_owned(), found: seed.len() };
        let pair = Ed25519KeyPair::from_seed_unchecked(&seed).map_err(damaged)?;
        let mut key = [0; 32];
        key.copy_from_slice(pair.public_key().as_ref());
        Ok(Self { pair: Arc::new(pair), key: KingKey::from_bytes(key) })
    }

    /// The public key.
    pub fn key(&self) -> KingKey {
        self.key
    }

    /// Signs a mark.
    pub fn sign(&self, mark: Mark) -> Checkpoint {
        let mut signature = [0; 64];
        signature.copy_from_slice(self.pair.sign(&mark.signed_bytes()).as_ref());
        Checkpoint { mark, key: self.key, signature: Signature::from_bytes(signature) }
    }
}

fn make(path: &Path) -> Result<Vec<u8>, SignerError> {
    let mut seed = vec![0; SEED_BYTES];
    SystemRandom::new().fill(&mut seed).map_err(|_| SignerError::NoRandomness)?;
    write_synced(path, &seed, 0o600)?;
    Ok(seed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use events::{Digest, Timestamp};
    use std::os::unix::fs::PermissionsExt;

    fn mark(event: u64) -> Mark {
        Mark { sequence: 1, event, hash: Digest::ZERO, state: Digest::ZERO, at: Timestamp(0) }
    }

    #[test]
    fn a_key_is_made_once_and_only_its_owner_reads_it() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("audit.key");
        let first = Signer::open(&path).expect("made");
        assert_eq!(Signer::open(&path).expect("read").key(), first.key());
        assert_eq!(path.metadata().expect("it exists").permissions().mode() & 0o777, 0o600);
        std::fs::write(&path, b"short").expect("written");
        assert!(matches!(Signer::open(&path), Err(SignerError::Damaged { found: 5, .. })));
    }

    #[test]
    fn a_signature_is_for_one_mark_and_one_key() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let signer = Signer::open(&folder.path().join("one")).expect("made");
        let other = Signer::open(&folder.path().join("two")).expect("made");
        let checkpoint = signer.sign(mark(7));
        assert!(checkpoint.is_genuine());
        assert!(!Checkpoint { mark: mark(8), ..checkpoint }.is_genuine());
        assert!(!Checkpoint { key: other.key(), ..checkpoint }.is_genuine());
    }
}
