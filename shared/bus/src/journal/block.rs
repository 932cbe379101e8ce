//! Blocks: many commits in one compressed value, so that reading them all costs little.
//!
//! Layout, little endian: how many commits (4 bytes), how many bytes unpacked (4), then as zstd: the end of each commit
//! among the commits (4 bytes each), and the commits. The key is the sequence of the first.

use bytes::Bytes;
use std::fmt;

/// A block is full with so many bytes of commits.
const BLOCK_BYTES: usize = 256 * 1024;
/// A block is full with so many commits.
const BLOCK_COMMITS: usize = 1024;
/// Most bytes that a block may unpack to: one commit more than it may hold, and the table.
const UNPACKED_BYTES: usize = BLOCK_BYTES + crate::log::COMMIT_BYTES + 4 * BLOCK_COMMITS;
/// Fast to pack, and unpacking is equally fast at every level.
const LEVEL: i32 = 3;
const HEAD: usize = 8;

/// Why some bytes are no block.
#[derive(Debug)]
pub(super) struct NoBlock(&'static str);

impl fmt::Display for NoBlock {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.0)
    }
}

/// Collects the commits of the block that is not full yet.
pub(super) struct Packer {
    ends: Vec<u32>,
    bytes: Vec<u8>,
    /// How many of them are on disk already, in smaller blocks.
    stored: usize,
}

impl Packer {
    pub(super) fn new() -> Self {
        Self { ends: Vec::new(), bytes: Vec::new(), stored: 0 }
    }

    pub(super) fn push(&mut self, commit: &[u8]) {
        self.bytes.extend_from_slice(commit);
        self.ends.push(length(self.bytes.len()));
    }

    pub(super) fn is_full(&self) -> bool {
        self.bytes.len() >= BLOCK_BYTES || self.ends.len() >= BLOCK_COMMITS
    }

    /// How many commits it holds.
    pub(super) fn count(&self) -> usize {
        self.ends.len()
    }

    /// How many of them are not on disk.
    pub(super) fn loose(&self) -> usize {
        self.ends.len() - self.stored
    }

    /// All commits as one block.
    pub(super) fn pack(&self) -> Vec<u8> {
        self.pack_from(0)
    }

    /// Those that are not on disk yet as one block.
    pub(super) fn pack_loose(&self) -> Vec<u8> {
        self.pack_from(self.stored)
    }

    pub(super) fn mark_stored(&mut self) {
        self.stored = self.ends.len();
    }

    pub(super) fn clear(&mut self) {
        self.ends.clear();
        self.bytes.clear();
        self.stored = 0;
    }

    fn pack_from(&self, index: usize) -> Vec<u8> {
        let begin = index.checked_sub(1).map_or(0, |before| self.ends[before]);
        let ends = &self.ends[index..];
        let commits = &self.bytes[begin as usize..];
        let mut unpacked = Vec::with_capacity(4 * ends.len() + commits.len());
        ends.iter().for_each(|end| unpacked.extend_from_slice(&(end - begin).to_le_bytes()));
        unpacked.extend_from_slice(commits);
        let mut block = Vec::with_capacity(HEAD + unpacked.len() / 2);
        block.extend_from_slice(&length(ends.len()).to_le_bytes());
        block.extend_from_slice(&length(unpacked.len()).to_le_bytes());
        let packed = zstd::bulk::compress(&unpacked, LEVEL).expect("packing into memory cannot fail");
        block.extend_from_slice(&packed);
        block
    }
}

fn length(value: usize) -> u32 {
    u32::try_from(value).expect("a block is far smaller than 4 GB")
}

/// A block unpacked.
#[derive(Clone, Debug)]
pub(super) struct Block {
    first: u64,
    count: usize,
    unpacked: Bytes,
}

impl Block {
    /// How many commits a packed block holds.
    pub(super) fn count_of(packed: &[u8]) -> Result<u64, NoBlock> {
        number(packed, 0).map(u64::from)
    }

    pub(super) fn unpack(first: u64, packed: &[u8]) -> Result<Self, NoBlock> {
        let (count, size) = (number(packed, 0)? as usize, number(packed, 4)? as usize);
        if count == 0 || count > BLOCK_COMMITS || size > UNPACKED_BYTES || size < 4 * count {
            return Err(NoBlock("a block says of itself what cannot be"));
        }
        let unpacked = zstd::bulk::decompress(&packed[HEAD..], size)
            .map_err(|_| NoBlock("a block cannot be unpacked"))?;
        let block = Self { first, count, unpacked: unpacked.into() };
        if block.unpacked.len() != size || 4 * count + block.end(count - 1) != size {
            return Err(NoBlock("a block has not the length that it should have"));
        }
        Ok(block)
    }

    /// The commit with a sequence; none when it is not in this block.
    pub(super) fn commit(&self, sequence: u64) -> Option<Bytes> {
        let index =
            usize::try_from(sequence.checked_sub(self.first)?).ok().filter(|index| *index < self.count)?;
        let begin = index.checked_sub(1).map_or(0, |before| self.end(before));
        let table = 4 * self.count;
        let (begin, end) = (table + begin, table + self.end(index));
        (begin <= end && end <= self.unpacked.len()).then(|| self.unpacked.slice(begin..end))
    }

    fn end(&self, index: usize) -> usize {
        number(&self.unpacked, 4 * index).map_or(0, |end| end as usize)
    }
}

fn number(bytes: &[u8], at: usize) -> Result<u32, NoBlock> {
    let field = bytes.get(at..at + 4).and_then(|field| field.try_into().ok());
    field.map(u32::from_le_bytes).ok_or(NoBlock("a block is cut short"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_gives_back_what_was_packed() {
        let mut packer = Packer::new();
        let commits: Vec<Vec<u8>> = (0..50_usize).map(|n| vec![n as u8; n * 7]).collect();
        commits.iter().for_each(|commit| packer.push(commit));
        let packed = packer.pack();
        assert_eq!(Block::count_of(&packed).unwrap(), 50);
        let block = Block::unpack(11, &packed).unwrap();
        for (sequence, commit) in (11..).zip(&commits) {
            assert_eq!(block.commit(sequence).unwrap(), commit);
        }
        assert!(block.commit(10).is_none() && block.commit(61).is_none());
    }

    #[test]
    fn only_the_commits_that_are_not_stored_are_loose() {
        let mut packer = Packer::new();
        packer.push(b"one");
        packer.mark_stored();
        packer.push(b"two");
        packer.push(b"three");
        assert_eq!((packer.count(), packer.loose()), (3, 2));
        let block = Block::unpack(2, &packer.pack_loose()).unwrap();
        assert_eq!(block.commit(2).unwrap(), "two");
        assert_eq!(block.commit(3).unwrap(), "three");
    }

    #[test]
    fn no_damaged_block_is_taken_for_more_than_it_is() {
        let mut packer = Packer::new();
        (0..9).for_each(|_| packer.push(b"a commit of some length"));
        let packed = packer.pack();
        for bit in 0..packed.len() * 8 {
            let mut bad = packed.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            if let Ok(block) = Block::unpack(1, &bad) {
                (0..=1025).for_each(|sequence| drop(block.commit(sequence)));
            }
        }
        (0..packed.len()).for_each(|end| assert!(Block::unpack(1, &packed[..end]).is_err()));
    }
}
