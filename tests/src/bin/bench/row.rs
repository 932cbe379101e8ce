//! What a benchmark says: rows, as a table for people and as `target/bench/results.json` for programs.

use crate::samples::Samples;
use crate::stage;
use serde::Serialize;
use std::fmt;

/// What a figure has to reach.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Target {
    /// At most so many times the figure beside it.
    RatioAtMost(f64),
    /// At least so many times the figure beside it.
    RatioAtLeast(f64),
    /// At most so much, in the unit of the row.
    AtMost(f64),
    /// At least so much, in the unit of the row.
    AtLeast(f64),
}

impl fmt::Display for Target {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RatioAtMost(most) => write!(formatter, "ratio ≤ {most}"),
            Self::RatioAtLeast(least) => write!(formatter, "ratio ≥ {least}"),
            Self::AtMost(most) => write!(formatter, "≤ {most}"),
            Self::AtLeast(least) => write!(formatter, "≥ {least}"),
        }
    }
}

/// One figure beside another.
#[derive(Clone, Debug)]
pub struct Row {
    pub name: &'static str,
    pub value: f64,
    /// The smallest and largest of what the value was taken from.
    pub spread: (f64, f64),
    pub unit: &'static str,
    /// The peer or limit.
    pub beside: String,
    /// Its figure; none when it was not measured.
    pub beside_value: Option<f64>,
    pub target: Target,
}

/// A row as `results.json` has it.
#[derive(Serialize)]
struct Record<'a> {
    name: &'a str,
    value: f64,
    unit: &'a str,
    beside: &'a str,
    beside_value: Option<f64>,
    ratio: Option<f64>,
    target: String,
    met: Option<bool>,
}

impl Row {
    /// The median of some samples, beside nothing yet.
    pub fn of(name: &'static str, samples: &Samples, unit: &'static str, target: Target) -> Self {
        Self {
            name,
            value: samples.median(),
            spread: (samples.min(), samples.max()),
            unit,
            beside: String::new(),
            beside_value: None,
            target,
        }
    }

    /// Puts a figure beside it.
    pub fn beside(self, beside: impl Into<String>, value: Option<f64>) -> Self {
        Self { beside: beside.into(), beside_value: value, ..self }
    }

    pub fn ratio(&self) -> Option<f64> {
        self.beside_value.map(|beside| self.value / beside)
    }

    /// Whether the target is met; none when what it is compared with was not measured.
    pub fn met(&self) -> Option<bool> {
        match self.target {
            Target::RatioAtMost(most) => self.ratio().map(|ratio| ratio <= most),
            Target::RatioAtLeast(least) => self.ratio().map(|ratio| ratio >= least),
            Target::AtMost(most) => Some(self.value <= most),
            Target::AtLeast(least) => Some(self.value >= least),
        }
    }

    fn record(&self) -> Record<'_> {
        Record {
            name: self.name,
            value: round(self.value),
            unit: self.unit,
            beside: &self.beside,
            beside_value: self.beside_value.map(round),
            ratio: self.ratio().map(|ratio| (ratio * 1000.0).round() / 1000.0),
            target: self.target.to_string(),
            met: self.met(),
        }
    }

    fn cells(&self) -> [String; 8] {
        let or_not_measured = |value: Option<String>| value.unwrap_or_else(|| "not measured".into());
        let met = self.met().map(|met| if met { "yes" } else { "NO" }.to_owned());
        [
            self.name.to_owned(),
            format!("{} {}", plain(self.value), self.unit),
            format!("{}–{}", plain(self.spread.0), plain(self.spread.1)),
            self.beside.clone(),
            self.beside_value.map_or_else(|| "not measured".into(), plain),
            self.ratio().map_or_else(|| "–".into(), |ratio| format!("{ratio:.2}")),
            self.target.to_string(),
            or_not_measured(met),
        ]
    }

    /// The row as one line.
    pub fn line(&self) -> String {
        let [name, value, spread, beside, beside_value, ratio, target, met] = self.cells();
        format!("{name}: {value} ({spread}) beside {beside_value} ({beside}), ratio {ratio}, {target}: {met}")
    }
}

fn round(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

fn plain(value: f64) -> String {
    if value.abs() < 100.0 { format!("{value:.1}") } else { format!("{value:.0}") }
}

/// Prints the table and writes the file.
///
/// # Errors
/// When the file cannot be written.
pub fn report(rows: &[Row]) -> anyhow::Result<()> {
    let records: Vec<_> = rows.iter().map(Row::record).collect();
    let path = stage::folder().join("results.json");
    std::fs::create_dir_all(stage::folder())?;
    std::fs::write(&path, serde_json::to_string_pretty(&records)? + "\n")?;
    println!("{}\nwritten to {}", table(rows), path.display());
    Ok(())
}

fn table(rows: &[Row]) -> String {
    let head = ["benchmark", "value", "min–max", "beside", "its value", "ratio", "target", "met"];
    let lines: Vec<[String; 8]> =
        std::iter::once(head.map(str::to_owned)).chain(rows.iter().map(Row::cells)).collect();
    let width = |column: usize| {
        lines.iter().map(|line| line[column].chars().count()).max().expect("the table has a head")
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let line = |cells: &[String; 8]| {
        let padded =
            cells.iter().zip(&widths).map(|(cell, &width)| format!("{cell:<width$}")).collect::<Vec<_>>();
        padded.join("  ").trim_end().to_owned()
    };
    lines.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(target: Target, beside: Option<f64>) -> Row {
        let samples = Samples::new(vec![30.0, 10.0, 20.0]);
        Row::of("some_thing", &samples, "ms", target).beside("a limit", beside)
    }

    #[test]
    fn what_was_not_measured_is_neither_met_nor_missed() {
        assert_eq!(row(Target::RatioAtMost(2.0), None).met(), None);
        assert_eq!(row(Target::RatioAtMost(2.0), Some(10.0)).met(), Some(true));
        assert_eq!(row(Target::RatioAtLeast(0.5), Some(50.0)).met(), Some(false));
        assert_eq!(row(Target::AtMost(19.0), None).met(), Some(false));
    }

    #[test]
    fn the_table_is_aligned() {
        let text = table(&[row(Target::AtMost(50.0), None)]);
        let lines: Vec<&str> = text.lines().collect();
        let column = |line: &str, what: &str| line.split(what).next().map(|before| before.chars().count());
        assert_eq!(column(lines[0], "target"), column(lines[1], "≤ 50"), "{text}");
        assert!(lines[1].contains("10.0–30.0") && lines[1].contains("not measured"), "{text}");
    }
}
