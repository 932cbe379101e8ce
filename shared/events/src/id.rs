//! Ids: newtypes, made by parsing or by the edge that is allowed to draw random numbers.

use crate::limits::{ACTOR_BYTES, COMMAND_ID_BYTES};
use crate::name::cut;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, LazyLock};
use uuid::Uuid;

/// Why a text is no id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{found:?} is not {wanted}")]
pub struct IdError {
    /// What was wanted, with its rule.
    pub wanted: &'static str,
    /// What was found, cut to a length that can be printed.
    pub found: String,
}

macro_rules! uuids {
    ($($(#[$doc:meta])* $Id:ident = $wanted:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $Id(pub Uuid);

        impl FromStr for $Id {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                Uuid::from_str(text).map(Self).map_err(|_| IdError { wanted: $wanted, found: cut(text) })
            }
        }

        impl fmt::Display for $Id {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, formatter)
            }
        }

        impl fmt::Debug for $Id {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, formatter)
            }
        }
    )*};
}

uuids! {
    /// One running copy of a process type. Kept across restarts.
    InstanceId = "the id of an instance (a UUID)";
    /// A servant: made once, lives in its data folder.
    ServantId = "the id of a servant (a UUID)";
    /// A run of a command on servants: made by whoever asks for it.
    ExecId = "the id of a run (a UUID)";
    /// A King process: made at each start.
    KingId = "the id of a King (a UUID)";
}

fn is_printable(text: &str, most: usize) -> bool {
    !text.is_empty() && text.len() <= most && text.bytes().all(|byte| byte.is_ascii_graphic())
}

macro_rules! tokens {
    ($($(#[$doc:meta])* $Token:ident: $most:expr, $wanted:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $Token(Arc<str>);

        impl $Token {
            /// The token as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl AsRef<str> for $Token {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $Token {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                if is_printable(text, $most) {
                    Ok(Self(text.into()))
                } else {
                    Err(IdError { wanted: $wanted, found: cut(text) })
                }
            }
        }

        impl fmt::Display for $Token {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.pad(&self.0)
            }
        }

        impl fmt::Debug for $Token {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, formatter)
            }
        }

        impl Serialize for $Token {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $Token {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                crate::wire::parse_str(deserializer)
            }
        }
    )*};
}

tokens! {
    /// The id of a command: given by its sender in `Nats-Msg-Id`, so that it can be sent again safely.
    CommandId: COMMAND_ID_BYTES, "a command id (1 to 128 printable ASCII characters without spaces)";
    /// Who did it: taken as told until there are accounts.
    Actor: ACTOR_BYTES, "an actor (1 to 128 printable ASCII characters without spaces)";
}

impl CommandId {
    /// A command id from a UUID.
    pub fn from_uuid(id: Uuid) -> Self {
        Self(id.to_string().into())
    }
}

impl Actor {
    /// The actor of commands that name none: of very many.
    pub fn anonymous() -> Self {
        static SHARED: LazyLock<Actor> = LazyLock::new(|| Actor("anonymous".into()));
        SHARED.clone()
    }

    /// The actor of what a King does of its own accord.
    pub fn king() -> Self {
        Self("king".into())
    }
}

macro_rules! hashes {
    ($($(#[$doc:meta])* $Hash:ident: $length:literal, $wanted:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $Hash([u8; $length]);

        impl $Hash {
            /// The hash from its bytes.
            pub const fn from_bytes(bytes: [u8; $length]) -> Self {
                Self(bytes)
            }

            /// The bytes of the hash.
            pub const fn as_bytes(&self) -> &[u8; $length] {
                &self.0
            }
        }

        impl FromStr for $Hash {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                let wrong = || IdError { wanted: $wanted, found: cut(text) };
                let mut bytes = [0; $length];
                if text.len() != 2 * $length || !text.is_ascii() {
                    return Err(wrong());
                }
                for (index, byte) in bytes.iter_mut().enumerate() {
                    let pair = &text[2 * index..2 * index + 2];
                    if pair.bytes().any(|digit| !matches!(digit, b'0'..=b'9' | b'a'..=b'f')) {
                        return Err(wrong());
                    }
                    *byte = u8::from_str_radix(pair, 16).map_err(|_| wrong())?;
                }
                Ok(Self(bytes))
            }
        }

        impl fmt::Display for $Hash {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(formatter, "{byte:02x}"))
            }
        }

        impl fmt::Debug for $Hash {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, formatter)
            }
        }

        impl Serialize for $Hash {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $Hash {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                crate::wire::parse_str(deserializer)
            }
        }
    )*};
}

hashes! {
    /// The BLAKE3 hash of an object in the artifact store, or of a commit of the log.
    Digest: 32, "a BLAKE3 digest (64 lower-case hexadecimal digits)";
    /// The public key (Ed25519) by which a King's signatures are checked; it is its own id.
    KingKey: 32, "a public key (64 lower-case hexadecimal digits)";
    /// A signature (Ed25519).
    Signature: 64, "a signature (128 lower-case hexadecimal digits)";
    /// The id of a Git commit (SHA-1).
    CommitHash: 20, "a Git commit id (40 lower-case hexadecimal digits)";
}

impl Digest {
    /// The digest of some bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(*blake3::hash(bytes).as_bytes())
    }

    /// What the first commit of a log names as the commit before it.
    pub const ZERO: Self = Self([0; 32]);
}
