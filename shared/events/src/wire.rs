//! Bytes: MessagePack with named fields for everything, JSON too for what people send.

use crate::command::Order;
use crate::kinds::Kinded;
use crate::limits::MESSAGE_BYTES;
use rmp_serde::decode::ReadRefReader;
use serde::de::{DeserializeOwned, DeserializeSeed, Deserializer, IgnoredAny, Visitor};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::fmt;
use std::io::ErrorKind;
use std::marker::PhantomData;
use std::str::FromStr;

/// Why some bytes are not what they should be.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    #[error("{bytes} bytes; at most {MESSAGE_BYTES}")]
    TooLarge { bytes: usize },
    #[error("not the MessagePack that was expected")]
    MessagePack(#[source] rmp_serde::decode::Error),
    #[error("not the JSON that was expected")]
    Json(#[source] serde_json::Error),
    #[error("bytes follow the end of the message")]
    Trailing,
}

impl WireError {
    /// The reason in words, source included: for people.
    pub fn reason(&self) -> String {
        match self {
            Self::MessagePack(source) => format!("{self}: {source}"),
            Self::Json(source) => format!("{self}: {source}"),
            Self::TooLarge { .. } | Self::Trailing => self.to_string(),
        }
    }
}

/// In which of the two formats a message is, and its answer shall be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    MessagePack,
    Json,
}

impl Format {
    /// JSON when the header says so or the payload is empty or starts like a text; else MessagePack, whose maps and lists
    /// never start with an ASCII character.
    pub fn of(content_type: Option<&str>, payload: &[u8]) -> Self {
        let says_json = content_type.is_some_and(|value| value.starts_with("application/json"));
        if says_json || payload.first().is_none_or(u8::is_ascii) { Self::Json } else { Self::MessagePack }
    }

    /// Encodes in this format.
    pub fn encode<T: Serialize>(self, value: &T) -> Vec<u8> {
        match self {
            Self::MessagePack => encode(value),
            Self::Json => {
                serde_json::to_vec(value).expect("the kingdom's shapes have text keys and encode as JSON")
            }
        }
    }

    /// Decodes from this format.
    ///
    /// # Errors
    /// When the bytes are too large, are not of this format, or are not this shape.
    pub fn decode<T: DeserializeOwned>(self, bytes: &[u8]) -> Result<T, WireError> {
        limited(bytes)?;
        match self {
            Self::MessagePack => decode(bytes),
            Self::Json => serde_json::from_slice(bytes).map_err(WireError::Json),
        }
    }

    /// Decodes the data of a command whose kind stands in its subject.
    ///
    /// # Errors
    /// As [`Format::decode`], and when the kind or schema is unknown.
    pub fn decode_order(self, kind: &str, schema: u16, bytes: &[u8]) -> Result<Order, WireError> {
        limited(bytes)?;
        match self {
            Self::MessagePack => {
                let mut deserializer = rmp_serde::Deserializer::from_read_ref(bytes);
                deserializer.set_max_depth(DEPTH);
                let order = Order::deserialize_data(kind, schema, &mut deserializer)
                    .map_err(WireError::MessagePack)?;
                nothing_follows(deserializer)?;
                Ok(order)
            }
            Self::Json => {
                let mut deserializer = serde_json::Deserializer::from_slice(bytes);
                let order =
                    Order::deserialize_data(kind, schema, &mut deserializer).map_err(WireError::Json)?;
                deserializer.end().map_err(WireError::Json)?;
                Ok(order)
            }
        }
    }
}

/// How deep a command may be nested: manifests need 7 levels.
const DEPTH: usize = 32;

fn limited(bytes: &[u8]) -> Result<(), WireError> {
    if bytes.len() > MESSAGE_BYTES { Err(WireError::TooLarge { bytes: bytes.len() }) } else { Ok(()) }
}

/// Encodes as MessagePack with named fields, so that fields can be added.
pub fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    rmp_serde::to_vec_named(value).expect("the kingdom's shapes have known lengths and encode as MessagePack")
}

/// Encodes as [`encode`] does, at the end of what is there.
pub fn encode_onto<T: Serialize>(bytes: &mut Vec<u8>, value: &T) {
    rmp_serde::encode::write_named(bytes, value)
        .expect("the kingdom's shapes have known lengths and encode as MessagePack");
}

