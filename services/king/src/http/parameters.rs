//! The parameters of an address: each known, given once, and parsed, or refused by name.

use super::problem::{Problem, cut};
use axum::extract::Query;
use axum::http::Uri;
use std::collections::BTreeMap;
use std::fmt::Display;
use std::str::FromStr;

/// The parameters as given.
pub(super) struct Parameters(BTreeMap<String, String>);

impl Parameters {
    /// Reads them; any that is not known is refused.
    pub fn read(uri: &Uri, known: &[&str]) -> Result<Self, Problem> {
        let Query(pairs): Query<Vec<(String, String)>> = Query::try_from_uri(uri).map_err(|_| {
            Problem::invalid("query", "not readable as name=value pairs", "encode it as in a web form")
        })?;
        let mut given = BTreeMap::new();
        for (name, value) in pairs {
            if !known.contains(&name.as_str()) {
                let rule = format!("no parameter {:?} here", cut(&name));
                return Err(Problem::invalid(&cut(&name), rule, format!("use {}", known.join(", "))));
            }
            if given.insert(name.clone(), value).is_some() {
                return Err(Problem::invalid(&name, "given twice", "give it once"));
            }
        }
        Ok(Self(given))
    }

    /// The text of a parameter.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// A parameter by its own parser, whose error says the rule.
    pub fn parse<T>(&self, name: &str, fix: &str) -> Result<Option<T>, Problem>
    where
        T: FromStr,
        T::Err: Display,
    {
        let parsed = self.text(name).map(str::parse).transpose();
        parsed.map_err(|error: T::Err| Problem::invalid(name, error.to_string(), fix))
    }

    /// A parameter that is an event number.
    pub fn event(&self, name: &str) -> Result<Option<u64>, Problem> {
        self.text(name).map(|text| event_number(name, text)).transpose()
    }
}

/// An event number in digits alone.
pub(super) fn event_number(field: &str, text: &str) -> Result<u64, Problem> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let number = if digits { text.parse().ok() } else { None };
    number.ok_or_else(|| {
        let rule = format!("{:?} is not an event number: digits, at most 18446744073709551615", cut(text));
        Problem::invalid(field, rule, "give the number of the last event that you have; 0 for all")
    })
}
