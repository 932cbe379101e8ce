//! Checkpoints: what a King signs about the log, so that whoever holds one can tell later whether the log is still that.

use crate::{Digest, EventNumber, KingKey, Signature, Timestamp};
use ring::signature::{ED25519, UnparsedPublicKey};
use serde::{Deserialize, Serialize};

/// The first bytes of what is signed: no signature for another purpose can be taken for a checkpoint.
const PURPOSE: &[u8] = b"king checkpoint 1\n";

/// A place in the log, with what everything up to it comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mark {
    /// The sequence of the commit.
    pub sequence: u64,
    /// The number of its last event.
    pub event: EventNumber,
    /// BLAKE3 of the commit; as each commit holds the hash of the one before, it stands for all of them.
    pub hash: Digest,
    /// BLAKE3 of the state after it.
    pub state: Digest,
    /// When its last event was decided.
    pub at: Timestamp,
}

impl Mark {
    /// The bytes that a signature covers: the purpose, then the fields in order, numbers in big-endian.
    pub fn signed_bytes(&self) -> Vec<u8> {
        let mut bytes = PURPOSE.to_vec();
        bytes.extend_from_slice(&self.sequence.to_be_bytes());
        bytes.extend_from_slice(&self.event.to_be_bytes());
        bytes.extend_from_slice(self.hash.as_bytes());
        bytes.extend_from_slice(self.state.as_bytes());
        bytes.extend_from_slice(&self.at.0.to_be_bytes());
        bytes
    }
}

/// A signed mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Checkpoint {
    pub mark: Mark,
    /// Whose signature it is.
    pub key: KingKey,
    /// Ed25519 (RFC 8032) over [`Mark::signed_bytes`].
    pub signature: Signature,
}

impl Checkpoint {
    /// Whether the signature is that of the key.
    pub fn is_genuine(&self) -> bool {
        let key = UnparsedPublicKey::new(&ED25519, self.key.as_bytes());
        key.verify(&self.mark.signed_bytes(), self.signature.as_bytes()).is_ok()
    }
}
