//! A log that was changed in any way is found out, and the first bad place is named.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use audit::StoredCommit;
use audit::verify::{Problem, Report, Verifier};
use events::{Checkpoint, Commit, Digest, wire};
use std::collections::{BTreeMap, BTreeSet};

fn verify(commits: &[StoredCommit], held: &[Checkpoint]) -> Report {
    let mut verifier = Verifier::new(held.to_vec(), None);
    commits.iter().for_each(|commit| verifier.take(commit));
    verifier.finish()
}

#[test]
fn an_untouched_log_is_good() {
    let world = support::lively();
    let report = verify(&world.commits, &[world.sign()]);
    assert_eq!(report.fault, None);
    assert_eq!((report.signed, report.held, report.good.event), (3, 1, world.state.last));
    assert_eq!(report.keys, BTreeSet::from([world.key()]));
}

#[test]
fn a_log_that_was_made_anew_after_a_change_is_not_as_signed() {
    let world = support::lively();
    let mut commits = world.commits.clone();
    let at = commits.len() / 3;
    change(&mut commits, at, |commit| commit.inbox += 1);
    rechain(&mut commits, at);
    let fault = verify(&commits, &[]).fault.expect("it was changed");
    assert!(matches!(fault.problem, Problem::NotAsSigned { .. }), "{fault:?}");
    assert!(fault.sequence > at as u64, "{fault:?}");
}

#[test]
fn a_log_of_another_king_is_good_only_for_those_who_do_not_know_the_key() {
    let (world, other) = (support::lively(), support::World::new(6));
    let held = [world.sign()];
    assert!(verify(&other.commits, &[]).fault.is_none());
    assert!(verify(&other.commits, &held).fault.is_some(), "it is shorter and of another hash");
    let mut verifier = Verifier::new(Vec::new(), Some(BTreeSet::from([world.key()])));
    other.commits.iter().for_each(|commit| verifier.take(commit));
    let fault = verifier.finish().fault.expect("the key is unknown");
    assert_eq!((fault.sequence, fault.problem), (1, Problem::Stranger { key: other.key() }));
}

#[test]
fn a_cut_off_tail_is_seen_by_whoever_holds_a_checkpoint() {
    let world = support::lively();
    let shorter = &world.commits[..world.commits.len() - 1];
    assert!(verify(shorter, &[]).fault.is_none(), "by itself a shorter log is a good one");
    let fault = verify(shorter, &[world.sign()]).fault.expect("it is shorter than what was signed");
    assert_eq!((fault.sequence, fault.problem), (world.commits.len() as u64, Problem::CutOff));
}

fn change(commits: &mut [StoredCommit], at: usize, change: impl FnOnce(&mut Commit)) {
    let mut commit = commits[at].read().unwrap();
    change(&mut commit);
    commits[at].bytes = wire::encode(&commit).into();
}

/// Makes all hashes after a place anew, as somebody would who wants to hide a change.
fn rechain(commits: &mut [StoredCommit], from: usize) {
    for at in from + 1..commits.len() {
        let previous = Digest::of(&commits[at - 1].bytes);
        change(commits, at, |commit| commit.previous = previous);
    }
}

fn renumber(commits: &mut [StoredCommit]) {
    for (index, commit) in commits.iter_mut().enumerate() {
        commit.sequence = index as u64 + 1;
    }
}

/// Small, fast and the same everywhere (xorshift64*).
struct Random(u64);

impl Random {
    fn below(&mut self, most: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % most
    }
}

/// Mutates a log; returns what was done and the first place that differs.
fn mutate(commits: &mut Vec<StoredCommit>, random: &mut Random) -> (&'static str, usize) {
    let (at, other) = (random.below(commits.len()), random.below(commits.len()));
    match random.below(10) {
        0..=2 => {
            let (byte, bit) = (random.below(commits[at].bytes.len()), random.below(8));
            let mut bytes = commits[at].bytes.to_vec();
            bytes[byte] ^= 1 << bit;
            commits[at].bytes = bytes.into();
            ("flip a bit", at)
        }
        3 => {
            commits.remove(at);
            ("delete", at)
        }
        4 => {
            commits.remove(at);
            renumber(commits);
            ("delete and renumber", at)
        }
        5 => {
            let copy = commits[other].clone();
            commits.insert(at, copy);
            renumber(commits);
            ("insert and renumber", at)
        }
        6 if at != other => {
            commits.swap(at, other);
            renumber(commits);
            ("swap", at.min(other))
        }
        6 | 7 => {
            commits.truncate(at);
            ("cut the tail", at)
        }
        8 => {
            let cut = random.below(commits[at].bytes.len());
            commits[at].bytes.truncate(cut);
            ("shorten a commit", at)
        }
        _ => {
            change(commits, at, |commit| commit.inbox += 1);
            rechain(commits, at);
            ("change and hash anew", at)
        }
    }
}

#[test]
fn ten_thousand_mutations_are_all_found() {
    const MUTATIONS: usize = 10_000;
    let world = support::lively();
    let held = world.sign();
    // What a verifier knows before each commit: what was not touched need not be read ten thousand times.
    let mut before = vec![Verifier::new(vec![held], None)];
    for commit in &world.commits {
        let mut verifier = before.last().unwrap().clone();
        verifier.take(commit);
        before.push(verifier);
    }
    let (mut random, mut tally) = (Random(0x9E37_79B9_7F4A_7C15), BTreeMap::new());
    for _ in 0..MUTATIONS {
        let mut commits = world.commits.clone();
        let (kind, first) = mutate(&mut commits, &mut random);
        let mut verifier = before[first].clone();
        commits[first.min(commits.len())..].iter().for_each(|commit| verifier.take(commit));
        let fault = verifier.finish().fault;
        let fault = fault.unwrap_or_else(|| panic!("{kind} at commit {} is not found", first + 1));
        assert!(fault.sequence >= first as u64, "{kind} at commit {}: {fault:?}", first + 1);
        *tally.entry(kind).or_insert(0_usize) += 1;
    }
    println!("{MUTATIONS} mutations of a log of {} commits, all found: {tally:?}", world.commits.len());
    assert_eq!(tally.values().sum::<usize>(), MUTATIONS);
    assert_eq!(tally.len(), 8, "{tally:?}");
}
