//! Handing over in order: finding the backup that shall follow, making it ready, and telling whoever asked for it.

use crate::throne::Parts;
use bus::connect::RequestError;
use bus::{Bus, Message};
use events::peer::{PeerAnswer, PeerMessage, Transfer, Transferred};
use events::query::{KingPlace, KingRole, Question, Reply};
use events::subject::{self, KINGS};
use events::wire::{self, Format};
use events::{KingId, Refusal, RefusalCode};
use futures_util::future::BoxFuture;
use std::time::Duration;
use tokio::time::Instant;

/// How long the other Kings may take to say who they are.
const ROLL_CALL: Duration = Duration::from_millis(150);
/// How long a backup may take to make itself ready.
pub const HEIR_PATIENCE: Duration = Duration::from_secs(1);
/// How long a hand-over may take until another King writes.
pub const TRANSFER_PATIENCE: Duration = Duration::from_secs(5);

/// A backup that is ready, or why none is.
pub(super) enum Readied {
    ToTransfer { message: Message, heir: Result<KingPlace, Refusal> },
    ToEnd { heir: Option<KingPlace> },
}

/// The hand-over that somebody waits for.
#[derive(Default)]
pub(super) struct Handover {
    waiting: Option<Waiting>,
}

struct Waiting {
    message: Message,
    heir: KingPlace,
    until: Instant,
}

impl Handover {
    pub fn begin(&mut self, message: Message, heir: &KingPlace) {
        let until = Instant::now() + TRANSFER_PATIENCE;
        self.waiting = Some(Waiting { message, heir: heir.clone(), until });
    }

    /// Another King was elected: whoever waits hears of it.
    pub async fn followed(&mut self, parts: &Parts, epoch: u64) {
        let Some(Waiting { message, heir, .. }) = self.waiting.take() else { return };
        let king = parts.kingdom.read(|state| state.king);
        let transferred = if king == Some(heir.king) {
            Transferred::Ok { king: heir.king, name: heir.name, epoch }
        } else {
            Transferred::Refused(refusal("king", "another King took over meanwhile", "see `kingctl king ls`"))
        };
        answer(&parts.bus, &message, &transferred).await;
    }

    /// This King was elected again: its heir did not take what it was given.
    pub async fn came_back(&mut self, bus: &Bus) {
        let Some(Waiting { message, heir, .. }) = self.waiting.take() else { return };
        let rule = format!("{} was given the lease and did not take it; this King writes again", heir.name);
        refuse(bus, &message, refusal("king", &rule, "see the log of that King, then try again")).await;
    }

    pub async fn too_late(&self) {
        super::until(self.waiting.as_ref().map(|waiting| waiting.until)).await;
    }

    pub async fn give_up(&mut self, bus: &Bus) {
        let Some(Waiting { message, heir, .. }) = self.waiting.take() else { return };
        let rule = format!("{} was given the lease and is not elected yet", heir.name);
        refuse(bus, &message, refusal("king", &rule, "see `kingctl king ls` who writes, and its log")).await;
    }
}

/// Makes the King ready that a message asks for.
pub(super) fn ready_for(parts: Parts, message: Message) -> BoxFuture<'static, Readied> {
    Box::pin(async move {
        let heir = match read(&message) {
            Ok(transfer) => ready(&parts, transfer.to.as_deref()).await,
            Err(refusal) => Err(refusal),
        };
        Readied::ToTransfer { message, heir }
    })
}

/// Makes any backup ready, if there is one.
pub(super) fn ready_any(parts: Parts) -> BoxFuture<'static, Readied> {
    Box::pin(async move {
        let heir = ready(&parts, None).await;
        if let Err(refusal) = &heir {
            tracing::info!(reason = refusal.rule, "no King follows this one at once");
        }
        Readied::ToEnd { heir: heir.ok() }
    })
}

fn read(message: &Message) -> Result<Transfer, Refusal> {
    if message.payload.is_empty() {
        return Ok(Transfer::default());
    }
    let format = Format::of(message.header(subject::HEADER_CONTENT_TYPE), &message.payload);
    format.decode(&message.payload).map_err(|error| Refusal {
        code: RefusalCode::Unreadable,
        field: "transfer".into(),
        rule: error.reason(),
        fix: "send nothing, or {\"to\": \"<id or name of a King>\"}".into(),
    })
}

