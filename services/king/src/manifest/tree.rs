//! YAML as a plain tree in which every value and key knows its place. The only module that names the YAML library.
//!
//! Numbers and booleans stay as they were written: `1.10` in an environment is the text `1.10`. Anchors and aliases
//! work within the library's budgets, so that a small file cannot unfold into a large tree.

use super::{KING_YAML, ManifestProblem, Place};
use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{Location, Spanned};
use std::fmt;

/// Most values and keys in one manifest, aliases unfolded.
const NODES: usize = 20_000;
/// Deepest nesting; the format itself needs five levels.
const DEPTH: usize = 16;

/// A value with its place.
#[derive(Debug)]
pub struct Node {
    pub place: Place,
    pub value: Value,
}

/// A value.
#[derive(Debug)]
pub enum Value {
    /// Absent, `null` or `~`.
    Nothing,
    /// A text.
    Text(String),
    /// A number, a boolean or what YAML takes for one, as it was written.
    Plain(String),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// A key with its value.
#[derive(Debug)]
pub struct Entry {
    pub key: String,
    pub place: Place,
    pub node: Node,
}

/// Parses one document. An empty one is nothing.
pub fn parse(text: &str) -> Result<Node, ManifestProblem> {
    let budget = serde_saphyr::budget! {
        max_nodes: NODES,
        max_events: 4 * NODES,
        max_depth: DEPTH,
        max_documents: 1,
        max_anchors: 100,
        max_aliases: 1000,
        max_merge_keys: 100,
        max_total_scalar_bytes: 1024 * 1024,
    };
    let options = serde_saphyr::options! {
        budget: budget,
        duplicate_keys: serde_saphyr::DuplicateKeyPolicy::Error,
        with_snippet: false,
        emit_comments: false,
    };
    let raw: Spanned<Raw> =
        serde_saphyr::from_str_with_options(text, options).map_err(|error| problem(&error))?;
    Ok(node(raw, text))
}

fn problem(error: &serde_saphyr::Error) -> ManifestProblem {
    let error = error.without_snippet();
    let place = error.location().map_or(Place::START, place);
    ManifestProblem { file: KING_YAML, place, reason: reason(error) }
}

fn reason(error: &serde_saphyr::Error) -> String {
    use serde_saphyr::Error;
    match error {
        Error::DuplicateMappingKey { key: Some(key), .. } => format!("the key {key:?} stands here twice"),
        Error::Budget { .. } => {
            format!("is too large: at most one document, {NODES} values and keys, {DEPTH} levels deep")
        }
        // The library has many more; its own words end with the place, which is said already.
        other => {
            let text = other.to_string();
            let text = text.rsplit_once(" at line ").map_or(text.as_str(), |(reason, _)| reason);
            text.lines().next().unwrap_or("is not YAML").to_owned()
        }
    }
}

fn place(location: Location) -> Place {
    if location.line() == 0 {
        return Place::START;
    }
    Place { line: location.line(), column: location.column() }
}

/// What serde hands over, before the texts of plain values are taken from the source.
enum Raw {
    Nothing,
    Text(String),
    Plain,
    List(Vec<Spanned<Raw>>),
    Map(Vec<(Spanned<String>, Spanned<Raw>)>),
}

fn node(raw: Spanned<Raw>, text: &str) -> Node {
    let value = match raw.value {
        Raw::Nothing => Value::Nothing,
        Raw::Text(value) => Value::Text(value),
        Raw::Plain => Value::Plain(source(raw.defined, text).trim().to_owned()),
        Raw::List(items) => Value::List(items.into_iter().map(|item| node(item, text)).collect()),
        Raw::Map(entries) => Value::Map(
            entries
                .into_iter()
                .map(|(key, value)| Entry {
                    place: place(key.referenced),
                    key: key.value,
                    node: node(value, text),
                })
                .collect(),
        ),
    };
    Node { place: place(raw.referenced), value }
}

fn source(location: Location, text: &str) -> &str {
    let span = location.span();
    let range = span.byte_offset().zip(span.byte_len());
    range
        .and_then(|(start, length)| {
            let start = usize::try_from(start).ok()?;
            text.get(start..start.checked_add(usize::try_from(length).ok()?)?)
        })
        .unwrap_or_default()
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RawVisitor)
    }
}

struct RawVisitor;

impl<'de> Visitor<'de> for RawVisitor {
    type Value = Raw;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a text, a number, a list or a map")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Raw, E> {
        Ok(Raw::Nothing)
    }

    fn visit_none<E: de::Error>(self) -> Result<Raw, E> {
        Ok(Raw::Nothing)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Raw, D::Error> {
        Raw::deserialize(deserializer)
    }

    fn visit_bool<E: de::Error>(self, _: bool) -> Result<Raw, E> {
        Ok(Raw::Plain)
    }

    fn visit_i64<E: de::Error>(self, _: i64) -> Result<Raw, E> {
        Ok(Raw::Plain)
    }

    fn visit_u64<E: de::Error>(self, _: u64) -> Result<Raw, E> {
        Ok(Raw::Plain)
    }

    fn visit_i128<E: de::Error>(self, _: i128) -> Result<Raw, E> {
        Ok(Raw::Plain)
    }

    fn visit_u128<E: de::Error>(self, _: u128) -> Result<Raw, E> {
        Ok(Raw::Plain)
    }

    fn visit_f64<E: de::Error>(self, _: f64) -> Result<Raw, E> {
        Ok(Raw::Plain)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Raw, E> {
        Ok(Raw::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Raw, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = sequence.next_element()? {
            items.push(item);
        }
        Ok(Raw::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Raw, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(Raw::Map(entries))
    }
}
