//! The outbox and the table: kills, damage, loss, bounds.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use bus::outbox::{Bounds, Outbox, OutboxError};
use bus::store::StoreError;
use bus::table::Table;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Names the outbox of the child process that pushes until it is killed.
const CHILD: &str = "BUS_TEST_OUTBOX";

fn entry(number: u64) -> Vec<u8> {
    format!("entry {number} {}", "x".repeat(200)).into_bytes()
}

/// Pushes for ever, and prints each number once it is durable.
async fn push_until_killed(directory: PathBuf) {
    let outbox = Outbox::open(directory).await.unwrap();
    loop {
        let mut last = 0;
        for _ in 0..7 {
            last = outbox.push(entry(outbox.len() as u64)).unwrap();
        }
        outbox.barrier().await.unwrap();
        println!("durable {last}");
    }
}

/// The last number that a killed child said to be durable.
fn run_child(directory: &Path, reports: usize) -> u64 {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "what_was_durable_outlives_kills_and_no_number_comes_twice", "--nocapture"])
        .env(CHILD, directory)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let numbers = lines.filter_map(|line| line.unwrap().rsplit_once("durable ")?.1.parse::<u64>().ok());
    let seen: Vec<u64> = numbers.take(reports).collect();
    child.kill().unwrap();
    child.wait().unwrap();
    *seen.last().expect("the child pushed something")
}

#[tokio::test]
async fn what_was_durable_outlives_kills_and_no_number_comes_twice() {
    if let Some(directory) = std::env::var_os(CHILD) {
        return push_until_killed(directory.into()).await;
    }
    let folder = tempfile::tempdir().unwrap();
    let directory = folder.path().join("outbox");
    let (mut epoch, mut highest) = (None, 0);
    for round in 0..8 {
        let reported = run_child(&directory, 3 + round * 5);
        assert!(reported > highest, "numbers rise: {reported} after {highest}");
        let outbox = Outbox::open(&directory).await.unwrap();
        assert_eq!(outbox.set_aside(), None);
        assert_eq!(outbox.epoch(), *epoch.get_or_insert(outbox.epoch()));
        let numbers: Vec<u64> =
            outbox.pending(usize::MAX).unwrap().iter().map(|(number, _)| *number).collect();
        assert!(numbers.contains(&reported));
        assert!(numbers.is_sorted());
        assert_eq!(numbers.len(), outbox.len());
        let next = outbox.push("next").unwrap();
        assert!(next > reported && next > numbers[numbers.len() - 1]);
        outbox.barrier().await.unwrap();
        highest = next;
    }
}

#[tokio::test]
async fn entries_wait_in_order_until_they_are_acknowledged() {
    let folder = tempfile::tempdir().unwrap();
    let outbox = Outbox::open(folder.path()).await.unwrap();
    for number in 1..=5 {
        assert_eq!(outbox.push(entry(number)).unwrap(), number);
    }
    assert_eq!(outbox.pending(10).unwrap(), [], "nothing is shown before it is durable");
    outbox.barrier().await.unwrap();
    assert_eq!(outbox.pending(2).unwrap(), [(1, entry(1)), (2, entry(2))]);
    assert_eq!(outbox.pending_after(3, 10).unwrap(), [(4, entry(4)), (5, entry(5))]);
    outbox.ack_up_to(3).unwrap();
    assert_eq!((outbox.len(), outbox.bytes()), (2, 2 * entry(1).len()));
    assert_eq!(outbox.pending(10).unwrap(), [(4, entry(4)), (5, entry(5))]);
    let epoch = outbox.epoch();
    drop(outbox);
    let outbox = Outbox::open(folder.path()).await.unwrap();
    assert_eq!(outbox.epoch(), epoch);
    assert_eq!(outbox.pending(10).unwrap(), [(4, entry(4)), (5, entry(5))]);
    outbox.ack_up_to(9).unwrap();
    assert!(outbox.is_empty());
    assert!(outbox.push("more").unwrap() > 5);
}

#[tokio::test]
async fn a_full_outbox_says_so_and_keeps_what_it_has() {
    let folder = tempfile::tempdir().unwrap();
    let outbox = Outbox::open_bounded(folder.path(), Bounds { count: 2, bytes: 10 }).await.unwrap();
    outbox.push("12345").unwrap();
    assert!(matches!(outbox.push("1234567"), Err(OutboxError::Full { count: 1, bytes: 5 })));
    outbox.push("1").unwrap();
    assert!(matches!(outbox.push(""), Err(OutboxError::Full { count: 2, bytes: 6 })));
    outbox.ack_up_to(1).unwrap();
    outbox.push("12345").unwrap();
}

#[tokio::test]
async fn many_barriers_at_once_all_hold() {
    let folder = tempfile::tempdir().unwrap();
    let outbox = Outbox::open(folder.path()).await.unwrap();
    let pushers: Vec<_> = (0..50)
        .map(|_| {
            let outbox = outbox.clone();
            tokio::spawn(async move {
                let number = outbox.push("x").unwrap();
                outbox.barrier().await.unwrap();
                assert!(outbox.pending(100).unwrap().iter().any(|(pending, _)| *pending == number));
            })
        })
        .collect();
    for pusher in pushers {
        pusher.await.unwrap();
    }
    assert_eq!(outbox.pending(100).unwrap().len(), 50);
}

