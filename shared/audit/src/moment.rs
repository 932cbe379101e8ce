//! Moments as people write them: an event number, a time, or how long ago. What time it is now is told by the caller.

use events::Timestamp;
use events::query::Moment;

/// What a text should have been.
const WANTED: &str =
    "an event number (4711), a time (2026-11-20T03:00:00Z, 2026-11-20), or how long ago (10m, 2h ago)";

/// Why a text is no moment.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{found:?} is not {WANTED}")]
pub struct MomentError {
    found: String,
}

/// Reads a moment. `now` is what `10m ago` and `now` count from.
///
/// # Errors
/// When the text is none.
pub fn parse(text: &str, now: Timestamp) -> Result<Moment, MomentError> {
    let wrong = || MomentError { found: text.chars().take(64).collect() };
    let text = text.trim();
    if text == "now" {
        return Ok(Moment::Time(now));
    }
    if let Ok(number) = text.parse() {
        return Ok(Moment::Event(number));
    }
    if let Some(ago) = span_ms(text.strip_suffix("ago").unwrap_or(text).trim_end()) {
        return Ok(Moment::Time(Timestamp(now.0.saturating_sub(ago))));
    }
    absolute(text).map(Moment::Time).ok_or_else(wrong)
}

/// `90s`, `10m`, `2h`, `3d`, `1w`, and several in a row: `1h30m`.
fn span_ms(text: &str) -> Option<u64> {
    let (mut rest, mut total) = (text, 0_u64);
    while !rest.is_empty() {
        let digits = rest.find(|letter: char| !letter.is_ascii_digit())?;
        let number: u64 = rest[..digits].parse().ok()?;
        let unit_end =
            rest[digits..].find(|letter: char| letter.is_ascii_digit()).map_or(rest.len(), |at| digits + at);
        let unit: u64 = match rest[digits..unit_end].trim() {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            "w" => 604_800_000,
            _ => return None,
        };
        total = total.checked_add(number.checked_mul(unit)?)?;
        rest = &rest[unit_end..];
    }
    (!text.is_empty()).then_some(total)
}

/// RFC 3339, or without an offset as UTC; a date alone is its beginning in UTC.
fn absolute(text: &str) -> Option<Timestamp> {
    let utc = jiff::tz::TimeZone::UTC;
    let civil =
        || text.parse::<jiff::civil::DateTime>().ok()?.to_zoned(utc).ok().map(|zoned| zoned.timestamp());
    let moment = text.parse::<jiff::Timestamp>().ok().or_else(civil)?;
    u64::try_from(moment.as_millisecond()).ok().map(Timestamp)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-11-20T12:00:00Z.
    const NOW: Timestamp = Timestamp(1_795_176_000_000);

    fn time(text: &str) -> Option<String> {
        match parse(text, NOW) {
            Ok(Moment::Time(at)) => Some(at.to_string()),
            Ok(Moment::Event(_)) | Err(_) => None,
        }
    }

    #[test]
    fn numbers_are_events() {
        assert_eq!(parse("4711", NOW), Ok(Moment::Event(4711)));
        assert_eq!(parse(" 0 ", NOW), Ok(Moment::Event(0)));
    }

    #[test]
    fn times_are_absolute_or_relative() {
        let cases = [
            ("now", "2026-11-20T12:00:00.000Z"),
            ("10m ago", "2026-11-20T11:50:00.000Z"),
            ("10m", "2026-11-20T11:50:00.000Z"),
            ("1h30m", "2026-11-20T10:30:00.000Z"),
            ("2h  ago", "2026-11-20T10:00:00.000Z"),
            ("1d", "2026-11-19T12:00:00.000Z"),
            ("2026-11-20T03:00:00Z", "2026-11-20T03:00:00.000Z"),
            ("2026-11-20T03:00:00.5+01:00", "2026-11-20T02:00:00.500Z"),
            ("2026-11-20T03:00", "2026-11-20T03:00:00.000Z"),
            ("2026-11-20", "2026-11-20T00:00:00.000Z"),
        ];
        for (text, wanted) in cases {
            assert_eq!(time(text).as_deref(), Some(wanted), "{text}");
        }
    }

    #[test]
    fn anything_else_is_said_not_to_be_a_moment() {
        for text in
            ["", "yesterday", "10x", "m", "-5", "10m10", "99999999999999999999999", "2026-13-01", "ago"]
        {
            let error = parse(text, NOW).expect_err(text);
            assert!(error.to_string().contains("event number"), "{error}");
        }
    }
}
