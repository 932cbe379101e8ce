//! Reading a backup: its manifest first, then whatever is asked for, each entry checked before it is believed.

use super::manifest::{Artifact, Entry, Manifest, Segment};
use super::{BackupError, FORMAT, MANIFEST_BYTES, STATE_BYTES, UNPACKED_BYTES, io_error};
use crate::history::{Commits, History, HistoryError, Snapshot, StoredCommit};
use bytes::{Buf, Bytes};
use events::{Digest, EventNumber, Timestamp};
use std::collections::HashMap;
use std::io::{self, Read, Seek, SeekFrom};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// An open backup.
pub struct Backup<R> {
    manifest: Manifest,
    /// Where the content of each entry begins.
    places: HashMap<String, u64>,
    file: Mutex<Opened<R>>,
}

struct Opened<R> {
    file: R,
    /// The segment that was unpacked last.
    unpacked: Option<(usize, Arc<[StoredCommit]>)>,
}

impl<R: Read + Seek> Backup<R> {
    /// Opens a backup: finds the entries and proves the manifest.
    ///
    /// # Errors
    /// When it is none, was cut short, is damaged, or has a format that this build does not know.
    pub fn open(mut file: R) -> Result<Self, BackupError> {
        let entries = list(&mut file)?;
        let find = |name: &str| {
            let found = entries.get(name).copied();
            found.ok_or_else(|| BackupError::NotABackup { reason: format!("it holds no {name}") })
        };
        let (json, sum) = (find("manifest.json")?, find("manifest.b3")?);
        if json.1 > MANIFEST_BYTES || sum.1 > MANIFEST_BYTES {
            return Err(BackupError::NotABackup { reason: "its manifest is too large".into() });
        }
        let (json, sum) = (read_at(&mut file, json.0, json.1)?, read_at(&mut file, sum.0, sum.1)?);
        let wanted = format!("{}  manifest.json\n", Digest::of(&json));
        if wanted.as_bytes() != sum {
            return Err(damaged("manifest.json", "its hash is not that of manifest.b3"));
        }
        let manifest = parse(&json)?;
        let places = entries.into_iter().map(|(name, (at, _))| (name, at)).collect();
        Ok(Self { manifest, places, file: Mutex::new(Opened { file, unpacked: None }) })
    }

    /// What it holds.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Copies an artifact out, checked: only when it returns well is what was written the artifact.
    ///
    /// # Errors
    /// When it is damaged, or cannot be read or written.
    pub fn artifact(&self, artifact: &Artifact, out: &mut impl io::Write) -> Result<(), BackupError> {
        let name = artifact.name();
        let at = self.place(&name)?;
        let mut opened = self.opened();
        opened.file.seek(SeekFrom::Start(at)).map_err(io_error("read"))?;
        let mut hasher = blake3::Hasher::new();
        let mut content = (&mut opened.file).take(artifact.bytes);
        let mut buffer = vec![0; 128 * 1024];
        loop {
            let read = content.read(&mut buffer).map_err(io_error("read"))?;
            if read == 0 {
                break;
            }
            hasher.update(&buffer[..read]);
            out.write_all(&buffer[..read]).map_err(io_error("copied"))?;
        }
        let found = Digest::from_bytes(*hasher.finalize().as_bytes());
        if found == artifact.digest { Ok(()) } else { Err(damaged(&name, "its content has another digest")) }
    }

    /// Proves all of it: every entry, the chain of the commits, and that replaying them gives the state.
    ///
    /// # Errors
    /// What is wrong.
    pub fn prove(&self) -> Result<(), BackupError> {
        for artifact in &self.manifest.artifacts {
            self.artifact(artifact, &mut io::sink())?;
        }
        for stored in &self.manifest.states {
            self.entry(&stored.entry, u64::MAX)?;
        }
        let (mut state, mut hash) = (realm::State::default(), Digest::ZERO);
        for stored in self.commits(0)? {
            let stored = stored?;
            let (sequence, commit) = (stored.sequence, stored.read()?);
            if commit.previous != hash {
                let reason = format!("it was made for {}, but that is {hash}", commit.previous);
                return Err(BackupError::Unchained { sequence, reason });
            }
            realm::apply_commit(&mut state, &commit)
                .map_err(|source| BackupError::Broken { sequence, source })?;
            hash = Digest::of(&stored.bytes);
        }
        let (wanted, found) = (self.manifest.state_hash, state.hash());
        if wanted == found { Ok(()) } else { Err(BackupError::OtherState { wanted, found }) }
    }

    fn opened(&self) -> MutexGuard<'_, Opened<R>> {
        self.file.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn place(&self, name: &str) -> Result<u64, BackupError> {
        self.places.get(name).copied().ok_or_else(|| damaged(name, "it is not there"))
    }

    /// The content of an entry, unpacked to at most so many bytes after it was checked.
    fn entry(&self, entry: &Entry, most: u64) -> Result<Vec<u8>, BackupError> {
        let at = self.place(&entry.name)?;
        let packed = read_at(&mut self.opened().file, at, entry.bytes)?;
        if Digest::of(&packed) != entry.hash {
            return Err(damaged(&entry.name, "its hash is not that of the manifest"));
        }
        let mut bytes = Vec::new();
        let unpack = zstd::Decoder::new(packed.as_slice());
        let read = unpack.and_then(|decoder| decoder.take(most).read_to_end(&mut bytes));
        read.map_err(|error| damaged(&entry.name, &error.to_string()))?;
        Ok(bytes)
    }