/// Overwrites the middle of every file of a store.
fn damage(store: &Path) {
    let mut files = vec![store.to_owned()];
    while let Some(path) = files.pop() {
        if path.is_dir() {
            files.extend(std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
        } else {
            let length = std::fs::metadata(&path).unwrap().len();
            std::fs::write(&path, vec![0x5a; usize::try_from(length.min(1 << 20)).unwrap()]).unwrap();
        }
    }
}

#[tokio::test]
async fn a_damaged_store_is_set_aside_and_the_epoch_rises() {
    let folder = tempfile::tempdir().unwrap();
    let outbox = Outbox::open(folder.path()).await.unwrap();
    let epoch = outbox.epoch();
    outbox.push("lost").unwrap();
    outbox.barrier().await.unwrap();
    drop(outbox);
    damage(&folder.path().join("store"));
    let outbox = Outbox::open(folder.path()).await.unwrap();
    let aside = outbox.set_aside().expect("set aside").to_owned();
    assert!(aside.is_dir() && aside.file_name().unwrap().to_str().unwrap().starts_with("store.damaged-"));
    assert!(outbox.epoch() > epoch);
    assert!(outbox.is_empty());
    let epoch = outbox.epoch();
    drop(outbox);
    std::fs::remove_dir_all(folder.path().join("store")).unwrap();
    let outbox = Outbox::open(folder.path()).await.unwrap();
    assert!(outbox.epoch() > epoch, "a store that is gone raises the epoch too");
    let epoch = outbox.epoch();
    drop(outbox);
    std::fs::write(folder.path().join("outbox.side"), "rubbish").unwrap();
    let outbox = Outbox::open(folder.path()).await.unwrap();
    assert!(outbox.epoch() >= epoch, "the clock stands in for the side file");
}

#[tokio::test]
async fn a_table_keeps_what_it_was_told() {
    let folder = tempfile::tempdir().unwrap();
    let table = Table::open(folder.path()).await.unwrap();
    for number in 0..2500u32 {
        table.put(number.to_be_bytes(), number.to_string()).unwrap();
    }
    table.remove(7u32.to_be_bytes()).unwrap();
    table.put(8u32.to_be_bytes(), "eight").unwrap();
    table.barrier().await.unwrap();
    drop(table);
    let table = Table::open(folder.path()).await.unwrap();
    assert_eq!(table.get(7u32.to_be_bytes()).unwrap(), None);
    assert_eq!(table.get(8u32.to_be_bytes()).unwrap().unwrap(), b"eight");
    let all = table.all().unwrap();
    assert_eq!(all.len(), 2499);
    assert!(all.is_sorted());
    let some = table.scan(9u32.to_be_bytes(), 2).unwrap();
    assert_eq!(
        some,
        [(9u32.to_be_bytes().to_vec(), b"9".to_vec()), (10u32.to_be_bytes().to_vec(), b"10".to_vec())]
    );
    drop(table);
    damage(&folder.path().join("store"));
    let table = Table::open(folder.path()).await.unwrap();
    assert!(table.set_aside().is_some());
    assert!(table.all().unwrap().is_empty());
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target)
        } else {
            std::fs::copy(entry.path(), &target).map(|_| ()).unwrap()
        }
    }
}

#[tokio::test]
async fn damage_anywhere_never_panics_and_never_changes_an_entry() {
    let folder = tempfile::tempdir().unwrap();
    let whole = folder.path().join("whole");
    let outbox = Outbox::open(&whole).await.unwrap();
    for number in 1..=300 {
        assert_eq!(outbox.push(entry(number)).unwrap(), number);
        outbox.barrier().await.unwrap();
    }
    drop(outbox);
    let used = std::fs::read(whole.join("store/db")).unwrap();
    let end = used.iter().rposition(|byte| *byte != 0).unwrap();
    for cut in 0..40 {
        let directory = folder.path().join(format!("damaged-{cut}"));
        copy(&whole, &directory);
        let at = end * cut / 40;
        let mut bytes = used.clone();
        bytes[at..=(at + cut).min(end)].iter_mut().for_each(|byte| *byte ^= 0xff);
        std::fs::write(directory.join("store/db"), bytes).unwrap();
        let outbox = Outbox::open(&directory).await.unwrap();
        for (number, found) in outbox.pending(usize::MAX).unwrap() {
            assert_eq!(found, entry(number));
        }
        let next = outbox.push("after the damage").unwrap();
        assert!(next > 300 || outbox.set_aside().is_some(), "number {next} was used before, at {at}");
        outbox.barrier().await.unwrap();
    }
}

#[tokio::test]
async fn a_store_in_use_is_named_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let outbox = Outbox::open(folder.path()).await.unwrap();
    outbox.push("kept").unwrap();
    outbox.barrier().await.unwrap();
    let error = Outbox::open(folder.path()).await.unwrap_err();
    assert!(matches!(error, OutboxError::Store(StoreError::InUse { .. })), "{error:?}");
    assert!(error.to_string().contains("is the same service running twice?"), "{error}");
    assert_eq!(outbox.pending(2).unwrap().len(), 1);
}

fn resident_bytes() -> usize {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    pages.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

#[test]
fn flushes_from_many_threads_leave_no_memory_behind() {
    const THREADS: usize = 16;
    const ROUNDS: usize = 60;
    const ENTRY: usize = 64 * 1024;
    let folder = tempfile::tempdir().unwrap();
    let runtime = |_| tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    // Each has a thread of its own that flushes, and that lives while it is measured.
    let runtimes: Vec<_> = (0..THREADS).map(runtime).collect();
    let outbox = runtimes[0].block_on(Outbox::open(folder.path())).unwrap();
    let before = resident_bytes();
    for runtime in std::iter::repeat_n(&runtimes, ROUNDS).flatten() {
        let number = outbox.push(vec![7; ENTRY]).unwrap();
        runtime.block_on(outbox.barrier()).unwrap();
        outbox.ack_up_to(number).unwrap();
    }
    let (grown, written) = (resident_bytes().saturating_sub(before), THREADS * ROUNDS * ENTRY);
    assert!(grown < written / 3, "{grown} bytes more are held after {written} were written");
}
