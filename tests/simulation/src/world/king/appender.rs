//! One commit on its way: the real machine, with the questions that it asks.

use super::super::net::{MS, Net};
use super::super::packet::{Ask, Failure, Node, Reply, Timer};
use super::super::tail::REQUEST;
use super::again;
use crate::coverage::Sight;
use crate::jetstream::Message;
use bus::log::{Append, Appending, Attempt, Ending, Next, Witness};
use bus::{ApiError, RequestError};
use events::subject::{LOG_STREAM, LOG_SUBJECT};

/// Before another attempt.
const BACKOFF: (u64, u64) = (20 * MS, 500 * MS);

/// A commit on its way.
pub struct Appender {
    node: Node,
    pub append: Append,
    appending: Appending,
    /// The first attempt's outcome, while commits before this one are on their way.
    first: Option<Attempt>,
    is_settling: bool,
    asked: Option<(u64, Question)>,
    attempts: u32,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Question {
    Attempt,
    ReadBack,
    Measure,
}

/// How it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Open,
    Stored(u64),
    Deposed,
    Shorter,
    Refused,
}

impl Appender {
    pub fn new(node: Node, append: Append) -> Self {
        let appending = Appending::after(append.expected_last);
        Self { node, append, appending, first: None, is_settling: false, asked: None, attempts: 0 }
    }

    /// Whether it may be stored although nothing says so.
    pub fn is_doubtful(&self) -> bool {
        self.appending.is_doubtful() || matches!(self.asked, Some((_, Question::Attempt)))
    }

    /// Makes an attempt: the first one behind those before it, each later one alone.
    pub fn attempt(&mut self, net: &mut Net) {
        self.attempts += 1;
        let append = match self.attempts {
            1 => self.append.clone(),
            _ => Append { follows: None, ..self.append.clone() },
        };
        let headers = append.headers();
        let headers: Vec<(&str, &str)> =
            headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let message = Message::new(LOG_SUBJECT, &headers, append.payload);
        self.ask(net, Ask::Publish(message), Question::Attempt);
    }

    fn ask(&mut self, net: &mut Net, ask: Ask, question: Question) {
        self.asked = Some((net.ask(self.node, ask, REQUEST), question));
    }

    /// Everything before it is stored: what came of it counts from here on.
    pub fn begin_to_settle(&mut self) {
        self.is_settling = true;
    }

    /// What came of the first attempt while it had to wait.
    pub fn settle(&mut self, net: &mut Net) -> Outcome {
        self.is_settling = true;
        match self.first.take() {
            Some(attempt) => {
                let next = self.appending.attempted(attempt);
                self.follow(net, next)
            }
            None => Outcome::Open,
        }
    }

    /// Whether it was its question.
    pub fn asked(&self, call: u64) -> bool {
        self.asked.is_some_and(|(asked, _)| asked == call)
    }

    /// An answer came.
    pub fn done(&mut self, net: &mut Net, call: u64, result: &Result<Reply, Failure>) -> Outcome {
        let Some((_, question)) = self.asked.take_if(|(asked, _)| *asked == call) else {
            return Outcome::Open;
        };
        let next = match question {
            Question::Attempt => {
                let attempt = attempt_of(result);
                if !self.is_settling {
                    self.first = Some(attempt);
                    return Outcome::Open;
                }
                self.appending.attempted(attempt)
            }
            Question::ReadBack => {
                let witness = self.witness(result);
                if witness == Witness::Own {
                    net.saw(Sight::ResolvedAsOwn);
                }
                self.appending.read_back(witness)
            }
            Question::Measure => {
                let last = match result {
                    Ok(Reply::State(state)) => Some(state.last),
                    Ok(_) | Err(_) => None,
                };
                self.appending.measured(last)
            }
        };
        self.follow(net, next)
    }

    fn witness(&self, result: &Result<Reply, Failure>) -> Witness {
        match result {
            Ok(Reply::Found(Some((_, message)))) if message.payload == self.append.payload => Witness::Own,
            Ok(Reply::Found(Some(_))) => Witness::Another,
            Ok(Reply::Found(None)) => Witness::Nothing,
            Ok(_) | Err(_) => Witness::Unread,
        }
    }

    fn follow(&mut self, net: &mut Net, next: Next) -> Outcome {
        let sequence = self.appending.sequence();
        match next {
            Next::ReadBack => {
                self.ask(net, Ask::Read { stream: LOG_STREAM, sequence }, Question::ReadBack);
                Outcome::Open
            }
            Next::Measure => {
                self.ask(net, Ask::State { stream: LOG_STREAM }, Question::Measure);
                Outcome::Open
            }
            Next::Again => {
                let wait = (BACKOFF.0 << self.attempts.min(6)).min(BACKOFF.1);
                net.wake(self.node, wait, Timer::Again(again::APPEND));
                Outcome::Open
            }
            Next::Done(Ending::Stored(sequence)) => Outcome::Stored(sequence),
            Next::Done(Ending::Deposed) => Outcome::Deposed,
            Next::Done(Ending::Shorter { .. }) => Outcome::Shorter,
            Next::Done(Ending::Refused) => Outcome::Refused,
        }
    }

    /// The moment before another attempt has passed.
    pub fn again(&mut self, net: &mut Net) {
        if self.asked.is_none() && self.is_settling {
            if self.appending.is_doubtful() {
                net.saw(Sight::AppendedAgain);
            }
            self.attempt(net);
        }
    }
}

fn attempt_of(result: &Result<Reply, Failure>) -> Attempt {
    match result {
        Ok(Reply::Ack(ack)) => Attempt::Stored(ack.sequence),
        Ok(_) => Attempt::Unclear,
        Err(failure) => bus::log::judge(&error_of(failure)),
    }
}

/// A failure as the real shell meets it.
pub fn error_of(failure: &Failure) -> ApiError {
    let subject = LOG_SUBJECT.to_owned();
    match failure {
        Failure::TimedOut => {
            RequestError::TimedOut { subject, waited: std::time::Duration::from_secs(1) }.into()
        }
        Failure::NoResponders => RequestError::NoResponders { subject }.into(),
        Failure::Cut => RequestError::Disconnected { subject, maybe_sent: true }.into(),
        Failure::NotSent => RequestError::Disconnected { subject, maybe_sent: false }.into(),
        Failure::Refused(refusal) => {
            let status = if refusal.code == crate::jetstream::code::UNAVAILABLE { 503 } else { 400 };
            ApiError::Refused { status, code: refusal.code, reason: String::new() }
        }
    }
}
