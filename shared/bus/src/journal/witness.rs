//! The witness: sequence, hash, events and time of every commit in plain files that only grow.
//!
//! A record is 72 bytes, little endian: a mark (4 bytes), sequence (8), BLAKE3 of the commit (32), its first event (8), its
//! last event (8), when that was decided in milliseconds since 1970 (8), CRC-32 of all before (4). Records stand in the
//! order of their sequences, from 1, without a gap; a file holds up to [`SEGMENT`] of them and is named after the first.
//!
//! After a sync that failed nobody knows what of the newest file is on the disk: it is renamed at once, nothing more is
//! written, and at the next start its good records are written into a new file.

use super::{JournalError, Place, failed};
use crate::store;
use bytes::Bytes;
use events::{Commit, Digest, EventNumber, Timestamp, wire};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// Bytes of a record.
const RECORD: usize = 72;
const MARK: &[u8; 4] = b"KW1\n";
/// Most records of one file.
const SEGMENT: u64 = 65_536;
/// What a file is called.
const WITNESS: &str = "witness";
/// What the newest file is called once its disk has failed it.
const UNSYNCED: &str = "unsynced";
/// Records that are collected before they are handed to the operating system.
const COLLECTED: usize = 512;

/// What a witness holds, read without touching it: also while a King uses it.
#[derive(Clone, Debug)]
pub struct Testimony {
    places: Vec<Place>,
}

impl Testimony {
    /// Reads the witness of the journal in a folder, up to its first record that is damaged or half-written.
    ///
    /// # Errors
    /// When there is none, or it cannot be read.
    pub fn read(journal: &Path) -> Result<Self, JournalError> {
        let mut places = Vec::new();
        for path in found(&journal.join("witness"), WITNESS)? {
            let bytes = fs::read(&path).map_err(failed("read", &path))?;
            let next = |index: usize| places.len() as u64 + 1 + index as u64;
            let good: Vec<Place> = bytes
                .chunks_exact(RECORD)
                .map_while(decode)
                .enumerate()
                .take_while(|(index, place)| place.sequence == next(*index))
                .map(|(_, place)| place)
                .collect();
            places.extend(good);
        }
        Ok(Self { places })
    }
}

impl crate::compare::Seen for Testimony {
    fn last(&self) -> u64 {
        self.places.last().map_or(0, |place| place.sequence)
    }

    fn at(&self, sequence: u64) -> Result<Option<Place>, JournalError> {
        let index = sequence.checked_sub(1).and_then(|index| usize::try_from(index).ok());
        Ok(index.and_then(|index| self.places.get(index)).copied())
    }
}

/// The last sequence that the witness of the journal in a folder names, by the length of its newest file alone: also while a
/// process uses it. None where there is no witness, or an empty one.
///
/// # Errors
/// When it cannot be looked at.
pub fn witnessed_in(journal: &Path) -> Result<Option<u64>, JournalError> {
    let folder = journal.join("witness");
    if !folder.exists() {
        return Ok(None);
    }
    let Some(newest) = found(&folder, WITNESS)?.pop() else { return Ok(None) };
    let first = newest.file_stem().and_then(|stem| stem.to_str()).and_then(|stem| stem.parse::<u64>().ok());
    let length = fs::metadata(&newest).map_err(failed("read", &newest))?.len() / RECORD as u64;
    Ok(first.map(|first| first + length).and_then(|next| next.checked_sub(1)).filter(|last| *last > 0))
}

/// The files of the witness.
pub(super) struct Witness {
    folder: PathBuf,
    segments: Vec<Segment>,
    /// Records that are not in their file yet.
    unwritten: Vec<u8>,
    /// The newest file, open for appending.
    file: Option<File>,
}

struct Segment {
    /// Its first record.
    first: Place,
    /// How many records it has, those unwritten included.
    count: u64,
}

impl Witness {
    /// Opens the witness; every record is read once. What follows a damaged or half-written record is set aside.
    pub(super) fn open(folder: &Path, aside: &mut Vec<PathBuf>) -> Result<Self, JournalError> {
        fs::create_dir_all(folder).map_err(failed("made", folder))?;
        for path in found(folder, UNSYNCED)? {
            rescue(&path, aside)?;
        }
        let mut witness =
            Self { folder: folder.to_owned(), segments: Vec::new(), unwritten: Vec::new(), file: None };
        let mut is_whole = true;
        for path in found(folder, WITNESS)? {
            if is_whole {
                is_whole = witness.load(&path, aside)?;
            } else {
                aside.push(store::set_aside(&path, "it follows a damaged file of the witness")?);
            }
        }
        Ok(witness)
    }

