//! The record of an instance's runs: a file of JSON lines, a start or an exit each, written before it is told. That
//! survives whatever is killed. An exit that no Servant hears, and stores, is synced too; a start need not be, for
//! nothing that it names survives a power cut.

use super::words::{Exit, PROTOCOL, Run, Slot, State, Told};
use crate::host;
use events::Timestamp;
use serde::{Deserialize, Serialize};
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// The file in the folder of an instance.
pub const RUNS: &str = "runs";
/// Beyond this the file is written anew with the last runs alone.
const FILE_BYTES: u64 = 64 * 1024;

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Line {
    Exit(Exit),
    Run(Run),
}

/// The last runs and how they ended, as the file in this folder says. Anybody may read it.
///
/// # Errors
/// When the file is there and cannot be read.
pub fn read(folder: &Path) -> io::Result<State> {
    let text = match std::fs::read(folder.join(RUNS)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Ok(State { protocol: PROTOCOL, ..State::default() });
        }
        other => other?,
    };
    let mut state = State { protocol: PROTOCOL, ..State::default() };
    // A torn line is one that was being written when power went: it was never told.
    for line in text.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok()) {
        match line {
            Line::Run(run) => state.begin(run),
            Line::Exit(exit) => state.end(exit),
        }
    }
    Ok(state)
}

/// How and when a process ended.
#[derive(Clone, Copy, Debug)]
pub struct Ended {
    pub at: Timestamp,
    pub code: Option<i32>,
    pub signal: Option<i32>,
    pub told: Told,
    pub out_of_memory: bool,
}

/// The writing end, in the holder.
pub struct Runs {
    state: State,
    boot: String,
    path: PathBuf,
    file: File,
    /// Whether a sync of the file has failed.
    is_doubtful: bool,
}

impl Runs {
    /// Reads what is there and goes on after it, in this boot of the host.
    ///
    /// # Errors
    /// When the file cannot be read or written.
    pub fn open(folder: &Path, boot: String) -> io::Result<Self> {
        let state = read(folder)?;
        let path = folder.join(RUNS);
        let file = open(&path, &state)?;
        Ok(Self { state, boot, path, file, is_doubtful: false })
    }

    /// What is known now.
    pub fn state(&self) -> State {
        self.state.clone()
    }

    /// Records a start.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn record_start(&mut self, slot: Slot, pid: u32) -> io::Result<Run> {
        let run = Run {
            slot,
            run: self.state.last_run() + 1,
            pid,
            // A child that has ended already has none: nobody will look for it.
            start_ticks: host::start_ticks(pid).unwrap_or_default(),
            boot: self.boot.clone(),
            at: service::clock::now(),
        };
        if self.file.metadata()?.len() > FILE_BYTES {
            self.file = open(&self.path, &self.state)?;
        }
        self.append(&run)?;
        self.state.begin(run.clone());
        Ok(run)
    }

    /// Records the end of the last run of a slot.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn record_exit(&mut self, slot: Slot, end: Ended) -> io::Result<Exit> {
        let run = self.state.slot(slot).expect("an exit follows a start").run;
        let exit = Exit {
            slot,
            run: run.run,
            pid: run.pid,
            code: end.code,
            signal: end.signal,
            at: end.at,
            uptime_ms: end.at.since(run.at),
            told: end.told,
            out_of_memory: end.out_of_memory,
        };
        self.append(&exit)?;
        self.state.end(exit.clone());
        Ok(exit)
    }

    /// Makes what was recorded durable. After a sync that failed the file may miss what was written to it, whatever a later
    /// sync says: what is known is written into a new one.
    ///
    /// # Errors
    /// When neither file can be synced; the next call writes another new one.
    pub fn sync(&mut self) -> io::Result<()> {
        if !self.is_doubtful && self.file.sync_data().is_ok() {
            return Ok(());
        }
        self.is_doubtful = true;
        shorten(&self.path, &self.state)?;
        self.file = open(&self.path, &self.state)?;
        self.is_doubtful = false;
        Ok(())
    }

    fn append(&mut self, line: &impl Serialize) -> io::Result<()> {
        let mut bytes = serde_json::to_vec(line)?;
        bytes.push(b'\n');
        let length = self.file.metadata()?.len();
        let written = self.file.write_all(&bytes);
        if written.is_err() {
            // The next line must not be joined to half of this one.
            self.file.set_len(length)?;
        }
        written
    }
}

