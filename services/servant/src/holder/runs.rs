//! The record of an instance's runs: a file of JSON lines, a start or an exit each. An exit is synced before it is
//! told; a start need not be, for nothing that it names survives a power cut.

use super::words::{Exit, Run, State, Told};
use crate::host;
use events::Timestamp;
use serde::{Deserialize, Serialize};
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

/// The file in the folder of an instance.
pub const RUNS: &str = "runs";
/// Beyond this the file is written anew with the last run alone.
const FILE_BYTES: u64 = 64 * 1024;

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Line {
    Exit(Exit),
    Run(Run),
}

/// The last run and how it ended, as the file in this folder says. Anybody may read it.
///
/// # Errors
/// When the file is there and cannot be read.
pub fn read(folder: &Path) -> io::Result<State> {
    let text = match std::fs::read(folder.join(RUNS)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(State::default()),
        other => other?,
    };
    let mut state = State::default();
    // A torn line is one that was being written when power went: it was never told.
    for line in text.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok()) {
        match line {
            Line::Run(run) => state = State { run: Some(run), exit: None },
            Line::Exit(exit) => state.exit = Some(exit),
        }
    }
    Ok(state)
}

/// The writing end, in the holder.
pub struct Runs {
    state: State,
    boot: String,
    file: File,
}

impl Runs {
    /// Reads what is there and goes on after it.
    ///
    /// # Errors
    /// When the file cannot be read or written.
    pub fn open(folder: &Path) -> io::Result<Self> {
        let state = read(folder)?;
        let path = folder.join(RUNS);
        if path.metadata().is_ok_and(|meta| meta.len() > FILE_BYTES) {
            shorten(&path, &state)?;
        }
        let mut file = OpenOptions::new().append(true).create(true).open(path)?;
        file.write_all(b"\n")?;
        Ok(Self { state, boot: host::boot_id()?, file })
    }

    /// What is known now.
    pub fn state(&self) -> State {
        self.state.clone()
    }

    /// Records a start.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn record_start(&mut self, pid: u32) -> io::Result<Run> {
        let run = Run {
            run: self.state.run.as_ref().map_or(0, |run| run.run) + 1,
            pid,
            // A child that has ended already has none: nobody will look for it.
            start_ticks: host::start_ticks(pid).unwrap_or_default(),
            boot: self.boot.clone(),
            at: service::clock::now(),
        };
        self.append(&run)?;
        self.state = State { run: Some(run.clone()), exit: None };
        Ok(run)
    }

    /// Records the end of the last run, durably.
    ///
    /// # Errors
    /// When the file cannot be written or synced.
    pub fn record_exit(
        &mut self,
        at: Timestamp,
        code: Option<i32>,
        signal: Option<i32>,
        told: Told,
    ) -> io::Result<Exit> {
        let run = self.state.run.as_ref().expect("an exit follows a start");
        let exit = Exit { run: run.run, pid: run.pid, code, signal, at, uptime_ms: at.since(run.at), told };
        self.append(&exit)?;
        self.file.sync_data()?;
        self.state.exit = Some(exit.clone());
        Ok(exit)
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

fn shorten(path: &Path, state: &State) -> io::Result<()> {
    let mut bytes = Vec::new();
    if let Some(run) = &state.run {
        serde_json::to_writer(&mut bytes, run)?;
        bytes.push(b'\n');
    }
    if let Some(exit) = &state.exit {
        serde_json::to_writer(&mut bytes, exit)?;
        bytes.push(b'\n');
    }
    let beside = path.with_extension("new");
    std::fs::write(&beside, bytes)?;
    File::open(&beside)?.sync_data()?;
    std::fs::rename(beside, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_run_and_its_end_are_read_back_whatever_was_torn() {
        let folder = tempfile::tempdir().unwrap();
        let mut runs = Runs::open(folder.path()).unwrap();
        let first = runs.record_start(std::process::id()).unwrap();
        runs.record_exit(Timestamp(9), Some(3), None, Told::Terminate).unwrap();
        runs.file.write_all(b"{\"run\":2,\"pi").unwrap();
        let mut runs = Runs::open(folder.path()).unwrap();
        let exit = runs.state().exit.unwrap();
        assert_eq!((exit.run, exit.code, exit.told, exit.at), (1, Some(3), Told::Terminate, Timestamp(9)));
        let second = runs.record_start(std::process::id()).unwrap();
        assert_eq!((first.run, second.run), (1, 2));
        assert_eq!(read(folder.path()).unwrap(), State { run: Some(second), exit: None });
    }

    #[test]
    fn a_start_that_cannot_be_recorded_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let mut runs = Runs::open(folder.path()).unwrap();
        // It takes no line, as on a full disk.
        runs.file = File::open(folder.path().join(RUNS)).unwrap();
        runs.record_start(std::process::id()).unwrap_err();
        assert_eq!(runs.state(), State::default());
        assert_eq!(read(folder.path()).unwrap(), State::default());
    }
}
