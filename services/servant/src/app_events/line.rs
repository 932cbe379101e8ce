//! What an app can say in one line: a JSON object that holds `event`, `gauge`, `counter` or `lost`.
//!
//! `docs/app-events.md` describes it for people. Any bytes may come: what is no line is an error, never a panic.

use events::fields::{Fields, FieldsError};
use events::limits::{APP_LINE_BYTES, TAG_BYTES, TAGS};
use events::metric::{SeriesKind, Tags};
use events::{EventName, SeriesName};
use serde::Deserialize;
use serde_json::{Map, Value};

/// What was said.
#[derive(Clone, Debug, PartialEq)]
pub enum Line {
    Event {
        name: EventName,
        fields: Fields,
    },
    /// A gauge that is set, or a counter that grows by this.
    Figure {
        name: SeriesName,
        tags: Tags,
        kind: SeriesKind,
        value: f64,
    },
    /// So many lines were lost before they were sent.
    Lost(u64),
}

/// Why a line says nothing.
#[derive(Debug, thiserror::Error)]
pub enum LineError {
    #[error("it has {bytes} bytes; at most {APP_LINE_BYTES}")]
    Long { bytes: usize },
    #[error("it is no JSON object of this form: {0}")]
    Json(#[from] serde_json::Error),
    #[error("it holds {found} of event, gauge, counter and lost; exactly one is wanted")]
    Kinds { found: usize },
    #[error("{field} does not go with {kind}")]
    Stray { field: &'static str, kind: &'static str },
    #[error("a gauge needs a value")]
    NoValue,
    #[error("a counter only grows, and by less than infinity: {0} cannot be added")]
    Shrinks(f64),
    #[error("{0} tags; at most {TAGS}")]
    ManyTags(usize),
    #[error("the value of a tag has {0} bytes, or is not printable; at most {TAG_BYTES} printable ones")]
    Tag(usize),
    #[error(transparent)]
    Fields(#[from] FieldsError),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    event: Option<EventName>,
    gauge: Option<SeriesName>,
    counter: Option<SeriesName>,
    lost: Option<u64>,
    fields: Option<Map<String, Value>>,
    tags: Option<Tags>,
    value: Option<f64>,
    add: Option<f64>,
}

impl Line {
    /// Reads a line, with or without its newline.
    ///
    /// # Errors
    /// The first rule that it breaks.
    pub fn parse(text: &[u8]) -> Result<Self, LineError> {
        if text.len() > APP_LINE_BYTES {
            return Err(LineError::Long { bytes: text.len() });
        }
        let raw: Raw = serde_json::from_slice(text)?;
        let found = [raw.event.is_some(), raw.gauge.is_some(), raw.counter.is_some(), raw.lost.is_some()];
        match found.into_iter().filter(|is_there| *is_there).count() {
            1 => raw.read(),
            found => Err(LineError::Kinds { found }),
        }
    }
}

impl Raw {
    fn read(self) -> Result<Line, LineError> {
        if let Some(name) = self.event {
            stray(
                "event",
                &[
                    ("tags", self.tags.is_some()),
                    ("value", self.value.is_some()),
                    ("add", self.add.is_some()),
                ],
            )?;
            return Ok(Line::Event { name, fields: Fields::new(self.fields.unwrap_or_default())? });
        }
        if let Some(name) = self.gauge {
            stray("gauge", &[("fields", self.fields.is_some()), ("add", self.add.is_some())])?;
            let (tags, value) = (checked(self.tags)?, self.value.ok_or(LineError::NoValue)?);
            return Ok(Line::Figure { name, tags, kind: SeriesKind::Gauge, value });
        }
        if let Some(name) = self.counter {
            stray("counter", &[("fields", self.fields.is_some()), ("value", self.value.is_some())])?;
            let (tags, value) = (checked(self.tags)?, self.add.unwrap_or(1.0));
            if !(0.0..f64::INFINITY).contains(&value) {
                return Err(LineError::Shrinks(value));
            }
            return Ok(Line::Figure { name, tags, kind: SeriesKind::Counter, value });
        }
        let others = [
            ("fields", self.fields.is_some()),
            ("tags", self.tags.is_some()),
            ("value", self.value.is_some()),
            ("add", self.add.is_some()),
        ];
        stray("lost", &others)?;
        Ok(Line::Lost(self.lost.unwrap_or_default()))
    }
}

fn stray(kind: &'static str, fields: &[(&'static str, bool)]) -> Result<(), LineError> {
    match fields.iter().find(|(_, is_there)| *is_there) {
        Some((field, _)) => Err(LineError::Stray { field, kind }),
        None => Ok(()),
    }
}

fn checked(tags: Option<Tags>) -> Result<Tags, LineError> {
    let tags = tags.unwrap_or_default();
    if tags.len() > TAGS {
        return Err(LineError::ManyTags(tags.len()));
    }
    let is_good = |value: &String| value.len() <= TAG_BYTES && !value.chars().any(char::is_control);
    match tags.values().find(|value| !is_good(value)) {
        Some(value) => Err(LineError::Tag(value.len())),
        None => Ok(tags),
    }
}

