//! A backup holds all of it, can be proved, and a damaged one is refused.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use audit::backup::{Backup, BackupError, Writer};
use audit::history::History;
use events::Timestamp;
use std::io::Cursor;

fn open(bytes: Vec<u8>) -> Result<Backup<Cursor<Vec<u8>>>, BackupError> {
    Backup::open(Cursor::new(bytes))
}

#[test]
fn a_backup_holds_the_log_the_state_and_the_artifacts() {
    let world = support::lively();
    let backup = world.backup();
    backup.prove().unwrap();
    let commits: Vec<_> = backup.commits(0).unwrap().map(Result::unwrap).collect();
    assert_eq!(commits, world.commits);
    let manifest = backup.manifest();
    assert_eq!(manifest.state_hash, world.state.hash());
    assert_eq!(manifest.checkpoints.len(), 4, "three in the log and one for the backup");
    assert_eq!(manifest.artifacts.len(), 3);
    let mut archive = Vec::new();
    backup.artifact(&manifest.artifacts[0], &mut archive).unwrap();
    assert!(archive.starts_with(b"the archive of "));
}

#[test]
fn an_empty_log_makes_a_backup_too() {
    let mut writer = Writer::new(Vec::new(), Timestamp(0), "test");
    assert!(writer.commits_end().unwrap().is_empty());
    let backup = open(writer.finish(None).unwrap().1).unwrap();
    backup.prove().unwrap();
    assert_eq!(backup.commits(0).unwrap().count(), 0);
}

#[test]
fn a_commit_that_does_not_follow_is_not_taken() {
    let world = support::lively();
    let mut writer = Writer::new(Vec::new(), Timestamp(0), "test");
    writer.commit(&world.commits[0]).unwrap();
    let error = writer.commit(&world.commits[2]).unwrap_err();
    assert!(matches!(error, BackupError::Unchained { sequence: 3, .. }), "{error}");
}

#[test]
fn an_artifact_that_is_not_its_digest_is_not_taken() {
    let mut writer = Writer::new(Vec::new(), Timestamp(0), "test");
    let error = writer.artifact(events::Digest::of(b"one"), 3, b"two".as_slice()).unwrap_err();
    assert!(matches!(error, BackupError::Damaged { .. }), "{error}");
}

#[test]
fn a_file_that_was_cut_or_changed_anywhere_is_refused() {
    let file = support::lively().file();
    let whole = open(file.clone()).unwrap();
    let padding = file.len() - file.iter().rev().take_while(|byte| **byte == 0).count();
    for length in (0..padding).step_by(file.len() / 97) {
        let read = open(file[..length].to_vec()).and_then(|backup| backup.prove());
        assert!(read.is_err(), "cut at {length} of {}", file.len());
    }
    for at in (0..padding).step_by(31) {
        let mut changed = file.clone();
        changed[at] ^= 0x55;
        let Ok(backup) = open(changed) else { continue };
        // What does not matter (a padding, a date in a header) may differ; what was stored may not.
        if backup.prove().is_ok() {
            assert_eq!(backup.manifest(), whole.manifest(), "changed at {at}");
        }
    }
}
