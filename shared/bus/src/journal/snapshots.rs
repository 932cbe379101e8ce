//! Snapshots, each in pieces that sled keeps in its pages. A snapshot is there when its head is, which is written last.

use super::thin;
use super::{JournalError, Place, failed, set_unsynced_aside};
use crate::store::{self, SledStore, Store, StoreError, damaged};
use events::{Digest, Timestamp};
use std::collections::BTreeMap;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

/// Bytes of one piece.
const PIECE_BYTES: usize = 48 * 1024;
/// Most bytes of one snapshot.
const MOST_BYTES: usize = 256 * 1024 * 1024;
/// A store of so many bytes on disk is replaced by a new one with what is kept.
const STORE_BYTES: u64 = 512 * 1024 * 1024;
const PREFIX: &str = "snapshots-";
const HEAD_BYTES: usize = 72;

/// All snapshots.
pub(super) struct Snapshots {
    folder: PathBuf,
    number: u64,
    store: SledStore,
    /// By sequence.
    heads: BTreeMap<u64, Head>,
}

#[derive(Clone, Copy)]
struct Head {
    place: Place,
    bytes: u64,
}

impl Snapshots {
    pub(super) fn open(folder: &Path, aside: &mut Vec<PathBuf>) -> Result<Self, JournalError> {
        set_unsynced_aside(folder, PREFIX, aside)?;
        let numbers = found(folder)?;
        let number = numbers.last().copied().unwrap_or(1);
        for old in numbers.iter().filter(|old| **old != number) {
            remove_folder(&path(folder, *old))?;
        }
        match Self::read(folder, number) {
            Err(JournalError::Store(StoreError::Damaged { reason, .. })) => {
                aside.push(store::set_aside(&path(folder, number), &reason)?);
                Self::read(folder, number)
            }
            opened => opened,
        }
    }

    fn read(folder: &Path, number: u64) -> Result<Self, JournalError> {
        let path = path(folder, number);
        let store = store::open_patiently(&path)?;
        let mut snapshots = Self { folder: folder.to_owned(), number, store, heads: BTreeMap::new() };
        let mut from = u64::MAX;
        while let Some((found, _)) = snapshots.guarded(|store| store.at_or_before(&key(from, u32::MAX)))? {
            let sequence = sequence_of(&found).ok_or_else(|| damaged(&path, "a key is no key".to_owned()))?;
            snapshots.load(sequence)?;
            let Some(before) = sequence.checked_sub(1) else { break };
            from = before;
        }
        Ok(snapshots)
    }

    /// Pieces without a head are of a snapshot during which the process ended.
    fn load(&mut self, sequence: u64) -> Result<(), JournalError> {
        match self.guarded(|store| store.get(&key(sequence, 0)))? {
            Some(head) => {
                let head = Head::decode(&head);
                let head = head.ok_or_else(|| damaged(&self.folder, "a head is no head".to_owned()))?;
                self.heads.insert(sequence, head);
                Ok(())
            }
            None => self.remove_pieces(sequence),
        }
    }

    pub(super) fn places(&self) -> Vec<Place> {
        self.heads.values().map(|head| head.place).collect()
    }

