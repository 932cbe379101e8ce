//! The journal: what is appended comes back, and no kill and no damage makes it say what was not.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use bus::journal::{Entry, Journal, JournalError, Place};
use bytes::Bytes;
use events::event::{AppCreated, AppEvent};
use events::{Actor, Cause, Commit, Digest, DomainName, Event, Fact, Timestamp, wire};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Names the journal of the child process that appends until it is killed.
const CHILD: &str = "BUS_TEST_JOURNAL";
/// Events of each commit.
const EVENTS: u64 = 3;

fn event(id: u64) -> Event {
    Event {
        id,
        at: Timestamp(1_000 + 10 * (id / EVENTS)),
        actor: Actor::king(),
        cause: Cause::Tick,
        domain: DomainName::default_domain(),
        fact: Fact::from(AppEvent::from(AppCreated { app: format!("app-{id}").parse().unwrap() })),
    }
}

/// Commits that follow one another, after a place.
struct Source(Place);

impl Iterator for Source {
    type Item = Entry;

    fn next(&mut self) -> Option<Entry> {
        let first = self.0.event + 1;
        let commit = Commit {
            epoch: 1,
            first,
            previous: self.0.hash,
            inbox: 0,
            events: (first..first + EVENTS).map(event).collect(),
        };
        let bytes = Bytes::from(wire::encode(&commit));
        let entry = Entry::of(self.0.sequence + 1, &commit, Digest::of(&bytes), bytes);
        let at = entry.at.unwrap();
        self.0 = Place { sequence: entry.sequence, hash: entry.hash, first, event: commit.last(), at };
        Some(entry)
    }
}

fn entries(count: usize) -> Vec<Entry> {
    Source(Place::START).take(count).collect()
}

/// Every commit of a journal, proven to be the first so many of the source.
fn check(journal: &Journal) -> u64 {
    let mut source = Source(Place::START);
    let mut count = 0;
    for commit in journal.commits(0) {
        let (sequence, bytes) = commit.unwrap();
        let entry = source.next().unwrap();
        assert_eq!((sequence, &bytes), (entry.sequence, &entry.bytes));
        assert_eq!(journal.witness(sequence).unwrap().unwrap().hash, entry.hash);
        count += 1;
    }
    assert_eq!(journal.last().sequence, count);
    assert_eq!(journal.last().hash, source.0.previous_hash(count));
    count
}

trait PreviousHash {
    fn previous_hash(&self, count: u64) -> Digest;
}

impl PreviousHash for Place {
    fn previous_hash(&self, count: u64) -> Digest {
        if count == 0 { Digest::ZERO } else { self.hash }
    }
}

/// Takes what is missing as a King takes it from the stream, and checks all of it.
fn complete(journal: &Journal, count: usize) {
    let have = usize::try_from(journal.last().sequence).unwrap();
    journal.append(&entries(count)[have..]).unwrap();
    assert_eq!(check(journal), count as u64);
}

fn filled(folder: &Path, count: usize, batch: usize) {
    let journal = Journal::open(folder).unwrap();
    for part in entries(count).chunks(batch) {
        journal.append(part).unwrap();
    }
    journal.sync().unwrap();
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files.extend(self::files(&path)) } else { files.push(path) }
    }
    files.sort();
    files
}

fn copy(from: &Path, to: &Path) {
    for file in files(from) {
        let place = to.join(file.strip_prefix(from).unwrap());
        std::fs::create_dir_all(place.parent().unwrap()).unwrap();
        std::fs::copy(&file, &place).unwrap();
    }
}

#[test]
fn what_is_appended_comes_back_in_order_and_after_reopening() {
    for batch in [1, 7, 400, 5000] {
        let folder = tempfile::tempdir().unwrap();
        filled(folder.path(), 2500, batch);
        let journal = Journal::open(folder.path()).unwrap();
        assert!(journal.set_aside().is_empty());
        assert_eq!(check(&journal), 2500);
        let from: Vec<u64> = journal.commits(2490).map(|commit| commit.unwrap().0).collect();
        assert_eq!(from, (2491..=2500).collect::<Vec<_>>());
        assert_eq!(journal.commits(2500).count(), 0);
        complete(&journal, 3600);
    }
}

