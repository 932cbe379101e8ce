//! Stories: text files of inputs with the events that must follow, so that a change of the law is read as a diff.
//!
//! A story is a list of inputs (lines that start with `> `), each followed by what came of it. Run the tests with
//! `UPDATE_STORIES=1` to write what comes now, and read the diff.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test reads its stories and fails where it cannot go on"
)]

mod world;

use std::fmt::Write;
use std::path::Path;
use world::World;

#[test]
fn every_story_comes_out_as_told() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/stories");
    let mut stories: Vec<_> =
        std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    stories.sort();
    assert!(stories.len() >= 5, "the stories are gone from {}", folder.display());
    let mut differing = Vec::new();
    for path in stories {
        let told = std::fs::read_to_string(&path).unwrap();
        let comes = play(&told);
        if comes == told {
            continue;
        }
        if std::env::var_os("UPDATE_STORIES").is_some() {
            std::fs::write(&path, comes).unwrap();
        } else {
            differing.push(format!("{}:\n{}", path.display(), first_difference(&told, &comes)));
        }
    }
    assert!(differing.is_empty(), "{}", differing.join("\n\n"));
}

/// Keeps comments and inputs, and writes anew what comes of each input.
fn play(told: &str) -> String {
    let mut world = World::default();
    let mut comes = String::new();
    for line in told.lines() {
        if let Some(input) = line.strip_prefix("> ") {
            writeln!(comes, "{line}").unwrap();
            for outcome in world.input(input) {
                writeln!(comes, "  {outcome}").unwrap();
            }
        } else if line.starts_with('#') || line.is_empty() {
            writeln!(comes, "{line}").unwrap();
        }
    }
    comes
}

fn first_difference(told: &str, comes: &str) -> String {
    let mut lines = told.lines().zip(comes.lines()).enumerate();
    match lines.find(|(_, (told, comes))| told != comes) {
        Some((number, (told, comes))) => format!("line {}\n  told:  {told}\n  comes: {comes}", number + 1),
        None => "one is longer than the other".to_owned(),
    }
}
