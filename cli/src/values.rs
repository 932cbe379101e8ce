//! Values on the command line that are more than a word: times, `app@version`, `process=count`, `KEY=VALUE`.

use events::{AppName, ProcessName};
use semver::Version;
use std::str::FromStr;
use std::time::Duration;

/// A time: `500ms`, `90s`, `5m`, `1h`; a bare number is seconds.
///
/// # Errors
/// When the text is none of these.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is not a time like 500ms, 90s, 5m or 1h");
    let digits = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let milliseconds = match unit {
        "ms" => Some(number),
        "" | "s" => number.checked_mul(1_000),
        "m" => number.checked_mul(60_000),
        "h" => number.checked_mul(3_600_000),
        _ => None,
    };
    milliseconds.map(Duration::from_millis).ok_or_else(wrong)
}

/// A size: `500`, `64k`, `10m`, `1g`, in bytes; units are powers of 1024.
///
/// # Errors
/// When the text is none of these.
pub fn parse_bytes(text: &str) -> Result<u64, String> {
    let wrong = || format!("{text:?} is not a size like 500, 64k, 10m or 1g");
    let digits = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let bytes = match unit {
        "" => Some(number),
        "k" => number.checked_mul(1 << 10),
        "m" => number.checked_mul(1 << 20),
        "g" => number.checked_mul(1 << 30),
        _ => None,
    };
    bytes.ok_or_else(wrong)
}

/// `shop@1.4.0`: a version of an app. A `v` before the version is taken, as Git tags have it.
#[derive(Clone, Debug, PartialEq)]
pub struct AppVersion {
    pub app: AppName,
    pub version: Version,
}

impl FromStr for AppVersion {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (app, version) = text
            .split_once('@')
            .ok_or_else(|| format!("{text:?} names no version; write it like shop@1.4.0"))?;
        let app = app.parse().map_err(|error: events::name::NameError| error.to_string())?;
        let bare = version.strip_prefix('v').unwrap_or(version);
        let version = Version::parse(bare)
            .map_err(|error| format!("{version:?} is not a semantic version like 1.4.0: {error}"))?;
        Ok(Self { app, version })
    }
}

/// `worker=3`, or `3` for `web` or the only process type.
#[derive(Clone, Debug, PartialEq)]
pub struct Scale {
    pub process: Option<ProcessName>,
    pub count: u32,
}

impl FromStr for Scale {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (process, count) = match text.split_once('=') {
            Some((process, count)) => {
                (Some(process.parse().map_err(|error: events::name::NameError| error.to_string())?), count)
            }
            None => (None, text),
        };
        let count = count.parse().map_err(|_| {
            format!("{count:?} is not a count: a whole number from 0, alone or like worker=3")
        })?;
        Ok(Self { process, count })
    }
}

/// `KEY=VALUE`; the value may hold anything, `=` too.
///
/// # Errors
/// When there is no `=`, or nothing before it.
pub fn parse_key_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        Some(_) | None => Err(format!("{text:?} is not of the form KEY=VALUE")),
    }
}

/// A process type with the count of `--count`; clap reads it as a whole number from 0.
pub fn parse_count(text: &str) -> Result<u32, String> {
    text.parse().map_err(|_| format!("{text:?} is not a count: a whole number from 0 to {}", u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_units() {
        for (text, milliseconds) in
            [("500ms", 500), ("90s", 90_000), ("5m", 300_000), ("1h", 3_600_000), ("7", 7_000)]
        {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(milliseconds)), "{text}");
        }
        for text in ["", "s", "-1s", "1.5m", "5 m", "5d", "99999999999999999999s", "18446744073709551615h"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_have_units() {
        for (text, bytes) in [("0", 0), ("500", 500), ("64k", 65_536), ("10m", 10 << 20), ("1g", 1 << 30)] {
            assert_eq!(parse_bytes(text), Ok(bytes), "{text}");
        }
        for text in ["", "k", "-1", "1.5m", "1 m", "1t", "99999999999g"] {
            assert!(parse_bytes(text).is_err(), "{text}");
        }
    }

    #[test]
    fn versions_belong_to_apps() {
        let with_v: AppVersion = "shop@v1.4.0".parse().expect("as a tag");
        assert_eq!(with_v, "shop@1.4.0".parse().expect("plain"));
        for text in ["shop", "shop@", "shop@latest", "shop@1.4", "Shop@1.4.0", "@1.4.0", "sh.op@1.4.0"] {
            assert!(text.parse::<AppVersion>().is_err(), "{text}");
        }
    }

    #[test]
    fn counts_may_name_a_process_type() {
        assert_eq!("3".parse(), Ok(Scale { process: None, count: 3 }));
        assert_eq!("web=0".parse(), Ok(Scale { process: Some(ProcessName::web()), count: 0 }));
        for text in ["-1", "web=-1", "web=", "=3", "web=many", "99999999999"] {
            assert!(text.parse::<Scale>().is_err(), "{text}");
        }
    }

    #[test]
    fn values_may_hold_equals_signs() {
        assert_eq!(parse_key_value("A=b=c"), Ok(("A".into(), "b=c".into())));
        assert_eq!(parse_key_value("A="), Ok(("A".into(), String::new())));
        assert!(parse_key_value("=b").is_err() && parse_key_value("A").is_err());
    }
}