/// The lines of some bytes; empty ones are none.
pub fn split(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    bytes.split(|byte| *byte == b'\n').filter(|line| !line.iter().all(u8::is_ascii_whitespace))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn parse(text: &str) -> Result<Line, LineError> {
        Line::parse(text.as_bytes())
    }

    #[test]
    fn what_the_documentation_shows_is_read() {
        let Line::Event { name, fields } =
            parse(r#"{"event":"order-placed","fields":{"id":7,"total":12.5}}"#).unwrap()
        else {
            panic!("an event")
        };
        assert_eq!(
            (name.as_str(), serde_json::to_value(fields).unwrap()),
            ("order-placed", json!({ "id": 7, "total": 12.5 }))
        );
        assert!(matches!(parse(r#"{"event":"started"}"#), Ok(Line::Event { .. })));
        let gauge = Line::Figure {
            name: "queue".parse().unwrap(),
            tags: Tags::from([("shard".parse().unwrap(), "a".into())]),
            kind: SeriesKind::Gauge,
            value: -3.0,
        };
        assert_eq!(parse(r#"{"gauge":"queue","value":-3,"tags":{"shard":"a"}}"#).unwrap(), gauge);
        let counter = |value| Line::Figure {
            name: "orders".parse().unwrap(),
            tags: Tags::new(),
            kind: SeriesKind::Counter,
            value,
        };
        assert_eq!(parse("{\"counter\":\"orders\"}\n").unwrap(), counter(1.0));
        assert_eq!(parse(r#"{"counter":"orders","add":2.5}"#).unwrap(), counter(2.5));
        assert_eq!(parse(r#"{"lost":12}"#).unwrap(), Line::Lost(12));
    }

    #[test]
    fn what_breaks_a_rule_is_told_which() {
        for (text, rule) in [
            ("", "no JSON"),
            ("[]", "no JSON"),
            ("{}", "holds 0"),
            (r#"{"event":"a","gauge":"b","value":1}"#, "holds 2"),
            (r#"{"event":"Order Placed"}"#, "is not a name"),
            (r#"{"event":"a","extra":1}"#, "unknown field"),
            (r#"{"event":"a","value":1}"#, "value does not go with event"),
            (r#"{"event":"a","fields":[1]}"#, "no JSON"),
            (r#"{"event":"a","fields":{"a":[[[[1]]]]}}"#, "nested deeper"),
            (r#"{"gauge":"a"}"#, "needs a value"),
            (r#"{"gauge":"a","value":1e999}"#, "out of range"),
            (r#"{"gauge":"a","value":"1"}"#, "no JSON"),
            (r#"{"counter":"a","add":-1}"#, "only grows"),
            (r#"{"counter":"a","tags":{"a":"b\u0007"}}"#, "not printable"),
            (r#"{"lost":-1}"#, "no JSON"),
            (r#"{"lost":1,"add":1}"#, "add does not go with lost"),
            (r#"{"event":"a","event":"b"}"#, "duplicate"),
            ("{\"event\":\"\u{0}\"}", "no JSON"),
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.contains(rule), "{text}: {error}");
        }
        let long = format!(r#"{{"event":"a","fields":{{"a":"{}"}}}}"#, "x".repeat(APP_LINE_BYTES));
        assert!(matches!(parse(&long), Err(LineError::Long { .. })));
        let tags: Vec<String> = (0..=TAGS).map(|at| format!(r#""t{at}":"x""#)).collect();
        let many = format!(r#"{{"gauge":"a","value":1,"tags":{{{}}}}}"#, tags.join(","));
        assert!(matches!(parse(&many), Err(LineError::ManyTags(9))));
        let deep = format!(r#"{{"event":"a","fields":{{"a":{}1{}}}}}"#, "[".repeat(3000), "]".repeat(3000));
        assert!(parse(&deep).is_err());
    }

    #[test]
    fn bytes_are_split_into_lines_and_empty_ones_are_none() {
        assert_eq!(split(b"\n a \n\nb\r\n \t\n").collect::<Vec<_>>(), [&b" a "[..], b"b\r"]);
        assert_eq!(split(b"").count(), 0);
    }

    fn json_text() -> impl Strategy<Value = String> {
        let word = prop_oneof![
            Just("event"),
            Just("gauge"),
            Just("counter"),
            Just("lost"),
            Just("fields"),
            Just("tags"),
            Just("value"),
            Just("add"),
            Just("x")
        ];
        let value = prop_oneof![
            Just("1".to_owned()),
            Just("-1".to_owned()),
            Just("1e300".to_owned()),
            Just("null".to_owned()),
            Just("\"a\"".to_owned()),
            Just("{}".to_owned()),
            Just("[]".to_owned()),
            Just("{\"a\":\"b\"}".to_owned()),
            Just("\"\\ud800\"".to_owned()),
            ".{0,8}",
        ];
        proptest::collection::vec((word, value), 0..6).prop_map(|pairs| {
            let pairs: Vec<String> =
                pairs.into_iter().map(|(word, value)| format!("\"{word}\":{value}")).collect();
            format!("{{{}}}", pairs.join(","))
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
            let _ = Line::parse(&bytes);
            prop_assert!(split(&bytes).all(|line| !line.contains(&b'\n')));
        }

        #[test]
        fn texts_that_are_nearly_lines_never_panic_and_what_is_read_keeps_the_rules(text in json_text()) {
            match Line::parse(text.as_bytes()) {
                Ok(Line::Event { fields, .. }) => prop_assert!(fields.check().is_ok()),
                Ok(Line::Figure { tags, kind, value, .. }) => {
                    prop_assert!(value.is_finite() && tags.len() <= TAGS);
                    prop_assert!(kind == SeriesKind::Gauge || value >= 0.0);
                }
                Ok(Line::Lost(_)) | Err(_) => {}
            }
        }
    }
}
