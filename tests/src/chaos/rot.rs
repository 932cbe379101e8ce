//! Rot on the disk of one server: a bit that flips, or a file that is cut, in what it keeps of the log. The server does not
//! run meanwhile: one that runs has in memory what it reads.
//!
//! Afterwards one of two things must come, within [`NOTICED`]: the servers heal it, so that each has the whole log, or every
//! King stops, names the first bad commit, and `kingctl king repair` makes the log whole.

use super::dice::Dice;
use super::site::{KINGS, Site};
use crate::client::Client;
use crate::cluster::SERVERS;
use crate::command::{Ended, run};
use crate::process::clean_environment;
use crate::proxy::Weather;
use crate::{http, programs, wait};
use bytes::Bytes;
use events::subject::LOG_STREAM;
use futures_util::StreamExt;
use serde_json::Value;
use std::fmt;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::process::Command;
use tokio::time::{Instant, sleep, timeout};

/// How long rot may go unseen and unhealed.
const NOTICED: Duration = Duration::from_secs(60);
/// How long all Kings may take to stop once one has, or to go on once the log is whole.
const TOGETHER: Duration = Duration::from_secs(60);
/// Most files that rot at once.
const MOST_AT_ONCE: usize = 3;
/// How long a server may take to answer by itself, and how long until it is asked again.
const ALONE: Duration = Duration::from_secs(1);
/// Reads of the log that are under way at once.
const READS: usize = 64;

/// One thing that was done to a file.
#[derive(Debug)]
pub struct Rot {
    path: PathBuf,
    at: u64,
    kind: Kind,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Flip,
    Cut,
}

impl fmt::Display for Rot {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let done = match self.kind {
            Kind::Flip => "a bit flipped at",
            Kind::Cut => "cut at",
        };
        write!(formatter, "{done} {} in {}", self.at, self.path.display())
    }
}

/// Lets one to three files rot that a server keeps of the log, below its store. `group` is the folder of the vote of the
/// log's servers.
///
/// # Panics
/// When there are none, or they cannot be written.
pub fn set_in(store: &Path, group: &str, dice: &mut Dice) -> Vec<Rot> {
    let kinds = [
        files(store, LOG_STREAM, |path| path.extension().is_some_and(|extension| extension == "blk")),
        files(store, LOG_STREAM, |path| path.file_name().is_some_and(|name| name == "index.db")),
        files(store, group, |_| true),
    ];
    let kinds: Vec<_> = kinds.into_iter().filter(|files| !files.is_empty()).collect();
    assert!(!kinds.is_empty(), "there is nothing of the log below {}", store.display());
    let count = 1 + dice.below(MOST_AT_ONCE);
    (0..count).map(|_| rot(&kinds[dice.below(kinds.len())], dice)).collect()
}

fn rot(files: &[PathBuf], dice: &mut Dice) -> Rot {
    let path = files[dice.below(files.len())].clone();
    let length = fs::metadata(&path).expect("the disk is the test's").len();
    let at = dice.below(usize::try_from(length).expect("a file of a test is small")) as u64;
    let kind = dice.one(&[Kind::Flip, Kind::Flip, Kind::Cut]);
    match kind {
        Kind::Flip if at < length => flip(&path, at, dice.below(8)),
        Kind::Flip | Kind::Cut => {
            let file = File::options().write(true).open(&path).expect("the disk is the test's");
            file.set_len(at).expect("the disk is the test's");
        }
    }
    Rot { path, at, kind }
}

fn flip(path: &Path, at: u64, bit: usize) {
    let mut bytes = fs::read(path).expect("the disk is the test's");
    bytes[usize::try_from(at).expect("a file of a test is small")] ^= 1 << bit;
    fs::write(path, bytes).expect("the disk is the test's");
}

/// The files below a folder of a name, wherever that is, in an order that a seed repeats.
fn files(store: &Path, folder: &str, wanted: impl Fn(&Path) -> bool) -> Vec<PathBuf> {
    let within = |path: &PathBuf| path.components().any(|part| part.as_os_str() == folder);
    let mut found: Vec<_> = all(store).into_iter().filter(within).filter(|path| wanted(path)).collect();
    found.sort();
    found
}

