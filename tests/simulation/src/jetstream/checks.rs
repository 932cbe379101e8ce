//! What is checked before a message is stored, and in which order: with one replica the fences come before the id,
//! with three the id comes first.

use super::Replicas;
use super::message::{Message, Refusal, code};
use super::stream::Stream;

pub(super) const ID: &str = "Nats-Msg-Id";
const EXPECTED_STREAM: &str = "Nats-Expected-Stream";
const EXPECTED_LAST_ID: &str = "Nats-Expected-Last-Msg-Id";
const EXPECTED_LAST: &str = "Nats-Expected-Last-Sequence";
const EXPECTED_REVISION: &str = "Nats-Expected-Last-Subject-Sequence";

pub(super) enum Verdict {
    Store,
    Duplicate(u64),
}

pub(super) fn check(
    stream: &Stream,
    message: &Message,
    replicas: Replicas,
    now_ms: u64,
) -> Result<Verdict, Refusal> {
    let bytes = message.payload.len();
    if stream.config.max_message_bytes.is_some_and(|most| bytes > most) {
        return Err(Refusal::of(code::MESSAGE_TOO_LARGE));
    }
    if message.header(EXPECTED_STREAM).is_some_and(|name| name != stream.config.name) {
        return Err(Refusal::of(code::OTHER_STREAM));
    }
    let duplicate = known(stream, message, now_ms).map(Verdict::Duplicate);
    match replicas {
        Replicas::One => {
            fences(stream, message)?;
            Ok(duplicate.unwrap_or(Verdict::Store))
        }
        Replicas::Three => match duplicate {
            Some(duplicate) => Ok(duplicate),
            None => fences(stream, message).map(|()| Verdict::Store),
        },
    }
}

fn known(stream: &Stream, message: &Message, now_ms: u64) -> Option<u64> {
    let known = stream.ids.get(message.header(ID)?)?;
    (now_ms.saturating_sub(known.at_ms) < stream.config.duplicate_window_ms).then_some(known.sequence)
}

fn fences(stream: &Stream, message: &Message) -> Result<(), Refusal> {
    if let Some(expected) = message.number(EXPECTED_REVISION)
        && expected != stream.revision(&message.subject)
    {
        return Err(wrong_last(stream.revision(&message.subject)));
    }
    if let Some(expected) = message.number(EXPECTED_LAST)
        && expected != stream.last
    {
        return Err(wrong_last(stream.last));
    }
    match message.header(EXPECTED_LAST_ID) {
        Some(expected) if stream.last_id.as_deref() != Some(expected) => {
            Err(Refusal::of(code::WRONG_LAST_ID))
        }
        Some(_) | None => Ok(()),
    }
}

fn wrong_last(last: u64) -> Refusal {
    Refusal { code: code::WRONG_LAST_SEQUENCE, last: Some(last) }
}