/// Encodes the data of an order, as its message carries it.
pub fn encode_order(order: &Order) -> Vec<u8> {
    encode(&crate::kinds::Data(order))
}

/// Decodes MessagePack of any size: for what the kingdom itself has stored.
///
/// # Errors
/// When the bytes are not exactly one value of this shape.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, WireError> {
    let mut deserializer = rmp_serde::Deserializer::from_read_ref(bytes);
    let value = T::deserialize(&mut deserializer).map_err(WireError::MessagePack)?;
    nothing_follows(deserializer)?;
    Ok(value)
}

/// The reader lends texts out of the bytes but does not tell how many are left: so another value is asked for.
fn nothing_follows(
    mut deserializer: rmp_serde::Deserializer<ReadRefReader<'_, [u8]>>,
) -> Result<(), WireError> {
    match IgnoredAny::deserialize(&mut deserializer) {
        Err(rmp_serde::decode::Error::InvalidMarkerRead(error))
            if error.kind() == ErrorKind::UnexpectedEof =>
        {
            Ok(())
        }
        Ok(_) | Err(_) => Err(WireError::Trailing),
    }
}

/// Deserializes by parsing a text, without an allocation where the format lends it.
pub(crate) fn parse_str<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr,
    T::Err: fmt::Display,
{
    struct Parse<T>(PhantomData<T>);

    impl<T> Visitor<'_> for Parse<T>
    where
        T: FromStr,
        T::Err: fmt::Display,
    {
        type Value = T;

        fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
            formatter.write_str("a text")
        }

        fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<T, E> {
            text.parse().map_err(crate::name::custom)
        }
    }

    deserializer.deserialize_str(Parse(PhantomData))
}

/// The field names of envelopes, told apart where they lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Field {
    Id,
    At,
    Actor,
    Cause,
    Domain,
    Kind,
    Schema,
    Data,
}

impl FromStr for Field {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        Ok(match text {
            "id" => Self::Id,
            "at" => Self::At,
            "actor" => Self::Actor,
            "cause" => Self::Cause,
            "domain" => Self::Domain,
            "kind" => Self::Kind,
            "schema" => Self::Schema,
            "data" => Self::Data,
            other => return Err(format!("unknown field `{}`", crate::name::cut(other))),
        })
    }
}

impl<'de> Deserialize<'de> for Field {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        parse_str(deserializer)
    }
}

/// Deserializes by parsing a text; one that is the same as before is shared instead. So what stands in every event of a
/// commit is held once.
pub(crate) struct Like<'a, T>(pub Option<&'a T>);

impl<'de, T> DeserializeSeed<'de> for Like<'_, T>
where
    T: FromStr + Clone + AsRef<str>,
    T::Err: fmt::Display,
{
    type Value = T;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<T, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<T> Visitor<'_> for Like<'_, T>
where
    T: FromStr + Clone + AsRef<str>,
    T::Err: fmt::Display,
{
    type Value = T;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a text")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<T, E> {
        match self.0 {
            Some(before) if before.as_ref() == text => Ok(before.clone()),
            Some(_) | None => text.parse().map_err(crate::name::custom),
        }
    }
}

/// A kind, lent out of the bytes where the format can.
#[derive(Deserialize)]
#[serde(transparent)]
pub(crate) struct Kind<'a>(#[serde(borrow)] pub Cow<'a, str>);

/// Bytes as MessagePack's own binary type, and as a list of numbers in JSON.
pub(crate) mod bytes {
    use serde::de::{Deserializer, SeqAccess, Visitor};
    use serde::ser::Serializer;
    use std::fmt;

    pub fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(bytes)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        struct Bytes;

        impl<'de> Visitor<'de> for Bytes {
            type Value = Vec<u8>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("bytes")
            }

            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Vec<u8>, E> {
                Ok(bytes.to_vec())
            }

            fn visit_byte_buf<E>(self, bytes: Vec<u8>) -> Result<Vec<u8>, E> {
                Ok(bytes)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Vec<u8>, A::Error> {
                let mut bytes = Vec::new();
                while let Some(byte) = sequence.next_element()? {
                    bytes.push(byte);
                }
                Ok(bytes)
            }
        }

        deserializer.deserialize_byte_buf(Bytes)
    }
}
