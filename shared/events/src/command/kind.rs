//! The kind of a command, as its events name it.

use super::Order;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::borrow::Cow;
use std::convert::Infallible;
use std::fmt;
use std::str::FromStr;

/// `<noun>.<verb>`. The text of a kind that this build knows is held once, for there is one in every event about a
/// command and in every outcome that is remembered.
#[derive(Clone, PartialEq, Eq)]
pub struct CommandKind(Cow<'static, str>);

impl CommandKind {
    /// The kind of an order.
    pub fn of(order: &Order) -> Self {
        Self(Cow::Borrowed(order.kind()))
    }

    /// The kind as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for CommandKind {
    fn from(text: &str) -> Self {
        let known = Order::kinds().map(|(kind, _)| kind).find(|kind| *kind == text);
        Self(known.map_or_else(|| Cow::Owned(text.to_owned()), Cow::Borrowed))
    }
}

/// An event may name a kind that this build has no more: every text is taken.
impl FromStr for CommandKind {
    type Err = Infallible;
    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(text.into())
    }
}

impl fmt::Display for CommandKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(&self.0)
    }
}

impl fmt::Debug for CommandKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, formatter)
    }
}

impl Serialize for CommandKind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for CommandKind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        crate::wire::parse_str(deserializer)
    }
}
