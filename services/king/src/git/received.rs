//! The one pack that Git has received into quarantine, and which objects are in it (gitformat-pack, index version 2).

use super::RepositoryState;
use super::refs::Change;
use events::CommitHash;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

const SIGNATURE: [u8; 8] = [0xff, b't', b'O', b'c', 0, 0, 0, 2];
/// The table that counts ids by their first byte: its last number counts all.
const FANOUT_BYTES: usize = 256 * 4;
const ID_BYTES: usize = 20;

/// A pack of a push.
pub struct Received {
    pub pack: PathBuf,
    /// The ids of its objects, in order.
    pub objects: Vec<CommitHash>,
}

impl Received {
    /// The pack in a quarantine, if the push brought objects.
    pub fn find(quarantine: &Path) -> io::Result<Option<Self>> {
        let folder = match std::fs::read_dir(quarantine.join("pack")) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            folder => folder?,
        };
        for entry in folder {
            let pack = entry?.path();
            if pack.extension().is_some_and(|extension| extension == "pack") {
                let objects = read_index(&mut File::open(pack.with_extension("idx"))?)?;
                return Ok(Some(Self { pack, objects }));
            }
        }
        Ok(None)
    }

    /// Whether each change names an object of the pack, or one that a reference names already. One that does not names
    /// what lies in the repository besides, and that may be in no bundle.
    pub fn explains(&self, changes: &[Change], state: &RepositoryState) -> bool {
        let known = |new: &CommitHash| {
            self.objects.binary_search(new).is_ok() || state.refs.values().any(|old| old == new)
        };
        changes.iter().filter_map(|change| change.new.as_ref()).all(known)
    }
}

fn read_index(index: &mut impl Read) -> io::Result<Vec<CommitHash>> {
    let mut head = [0; SIGNATURE.len() + FANOUT_BYTES];
    index.read_exact(&mut head)?;
    let (head, count) = head.split_at(head.len() - 4);
    if !head.starts_with(&SIGNATURE) {
        return Err(io::Error::other("the index of the received pack is of another version than 2"));
    }
    let count: [u8; 4] = count.try_into().expect("it was split so");
    let bytes = u64::from(u32::from_be_bytes(count)) * ID_BYTES as u64;
    let mut ids = Vec::new();
    index.take(bytes).read_to_end(&mut ids)?;
    if ids.len() as u64 != bytes {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let (ids, _) = ids.as_chunks::<ID_BYTES>();
    Ok(ids.iter().map(|id| CommitHash::from_bytes(*id)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index(ids: &[[u8; ID_BYTES]]) -> Vec<u8> {
        let mut index = SIGNATURE.to_vec();
        index.extend([0; FANOUT_BYTES - 4]);
        index.extend((ids.len() as u32).to_be_bytes());
        index.extend(ids.as_flattened());
        index.extend([9; 100]);
        index
    }

    #[test]
    fn an_index_gives_its_ids() {
        let ids = [[1; ID_BYTES], [2; ID_BYTES]];
        let read = read_index(&mut index(&ids).as_slice()).expect("it is whole");
        assert_eq!(read, ids.map(CommitHash::from_bytes));
    }

    #[test]
    fn a_damaged_index_is_refused() {
        let whole = index(&[[1; ID_BYTES]; 30]);
        for length in [0, 10, 500, 1032, 1300] {
            assert!(read_index(&mut &whole[..length]).is_err(), "{length}");
        }
        let mut other = whole;
        other[7] = 1;
        assert!(read_index(&mut other.as_slice()).is_err());
    }

    #[test]
    fn a_change_is_explained_by_the_pack_or_by_a_reference() {
        let hash = |byte| CommitHash::from_bytes([byte; ID_BYTES]);
        let received = Received { pack: PathBuf::new(), objects: vec![hash(1), hash(3)] };
        let mut state = RepositoryState::default();
        state.refs.insert("refs/heads/main".into(), hash(2));
        let change = |new| Change { name: "refs/heads/x".into(), old: None, new };
        assert!(received.explains(&[change(Some(hash(1))), change(Some(hash(2))), change(None)], &state));
        assert!(!received.explains(&[change(Some(hash(1))), change(Some(hash(4)))], &state));
    }
}
