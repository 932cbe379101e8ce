//! Where commands and reports are heard, also across a planned hand-over: both Kings hear everything around the switch,
//! and each message is taken by one of them.
//!
//! The King before notes the mark of every message that it takes once its heir listens, and tells the marks when it has
//! taken the last. The heir passes over what bears one of them. So nothing is lost between the two and nothing is taken
//! twice, whichever of them a message reaches first.

use bus::Bus;
use bus::connect::SubscribeError;
use bus::message::{Message, Subscription};
use events::subject::{COMMANDS, HEADER_ID, REPORTS};
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Most marks that are noted; a hand-over takes milliseconds.
pub const MARKS: usize = 65_536;

/// Something that was heard.
#[derive(Debug)]
pub enum Heard {
    Command(Message),
    Reports(Message),
}

/// The two subscriptions of the King that writes.
#[derive(Debug)]
pub struct Ears {
    commands: Option<Subscription>,
    reports: Option<Subscription>,
    ledger: Ledger,
    /// What the King before has taken, and how often.
    passed: HashMap<u64, u32>,
}

impl Ears {
    /// Begins to hear. Nothing that comes from now on is missed.
    ///
    /// # Errors
    /// When the subjects cannot be subscribed to.
    pub async fn open(bus: &Bus, ledger: Ledger) -> Result<Self, SubscribeError> {
        let (commands, reports) = tokio::try_join!(bus.subscribe(COMMANDS), bus.subscribe(REPORTS))?;
        Ok(Self { commands: Some(commands), reports: Some(reports), ledger, passed: HashMap::new() })
    }

    /// Passes over what the King before has taken.
    pub fn pass_over(&mut self, marks: &[u64]) {
        for mark in marks {
            *self.passed.entry(*mark).or_default() += 1;
        }
    }

    /// Takes no more; what has come in already is still given, then none.
    pub async fn close(&mut self) {
        for subscription in [&mut self.commands, &mut self.reports].into_iter().flatten() {
            subscription.close().await;
        }
    }

    /// The next message; none when both have ended. Can be cancelled safely.
    pub async fn next(&mut self) -> Option<Heard> {
        loop {
            let heard = tokio::select! {
                Some(message) = next(&mut self.commands) => Heard::Command(message),
                Some(message) = next(&mut self.reports) => Heard::Reports(message),
                else => return None,
            };
            let (Heard::Command(message) | Heard::Reports(message)) = &heard;
            if self.is_taken(message) {
                return Some(heard);
            }
        }
    }

    /// A command that has come in already.
    pub fn ready_command(&mut self) -> Option<Message> {
        loop {
            let message = self.commands.as_mut()?.ready()?;
            if self.is_taken(&message) {
                return Some(message);
            }
        }
    }

    /// Whether this King takes it; if so, that is noted.
    fn is_taken(&mut self, message: &Message) -> bool {
        let taken = !self.is_passed(message);
        if taken {
            self.ledger.note(message);
        }
        taken
    }

    fn is_passed(&mut self, message: &Message) -> bool {
        if self.passed.is_empty() {
            return false;
        }
        let mark = mark(message);
        let Some(count) = self.passed.get_mut(&mark) else { return false };
        *count -= 1;
        if *count == 0 {
            self.passed.remove(&mark);
        }
        true
    }
}

/// The next message of a subscription; none, for good, once it has ended.
async fn next(subscription: &mut Option<Subscription>) -> Option<Message> {
    let message = subscription.as_mut()?.next().await;
    if message.is_none() {
        *subscription = None;
    }
    message
}

/// The marks of what is taken while a hand-over is under way. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    marks: Arc<Mutex<Option<Vec<u64>>>>,
}

impl Ledger {
    /// Notes from now on; to be called before the heir begins to hear.
    pub fn open(&self) {
        *self.marks() = Some(Vec::new());
    }

    /// Notes no more, and gives what was noted; none when it was not open, or more was taken than can be told.
    pub fn close(&self) -> Option<Vec<u64>> {
        self.marks().take().filter(|marks| marks.len() < MARKS)
    }

    fn note(&self, message: &Message) {
        if let Some(marks) = self.marks().as_mut().filter(|marks| marks.len() < MARKS) {
            marks.push(mark(message));
        }
    }

    fn marks(&self) -> MutexGuard<'_, Option<Vec<u64>>> {
        self.marks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What tells one message from another: both Kings are of one build, or the marks fit nothing and ids tell repetitions.
fn mark(message: &Message) -> u64 {
    let mut hasher = DefaultHasher::new();
    message.subject.hash(&mut hasher);
    message.reply.hash(&mut hasher);
    message.header(HEADER_ID).hash(&mut hasher);
    message.payload.hash(&mut hasher);
    hasher.finish()
}