#[test]
fn what_does_not_follow_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let journal = Journal::open(folder.path()).unwrap();
    let entries = entries(5);
    let gap = journal.append(&entries[1..]).unwrap_err();
    assert!(matches!(gap, JournalError::Gap { after: 0, found: 2 }), "{gap}");
    journal.append(&entries).unwrap();
    let again = journal.append(&entries[4..]).unwrap_err();
    assert!(matches!(again, JournalError::Gap { after: 5, found: 5 }), "{again}");
    assert_eq!(check(&journal), 5);
}

#[test]
fn events_and_times_are_found_by_the_witness() {
    let folder = tempfile::tempdir().unwrap();
    filled(folder.path(), 1200, 100);
    let journal = Journal::open(folder.path()).unwrap();
    assert_eq!(journal.place_of_event(0).unwrap(), None);
    assert_eq!(journal.place_of_event(1).unwrap(), Some(1));
    assert_eq!(journal.place_of_event(3).unwrap(), Some(1));
    assert_eq!(journal.place_of_event(4).unwrap(), Some(2));
    assert_eq!(journal.place_of_event(3600).unwrap(), Some(1200));
    assert_eq!(journal.place_of_event(3601).unwrap(), None);
    assert_eq!(journal.place_of_time(Timestamp(0)).unwrap(), 0);
    assert_eq!(journal.place_of_time(Timestamp(1010)).unwrap(), 1);
    assert_eq!(journal.place_of_time(Timestamp(1019)).unwrap(), 1);
    assert_eq!(journal.place_of_time(Timestamp(u64::MAX)).unwrap(), 1200);
    assert_eq!(journal.commit(77).unwrap().unwrap(), entries(77)[76].bytes);
    assert_eq!((journal.commit(0).unwrap(), journal.commit(1201).unwrap()), (None, None));
}

#[test]
fn snapshots_come_back_and_the_right_one_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let places: Vec<Place> = {
        let mut source = Source(Place::START);
        (0..4)
            .map(|_| {
                source.nth(24);
                source.0
            })
            .collect()
    };
    let bytes = |place: &Place| vec![place.sequence as u8; 200_000 + place.sequence as usize];
    {
        let journal = Journal::open(folder.path()).unwrap();
        for place in &places {
            journal.put_snapshot(*place, &bytes(place)).unwrap();
        }
    }
    let journal = Journal::open(folder.path()).unwrap();
    assert_eq!(journal.snapshot_places(), places);
    assert_eq!(journal.snapshot_before(24).unwrap(), None);
    assert_eq!(journal.snapshot_before(25).unwrap(), Some((places[0], bytes(&places[0]))));
    assert_eq!(journal.snapshot_before(99).unwrap(), Some((places[2], bytes(&places[2]))));
    assert_eq!(journal.snapshot_before(u64::MAX).unwrap(), Some((places[3], bytes(&places[3]))));
    journal.drop_snapshot(100).unwrap();
    assert_eq!(journal.snapshot_before(u64::MAX).unwrap(), Some((places[2], bytes(&places[2]))));
}

#[test]
fn the_witness_outlives_the_store_and_contradicts_another_log() {
    let folder = tempfile::tempdir().unwrap();
    filled(folder.path(), 50, 10);
    for file in files(folder.path()).iter().filter(|file| file.ends_with("db")) {
        std::fs::write(file, b"").unwrap();
    }
    std::fs::remove_dir_all(folder.path().join(format!("commits-{:020}", 1))).unwrap();
    let journal = Journal::open(folder.path()).unwrap();
    assert_eq!((journal.last().sequence, journal.witnessed()), (0, 50));
    let mut other = Source(Place { event: 700, ..Place::START });
    let refused = journal.append(&[other.next().unwrap()]).unwrap_err();
    assert!(matches!(refused, JournalError::Contradicted { sequence: 1, .. }), "{refused}");
    complete(&journal, 60);
}

/// What a part is called whose disk has failed it.
fn unsynced(path: &Path) {
    let mut name = path.as_os_str().to_owned();
    name.push(".unsynced");
    std::fs::rename(path, name).unwrap();
}

