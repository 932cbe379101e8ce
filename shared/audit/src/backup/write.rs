//! Writing a backup: commits in order, then the artifacts, then the manifest. The log is checked and folded on the way.

use super::manifest::{Artifact, Entry, Manifest, Segment, StoredState, artifact_name};
use super::{BackupError, FORMAT, LEVEL, SEGMENT_BYTES, STATE_EVERY, io_error, reachable};
use crate::history::{Place, StoredCommit};
use events::event::KingEvent;
use events::{Checkpoint, Commit, Digest, Event, Fact, Timestamp};
use realm::State;
use std::collections::BTreeSet;
use std::io::{self, Read, Write};

/// Writes a backup.
pub struct Writer<W: Write> {
    archive: tar::Builder<W>,
    manifest: Manifest,
    state: State,
    segment: Vec<u8>,
    /// The first sequence and event of the segment.
    begun: Option<(u64, u64)>,
    /// The event of the last state that was kept.
    kept: u64,
}

impl<W: Write> Writer<W> {
    /// A backup that is empty yet.
    pub fn new(out: W, made_at: Timestamp, made_by: &str) -> Self {
        let manifest = Manifest {
            format: FORMAT,
            made_at,
            made_by: made_by.to_owned(),
            place: Place::START,
            epoch: 0,
            state_hash: State::default().hash(),
            keys: BTreeSet::new(),
            checkpoints: Vec::new(),
            segments: Vec::new(),
            states: Vec::new(),
            artifacts: Vec::new(),
        };
        let archive = tar::Builder::new(out);
        Self { archive, manifest, state: State::default(), segment: Vec::new(), begun: None, kept: 0 }
    }

    /// Adds the next commit.
    ///
    /// # Errors
    /// When it does not follow the one before, or the file cannot be written.
    pub fn commit(&mut self, stored: &StoredCommit) -> Result<(), BackupError> {
        let commit = self.check(stored)?;
        let sequence = stored.sequence;
        realm::apply_commit(&mut self.state, &commit)
            .map_err(|source| BackupError::Broken { sequence, source })?;
        self.manifest.place =
            Place { sequence, event: self.state.last, hash: Digest::of(&stored.bytes), at: self.state.at };
        self.manifest.epoch = self.state.epoch;
        commit.events.iter().for_each(|event| self.note(event));
        self.begun.get_or_insert((sequence, commit.first));
        let length = u32::try_from(stored.bytes.len()).expect("a commit is far smaller than 4 GB");
        self.segment.extend_from_slice(&length.to_be_bytes());
        self.segment.extend_from_slice(&stored.bytes);
        if self.segment.len() >= SEGMENT_BYTES {
            self.close_segment()?;
        }
        if self.state.last >= self.kept + STATE_EVERY {
            self.close_segment()?;
            self.keep_state()?;
        }
        Ok(())
    }

    fn check(&self, stored: &StoredCommit) -> Result<Commit, BackupError> {
        let sequence = stored.sequence;
        let commit = stored.read()?;
        let place = self.manifest.place;
        if sequence != place.sequence + 1 {
            let reason = format!("commit {} is missing", place.sequence + 1);
            return Err(BackupError::Unchained { sequence, reason });
        }
        if commit.previous != place.hash {
            let reason = format!("it was made for {}, but that is {}", commit.previous, place.hash);
            return Err(BackupError::Unchained { sequence, reason });
        }
        Ok(commit)
    }

    fn note(&mut self, event: &Event) {
        if let Fact::King(KingEvent::Checkpointed(fact)) = &event.fact {
            self.manifest.checkpoints.push(*fact.checkpoint);
        }
        if let Fact::King(KingEvent::Elected(fact)) = &event.fact {
            self.manifest.keys.extend(fact.key);
        }
    }

    fn close_segment(&mut self) -> Result<(), BackupError> {
        let Some((first_sequence, first_event)) = self.begun.take() else { return Ok(()) };
        let packed = pack(&std::mem::take(&mut self.segment))?;
        let entry = self.add(&format!("commits/{first_sequence:012}.zst"), &packed)?;
        let Place { sequence: last_sequence, event: last_event, at: until, .. } = self.manifest.place;
        self.manifest.segments.push(Segment {
            entry,
            first_sequence,
            last_sequence,
            first_event,
            last_event,
            until,
        });
        Ok(())
    }

    fn keep_state(&mut self) -> Result<(), BackupError> {
        let packed = pack(&events::wire::encode(&self.state))?;
        let place = self.manifest.place;
        let entry = self.add(&format!("states/{:012}.zst", place.sequence), &packed)?;
        self.manifest.states.push(StoredState { entry, place });
        self.kept = place.event;
        Ok(())
    }

    /// All commits are there: returns the artifacts that the state needs, to be added next.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn commits_end(&mut self) -> Result<BTreeSet<Digest>, BackupError> {
        self.close_segment()?;
        if self.state.last > self.kept {
            self.keep_state()?;
        }
        self.manifest.state_hash = self.state.hash();
        Ok(reachable(&self.state))
    }

    /// Adds an artifact of this size.
    ///
    /// # Errors
    /// When it is not what its digest says, or the file cannot be written.
    pub fn artifact(&mut self, digest: Digest, bytes: u64, content: impl Read) -> Result<(), BackupError> {
        let name = artifact_name(&digest);
        let mut content = Hashing { content, hasher: blake3::Hasher::new() };
        self.archive
            .append_data(&mut header(bytes, self.manifest.made_at), &name, &mut content)
            .map_err(io_error("written"))?;
        let found = Digest::from_bytes(*content.hasher.finalize().as_bytes());
        if found != digest {
            return Err(BackupError::Damaged { name, reason: format!("its content has the digest {found}") });
        }
        self.manifest.artifacts.push(Artifact { digest, bytes });
        Ok(())
    }

    /// Ends the backup, with a checkpoint made for it, if there is one.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn finish(mut self, checkpoint: Option<Checkpoint>) -> Result<(Manifest, W), BackupError> {
        self.manifest.checkpoints.extend(checkpoint);
        let mut json = serde_json::to_vec_pretty(&self.manifest).expect("a manifest encodes as JSON");
        json.push(b'\n');
        self.add("manifest.json", &json)?;
        let line = format!("{}  manifest.json\n", Digest::of(&json));
        self.add("manifest.b3", line.as_bytes())?;
        let out = self.archive.into_inner().map_err(io_error("written"))?;
        Ok((self.manifest, out))
    }

    fn add(&mut self, name: &str, content: &[u8]) -> Result<Entry, BackupError> {
        let bytes = content.len() as u64;
        self.archive
            .append_data(&mut header(bytes, self.manifest.made_at), name, content)
            .map_err(io_error("written"))?;
        Ok(Entry { name: name.to_owned(), bytes, hash: Digest::of(content) })
    }
}

fn header(bytes: u64, made_at: Timestamp) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_size(bytes);
    header.set_mode(0o600);
    header.set_mtime(made_at.0 / 1000);
    header
}

fn pack(bytes: &[u8]) -> Result<Vec<u8>, BackupError> {
    zstd::bulk::compress(bytes, LEVEL).map_err(io_error("packed"))
}

/// Hashes what is read.
struct Hashing<R> {
    content: R,
    hasher: blake3::Hasher,
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.content.read(buffer)?;
        self.hasher.update(&buffer[..read]);
        Ok(read)
    }
}
