//! What a run has shown, one line for each fault.

use super::past::Counts;
use std::collections::BTreeMap;
use std::time::Duration;

/// One round.
#[derive(Clone, Debug)]
pub struct Round {
    /// The faults that were injected together.
    pub name: String,
    /// The longest time in which nobody was told anything, from the first fault on.
    pub silence: Duration,
    /// From the healing until everything was well again.
    pub recovery: Duration,
    pub counts: Counts,
    /// What was found wrong.
    pub wrong: Vec<String>,
}

/// The rounds so far.
#[derive(Clone, Debug, Default)]
pub struct Table {
    rounds: Vec<Round>,
    /// Faults that could not be injected here, and why.
    left_out: BTreeMap<String, &'static str>,
}

impl Table {
    /// Adds a round.
    pub fn add(&mut self, round: Round) {
        self.rounds.push(round);
    }

    /// Names a fault that cannot be injected here.
    pub fn leave_out(&mut self, name: &str, why: &'static str) {
        self.left_out.insert(name.to_owned(), why);
    }

    /// The rounds so far.
    pub fn rounds(&self) -> &[Round] {
        &self.rounds
    }

    /// As lines of text.
    pub fn text(&self) -> String {
        let mut by_name: BTreeMap<&str, Vec<&Round>> = BTreeMap::new();
        self.rounds.iter().for_each(|round| by_name.entry(&round.name).or_default().push(round));
        let mut lines = vec![format!(
            "{:<42} {:>6}  {:>15}  {:>15}  {:>5} {:>7}  verdict",
            "fault", "rounds", "silence p50/max", "recovery p50/max", "lost", "doubled"
        )];
        lines.extend(by_name.into_iter().map(|(name, rounds)| line(name, &rounds)));
        lines.extend(self.left_out.iter().map(|(name, why)| format!("{name:<42}  left out: {why}")));
        lines.join("\n")
    }
}

fn line(name: &str, rounds: &[&Round]) -> String {
    let spread = |of: fn(&Round) -> Duration| {
        let mut times: Vec<_> = rounds.iter().map(|round| of(round).as_secs_f64()).collect();
        times.sort_by(f64::total_cmp);
        format!("{:.1} / {:.1} s", times[times.len() / 2], times[times.len() - 1])
    };
    let sum = |of: fn(&Counts) -> usize| rounds.iter().map(|round| of(&round.counts)).sum::<usize>();
    let verdict = if rounds.iter().all(|round| round.wrong.is_empty()) { "holds" } else { "BROKEN" };
    format!(
        "{name:<42} {:>6}  {:>15}  {:>15}  {:>5} {:>7}  {verdict}",
        rounds.len(),
        spread(|round| round.silence),
        spread(|round| round.recovery),
        sum(|counts| counts.lost),
        sum(|counts| counts.doubled),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_of_a_fault_are_one_line() {
        let round = |silence, wrong: &[&str]| Round {
            name: "kill-writer".into(),
            silence: Duration::from_millis(silence),
            recovery: Duration::from_secs(2),
            counts: Counts { lost: wrong.len(), ..Counts::default() },
            wrong: wrong.iter().map(|text| (*text).to_owned()).collect(),
        };
        let mut table = Table::default();
        table.add(round(400, &[]));
        table.add(round(900, &["asked-1"]));
        table.leave_out("full-disk-king", "no room to be without");
        let text = table.text();
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 3, "{text}");
        assert!(lines[1].contains("0.9 / 0.9 s") && lines[1].ends_with("BROKEN"), "{text}");
        assert!(lines[2].contains("left out: no room"), "{text}");
    }
}
