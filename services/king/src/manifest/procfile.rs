//! The `Procfile`: one process type per line, `name: command`; `#` starts a comment line.

use super::{ManifestProblem, PROCFILE, Place};
use events::manifest::{CommandLine, ManifestError, Process};
use events::{Manifest, ProcessName};
use std::collections::BTreeMap;

/// Parses a `Procfile`.
///
/// # Errors
/// The first line that is no process type, or the first rule that is broken, with its place.
pub fn parse_procfile(text: &str) -> Result<Manifest, ManifestProblem> {
    let mut manifest =
        Manifest { build: None, needs: BTreeMap::new(), processes: BTreeMap::new(), errors: None };
    let mut lines = BTreeMap::new();
    for (index, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
        let number = index as u64 + 1;
        if line.trim().is_empty() || line.trim_start().starts_with('#') {
            continue;
        }
        let (name, command, place) = parse_line(line, number)?;
        if let Some(first) = lines.insert(name.clone(), place) {
            let reason = format!("names the process type {name} twice; line {} names it first", first.line);
            return Err(problem(number, 1, reason));
        }
        let process = Process::from_command(&name, CommandLine::Shell(command));
        manifest.processes.insert(name, process);
    }
    manifest.check().map_err(|error| located(&error, &lines))?;
    Ok(manifest)
}

fn parse_line(line: &str, number: u64) -> Result<(ProcessName, String, Place), ManifestProblem> {
    let Some((name, command)) = line.split_once(':') else {
        return Err(problem(number, 1, "is no process type; write `name: command`".into()));
    };
    let column = 1 + name.chars().take_while(|letter| letter.is_whitespace()).count() as u64;
    let name = name.trim().parse().map_err(|error| problem(number, column, format!("{error}")))?;
    let before = line.chars().count() - command.trim_start().chars().count();
    let place = Place { line: number, column: before as u64 + 1 };
    let command = command.trim();
    if command.is_empty() {
        let reason = format!("the command of {name} is empty");
        return Err(ManifestProblem { file: PROCFILE, place, reason });
    }
    Ok((name, command.to_owned(), place))
}

/// A rule of the kingdom that a process type breaks stands at its command; any other at the start.
fn located(error: &ManifestError, lines: &BTreeMap<ProcessName, Place>) -> ManifestProblem {
    let name = error.field.strip_prefix("processes.").and_then(|rest| rest.split('.').next());
    let place = name.and_then(|name| lines.iter().find(|(known, _)| known.as_str() == name));
    let place = place.map_or(Place::START, |(_, place)| *place);
    ManifestProblem { file: PROCFILE, place, reason: error.to_string() }
}

fn problem(line: u64, column: u64, reason: String) -> ManifestProblem {
    ManifestProblem { file: PROCFILE, place: Place { line, column }, reason }
}
