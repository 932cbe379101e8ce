//! Headers: checked before they reach the client library, which panics on some bad ones.

use async_nats::HeaderMap;
use async_nats::header::{HeaderName, HeaderValue};
use std::str::FromStr;

/// A header that NATS cannot carry.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "header {name:?} cannot be sent: names are printable ASCII without ':' or spaces, values hold no CR or LF"
)]
pub struct BadHeader {
    /// The name of the header.
    pub name: String,
}

/// The headers as the client library wants them.
pub(crate) fn build(headers: &[(&str, &str)]) -> Result<HeaderMap, BadHeader> {
    let mut map = HeaderMap::new();
    for &(name, value) in headers {
        insert(&mut map, name, value)?;
    }
    Ok(map)
}

fn insert(map: &mut HeaderMap, name: &str, value: &str) -> Result<(), BadHeader> {
    let bad = || BadHeader { name: name.to_owned() };
    let is_token = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic() && byte != b':');
    if !is_token || value.contains(['\r', '\n', '\0']) {
        return Err(bad());
    }
    let key = HeaderName::from_str(name).map_err(|_| bad())?;
    let text = HeaderValue::from_str(value).map_err(|_| bad())?;
    map.insert(key, text);
    Ok(())
}

/// The last value of a header; its name is compared without regard to case, as people type it.
pub(crate) fn get<'a>(headers: Option<&'a HeaderMap>, name: &str) -> Option<&'a str> {
    let headers = headers?;
    let mut found = headers.iter().filter(|(key, _)| AsRef::<str>::as_ref(*key).eq_ignore_ascii_case(name));
    found.next().and_then(|(_, values)| values.last()).map(|value| value.as_str())
}