    /// Takes a file up to its first bad record; whether it was whole and full, so that another may follow.
    fn load(&mut self, path: &Path, aside: &mut Vec<PathBuf>) -> Result<bool, JournalError> {
        let bytes = fs::read(path).map_err(failed("read", path))?;
        let mut next = self.last() + 1;
        let mut good = 0;
        let mut first = None;
        for record in bytes.chunks_exact(RECORD).take(SEGMENT as usize) {
            let Some(place) = decode(record).filter(|place| place.sequence == next) else { break };
            first.get_or_insert(place);
            (next, good) = (next + 1, good + 1);
        }
        let kept = good * RECORD;
        if kept < bytes.len() {
            aside.push(store::set_aside(path, "a record of the witness is cut or damaged")?);
            write_synced(path, &bytes[..kept])?;
        }
        if let Some(first) = first {
            self.segments.push(Segment { first, count: good as u64 });
        } else {
            fs::remove_file(path).map_err(failed("removed", path))?;
        }
        Ok(good as u64 == SEGMENT && kept == bytes.len())
    }

    /// Sets all of it aside.
    pub(super) fn clear(&mut self, reason: &str) -> Result<PathBuf, JournalError> {
        let aside = store::set_aside(&self.folder, reason)?;
        fs::create_dir_all(&self.folder).map_err(failed("made", &self.folder))?;
        (self.segments, self.unwritten, self.file) = (Vec::new(), Vec::new(), None);
        Ok(aside)
    }

    /// The last sequence it knows; 0 for none.
    pub(super) fn last(&self) -> u64 {
        self.segments.last().map_or(0, |segment| segment.first.sequence + segment.count - 1)
    }

    /// The place of a commit, by its bytes and what stands before it.
    pub(super) fn place(&mut self, sequence: u64, bytes: &Bytes) -> Result<Place, JournalError> {
        let hash = Digest::of(bytes);
        if let Some(known) = self.find(sequence)?.filter(|known| known.hash == hash) {
            return Ok(known);
        }
        let commit: Commit = wire::decode(bytes).map_err(|error| JournalError::Damaged {
            path: self.folder.clone(),
            reason: format!("commit {sequence} is no commit: {}", error.reason()),
        })?;
        let before = self.find(sequence.saturating_sub(1))?.unwrap_or(Place::START);
        Ok(super::Entry::of(sequence, &commit, hash, bytes.clone()).place(before))
    }

    /// Adds a record; one that is there already is passed over.
    pub(super) fn append(&mut self, place: Place) -> Result<(), JournalError> {
        let last = self.last();
        if place.sequence <= last {
            return Ok(());
        }
        if place.sequence != last + 1 {
            return Err(JournalError::Gap { after: last, found: place.sequence });
        }
        let is_full = self.segments.last().is_none_or(|segment| segment.count >= SEGMENT);
        if is_full {
            self.sync()?;
            self.file = None;
            self.segments.push(Segment { first: place, count: 0 });
        }
        let segment = self.segments.last_mut().expect("one was just pushed where there was none");
        segment.count += 1;
        self.unwritten.extend_from_slice(&encode(place));
        if self.unwritten.len() >= COLLECTED * RECORD { self.write() } else { Ok(()) }
    }

    fn write(&mut self) -> Result<(), JournalError> {
        let Some(segment) = self.segments.last() else { return Ok(()) };
        let path = self.path(segment.first.sequence);
        let file = match &mut self.file {
            Some(file) => file,
            none => {
                let opened = OpenOptions::new().create(true).append(true).open(&path);
                none.insert(opened.map_err(failed("opened", &path))?)
            }
        };
        file.write_all(&self.unwritten).map_err(failed("written", &path))?;
        self.unwritten.clear();
        Ok(())
    }

    /// Makes all records durable.
    pub(super) fn sync(&mut self) -> Result<(), JournalError> {
        if self.unwritten.is_empty() && self.file.is_none() {
            return Ok(());
        }
        self.write()?;
        let Some(file) = &self.file else { return Ok(()) };
        let synced = file.sync_data();
        synced.map_err(|source| self.distrust(source))
    }

    /// The newest file may miss what was written to it, although it can be read: the next start must not go on with it.
    fn distrust(&self, source: io::Error) -> JournalError {
        let path = self.path(self.segments.last().map_or(1, |segment| segment.first.sequence));
        tracing::error!(path = %path.display(), error = %source, "the disk has failed the witness; it takes nothing more");
        if let Err(error) = fs::rename(&path, path.with_extension(UNSYNCED)) {
            tracing::error!(path = %path.display(), %error, "a witness that cannot be trusted cannot be renamed");
        }
        JournalError::Unsynced { path, source }
    }

