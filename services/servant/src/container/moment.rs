//! The engine's moments: `2026-11-27T00:10:31.390384471Z`, to the nanosecond, which no millisecond clock can hold.

use events::Timestamp;
use serde::{Deserialize, Serialize};

/// A moment as the engine writes it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Instant {
    /// Seconds since 1970.
    pub seconds: i64,
    pub nanos: u32,
}

impl Instant {
    /// Reads one; none when it is no moment, or the engine's word for never.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.strip_suffix('Z')?;
        let (date, time) = text.split_once('T')?;
        let [year, month, day] = three(date, '-')?;
        let (time, fraction) = time.split_once('.').unwrap_or((time, ""));
        let [hour, minute, second] = three(time, ':')?;
        if year < 1970 || !(1..=12).contains(&month) {
            return None;
        }
        let seconds = days(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second;
        let nanos = format!("{fraction:0<9}").get(..9)?.parse().ok()?;
        Some(Self { seconds, nanos })
    }

    /// To the millisecond.
    pub fn timestamp(self) -> Timestamp {
        let seconds = u64::try_from(self.seconds).unwrap_or_default();
        Timestamp(seconds * 1000 + u64::from(self.nanos / 1_000_000))
    }
}

fn three(text: &str, between: char) -> Option<[i64; 3]> {
    let mut parts = text.split(between).map(|part| part.parse().ok());
    let three = [parts.next()??, parts.next()??, parts.next()??];
    parts.next().is_none().then_some(three)
}

/// Days since 1970, in the calendar of today (Hinnant, "chrono-Compatible Low-Level Date Algorithms").
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_read_to_the_nanosecond() {
        let read = |text| Instant::parse(text).map(|it| (it.seconds, it.nanos));
        assert_eq!(read("1970-01-01T00:00:00Z"), Some((0, 0)));
        assert_eq!(read("2026-11-27T00:10:31.390384471Z"), Some((1_795_738_231, 390_384_471)));
        assert_eq!(read("2024-02-29T23:59:59.5Z"), Some((1_709_251_199, 500_000_000)));
        assert_eq!(
            Instant::parse("2024-02-29T23:59:59.5Z").unwrap().timestamp(),
            Timestamp(1_709_251_199_500)
        );
        for never in ["0001-01-01T00:00:00Z", "", "2024-02-29", "2024-02-29T1:2Z", "2024-13-01T00:00:00Z"] {
            assert_eq!(read(never), None, "{never}");
        }
    }
}