    pub(super) fn before(&mut self, sequence: u64) -> Result<Option<(Place, Vec<u8>)>, JournalError> {
        while let Some(head) = self.heads.range(..=sequence).next_back().map(|(_, head)| *head) {
            match self.bytes_of(head) {
                Ok(bytes) => return Ok(Some((head.place, bytes))),
                Err(JournalError::Store(StoreError::Damaged { reason, .. })) => {
                    tracing::warn!(
                        sequence = head.place.sequence,
                        reason,
                        "a snapshot is damaged and is forgotten"
                    );
                    self.remove(head.place.sequence)?;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    fn bytes_of(&self, head: Head) -> Result<Vec<u8>, JournalError> {
        let mut bytes = Vec::with_capacity(usize::try_from(head.bytes).unwrap_or(0).min(MOST_BYTES));
        for piece in 1..=pieces(head.bytes) {
            let found = self.guarded(|store| store.get(&key(head.place.sequence, piece)))?;
            let found = found.ok_or_else(|| damaged(&self.folder, "a piece is missing".to_owned()))?;
            bytes.extend_from_slice(&found);
        }
        if bytes.len() as u64 != head.bytes {
            return Err(damaged(&self.folder, "a snapshot has not its length".to_owned()).into());
        }
        Ok(bytes)
    }

    pub(super) fn put(&mut self, place: Place, bytes: &[u8]) -> Result<(), JournalError> {
        if bytes.is_empty() || bytes.len() > MOST_BYTES {
            return Err(JournalError::SnapshotSize { bytes: bytes.len(), most: MOST_BYTES });
        }
        let head = Head { place, bytes: bytes.len() as u64 };
        self.write(head, bytes)?;
        self.heads.insert(place.sequence, head);
        self.thin()?;
        if self.guarded(Store::bytes_on_disk)? > STORE_BYTES {
            self.begin_anew()?;
        }
        Ok(())
    }

    fn write(&self, head: Head, bytes: &[u8]) -> Result<(), JournalError> {
        let sequence = head.place.sequence;
        for (piece, part) in (1..).zip(bytes.chunks(PIECE_BYTES)) {
            self.guarded(|store| store.write(&[(&key(sequence, piece), part)], &[]))?;
        }
        self.guarded(Store::flush)?;
        self.guarded(|store| store.write(&[(&key(sequence, 0), &head.encode())], &[]))?;
        self.guarded(Store::flush)
    }

    fn thin(&mut self) -> Result<(), JournalError> {
        loop {
            let sizes: Vec<(u64, u64)> =
                self.heads.values().map(|head| (head.place.event, head.bytes)).collect();
            let superfluous =
                thin::superfluous(&sizes).and_then(|index| self.heads.keys().nth(index).copied());
            let Some(sequence) = superfluous else { return Ok(()) };
            self.remove(sequence)?;
        }
    }

    pub(super) fn remove(&mut self, sequence: u64) -> Result<(), JournalError> {
        self.heads.remove(&sequence);
        self.guarded(|store| store.write(&[], &[&key(sequence, 0)]))?;
        self.remove_pieces(sequence)
    }

    fn remove_pieces(&self, sequence: u64) -> Result<(), JournalError> {
        loop {
            let last = self.guarded(|store| store.at_or_before(&key(sequence, u32::MAX)))?;
            let Some((last, _)) = last.filter(|(last, _)| sequence_of(last) == Some(sequence)) else {
                return Ok(());
            };
            self.guarded(|store| store.write(&[], &[&last]))?;
        }
    }

    /// What is kept moves into a new store, for sled gives back little of what it once took.
    fn begin_anew(&mut self) -> Result<(), JournalError> {
        let mut next = Self::read(&self.folder, self.number + 1)?;
        for head in self.heads.values() {
            let bytes = self.bytes_of(*head)?;
            next.write(*head, &bytes)?;
            next.heads.insert(head.place.sequence, *head);
        }
        let old = path(&self.folder, self.number);
        *self = next;
        remove_folder(&old)
    }

    fn guarded<T>(&self, work: impl FnOnce(&SledStore) -> Result<T, StoreError>) -> Result<T, JournalError> {
        let done = catch_unwind(AssertUnwindSafe(|| work(&self.store)));
        Ok(done.unwrap_or_else(|_| Err(damaged(&self.folder, "reading it panicked".to_owned())))?)
    }
}

impl Head {
    /// Little endian: the bytes of the snapshot, sequence, hash, first event, last event, time.
    fn encode(&self) -> [u8; HEAD_BYTES] {
        let mut bytes = [0; HEAD_BYTES];
        bytes[..8].copy_from_slice(&self.bytes.to_le_bytes());
        bytes[8..].copy_from_slice(&self.place.encode());
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; HEAD_BYTES] = bytes.try_into().ok()?;
        let length: [u8; 8] = bytes[..8].try_into().ok()?;
        let place = Place::decode(bytes[8..].try_into().ok()?);
        Some(Self { place, bytes: u64::from_le_bytes(length) })
    }
}

impl Place {
    /// Bytes of a place on disk.
    pub(super) const BYTES: usize = 64;

    /// Little endian: sequence, hash, first event, last event, time.
    pub(super) fn encode(&self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        bytes[..8].copy_from_slice(&self.sequence.to_le_bytes());
        bytes[8..40].copy_from_slice(self.hash.as_bytes());
        bytes[40..48].copy_from_slice(&self.first.to_le_bytes());
        bytes[48..56].copy_from_slice(&self.event.to_le_bytes());
        bytes[56..].copy_from_slice(&self.at.0.to_le_bytes());
        bytes
    }

    pub(super) fn decode(bytes: &[u8; Self::BYTES]) -> Self {
        let number =
            |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("a slice of eight bytes"));
        let hash: [u8; 32] = bytes[8..40].try_into().expect("a slice of 32 bytes");
        Self {
            sequence: number(0),
            hash: Digest::from_bytes(hash),
            first: number(40),
            event: number(48),
            at: Timestamp(number(56)),
        }
    }
}

fn pieces(bytes: u64) -> u32 {
    u32::try_from(bytes.div_ceil(PIECE_BYTES as u64)).unwrap_or(u32::MAX)
}

/// The key of a piece; piece 0 is the head.
fn key(sequence: u64, piece: u32) -> [u8; 12] {
    let mut key = [0; 12];
    key[..8].copy_from_slice(&sequence.to_be_bytes());
    key[8..].copy_from_slice(&piece.to_be_bytes());
    key
}

fn sequence_of(key: &[u8]) -> Option<u64> {
    let sequence: [u8; 8] = key.get(..8)?.try_into().ok()?;
    (key.len() == 12).then(|| u64::from_be_bytes(sequence))
}

fn path(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("{PREFIX}{number:06}"))
}

fn found(folder: &Path) -> Result<Vec<u64>, JournalError> {
    let mut numbers = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed("read", folder))? {
        let name = entry.map_err(failed("read", folder))?.file_name();
        let number = name.to_str().and_then(|name| name.strip_prefix(PREFIX)).map(str::parse);
        if let Some(Ok(number)) = number {
            numbers.push(number);
        }
    }
    numbers.sort_unstable();
    Ok(numbers)
}

fn remove_folder(path: &Path) -> Result<(), JournalError> {
    fs::remove_dir_all(path).map_err(failed("removed", path))
}
