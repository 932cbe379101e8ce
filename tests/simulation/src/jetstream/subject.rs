//! Matching subjects: `*` is one token, `>` is the rest.

/// Whether a subject matches a pattern.
pub fn matches(pattern: &str, subject: &str) -> bool {
    let (mut wanted, mut given) = (pattern.split('.'), subject.split('.'));
    loop {
        match (wanted.next(), given.next()) {
            (Some(">"), Some(_)) | (None, None) => return true,
            (Some("*"), Some(_)) => {}
            (Some(token), Some(other)) if token == other => {}
            (Some(_), Some(_) | None) | (None, Some(_)) => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn tokens_and_rests_match() {
        assert!(matches("king.cmd.>", "king.cmd.app.deploy"));
        assert!(matches("king.report.*", "king.report.default"));
        assert!(matches("a.b", "a.b"));
        assert!(!matches("king.cmd.>", "king.cmd"));
        assert!(!matches("king.report.*", "king.report.default.x"));
        assert!(!matches("a.b", "a"));
        assert!(!matches("a", "a.b"));
    }
}
