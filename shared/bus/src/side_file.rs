//! The side file of an outbox: 64 synced bytes that outlive the store, so that no number is ever used twice.
//!
//! Layout, little endian: magic (8 bytes), epoch (8), last acknowledged number (8), last number that may have been
//! given out (8), zeros (28), CRC-32 of all before (4).

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

const MAGIC: &[u8; 8] = b"KINGSIDE";
const LENGTH: usize = 64;
const BODY: usize = LENGTH - 4;

/// What the side file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Side {
    /// The life of the outbox: raised whenever numbers may have been lost.
    pub epoch: u64,
    /// The last number that was acknowledged, as of the last write of this file.
    pub acknowledged: u64,
    /// No number above this one was ever given out.
    pub reserved: u64,
}

impl Side {
    /// Reads the side file; none when it is missing or fails its checksum.
    pub(crate) fn read(path: &Path) -> io::Result<Option<Self>> {
        match fs::read(path) {
            Ok(bytes) => Ok(Self::decode(&bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Writes the side file: aside, synced, renamed, and the rename synced too. Blocks.
    pub(crate) fn write(&self, path: &Path) -> io::Result<()> {
        let aside = path.with_extension("new");
        let mut file = File::create(&aside)?;
        file.write_all(&self.encode())?;
        file.sync_all()?;
        fs::rename(&aside, path)?;
        match path.parent() {
            Some(folder) => File::open(folder)?.sync_all(),
            None => Ok(()),
        }
    }

    fn encode(&self) -> [u8; LENGTH] {
        let mut bytes = [0; LENGTH];
        bytes[..8].copy_from_slice(MAGIC);
        bytes[8..16].copy_from_slice(&self.epoch.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.acknowledged.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.reserved.to_le_bytes());
        let checksum = crc32fast::hash(&bytes[..BODY]);
        bytes[BODY..].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; LENGTH] = bytes.try_into().ok()?;
        let is_whole = bytes[..8] == *MAGIC && bytes[BODY..] == crc32fast::hash(&bytes[..BODY]).to_le_bytes();
        let number = |at: usize| {
            let field: [u8; 8] = bytes[at..at + 8].try_into().expect("a slice of eight bytes");
            u64::from_le_bytes(field)
        };
        is_whole.then(|| Self { epoch: number(8), acknowledged: number(16), reserved: number(24) })
    }
}

#[cfg(test)]
mod tests {
    use super::Side;

    #[test]
    fn a_side_file_comes_back_and_any_flipped_bit_shows() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("side");
        assert_eq!(Side::read(&path).unwrap(), None);
        let side = Side { epoch: 7, acknowledged: 41, reserved: 1041 };
        side.write(&path).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        assert_eq!(bytes.len(), 64);
        assert_eq!(Side::read(&path).unwrap(), Some(side));
        for bit in 0..bytes.len() * 8 {
            let mut bad = bytes.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Side::decode(&bad), None, "bit {bit}");
        }
        assert_eq!(Side::decode(&bytes[..63]), None);
    }
}
