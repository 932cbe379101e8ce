//! What other Kings, and people, say to this one.

use crate::status::Status;
use crate::throne::Parts;
use crate::writer::Ears;
use bus::connect::SubscribeError;
use bus::message::{Message, Subscription};
use events::peer::{PeerAnswer, PeerMessage};
use events::query::KingRole;
use events::subject::{self, TRANSFERS};
use events::wire;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;

/// How long a backup that was told to prepare keeps what it hears, if nothing follows.
const PREPARED: Duration = Duration::from_secs(10);

/// What the helm has to know.
pub(super) enum Letter {
    /// The lease is this King's.
    Called,
    /// Somebody wants another King to write.
    Transfer(Message),
}

pub(super) struct Peers {
    parts: Parts,
    status: Status,
    own: Subscription,
    transfers: Subscription,
    letters: mpsc::Sender<Letter>,
    /// When what was prepared is forgotten.
    forget_at: Option<Instant>,
}

impl Peers {
    pub async fn open(
        parts: &Parts,
        status: &Status,
        letters: mpsc::Sender<Letter>,
    ) -> Result<Self, SubscribeError> {
        let own = parts.bus.subscribe(&subject::peer(parts.king())).await?;
        let transfers = parts.bus.subscribe(TRANSFERS).await?;
        let (parts, status) = (parts.clone(), status.clone());
        Ok(Self { parts, status, own, transfers, letters, forget_at: None })
    }

    /// Hears until the connection or the helm is gone.
    pub async fn run(mut self) {
        loop {
            let letter = tokio::select! {
                message = self.own.next() => match message {
                    Some(message) => self.hear(message).await,
                    None => return,
                },
                message = self.transfers.next() => match message {
                    Some(message) => Some(Letter::Transfer(message)),
                    None => return,
                },
                () = super::until(self.forget_at) => {
                    self.forget_at = None;
                    self.parts.prepared.clear();
                    None
                }
            };
            if let Some(letter) = letter
                && self.letters.send(letter).await.is_err()
            {
                return;
            }
        }
    }

    async fn hear(&mut self, message: Message) -> Option<Letter> {
        match wire::decode(&message.payload) {
            Ok(PeerMessage::Prepare { from }) => {
                let answer = self.prepare().await;
                tracing::info!(%from, ?answer, "told to prepare to write");
                self.answer(&message, &answer).await;
                None
            }
            Ok(PeerMessage::Succeed { from, taken }) => {
                let heard = self.parts.prepared.hand_over(&taken);
                tracing::info!(%from, taken = taken.len(), heard, "told to write");
                self.forget_at = None;
                self.answer(&message, &self.done()).await;
                Some(Letter::Called)
            }
            Err(error) => {
                let reason = error.reason();
                tracing::warn!(subject = &*message.subject, reason, "message of a King cannot be read");
                None
            }
        }
    }

    async fn prepare(&mut self) -> PeerAnswer {
        let role = self.status.role();
        if role != KingRole::Backup {
            return PeerAnswer::Unable { reason: format!("this King is {role}, and not a backup") };
        }
        match Ears::open(&self.parts.bus, self.parts.ledger.clone()).await {
            Ok(ears) => {
                self.parts.prepared.put(ears);
                self.forget_at = Some(Instant::now() + PREPARED);
                self.done()
            }
            Err(error) => PeerAnswer::Unable { reason: service::chain(&error) },
        }
    }

    fn done(&self) -> PeerAnswer {
        PeerAnswer::Done { sequence: self.status.place().sequence }
    }

    async fn answer(&self, message: &Message, answer: &PeerAnswer) {
        if let Err(error) = self.parts.bus.answer(message, wire::encode(answer)).await {
            tracing::warn!(%error, "a King was not answered");
        }
    }
}
