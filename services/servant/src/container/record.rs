//! What must be known of the containers of an instance after the Servant's death: the last run, how it was told to end,
//! and how it did. One small file in the instance's folder, replaced as a whole.

use crate::holder::words::{Exit, Told};
use crate::keeper::InstanceFolder;
use events::Timestamp;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io;

const FILE: &str = "container";
/// Most ends of earlier runs that are kept.
const PAST: usize = 16;

/// The last run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// From 1; 0 when none was begun yet.
    pub run: u64,
    /// The first process of the container, once it was seen to run.
    pub pid: Option<u32>,
    /// When it was started.
    pub at: Timestamp,
    /// The boot id of the host that it ran under.
    pub boot: String,
    /// What it was told last.
    pub told: Option<Told>,
    pub exit: Option<Exit>,
    /// The ends of the runs before it, oldest first, at most [`PAST`]: the Servant may be killed before it has told them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    past: Vec<Exit>,
}

impl Record {
    /// What is recorded; nothing when nothing is, or it cannot be read.
    pub fn read(folder: &InstanceFolder) -> Self {
        let bytes = match std::fs::read(folder.path.join(FILE)) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Self::default(),
            Err(error) => {
                tracing::warn!(instance = %folder.instance, %error, "the record of its containers cannot be read");
                return Self::default();
            }
        };
        serde_json::from_slice(&bytes).unwrap_or_else(|error| {
            tracing::warn!(instance = %folder.instance, %error, "the record of its containers is damaged");
            Self::default()
        })
    }

    /// Keeps it, durably.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn keep(&self, folder: &InstanceFolder) -> io::Result<()> {
        let beside = folder.path.join(format!("{FILE}.new"));
        std::fs::write(&beside, serde_json::to_vec(self)?)?;
        File::open(&beside)?.sync_data()?;
        std::fs::rename(beside, folder.path.join(FILE))
    }

    /// Whether a run was begun under this boot of the host whose end is not known.
    pub fn is_open(&self, boot: &str) -> bool {
        self.run > 0 && self.pid.is_some() && self.exit.is_none() && self.boot == boot
    }

    /// Begins the next run.
    pub fn begin(&mut self, run: u64, pid: u32, at: Timestamp, boot: &str) {
        let mut past = std::mem::take(&mut self.past);
        past.extend(self.exit.take());
        past.drain(..past.len().saturating_sub(PAST));
        *self = Self { run, pid: Some(pid), at, boot: boot.to_owned(), told: None, exit: None, past };
    }

    /// The ends of earlier runs that were never told: those after this one that nobody asked for.
    pub fn missed(&self, reported_run: u64) -> Vec<Exit> {
        let is_missed = |exit: &&Exit| exit.run > reported_run && exit.told == Told::Nothing;
        self.past.iter().filter(is_missed).cloned().collect()
    }

    /// Ends the run; gives the end to tell. A container whose end nobody saw was killed.
    pub fn end(&mut self, code: Option<i32>, at: Timestamp, out_of_memory: bool) -> Exit {
        let exit = Exit {
            slot: 0,
            run: self.run,
            pid: self.pid.unwrap_or_default(),
            code,
            signal: code.is_none().then_some(9),
            at,
            uptime_ms: at.since(self.at),
            told: self.told.unwrap_or(Told::Nothing),
            out_of_memory,
        };
        self.exit = Some(exit.clone());
        exit
    }
}