fn all(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("a folder of the test's server");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    paths.flat_map(|path| if path.is_dir() { all(&path) } else { vec![path] }).collect()
}

/// The folder in which a server keeps what the servers of the log have agreed on.
///
/// # Panics
/// When the servers do not tell.
pub async fn group(client: &Client) -> String {
    wait::until("the servers name the group of the log", async || {
        let subject = format!("$JS.API.STREAM.INFO.{LOG_STREAM}");
        let answer = client.request(&subject, None, Vec::new()).await?;
        let info: Value = serde_json::from_slice(&answer).map_err(|error| error.to_string())?;
        let group = info["cluster"]["raft_group"].as_str().map(str::to_owned);
        group.ok_or_else(|| format!("{info}"))
    })
    .await
}

/// Waits for one of the two ends; the log is whole on every server after it.
///
/// # Panics
/// When neither comes, when a King that stops does not name the bad commit, or when it cannot be repaired.
pub async fn is_mended(site: &mut Site) {
    let begun = Instant::now();
    loop {
        site.revive();
        if !alarmed(site).await.is_empty() {
            println!("chaos: noticed after {:.1?}", begun.elapsed());
            return is_repaired(site).await;
        }
        match each_copy_is_whole(site).await {
            Ok(()) => return println!("chaos: healed by the servers within {:.1?}", begun.elapsed()),
            Err(why) if begun.elapsed() > NOTICED => {
                panic!("not healed within {NOTICED:?}, and no King says so: {why}")
            }
            Err(_) => sleep(ALONE).await,
        }
    }
}

/// A King that has stopped.
#[derive(Debug)]
struct Alarmed {
    king: &'static str,
    /// How many commits its journal has seen.
    seen: u64,
    reason: String,
}

async fn alarmed(site: &Site) -> Vec<Alarmed> {
    let mut alarmed = Vec::new();
    for king in KINGS {
        let Ok(answer) = http::get(site.http(king), "/readyz").await else { continue };
        if answer.status != 503 || !answer.body.contains("log-disaster") {
            continue;
        }
        let numbers = http::get(site.http(king), "/metrics").await.map(|numbers| numbers.body);
        let seen = numbers.as_deref().map_or(0, |numbers| number(numbers, "king_journal_sequence"));
        alarmed.push(Alarmed { king, seen, reason: answer.body });
    }
    alarmed
}

fn number(metrics: &str, name: &str) -> u64 {
    let line = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.and_then(|value| value.trim().parse().ok()).unwrap_or(0)
}

/// What an operator does: take the journal that has seen most, look at the plan, carry it out.
async fn is_repaired(site: &mut Site) {
    let stopped = wait::within(TOGETHER, "every King stops", async || {
        let revived = site.revive();
        let stopped = alarmed(site).await;
        wait::holds(stopped.len() == KINGS.len(), || format!("{stopped:?}; {revived:?} were started again"))?;
        Ok::<_, String>(stopped)
    })
    .await;
    for Alarmed { king, reason, .. } in &stopped {
        let names_it =
            reason.contains("commit ") || reason.contains("commits ") || reason.contains("is gone");
        assert!(names_it, "{king} names no commit: {reason}");
    }
    let best = stopped.iter().max_by_key(|alarmed| alarmed.seen).expect("all three have stopped");
    println!("chaos: {} has seen {}: {}", best.king, best.seen, best.reason);
    let journal = site.path().join(best.king).join("king/journal").display().to_string();
    let plan = kingctl(site, &["king", "repair", "--journal", &journal]).await;
    assert!(plan.code == 1 && plan.stdout.contains("append"), "a plan is shown, and nothing done: {plan:?}");
    let done = kingctl(site, &["king", "repair", "--journal", &journal, "--yes"]).await.success();
    println!("chaos: repaired: {}", done.lines().last().unwrap_or_default());
    wait::within(TOGETHER, "the Kings go on", async || {
        let stopped = alarmed(site).await;
        wait::holds(stopped.is_empty(), || format!("{stopped:?}"))
    })
    .await;
}

