//! A snapshot: the state as bytes.
//!
//! Layout: the version (1 byte), the hash of the state (32 bytes), and as zstd the state as MessagePack with named fields.

use events::Digest;
use realm::State;

/// The version of the layout. What the state itself looks like is proven by its hash.
const VERSION: u8 = 1;
const HEAD: usize = 33;
/// Packing speed matters more than the last tenth of size.
const LEVEL: i32 = 1;
/// Most bytes of a state.
const STATE_BYTES: usize = 1024 * 1024 * 1024;

/// Why some bytes give no state. None of it is damage by itself: a newer King has another state.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    #[error("the snapshot has version {found}; this King reads {VERSION}")]
    Version { found: u8 },
    #[error("the snapshot cannot be unpacked")]
    Unpack(#[source] std::io::Error),
    #[error("the snapshot holds no state of this King")]
    Decode(#[source] rmp_serde::decode::Error),
    #[error("the snapshot gives a state with the hash {found}, but it was taken of one with {wanted}")]
    Hash { wanted: Digest, found: Digest },
}

/// The state as bytes.
pub fn encode(state: &State) -> Vec<u8> {
    let plain = rmp_serde::to_vec_named(state).expect("the state encodes");
    let mut bytes = Vec::with_capacity(HEAD + plain.len() / 4);
    bytes.push(VERSION);
    bytes.extend_from_slice(Digest::of(&plain).as_bytes());
    bytes.extend(zstd::bulk::compress(&plain, LEVEL).expect("packing into memory cannot fail"));
    bytes
}

/// The state of a snapshot, proven to be the one that it was taken of.
///
/// # Errors
/// When it is not: then the commits are to be folded instead.
pub fn decode(bytes: &[u8]) -> Result<State, SnapshotError> {
    let found = bytes.first().copied().unwrap_or(0);
    let head: Option<&[u8; HEAD]> = bytes.first_chunk();
    let Some(head) = head.filter(|_| found == VERSION) else {
        return Err(SnapshotError::Version { found });
    };
    let mut wanted = [0; 32];
    wanted.copy_from_slice(&head[1..]);
    let wanted = Digest::from_bytes(wanted);
    let plain = unpack(&bytes[HEAD..]).map_err(SnapshotError::Unpack)?;
    let state: State = rmp_serde::from_slice(&plain).map_err(SnapshotError::Decode)?;
    // Over the state and not over the bytes: a field that this King has and the bytes have not shows only so.
    let found = state.hash();
    if found == wanted { Ok(state) } else { Err(SnapshotError::Hash { wanted, found }) }
}

fn unpack(packed: &[u8]) -> std::io::Result<Vec<u8>> {
    let size = zstd::bulk::Decompressor::upper_bound(packed).unwrap_or(STATE_BYTES);
    zstd::bulk::decompress(packed, size.min(STATE_BYTES))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_comes_back_and_no_change_of_its_snapshot_goes_unseen() {
        let state = State { last: 7, epoch: 3, ..State::default() };
        let bytes = encode(&state);
        assert_eq!(decode(&bytes).unwrap(), state);
        for bit in 0..bytes.len() * 8 {
            let mut bad = bytes.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(decode(&bad).map_or(true, |found| found == state), "bit {bit}");
        }
        (0..bytes.len()).for_each(|end| assert!(decode(&bytes[..end]).is_err(), "{end}"));
    }
}