    /// The commits of a segment.
    fn segment(&self, index: usize) -> Result<Arc<[StoredCommit]>, BackupError> {
        if let Some((known, commits)) = &self.opened().unpacked
            && *known == index
        {
            return Ok(commits.clone());
        }
        let segment = &self.manifest.segments[index];
        let bytes = self.entry(&segment.entry, UNPACKED_BYTES)?;
        let commits: Arc<[StoredCommit]> = split(segment, bytes.into())?.into();
        self.opened().unpacked = Some((index, commits.clone()));
        Ok(commits)
    }
}

fn parse(json: &[u8]) -> Result<Manifest, BackupError> {
    #[derive(serde::Deserialize)]
    struct Head {
        format: u32,
    }
    let unreadable = |error: serde_json::Error| damaged("manifest.json", &error.to_string());
    let head: Head = serde_json::from_slice(json).map_err(unreadable)?;
    if head.format != FORMAT {
        return Err(BackupError::Format { found: head.format });
    }
    serde_json::from_slice(json).map_err(unreadable)
}

fn damaged(name: &str, reason: &str) -> BackupError {
    BackupError::Damaged { name: name.to_owned(), reason: reason.to_owned() }
}

/// The entries of the archive: where each begins and its size.
fn list(file: &mut (impl Read + Seek)) -> Result<HashMap<String, (u64, u64)>, BackupError> {
    let no_archive = |error: io::Error| BackupError::NotABackup { reason: error.to_string() };
    file.seek(SeekFrom::Start(0)).map_err(io_error("read"))?;
    let mut archive = tar::Archive::new(file);
    let mut found = HashMap::new();
    for entry in archive.entries_with_seek().map_err(no_archive)? {
        let entry = entry.map_err(no_archive)?;
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        found.insert(name, (entry.raw_file_position(), entry.size()));
    }
    Ok(found)
}

fn read_at(file: &mut (impl Read + Seek), at: u64, bytes: u64) -> Result<Vec<u8>, BackupError> {
    file.seek(SeekFrom::Start(at)).map_err(io_error("read"))?;
    let mut content = Vec::new();
    file.take(bytes).read_to_end(&mut content).map_err(io_error("read"))?;
    Ok(content)
}

/// The commits in the bytes of a segment.
fn split(segment: &Segment, mut bytes: Bytes) -> Result<Vec<StoredCommit>, BackupError> {
    let cut_short = || damaged(&segment.entry.name, "a commit in it is cut short");
    let mut commits = Vec::new();
    for sequence in segment.first_sequence..=segment.last_sequence {
        let length = bytes.try_get_u32().map_err(|_| cut_short())? as usize;
        if bytes.len() < length {
            return Err(cut_short());
        }
        commits.push(StoredCommit { sequence, bytes: bytes.split_to(length) });
    }
    if bytes.is_empty() {
        Ok(commits)
    } else {
        Err(damaged(&segment.entry.name, "more commits than it names"))
    }
}

impl<R: Read + Seek> History for Backup<R> {
    fn newest(&self) -> EventNumber {
        self.manifest.place.event
    }

    fn commits(&self, after: u64) -> Result<Commits<'_>, HistoryError> {
        let segments = &self.manifest.segments;
        let first = segments.partition_point(|segment| segment.last_sequence <= after);
        let each = move |index| -> Commits<'_> {
            match self.segment(index) {
                Ok(commits) => {
                    let skip = commits.partition_point(|commit| commit.sequence <= after);
                    Box::new((skip..commits.len()).map(move |at| Ok(commits[at].clone())))
                }
                Err(error) => Box::new(std::iter::once(Err(HistoryError::read(error)))),
            }
        };
        Ok(Box::new((first..segments.len()).flat_map(each)))
    }

    fn sequence_of_event(&self, event: EventNumber) -> Result<u64, HistoryError> {
        let index = self.manifest.segments.partition_point(|segment| segment.last_event < event);
        let missing = || HistoryError::Missing { sequence: self.manifest.place.sequence + 1 };
        self.manifest.segments.get(index).ok_or_else(missing)?;
        let commits = self.segment(index).map_err(HistoryError::read)?;
        let later = commits.partition_point(|commit| commit.first().is_some_and(|first| first <= event));
        commits.get(later.wrapping_sub(1)).map(|commit| commit.sequence).ok_or_else(missing)
    }

    fn sequence_of_time(&self, at: Timestamp) -> Result<u64, HistoryError> {
        let index = self.manifest.segments.partition_point(|segment| segment.until <= at);
        if index >= self.manifest.segments.len() {
            return Ok(self.manifest.place.sequence);
        }
        let commits = self.segment(index).map_err(HistoryError::read)?;
        let end = |commit: &StoredCommit| commit.read().ok()?.events.last().map(|event| event.at);
        let later = commits.partition_point(|commit| end(commit).is_some_and(|end| end <= at));
        Ok(self.manifest.segments[index].first_sequence + later as u64 - 1)
    }

    fn snapshot_before(&self, sequence: u64) -> Result<Option<Snapshot>, HistoryError> {
        let later = self.manifest.states.partition_point(|stored| stored.place.sequence <= sequence);
        let Some(stored) = later.checked_sub(1).map(|index| &self.manifest.states[index]) else {
            return Ok(None);
        };
        let bytes = self.entry(&stored.entry, STATE_BYTES).map_err(HistoryError::read)?;
        // A state that another build kept in another shape is no loss: the commits say the same.
        let state = events::wire::decode(&bytes).ok();
        Ok(state.map(|state| Snapshot { place: stored.place, state }))
    }
}
