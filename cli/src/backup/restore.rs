//! Bringing a backup back: proved first, then artifacts, the inbox's numbers, the commits, and an election of a new epoch.
//!
//! The log becomes, byte by byte, what it was. What follows is one more commit: an election under an epoch higher than
//! any that was ever there, so that servants which have heard of later events believe the new King.

use super::RestoreArgs;
use crate::cli::Globals;
use crate::client::Client;
use crate::epoch::Last;
use crate::failure::Failure;
use crate::king;
use crate::past::{self, OpenBackup};
use crate::progress::Progress;
use anyhow::{Context, anyhow};
use audit::backup::Manifest;
use audit::history::History;
use audit::travel;
use bus::inbox::Inbox;
use bus::log::{AppendError, Log};
use bus::objects::Objects;
use bus::provision::{self, Limits};
use bytes::Bytes;
use events::query::Moment;
use events::{Actor, wire};
use realm::State;

/// Does it.
///
/// # Errors
/// When the backup is not good, the site is not empty, or it cannot be written.
pub async fn run(globals: &Globals, args: RestoreArgs) -> Result<Manifest, Failure> {
    let backup = past::open(&args.file)?;
    let mut progress = Progress::new(globals);
    progress.show("proving the backup");
    backup
        .prove()
        .with_context(|| format!("{} is not good, so nothing was restored", args.file.display()))?;
    let client = Client::connect(globals).await?;
    no_king_lives(&client, globals).await?;
    let replicas = args.replicas.unwrap_or_else(|| client.bus.replicas());
    let limits = Limits { replicas, ..Limits::default() };
    provision::provision(&client.bus, &limits).await.context("the streams could not be made ready")?;
    let log = Log::open(&client.bus).await.context("could not open the log")?;
    let there = already_there(&log, &backup, globals).await?;
    put_artifacts(&client, &backup, &mut progress).await?;
    let state = travel::state_at(&backup, Moment::Event(backup.manifest().place.event));
    let state = state.context("could not read the state of the backup")?;
    move_inbox(&client, &state).await?;
    append_all(&log, &backup, there, &mut progress).await?;
    elect(&log, &backup, &state, client.actor()).await?;
    progress.clear();
    Ok(backup.manifest().clone())
}

/// Where a King lives nothing is restored, be its log the very one of the backup: it would be deposed.
async fn no_king_lives(client: &Client, globals: &Globals) -> Result<(), Failure> {
    let kings = king::roll_call(client, king::ROLL_CALL).await?;
    let Some(king) = kings.first() else { return Ok(()) };
    Err(Failure::Conflict(format!(
        "the site at {} is not empty: {} lives there ({} in all), so nothing was restored\n  \
         try: start a nats-server with an empty store (for `kingctl up`, another --data), restore before any King runs, then start \
         the King",
        globals.nats,
        king.name,
        kings.len()
    )))
}

/// How many commits of this very backup are there from a restore that was cut short. Anything else is refused.
async fn already_there(log: &Log, backup: &OpenBackup, globals: &Globals) -> Result<u64, Failure> {
    let last = log.last_sequence().await.context("could not read the log")?;
    if last == 0 {
        return Ok(0);
    }
    let stands = log.read(last).await.context("could not read the log")?;
    let wanted = backup.commits(last - 1).context("could not read the backup")?.next().transpose();
    let wanted = wanted.context("could not read the backup")?.map(|stored| stored.bytes);
    if stands.is_some() && stands == wanted {
        return Ok(last);
    }
    Err(Failure::Conflict(format!(
        "the site at {} is not empty: its log holds {last} commits that are not a part of this backup, so nothing was restored\n  \
         try: start a nats-server with an empty store (for `kingctl up`, another --data), restore before any King runs, then start \
         the King",
        globals.nats
    )))
}

async fn put_artifacts(client: &Client, backup: &OpenBackup, progress: &mut Progress) -> Result<(), Failure> {
    let objects = Objects::open(&client.bus).await.context("could not open the artifacts")?;
    let artifacts = &backup.manifest().artifacts;
    for (index, artifact) in artifacts.iter().enumerate() {
        progress.show(&format!("artifact {} of {}", index + 1, artifacts.len()));
        let part = tempfile::NamedTempFile::new().context("could not make a temporary file")?;
        backup.artifact(artifact, &mut part.as_file()).context("could not read the backup")?;
        let put = objects.put_file(&artifact.digest, part.path()).await;
        put.with_context(|| format!("artifact {} could not be stored", artifact.digest))?;
    }
    Ok(())
}

/// The inbox is empty and goes on with the number after the last that the log has worked off.
async fn move_inbox(client: &Client, state: &State) -> Result<(), Failure> {
    let inbox = Inbox::open(&client.bus).await.context("could not open the inbox")?;
    if inbox.last_sequence().await.context("could not read the inbox")? < state.inbox {
        inbox.purge_up_to(state.inbox).await.context("the inbox could not be made ready")?;
    }
    Ok(())
}

async fn append_all(
    log: &Log,
    backup: &OpenBackup,
    there: u64,
    progress: &mut Progress,
) -> Result<(), Failure> {
    let end = backup.manifest().place.sequence;
    for stored in backup.commits(there).context("could not read the backup")? {
        let stored = stored.context("could not read the backup")?;
        append(log, stored.bytes, stored.sequence - 1).await?;
        if stored.sequence % 1000 == 0 {
            progress.show(&format!("commit {} of {end}", stored.sequence));
        }
    }
    Ok(())
}

/// Appends until it is clear whether it was; nobody else may write meanwhile.
async fn append(log: &Log, payload: Bytes, after: u64) -> Result<(), Failure> {
    loop {
        match log.append(payload.clone(), after).await {
            Ok(_) => return Ok(()),
            Err(AppendError::Unknown { .. }) => {}
            Err(AppendError::Deposed { sequence }) => {
                return Err(Failure::Conflict(format!(
                    "somebody else wrote commit {sequence} while the backup was being restored: is a King running there? Stop it, \
                     empty the site, and restore again"
                )));
            }
            Err(error) => return Err(anyhow!(error).context("the log could not be written").into()),
        }
    }
}

async fn elect(log: &Log, backup: &OpenBackup, state: &State, actor: &Actor) -> Result<(), Failure> {
    let place = backup.manifest().place;
    let last =
        Last { event: state.last, at: state.at, epoch: state.epoch, inbox: state.inbox, hash: place.hash };
    append(log, wire::encode(&last.election(actor)).into(), place.sequence).await
}
