//! Amounts in manifests: `256MB` of memory, `0.5` processors, a niceness.

/// Units of memory, in powers of 1024, as everybody who limits memory counts them.
const UNITS: [(&str, u32); 3] = [("KB", 10), ("MB", 20), ("GB", 30)];

/// Bytes of `256MB`, `1.5GB` is none: whole numbers only.
pub fn bytes(text: &str) -> Result<u64, String> {
    let wrong = || format!("{text:?} is no amount of memory; write a whole number with KB, MB or GB: 256MB");
    let unit = UNITS.into_iter().find_map(|(unit, shift)| Some((text.strip_suffix(unit)?, shift)));
    let (number, shift) = unit.ok_or_else(wrong)?;
    let number: u64 = number.trim_end().parse().map_err(|_| wrong())?;
    number.checked_mul(1 << shift).ok_or_else(wrong)
}

/// Thousandths of `0.5`, `2` or `1.25` processors.
pub fn milli(text: &str) -> Result<u32, String> {
    let wrong =
        || format!("{text:?} is no share of processors; write a number with at most 3 decimals: 0.5 or 2");
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let is_plain = |digits: &str| digits.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || part.len() > 3 || !is_plain(whole) || !is_plain(part) || text.ends_with('.') {
        return Err(wrong());
    }
    let whole: u32 = whole.parse().map_err(|_| wrong())?;
    let part: u32 = format!("{part:0<3}").parse().map_err(|_| wrong())?;
    whole.checked_mul(1000).and_then(|milli| milli.checked_add(part)).ok_or_else(wrong)
}

/// A niceness.
pub fn nice(text: &str) -> Result<i8, String> {
    text.parse().map_err(|_| format!("{text:?} is no niceness; write a whole number from -20 to 19"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_have_units_and_bounds() {
        assert_eq!(
            (bytes("256MB"), bytes("1 GB"), bytes("64KB")),
            (Ok(256 << 20), Ok(1 << 30), Ok(64 << 10))
        );
        for bad in ["256", "MB", "1.5GB", "-1MB", "99999999999999GB", "1mb"] {
            assert!(bytes(bad).is_err(), "{bad}");
        }
        assert_eq!(
            (milli("0.5"), milli("2"), milli("1.25"), milli("0.001")),
            (Ok(500), Ok(2000), Ok(1250), Ok(1))
        );
        for bad in ["", ".5", "1.", "0.0001", "-1", "1e3", "9999999"] {
            assert!(milli(bad).is_err(), "{bad}");
        }
        assert_eq!((nice("-5"), nice("19")), (Ok(-5), Ok(19)));
        assert!(nice("1000").is_err());
    }
}
