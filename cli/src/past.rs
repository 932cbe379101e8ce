//! The past without a King: commits read from the log on the bus, or from a backup file.

use crate::cli::Globals;
use crate::client::Client;
use crate::failure::Failure;
use anyhow::{Context, anyhow};
use audit::backup::Backup;
use audit::history::History;
use audit::{Index, StoredCommit};
use bus::log::Log;
use bus::tail::Tail;
use clap::Args;
use events::query::Moment;
use events::{Checkpoint, Commit, EventNumber, Timestamp, wire};
use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

/// Where the past is read.
#[derive(Clone, Debug, Default, Args)]
pub struct FileArg {
    /// Read this backup file and ask nobody.
    #[arg(long, value_name = "BACKUP")]
    pub file: Option<PathBuf>,
}

/// A backup file that is open.
pub type OpenBackup = Backup<BufReader<File>>;

/// Opens a backup file.
///
/// # Errors
/// When there is none, or it is damaged.
pub fn open(path: &Path) -> Result<OpenBackup, Failure> {
    let file = File::open(path);
    let file = file.with_context(|| format!("could not open the backup {}", path.display()))?;
    let backup = Backup::open(BufReader::new(file));
    Ok(backup.with_context(|| format!("could not read {}", path.display()))?)
}

/// The index of a backup: every event is looked at once.
///
/// # Errors
/// When the backup is damaged.
pub fn index(backup: &OpenBackup) -> Result<Index, Failure> {
    let mut index = Index::default();
    for stored in backup.commits(0).context("could not read the backup")? {
        let commit = stored.and_then(|stored| stored.read()).context("could not read the backup")?;
        commit.events.iter().for_each(|event| index.note(event));
    }
    Ok(index)
}

/// A moment as it stands on the command line.
///
/// # Errors
/// When the text is none.
pub fn parse_moment(text: &str) -> Result<Moment, String> {
    audit::moment::parse(text, service::clock::now()).map_err(|error| error.to_string())
}

/// The commits from one on, as they are stored, up to the newest of when they were first asked for.
pub enum Commits {
    Log { log: Log, tail: Box<Tail>, end: u64 },
    File { backup: Box<OpenBackup>, after: u64 },
}

/// Commits of the file that are taken out of it at a time.
const AT_A_TIME: usize = 256;

impl Commits {
    /// All commits of the log, or of a backup file.
    ///
    /// # Errors
    /// When neither can be read.
    pub async fn open(globals: &Globals, file: &FileArg) -> Result<Self, Failure> {
        if let Some(path) = &file.file {
            return Ok(Self::File { backup: Box::new(open(path)?), after: 0 });
        }
        Self::of_log(&Client::connect(globals).await?).await
    }

    /// All commits of the log.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn of_log(client: &Client) -> Result<Self, Failure> {
        let log = Log::open(&client.bus).await.context("could not open the log")?;
        let end = log.last_sequence().await.context("could not read the log")?;
        Ok(Self::Log { tail: Box::new(log.tail(0)), log, end })
    }

    /// The sequence of the last commit that will be given.
    pub fn end(&self) -> u64 {
        match self {
            Self::Log { end, .. } => *end,
            Self::File { backup, .. } => backup.manifest().place.sequence,
        }
    }

    /// What a King has signed for a backup when it was made.
    pub fn checkpoint(&self) -> Option<Checkpoint> {
        match self {
            Self::Log { .. } => None,
            Self::File { backup, .. } => backup.manifest().checkpoints.last().copied(),
        }
    }

    /// Goes on with the commit that holds the first event that is not before a moment.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub async fn skip_to(&mut self, moment: Moment) -> Result<(), Failure> {
        let (mut low, mut high) = (0, self.end());
        while low < high {
            let middle = low + (high - low).div_ceil(2);
            if is_before(&self.commit(middle).await?, moment) {
                low = middle;
            } else {
                high = middle - 1;
            }
        }
        match self {
            Self::Log { log, tail, .. } => **tail = log.tail(low),
            Self::File { after, .. } => *after = low,
        }
        Ok(())
    }

    async fn commit(&self, sequence: u64) -> Result<Commit, Failure> {
        let missing = || anyhow!("commit {sequence} is missing from the log");
        let bytes = match self {
            Self::Log { log, .. } => {
                log.read(sequence).await.context("could not read the log")?.ok_or_else(missing)?
            }
            Self::File { backup, .. } => {
                let mut commits = backup.commits(sequence - 1).context("could not read the backup")?;
                commits.next().ok_or_else(missing)?.context("could not read the backup")?.bytes
            }
        };
        let commit = wire::decode(&bytes);
        Ok(commit.map_err(|error| anyhow!("commit {sequence} cannot be read: {}", error.reason()))?)
    }

    /// The next commits; none when the end was reached.
    ///
    /// # Errors
    /// When they cannot be read.
    pub async fn next(&mut self) -> Result<Vec<StoredCommit>, Failure> {
        match self {
            Self::Log { tail, end, .. } => {
                if tail.last() >= *end {
                    return Ok(Vec::new());
                }
                let entry = tail.next().await.context("could not follow the log")?;
                Ok(vec![StoredCommit { sequence: entry.sequence, bytes: entry.payload }])
            }
            Self::File { backup, after } => {
                let commits = backup.commits(*after).context("could not read the backup")?;
                let some: Result<Vec<_>, _> = commits.take(AT_A_TIME).collect();
                let some = some.context("could not read the backup")?;
                *after = some.last().map_or(*after, |commit| commit.sequence);
                Ok(some)
            }
        }
    }
}

/// Whether all of a commit is before a moment.
fn is_before(commit: &Commit, moment: Moment) -> bool {
    match moment {
        Moment::Event(number) => commit.last() < number,
        Moment::Time(at) => commit.events.last().is_some_and(|event| event.at < at),
    }
}

/// Whether an event is within two moments, both included.
pub fn is_within(number: EventNumber, at: Timestamp, from: Option<Moment>, to: Option<Moment>) -> bool {
    let late_enough = from.is_none_or(|from| match from {
        Moment::Event(first) => number >= first,
        Moment::Time(first) => at >= first,
    });
    late_enough && !is_after(number, at, to)
}

/// Whether an event is later than the moment up to which events are wanted.
pub fn is_after(number: EventNumber, at: Timestamp, to: Option<Moment>) -> bool {
    to.is_some_and(|to| match to {
        Moment::Event(last) => number > last,
        Moment::Time(last) => at > last,
    })
}