async fn kingctl(site: &Site, arguments: &[&str]) -> Ended {
    let mut command = Command::new(programs::kingdom("kingctl"));
    command.args(arguments).env_clear().envs(clean_environment());
    command.env("KING_NATS", site.cluster.url()).env("USER", "chaos").current_dir(site.path());
    run(command).await
}

/// Whether every server has the same messages, all of them, in what it keeps itself.
async fn each_copy_is_whole(site: &Site) -> Result<(), String> {
    for server in 0..SERVERS {
        answers_itself(site, server).await?;
    }
    copies_are_whole(site).await
}

/// Whether a server reads from a copy of its own: one that has none lets another answer. So it is asked while it hears
/// nothing from the others, for a moment that leads to no election.
async fn answers_itself(site: &Site, server: usize) -> Result<(), String> {
    let client = Client::try_connect(&site.cluster.url_of(server)).await?;
    let stream = client.jetstream.get_stream_no_info(LOG_STREAM).await.map_err(|error| error.to_string())?;
    site.cluster.weather_around(server, Weather::Held);
    let answer = timeout(ALONE, stream.direct_get(1)).await;
    site.cluster.weather_around(server, Weather::Fair);
    let failed = |why: String| format!("server {} does not answer by itself: {why}", server + 1);
    let answer = answer.map_err(|_| failed("in time".to_owned()))?;
    answer.map(|_| ()).map_err(|error| failed(error.to_string()))
}

/// Whether every server gives the same messages, all of them.
async fn copies_are_whole(site: &Site) -> Result<(), String> {
    let stream = site.client.jetstream.get_stream(LOG_STREAM).await.map_err(|error| error.to_string())?;
    let info = stream.cached_info();
    let replicas = info.cluster.as_ref().map(|cluster| cluster.replicas.as_slice()).unwrap_or_default();
    let current = replicas.len() + 1 == SERVERS && replicas.iter().all(|copy| copy.current && !copy.offline);
    wait::holds(current, || format!("not every copy is current: {replicas:?}"))?;
    let last = info.state.last_sequence;
    let first = copy(site, 0, last).await?;
    for server in 1..SERVERS {
        let other = copy(site, server, last).await?;
        let differs = first.iter().zip(&other).position(|(one, other)| one != other);
        wait::holds(differs.is_none(), || format!("servers 1 and {} differ at {differs:?}", server + 1))?;
    }
    Ok(())
}

/// What one server has of the log: it answers direct reads itself when it holds a copy.
async fn copy(site: &Site, server: usize, last: u64) -> Result<Vec<Bytes>, String> {
    let client = Client::try_connect(&site.cluster.url_of(server)).await?;
    let stream = client.jetstream.get_stream_no_info(LOG_STREAM).await.map_err(|error| error.to_string())?;
    let failed = |sequence, error| format!("commit {sequence} on server {}: {error}", server + 1);
    let stream = &stream;
    let read = |sequence| async move {
        let message = stream.direct_get(sequence).await;
        message.map(|message| message.payload).map_err(|error| failed(sequence, error))
    };
    let found: Vec<_> = futures_util::stream::iter(1..=last).map(read).buffered(READS).collect().await;
    found.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_rots_as_it_is_told() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("streams").join(LOG_STREAM).join("msgs/1.blk");
        fs::create_dir_all(path.parent().expect("it has one")).expect("a temporary folder");
        for seed in 0..50 {
            let before = vec![7; 1000];
            fs::write(&path, &before).expect("a temporary folder");
            let done = set_in(folder.path(), "S-R3F-none", &mut Dice::new(seed));
            assert!((1..=MOST_AT_ONCE).contains(&done.len()) && done.iter().all(|rot| rot.path == path));
            assert_ne!(fs::read(&path).expect("it is there"), before, "{done:?}");
        }
    }

    #[test]
    fn a_number_is_found_among_others() {
        let text =
            "# TYPE king_journal_sequence gauge\nking_journal_sequence_x 3\nking_journal_sequence 41\n";
        assert_eq!(number(text, "king_journal_sequence"), 41);
        assert_eq!(number(text, "king_other"), 0);
    }
}