async fn ready(parts: &Parts, to: Option<&str>) -> Result<KingPlace, Refusal> {
    let heir = choose(parts, to).await?;
    // Before the heir begins to hear: what it hears too is marked from the first message on.
    parts.ledger.open();
    let prepare = wire::encode(&PeerMessage::Prepare { from: parts.king() });
    let asked = parts.bus.request(&subject::peer(heir.king), &[], prepare, HEIR_PATIENCE).await;
    match asked.map(|answer| wire::decode(&answer.payload)) {
        Ok(Ok(PeerAnswer::Done { .. })) => Ok(heir),
        Ok(Ok(PeerAnswer::Unable { reason })) => Err(unable(&heir, &reason)),
        Ok(Err(error)) => Err(unable(&heir, &error.reason())),
        Err(error) => Err(unable(&heir, &service::chain(&error))),
    }
}

/// The King that is asked for, or the backup that is furthest.
async fn choose(parts: &Parts, to: Option<&str>) -> Result<KingPlace, Refusal> {
    let mut places = roll_call(&parts.bus)
        .await
        .map_err(|error| refusal("king", &service::chain(&error), "try again when the link to NATS is up"))?;
    places.retain(|place| place.king != parts.king());
    let Some(to) = to else {
        places.retain(|place| place.role == KingRole::Backup);
        let furthest = places.into_iter().max_by_key(|place| (place.sequence, place.king));
        return furthest.ok_or_else(|| {
            refusal("king", "there is no backup King", "start another King with a data folder of its own")
        });
    };
    let named = |place: &KingPlace| place.king.to_string() == to || place.name.as_str() == to;
    let mut found: Vec<KingPlace> = places.into_iter().filter(named).collect();
    match (found.pop(), found.is_empty()) {
        (Some(place), true) if place.role == KingRole::Backup => Ok(place),
        (Some(place), true) => Err(unable(&place, &format!("it is {}, and not a backup", place.role))),
        (Some(_), false) => {
            Err(refusal("to", &format!("several Kings are called {to:?}"), "name it by its id"))
        }
        (None, _) => Err(Refusal {
            code: RefusalCode::Unknown,
            ..refusal("to", &format!("no other King {to:?} answers"), "see `kingctl king ls`")
        }),
    }
}

async fn roll_call(bus: &Bus) -> Result<Vec<KingPlace>, RequestError> {
    let mut replies = bus.gather(KINGS, wire::encode(&Question::default()), ROLL_CALL).await?;
    let mut places = Vec::new();
    while let Some(message) = replies.next().await {
        match wire::decode::<Reply<KingPlace>>(&message.payload) {
            Ok(Reply::Ok { items, .. }) => places.extend(items),
            Ok(Reply::Refused(refusal)) => tracing::warn!(%refusal, "a King does not say who it is"),
            Err(error) => tracing::warn!(reason = error.reason(), "a King cannot be understood"),
        }
    }
    Ok(places)
}

/// Tells the heir that the lease is its own, and what of all that it hears was taken here.
pub(super) async fn call(parts: &Parts, heir: KingId) {
    let Some(taken) = parts.ledger.close() else {
        // What the heir has heard so far cannot be told from what was taken here: it hears anew, by itself.
        return tracing::warn!(
            "more was taken meanwhile than can be told; the next King finds the lease by itself"
        );
    };
    let succeed = wire::encode(&PeerMessage::Succeed { from: parts.king(), taken });
    let called = parts.bus.publish(&subject::peer(heir), &[], succeed).await;
    // This King may end at once.
    let called = match called {
        Ok(()) => parts.bus.flush().await,
        Err(error) => Err(error),
    };
    if let Err(error) = called {
        tracing::warn!(%error, "the next King was not called; it finds the lease by itself");
    }
}

pub(super) async fn refuse(bus: &Bus, message: &Message, refusal: Refusal) {
    answer(bus, message, &Transferred::Refused(refusal)).await;
}

async fn answer(bus: &Bus, message: &Message, transferred: &Transferred) {
    let format = Format::of(message.header(subject::HEADER_CONTENT_TYPE), &message.payload);
    if let Err(error) = bus.answer(message, format.encode(transferred)).await {
        tracing::warn!(%error, "whoever asked for the transfer was not answered");
    }
}

pub(super) fn busy() -> Refusal {
    refusal("king", "a transfer is under way", "wait for its end: see `kingctl king ls`")
}

fn unable(place: &KingPlace, reason: &str) -> Refusal {
    refusal("to", &format!("{} cannot follow: {reason}", place.name), "choose another: see `kingctl king ls`")
}

fn refusal(field: &str, rule: &str, fix: &str) -> Refusal {
    Refusal { code: RefusalCode::Conflict, field: field.into(), rule: rule.into(), fix: fix.into() }
}