    /// The record of a commit.
    pub(super) fn find(&mut self, sequence: u64) -> Result<Option<Place>, JournalError> {
        if sequence == 0 || sequence > self.last() {
            return Ok(None);
        }
        self.flush_collected()?;
        let index = self.segments.partition_point(|segment| segment.first.sequence <= sequence) - 1;
        let segment = &self.segments[index];
        let file = self.open_segment(segment)?;
        self.record(&file, segment, sequence - segment.first.sequence).map(Some)
    }

    /// The sequence of the commit that holds an event.
    pub(super) fn of_event(&mut self, event: EventNumber) -> Result<Option<u64>, JournalError> {
        let place = self.last_with(|place| place.first <= event)?;
        Ok(place.filter(|place| place.first <= event && event <= place.event).map(|place| place.sequence))
    }

    /// The sequence of the last commit that is not younger than a time; 0 for none.
    pub(super) fn of_time(&mut self, at: Timestamp) -> Result<u64, JournalError> {
        Ok(self.last_with(|place| place.at <= at)?.map_or(0, |place| place.sequence))
    }

    /// The last record for which something holds that holds for all before it.
    fn last_with(&mut self, holds: impl Fn(&Place) -> bool) -> Result<Option<Place>, JournalError> {
        self.flush_collected()?;
        let after = self.segments.partition_point(|segment| holds(&segment.first));
        let Some(segment) = after.checked_sub(1).map(|index| &self.segments[index]) else { return Ok(None) };
        let file = self.open_segment(segment)?;
        let (mut low, mut high) = (0, segment.count - 1);
        while low < high {
            let middle = (low + high).div_ceil(2);
            if holds(&self.record(&file, segment, middle)?) { low = middle } else { high = middle - 1 }
        }
        self.record(&file, segment, low).map(Some)
    }

    fn flush_collected(&mut self) -> Result<(), JournalError> {
        if self.unwritten.is_empty() { Ok(()) } else { self.write() }
    }

    fn open_segment(&self, segment: &Segment) -> Result<File, JournalError> {
        let path = self.path(segment.first.sequence);
        File::open(&path).map_err(failed("opened", &path))
    }

    fn record(&self, file: &File, segment: &Segment, index: u64) -> Result<Place, JournalError> {
        let path = || self.path(segment.first.sequence);
        let mut bytes = [0; RECORD];
        file.read_exact_at(&mut bytes, index * RECORD as u64).map_err(failed("read", &path()))?;
        decode(&bytes).ok_or_else(|| JournalError::Damaged {
            path: path(),
            reason: format!("record {index} of the witness fails its checksum"),
        })
    }

    fn path(&self, first: u64) -> PathBuf {
        self.folder.join(format!("{first:020}.{WITNESS}"))
    }
}

/// Writes the good records of a file that its disk has failed into a new one.
fn rescue(path: &Path, aside: &mut Vec<PathBuf>) -> Result<(), JournalError> {
    let place = path.with_extension(WITNESS);
    if !place.exists() {
        let bytes = fs::read(path).map_err(failed("read", path))?;
        let good = bytes.chunks_exact(RECORD).map_while(decode).count();
        write_synced(&place, &bytes[..good * RECORD])?;
    }
    aside.push(store::set_aside(path, "its disk has failed it; what could be read was written anew")?);
    Ok(())
}

/// Writes a file as a whole or not at all.
fn write_synced(path: &Path, bytes: &[u8]) -> Result<(), JournalError> {
    let beside = path.with_extension("new");
    let written = || {
        let mut file = File::create(&beside)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&beside, path)?;
        path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
    };
    written().map_err(failed("written", path))
}

fn found(folder: &Path, extension: &str) -> Result<Vec<PathBuf>, JournalError> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed("read", folder))? {
        let path = entry.map_err(failed("read", folder))?.path();
        if path.extension().is_some_and(|found| found == extension) {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

fn encode(place: Place) -> [u8; RECORD] {
    let mut bytes = [0; RECORD];
    bytes[..4].copy_from_slice(MARK);
    bytes[4..68].copy_from_slice(&place.encode());
    let checksum = crc32fast::hash(&bytes[..68]);
    bytes[68..].copy_from_slice(&checksum.to_le_bytes());
    bytes
}

fn decode(record: &[u8]) -> Option<Place> {
    let place: &[u8; Place::BYTES] = record.get(4..68)?.try_into().ok()?;
    let is_whole = record[..4] == *MARK && record.get(68..)? == crc32fast::hash(&record[..68]).to_le_bytes();
    is_whole.then(|| Place::decode(place))
}