#[test]
fn parts_that_their_disk_has_failed_are_set_aside_and_what_they_witnessed_is_not_forgotten() {
    let folder = tempfile::tempdir().unwrap();
    filled(folder.path(), 40, 10);
    let witness = folder.path().join("witness/00000000000000000001.witness");
    let torn = [std::fs::read(&witness).unwrap(), vec![7; 30]].concat();
    std::fs::write(witness.with_extension("unsynced"), torn).unwrap();
    std::fs::remove_file(&witness).unwrap();
    unsynced(&folder.path().join("commits-00000000000000000001"));
    unsynced(&folder.path().join("snapshots-000001"));

    let journal = Journal::open(folder.path()).unwrap();
    assert_eq!(journal.set_aside().len(), 3, "{:?}", journal.set_aside());
    assert_eq!((journal.last(), journal.witnessed()), (Place::START, 40));
    let mut other = entries(1).remove(0);
    other.hash = Digest::of(b"another log");
    assert!(matches!(journal.append(&[other]), Err(JournalError::Contradicted { .. })));
    journal.append(&entries(40)).unwrap();
    journal.sync().unwrap();
    drop(journal);
    let journal = Journal::open(folder.path()).unwrap();
    assert!(journal.set_aside().is_empty(), "once");
    complete(&journal, 40);
}

/// Damages one file in many ways, one at a time, and opens the journal each time.
fn each_damage(suffix: &str, damages: impl Fn(usize) -> Vec<(usize, Option<u8>)>) {
    let whole = tempfile::tempdir().unwrap();
    filled(whole.path(), 40, 8);
    let file = files(whole.path()).into_iter().find(|file| file.to_string_lossy().contains(suffix)).unwrap();
    let bytes = std::fs::read(&file).unwrap();
    for (at, flip) in damages(bytes.len()) {
        let folder = tempfile::tempdir().unwrap();
        copy(whole.path(), folder.path());
        let mut bad = bytes.clone();
        match flip {
            Some(mask) => bad[at] ^= mask,
            None => bad.truncate(at),
        }
        std::fs::write(folder.path().join(file.strip_prefix(whole.path()).unwrap()), bad).unwrap();
        let journal = Journal::open(folder.path()).unwrap();
        assert!(check(&journal) <= 40, "at {at}");
        complete(&journal, 45);
        drop(journal);
        assert_eq!(check(&Journal::open(folder.path()).unwrap()), 45, "at {at}");
    }
}

fn spread(length: usize, count: usize) -> impl Iterator<Item = usize> {
    (0..count).map(move |index| index * length / count)
}

#[test]
fn a_store_cut_anywhere_gives_a_clean_beginning() {
    each_damage("/db", |length| spread(length.min(16_384), 40).map(|at| (at, None)).collect());
}

#[test]
fn a_flipped_bit_in_the_store_gives_a_clean_beginning() {
    each_damage("/db", |length| spread(length.min(16_384), 60).map(|at| (at, Some(1 << (at % 8)))).collect());
}

#[test]
fn a_witness_cut_or_flipped_anywhere_is_made_whole_from_the_store() {
    each_damage(".witness", |length| {
        let cuts = spread(length, 40).map(|at| (at, None));
        let flips = spread(length, 40).map(|at| (at, Some(1 << (at % 8))));
        cuts.chain(flips).collect()
    });
}

/// Appends for ever, and prints each sequence once it is durable.
fn append_until_killed(folder: &Path) {
    let journal = Journal::open(folder).unwrap();
    let mut source = Source(journal.last());
    for batch in (1..=9).cycle() {
        let entries: Vec<Entry> = source.by_ref().take(batch).collect();
        journal.append(&entries).unwrap();
        journal.sync().unwrap();
        println!("durable {}", journal.last().sequence);
    }
}

#[test]
fn what_was_durable_outlives_kills() {
    if let Some(folder) = std::env::var_os(CHILD) {
        return append_until_killed(Path::new(&folder));
    }
    let folder = tempfile::tempdir().unwrap();
    let mut durable = 0;
    for round in 0..10 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "what_was_durable_outlives_kills", "--nocapture"])
            .env(CHILD, folder.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let numbers = lines.filter_map(|line| line.unwrap().rsplit_once("durable ")?.1.parse::<u64>().ok());
        durable = numbers.take(5 + 31 * round).last().unwrap().max(durable);
        child.kill().unwrap();
        child.wait().unwrap();
        let journal = Journal::open(folder.path()).unwrap();
        assert!(journal.set_aside().iter().all(|path| path.to_string_lossy().contains("witness")));
        assert!(check(&journal) >= durable, "{durable} were durable");
    }
}
