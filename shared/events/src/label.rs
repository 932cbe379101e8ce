//! Labels: what an administrator says of a servant (`role=web`), and selectors, which choose servants by them.
//!
//! A selector is a list of terms separated by commas; a servant is chosen when every term holds:
//!
//! | term | holds when the servant |
//! |---|---|
//! | `role=web` | has the label with this value |
//! | `role!=db` | has another value, or no such label |
//! | `zone` | has the label, whatever its value |
//! | `!zone` | has no such label |

use crate::LabelName;
use crate::limits::{LABEL_VALUE_BYTES, LABELS, SELECTOR_TERMS};
use crate::name::cut;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// The labels of a servant.
pub type Labels = BTreeMap<LabelName, LabelValue>;

/// Why a text is no label, no value of one or no selector.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LabelError {
    #[error(
        "{0:?} is not the value of a label: 1 to {LABEL_VALUE_BYTES} of A-Z, a-z, 0-9, '.', '_' and '-', starting and \
         ending with a letter or a digit"
    )]
    Value(String),
    #[error(transparent)]
    Name(#[from] crate::name::NameError),
    #[error("{0:?} is not a label: write it like role=web")]
    Pair(String),
    #[error("the label {0:?} is given twice")]
    Twice(LabelName),
    #[error("more than {LABELS} labels")]
    TooMany,
    #[error("the selector is empty: give terms like role=web, separated by commas")]
    Empty,
    #[error("the selector has more than {SELECTOR_TERMS} terms")]
    TooLong,
}

/// The value of a label.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LabelValue(Arc<str>);

impl LabelValue {
    /// The value as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for LabelValue {
    type Err = LabelError;
    fn from_str(text: &str) -> Result<Self, LabelError> {
        let edge = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
        let inside = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
        let bytes = text.as_bytes();
        let fits = bytes.len() <= LABEL_VALUE_BYTES && bytes.iter().copied().all(inside);
        if fits && edge(bytes.first()) && edge(bytes.last()) {
            Ok(Self(text.into()))
        } else {
            Err(LabelError::Value(cut(text)))
        }
    }
}

impl fmt::Display for LabelValue {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(&self.0)
    }
}

impl fmt::Debug for LabelValue {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, formatter)
    }
}

impl Serialize for LabelValue {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for LabelValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        crate::wire::parse_str(deserializer)
    }
}

/// One label: `role=web`.
///
/// # Errors
/// When there is no `=`, or the name or the value breaks its rule.
pub fn parse_label(text: &str) -> Result<(LabelName, LabelValue), LabelError> {
    let (name, value) = text.split_once('=').ok_or_else(|| LabelError::Pair(cut(text)))?;
    Ok((name.parse()?, value.parse()?))
}

/// Labels out of a list of them, each name once.
///
/// # Errors
/// When a name comes twice, or there are too many.
pub fn collect(labels: impl IntoIterator<Item = (LabelName, LabelValue)>) -> Result<Labels, LabelError> {
    let mut collected = Labels::new();
    for (name, value) in labels {
        if collected.insert(name.clone(), value).is_some() {
            return Err(LabelError::Twice(name));
        }
    }
    if collected.len() > LABELS { Err(LabelError::TooMany) } else { Ok(collected) }
}

/// Chooses servants by their labels; never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selector(Vec<Term>);

/// What one term of a selector asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Term {
    Is(LabelName, LabelValue),
    IsNot(LabelName, LabelValue),
    Has(LabelName),
    Lacks(LabelName),
}

impl Selector {
    /// Whether every term holds for these labels.
    pub fn chooses(&self, labels: &Labels) -> bool {
        self.0.iter().all(|term| term.holds(labels))
    }
}

impl Term {
    fn holds(&self, labels: &Labels) -> bool {
        match self {
            Self::Is(name, value) => labels.get(name) == Some(value),
            Self::IsNot(name, value) => labels.get(name) != Some(value),
            Self::Has(name) => labels.contains_key(name),
            Self::Lacks(name) => !labels.contains_key(name),
        }
    }
}

impl FromStr for Term {
    type Err = LabelError;
    fn from_str(text: &str) -> Result<Self, LabelError> {
        if let Some((name, value)) = text.split_once("!=") {
            return Ok(Self::IsNot(name.parse()?, value.parse()?));
        }
        if let Some((name, value)) = text.split_once('=') {
            return Ok(Self::Is(name.parse()?, value.parse()?));
        }
        match text.strip_prefix('!') {
            Some(name) => Ok(Self::Lacks(name.parse()?)),
            None => Ok(Self::Has(text.parse()?)),
        }
    }
}

impl FromStr for Selector {
    type Err = LabelError;
    fn from_str(text: &str) -> Result<Self, LabelError> {
        if text.trim().is_empty() {
            return Err(LabelError::Empty);
        }
        let terms: Vec<&str> = text.splitn(SELECTOR_TERMS + 1, ',').collect();
        if terms.len() > SELECTOR_TERMS {
            return Err(LabelError::TooLong);
        }
        terms.into_iter().map(|term| term.trim().parse()).collect::<Result<_, _>>().map(Self)
    }
}

impl fmt::Display for Term {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Is(name, value) => write!(formatter, "{name}={value}"),
            Self::IsNot(name, value) => write!(formatter, "{name}!={value}"),
            Self::Has(name) => write!(formatter, "{name}"),
            Self::Lacks(name) => write!(formatter, "!{name}"),
        }
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, term) in self.0.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            write!(formatter, "{comma}{term}")?;
        }
        Ok(())
    }
}

impl Serialize for Selector {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Selector {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        crate::wire::parse_str(deserializer)
    }
}