/// Opens the file to go on after what is there, shortened first where it is long.
fn open(path: &Path, state: &State) -> io::Result<File> {
    if path.metadata().is_ok_and(|meta| meta.len() > FILE_BYTES) {
        shorten(path, state)?;
    }
    let mut file = OpenOptions::new().append(true).create(true).open(path)?;
    // What was torn must not be joined to what comes.
    file.write_all(b"\n")?;
    Ok(file)
}

fn shorten(path: &Path, state: &State) -> io::Result<()> {
    let mut bytes = Vec::new();
    let mut put = |line: Line| {
        serde_json::to_writer(&mut bytes, &line).expect("records have text keys and memory does not fail");
        bytes.push(b'\n');
    };
    let slots = state.others.iter().map(|state| state.run.slot).chain([0]);
    for slot in slots.filter_map(|slot| state.slot(slot)) {
        put(Line::Run(slot.run));
        slot.exit.into_iter().for_each(|exit| put(Line::Exit(exit)));
    }
    let beside = path.with_extension("new");
    std::fs::write(&beside, bytes)?;
    File::open(&beside)?.sync_data()?;
    std::fs::rename(beside, path)?;
    path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_data())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_run_and_its_end_are_read_back_whatever_was_torn() {
        let folder = tempfile::tempdir().unwrap();
        let mut runs = Runs::open(folder.path(), "boot".to_owned()).unwrap();
        let first = runs.record_start(0, std::process::id()).unwrap();
        let end = Ended {
            at: Timestamp(9),
            code: Some(3),
            signal: None,
            told: Told::Terminate,
            out_of_memory: false,
        };
        runs.record_exit(0, end).unwrap();
        runs.sync().unwrap();
        runs.file.write_all(b"{\"run\":2,\"pi").unwrap();
        let mut runs = Runs::open(folder.path(), "boot".to_owned()).unwrap();
        let exit = runs.state().exit.unwrap();
        assert_eq!((exit.run, exit.code, exit.told, exit.at), (1, Some(3), Told::Terminate, Timestamp(9)));
        let second = runs.record_start(0, std::process::id()).unwrap();
        let worker = runs.record_start(4, std::process::id()).unwrap();
        assert_eq!((first.run, second.run, worker.run), (1, 2, 3));
        let read = read(folder.path()).unwrap();
        assert_eq!(read, runs.state());
        assert_eq!((read.open(), read.past), (vec![second, worker], vec![exit]));
    }

    #[test]
    fn a_start_that_cannot_be_recorded_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let mut runs = Runs::open(folder.path(), "boot".to_owned()).unwrap();
        // It takes no line, as on a full disk.
        runs.file = File::open(folder.path().join(RUNS)).unwrap();
        runs.record_start(0, std::process::id()).unwrap_err();
        assert_eq!(runs.state().open(), []);
        assert_eq!(read(folder.path()).unwrap(), runs.state());
    }

    #[test]
    fn a_file_that_became_long_is_written_anew_with_the_last_runs() {
        let folder = tempfile::tempdir().unwrap();
        let mut runs = Runs::open(folder.path(), "boot".to_owned()).unwrap();
        let end =
            Ended { at: Timestamp(9), code: None, signal: Some(9), told: Told::Nothing, out_of_memory: true };
        for _ in 0..400 {
            runs.record_start(0, 1).unwrap();
            runs.record_exit(0, end).unwrap();
        }
        runs.record_start(1, 1).unwrap();
        let (before, after) = (runs.state(), read(folder.path()).unwrap());
        assert_eq!((before.run, before.exit, before.others), (after.run, after.exit, after.others));
        assert!(folder.path().join(RUNS).metadata().unwrap().len() < 2 * FILE_BYTES);
    }
}
