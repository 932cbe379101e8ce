//! Checkpoints: now and then the King that writes signs what the log is, and has that recorded in the log; and whoever
//! asks gets a signature for the newest commit.

use super::Past;
use audit::history::HistoryError;
use bus::Bus;
use events::command::RecordCheckpoint;
use events::{Answer, Checkpoint, Digest, EventNumber, KingId, Mark, Order, Outcome, subject, wire};
use service::{Shutdown, clock};
use std::time::Duration;
use tokio::time::{Instant, MissedTickBehavior};

/// After so many events the log is signed.
const CHECKPOINT_EVENTS: EventNumber = 10_000;
/// And when something has happened, after this time in any case.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(600);
/// How often is looked whether it is time.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// What recording a checkpoint itself adds to the log.
const OWN_EVENTS: EventNumber = 2;
/// How often the newest commit is looked for while the kingdom goes on.
const TRIES: usize = 20;
/// How long a busy writer goes first.
const YIELD: Duration = Duration::from_secs(3);
/// How long recording one may take.
const PATIENCE: Duration = Duration::from_secs(5);

impl Past {
    /// Signs the newest commit; none when the King is starting, or too busy to stand still for a moment.
    pub(super) async fn sign(&self) -> Result<Option<Checkpoint>, HistoryError> {
        let shared = &self.shared;
        for _ in 0..TRIES {
            let Some(newest) = shared.kingdom.feed().newest() else { return Ok(None) };
            let looked =
                shared.kingdom.read(|state| (state.last == newest.event).then(|| (state.at, state.hash())));
            let Some((at, state)) = looked else {
                tokio::task::yield_now().await;
                continue;
            };
            let sequence = newest.sequence;
            let read = shared.log.read(sequence).await.map_err(HistoryError::read)?;
            let hash = Digest::of(&read.ok_or(HistoryError::Missing { sequence })?);
            let mark = Mark { sequence, event: newest.event, hash, state, at };
            return Ok(Some(shared.signer.sign(mark)));
        }
        Ok(None)
    }
}

/// Signs the log now and then, while this King writes.
pub async fn sign_now_and_then(past: Past, bus: Bus, king: KingId, shutdown: Shutdown) {
    let mut tick = tokio::time::interval(LOOK_EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut signed = Instant::now();
    loop {
        tokio::select! {
            _ = tick.tick() => {}
            () = shutdown.requested() => return,
        }
        let look = |state: &realm::State| (state.king, state.last, state.checkpoint.unwrap_or_default());
        let (writer, last, known) = past.shared.kingdom.read(look);
        let since = last.saturating_sub(known);
        let is_time =
            since >= CHECKPOINT_EVENTS || (since > OWN_EVENTS && signed.elapsed() >= CHECKPOINT_EVERY);
        if writer != Some(king) || !is_time {
            continue;
        }
        // Hashing the state takes as long as there are outcomes of commands, and no commit is confirmed meanwhile.
        past.shared.kingdom.let_the_writer_go_first(YIELD, &shutdown).await;
        match past.sign().await {
            Ok(Some(checkpoint)) => {
                record(&bus, king, checkpoint).await;
                signed = Instant::now();
            }
            Ok(None) => {}
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "the log cannot be signed");
            }
        }
    }
}

/// Has a checkpoint recorded by the writer, as anybody would. If that fails, the next one does as well.
async fn record(bus: &Bus, king: KingId, checkpoint: Checkpoint) {
    let order = Order::King(RecordCheckpoint { king, checkpoint }.into());
    let (id, subject) = (clock::fresh_id().to_string(), subject::command(order.kind()));
    let headers = [(subject::HEADER_ID, id.as_str()), (subject::HEADER_ACTOR, "king")];
    let asked = bus.request(&subject, &headers, wire::encode_order(&order), PATIENCE).await;
    match asked.map(|message| wire::decode::<Answer>(&message.payload)) {
        Ok(Ok(Answer { outcome: Outcome::Accepted { .. }, .. })) => {
            tracing::info!(event = checkpoint.mark.event, "signed the log");
        }
        Ok(Ok(Answer { outcome: Outcome::Refused { refusal, .. }, .. })) => {
            tracing::warn!(%refusal, "the signature of the log is refused");
        }
        Ok(Err(error)) => tracing::warn!(reason = error.reason(), "the answer to a signature is unreadable"),
        Err(error) => tracing::warn!(%error, "the signature of the log is not recorded"),
    }
}
