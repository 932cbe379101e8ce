//! Durations as people write them: `500ms`, `5s`, `1m`, `2h`.

/// The milliseconds of a duration.
pub fn parse(text: &str) -> Result<u64, String> {
    let wrong = || format!("{text:?} is no duration; write a whole number with a unit: 500ms, 5s, 1m or 2h");
    let digits = text.find(|letter: char| !letter.is_ascii_digit()).ok_or_else(wrong)?;
    let number: u64 = text[..digits].parse().map_err(|_| wrong())?;
    let unit = match &text[digits..] {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err(wrong()),
    };
    number.checked_mul(unit).ok_or_else(wrong)
}
