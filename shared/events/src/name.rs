//! Names: DNS labels, made only by parsing. So no name can hold a dot, `*`, `>`, white space or a path. A clone shares the
//! text: names stand in every event and view.

use crate::limits::NAME_BYTES;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, LazyLock};

/// Why a text is no name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{noun} {found:?} is not a name: 1 to 63 of a-z, 0-9 and '-', starting and ending with a letter or a digit"
)]
pub struct NameError {
    /// Which kind of name was wanted, for example "app".
    pub noun: &'static str,
    /// What was found, cut to a length that can be printed.
    pub found: String,
}

fn is_label(text: &str) -> bool {
    let edge = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = text.as_bytes();
    match (bytes.first(), bytes.last()) {
        (Some(&first), Some(&last)) => {
            bytes.len() <= NAME_BYTES
                && edge(first)
                && edge(last)
                && bytes.iter().all(|&byte| edge(byte) || byte == b'-')
        }
        _ => false,
    }
}

/// The first 64 characters, for messages about texts of any length.
pub(crate) fn cut(text: &str) -> String {
    let mut short: String = text.chars().take(64).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}

macro_rules! names {
    ($($(#[$doc:meta])* $Name:ident = $noun:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $Name(Arc<str>);

        impl $Name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl AsRef<str> for $Name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $Name {
            type Err = NameError;
            fn from_str(text: &str) -> Result<Self, NameError> {
                if is_label(text) {
                    Ok(Self(text.into()))
                } else {
                    Err(NameError { noun: $noun, found: cut(text) })
                }
            }
        }

        impl fmt::Display for $Name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.pad(&self.0)
            }
        }

        impl fmt::Debug for $Name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, formatter)
            }
        }

        impl Serialize for $Name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $Name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                crate::wire::parse_str(deserializer)
            }
        }
    )*};
}

names! {
    /// The name of an app: a Git repository pushed to the King.
    AppName = "app";
    /// The name of a process type of an app, such as `web`.
    ProcessName = "process type";
    /// The name of a servant.
    ServantName = "servant";
    /// The name of a domain: a set of servants under one Foreman.
    DomainName = "domain";
    /// The name of a port of a process type, such as `http`.
    PortName = "port";
    /// The name of a King among the Kings of a kingdom.
    KingName = "king";
    /// The name of an event that an app tells of, such as `order-placed`.
    EventName = "event";
    /// The name of a gauge, a counter or one of their tags.
    SeriesName = "series";
    /// The name of a label of a servant, such as `role`.
    LabelName = "label";
}

impl ProcessName {
    /// `web`: the process type that a bare count means.
    pub fn web() -> Self {
        Self("web".into())
    }
}

impl DomainName {
    /// `default`: the domain of a small installation, and of events that belong to no servant.
    pub fn default_domain() -> Self {
        static SHARED: LazyLock<DomainName> = LazyLock::new(|| DomainName("default".into()));
        SHARED.clone()
    }
}

impl PortName {
    /// `http`: the port that `web` has when its manifest names none.
    pub fn http() -> Self {
        Self("http".into())
    }

    /// The environment variable that carries this port: `PORT_HTTP` for `http`.
    pub fn variable(&self) -> String {
        format!("PORT_{}", self.0.to_ascii_uppercase().replace('-', "_"))
    }
}

/// Parse errors in serde positions carry the field's path by serde itself.
pub(crate) fn custom<E: de::Error>(error: impl fmt::Display) -> E {
    E::custom(error)
}
