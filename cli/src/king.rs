//! `kingctl king`: the Kings, and which of them writes.

mod verify;
mod repair;

use crate::cli::Globals;
use crate::client::Client;
use crate::failure::Failure;
use crate::output::{self, Item};
use crate::table::Cell;
use anyhow::anyhow;
use bus::connect::RequestError;
use clap::Subcommand;
use events::peer::{Transfer, Transferred};
use events::query::{KingItem, KingPlace, Question, Reply};
use events::subject::{KINGS, TRANSFERS};
use events::wire;
use serde::Serialize;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// How long Kings may take to say who they are: every one that lives answers by itself, and nobody knows how many live.
pub const ROLL_CALL: Duration = Duration::from_millis(300);
/// How long a transfer may take; the King that writes gives up before.
const TRANSFER: Duration = Duration::from_secs(8);
/// Between two attempts, while no King writes.
const PAUSE: Duration = Duration::from_millis(100);

/// The Kings.
#[derive(Debug, Subcommand)]
pub enum KingCommand {
    /// Show the King that answers: its epoch, newest event and the hash of its state.
    Show,
    /// List the Kings that live: what each does, and how far it is behind.
    #[command(after_help = "Examples:\n  kingctl king ls\n  kingctl king ls -o json")]
    Ls,
    /// Let another King write. Nothing that is sent meanwhile is lost, and nobody notices more than a short wait.
    #[command(
        after_help = "Examples:\n  kingctl king transfer             # to the backup that is furthest\n  kingctl king transfer king-7481"
    )]
    Transfer {
        /// The id or the name of a backup King.
        king: Option<String>,
    },
    /// Compare the log with a journal and its witness, and prove the chain of hashes; name the first bad commit.
    #[command(after_help = verify::EXAMPLES)]
    Verify(verify::VerifyArgs),
    /// Rebuild a log that was lost or changed from journals. Shows the plan first.
    #[command(after_help = repair::EXAMPLES)]
    Repair(repair::RepairArgs),
}

impl KingCommand {
    /// Does it.
    ///
    /// # Errors
    /// When no King answers.
    pub async fn run(self, globals: &Globals) -> Result<(), Failure> {
        match self {
            Self::Show => {
                let client = Client::connect(globals).await?;
                let found = client.query::<KingItem>("king.show", &Question::default()).await?;
                output::list(globals, &found)
            }
            Self::Ls => output::list(globals, &ls(&Client::connect(globals).await?).await?),
            Self::Transfer { king } => transfer(globals, king).await,
            Self::Verify(args) => verify::run(globals, &args).await,
            Self::Repair(args) => repair::run(globals, &args).await,
        }
    }
}

/// A King in the list.
#[derive(Serialize)]
struct Listed {
    #[serde(flatten)]
    place: KingPlace,
    /// Commits that the furthest King reflects and this one does not yet.
    lag: u64,
}

/// Every King that answers.
///
/// # Errors
/// When nobody can be asked, or an answer cannot be read.
pub async fn roll_call(client: &Client, within: Duration) -> Result<Vec<KingPlace>, Failure> {
    let question = wire::encode(&Question::default());
    let mut replies =
        client.bus.gather(KINGS, question, within).await.map_err(|error| Failure::Failed(error.into()))?;
    let mut places = Vec::new();
    while let Some(message) = replies.next().await {
        match wire::decode::<Reply<KingPlace>>(&message.payload) {
            Ok(Reply::Ok { items, .. }) => places.extend(items),
            Ok(Reply::Refused(refusal)) => return Err(Failure::Refused(refusal)),
            Err(error) => {
                let reason = error.reason();
                return Err(Failure::Failed(anyhow!("the answer of a King cannot be read: {reason}")));
            }
        }
    }
    Ok(places)
}

/// Every King that answers, the one that writes first.
async fn ls(client: &Client) -> Result<Vec<Listed>, Failure> {
    let mut places = roll_call(client, ROLL_CALL).await?;
    if places.is_empty() {
        return Err(Failure::Failed(anyhow!("no King answers; start one with `make up`")));
    }
    let furthest = places.iter().map(|place| place.sequence).max().unwrap_or(0);
    places.sort_by(|left, right| (right.role, &left.name).cmp(&(left.role, &right.name)));
    let listed = |place: KingPlace| Listed { lag: furthest - place.sequence, place };
    Ok(places.into_iter().map(listed).collect())
}

/// Asks the King that writes; while none does, the next is waited for.
async fn transfer(globals: &Globals, to: Option<String>) -> Result<(), Failure> {
    let client = Client::connect(globals).await?;
    let deadline = Instant::now() + globals.timeout;
    let wanted = wire::encode(&Transfer { to });
    let answer = loop {
        match client.bus.request(TRANSFERS, &[], wanted.clone(), TRANSFER).await {
            Err(RequestError::NoResponders { .. } | RequestError::Disconnected { maybe_sent: false, .. })
                if Instant::now() < deadline =>
            {
                sleep(PAUSE).await;
            }
            answer => break answer.map_err(|error| Failure::Failed(unanswered(error)))?,
        }
    };
    match wire::decode(&answer.payload) {
        Ok(Transferred::Ok { king, name, epoch }) => {
            output::print(&format!("{name} ({king}) writes now, in epoch {epoch}\n"))
        }
        Ok(Transferred::Refused(refusal)) => Err(Failure::Refused(refusal)),
        Err(error) => Err(Failure::Failed(anyhow!("the King's answer cannot be read: {}", error.reason()))),
    }
}

fn unanswered(error: RequestError) -> anyhow::Error {
    anyhow!(error).context("no King that writes has answered; see `kingctl king ls` who writes now")
}

impl Item for Listed {
    const COLUMNS: &'static [&'static str] =
        &["NAME", "ROLE", "EPOCH", "EVENT", "SEQUENCE", "LAG", "HTTP", "VERSION", "KING"];

    fn cells(&self) -> Vec<Cell> {
        let KingPlace { king, name, role, epoch, event, sequence, http, version } = &self.place;
        vec![
            Cell::new(name),
            Cell::new(role),
            Cell::new(epoch),
            Cell::new(event),
            Cell::new(sequence),
            Cell::new(self.lag),
            Cell::new(http),
            Cell::new(version),
            Cell::new(king),
        ]
    }

    fn name(&self) -> String {
        self.place.name.to_string()
    }
}

impl Item for KingItem {
    const COLUMNS: &'static [&'static str] =
        &["KING", "EPOCH", "EVENT", "PUBLISHED", "VERSION", "STATE-HASH"];

    fn cells(&self) -> Vec<Cell> {
        vec![
            Cell::new(self.king),
            Cell::new(self.epoch),
            Cell::new(self.event),
            Cell::new(self.published),
            Cell::new(&self.version),
            Cell::new(self.state_hash),
        ]
    }

    fn name(&self) -> String {
        self.king.to_string()
    }
}
