//! Rot on the disk of one server: a bit that flips, or a file that is cut, in what it keeps of the log. The server does not
//! run meanwhile: one that runs has in memory what it reads.
//!
//! Afterwards one of three things must come, within [`NOTICED`]. The servers heal it, so that each has the whole log. Or
//! every King stops, names the first bad commit, and `kingctl king repair` makes the log whole. Or every King says that one
//! server has no whole copy any more, which nats-server 2.15 does not heal where the snapshot of its vote is damaged ("Stream
//! create failed: raft: snapshot corrupt" in its log), and where commits are missing in an older file (the others take it
//! for current): the kingdom goes on with the two others, a mail says which server it is, and emptied and started again it
//! takes everything from them.

use super::dice::Dice;
use super::site::{KINGS, Site};
use crate::client::{Client, REQUEST};
use crate::cluster::SERVERS;
use crate::command::{Ended, run};
use crate::nats::SYSTEM_PASSWORD;
use crate::process::clean_environment;
use crate::{files, http, programs, wait};
use async_nats::ConnectOptions;
use bytes::Bytes;
use events::subject::LOG_STREAM;
use futures_util::StreamExt;
use serde_json::{Value, json};
use std::collections::BTreeSet;
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
/// A log of so many bytes lies in several files, of which a server that starts reads only the last.
const LOG_BYTES: u64 = 10 * 1024 * 1024;
/// Bytes of a value that makes the log grow, and how many such are under way at once.
const VALUE_BYTES: usize = 32 * 1024;
const WRITES: usize = 4;
/// Most files that rot at once.
const MOST_AT_ONCE: usize = 3;
/// How long the servers may take to let a certain one lead.
const LEADING: Duration = Duration::from_secs(15);
/// Between two looks: each lets another server lead.
const BETWEEN: Duration = Duration::from_millis(500);
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
        files_in(store, LOG_STREAM, |path| path.extension().is_some_and(|extension| extension == "blk")),
        files_in(store, LOG_STREAM, |path| path.file_name().is_some_and(|name| name == "index.db")),
        files_in(store, group, |_| true),
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
fn files_in(store: &Path, folder: &str, wanted: impl Fn(&Path) -> bool) -> Vec<PathBuf> {
    let within = |path: &PathBuf| path.components().any(|part| part.as_os_str() == folder);
    let mut found: Vec<_> =
        files::below(store).into_iter().filter(within).filter(|path| wanted(path)).collect();
    found.sort();
    found
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

/// Lets the log grow until it lies in several files.
///
/// # Panics
/// When a command is not answered.
pub async fn grow(client: &Client, dice: &mut Dice) {
    loop {
        let bytes = client.stream(LOG_STREAM).await.cached_info().state.bytes;
        if bytes >= LOG_BYTES {
            return;
        }
        let missing = usize::try_from(LOG_BYTES - bytes).expect("small").div_ceil(VALUE_BYTES);
        let orders = (0..missing)
            .map(|index| (format!("large-{bytes}-{index}"), json!({ "values": { "LARGE": noise(dice) } })));
        let write = |(id, body): (String, Value)| async move {
            client.command_until_answered(&id, "config.set", &body).await;
        };
        futures_util::stream::iter(orders).for_each_concurrent(WRITES, write).await;
    }
}

/// A value that cannot be packed well.
fn noise(dice: &mut Dice) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    (0..VALUE_BYTES).map(|_| char::from(LETTERS[dice.below(LETTERS.len())])).collect()
}

/// Waits for one of the three ends; the log is whole on every server after it.
///
/// # Panics
/// When neither comes, when a King that stops does not name the bad commit, or when it cannot be repaired.
pub async fn is_mended(site: &mut Site) {
    let (begun, mut reasons) = (Instant::now(), BTreeSet::new());
    loop {
        site.revive();
        if !alarmed(site).await.is_empty() {
            println!("chaos: noticed after {:.1?}", begun.elapsed());
            return is_repaired(site).await;
        }
        if let Some(server) = is_said_to_be_missing(site).await {
            println!(
                "chaos: the copy of server {} is said to be missing after {:.1?}",
                server + 1,
                begun.elapsed()
            );
            return is_filled_anew(site, server).await;
        }
        match each_copy_is_whole(site).await {
            Ok(()) => return println!("chaos: healed by the servers within {:.1?}", begun.elapsed()),
            Err(why) => {
                reasons.insert(why);
                assert!(
                    begun.elapsed() < NOTICED,
                    "not healed within {NOTICED:?}, and no King says so: {reasons:#?}"
                );
                sleep(BETWEEN).await;
            }
        }
    }
}

/// The server whose copy every King says is missing, or has holes: it does not heal by itself.
async fn is_said_to_be_missing(site: &mut Site) -> Option<usize> {
    let mut all = true;
    for king in KINGS {
        let numbers = http::get(site.http(king), "/metrics").await.ok()?.body;
        all &= number(&numbers, "king_log_copies_behind") == 1;
    }
    let said = site.said(KINGS[0]);
    let line = said.lines().rfind(|line| line.contains("has no whole copy of the log")).filter(|_| all)?;
    (0..SERVERS).find(|server| line.contains(&format!("server n{} has", server + 1)))
}

/// What an operator does then: stop the server, take its store away, start it.
async fn is_filled_anew(site: &mut Site, server: usize) {
    site.cluster.kill9(server);
    site.cluster.wipe(server);
    site.cluster.restart(server).await;
    wait::within(TOGETHER, "every server has the whole log, and every King knows it", async || {
        each_copy_is_whole(site).await?;
        for king in KINGS {
            let numbers = http::get(site.http(king), "/metrics").await.map_err(|error| error.to_string())?;
            let behind = number(&numbers.body, "king_log_copies_behind");
            wait::holds(behind == 0, || format!("{king} says that {behind} copies are missing"))?;
        }
        Ok::<_, String>(())
    })
    .await;
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
    http::metric(metrics, name).map_or(0, |number| number as u64)
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

/// Whether every server has the same messages, all of them, in what it keeps itself: each is made the one that leads, for
/// only that one answers from its own copy and from no other.
async fn each_copy_is_whole(site: &Site) -> Result<(), String> {
    let stream = site.client.jetstream.get_stream(LOG_STREAM).await.map_err(|error| error.to_string())?;
    let info = stream.cached_info();
    let replicas = info.cluster.as_ref().map(|cluster| cluster.replicas.as_slice()).unwrap_or_default();
    let current = replicas.len() + 1 == SERVERS && replicas.iter().all(|copy| copy.current && !copy.offline);
    wait::holds(current, || {
        let behind = replicas.iter().filter(|copy| !copy.current || copy.offline);
        format!("not current: {:?}", behind.map(|copy| &copy.name).collect::<Vec<_>>())
    })?;
    let last = info.state.last_sequence;
    for server in 0..SERVERS {
        let state = own_state(site, server).await?;
        let whole = state["first_seq"] == 1
            && state["messages"] == state["last_seq"]
            && state["last_seq"].as_u64() >= Some(last);
        wait::holds(whole, || format!("server {} has of {last} commits: {state}", server + 1))?;
    }
    let mut first: Option<Vec<Bytes>> = None;
    for server in 0..SERVERS {
        lead(site, server).await?;
        let copy =
            all_of_the_leader(site, last).await.map_err(|error| format!("server {}: {error}", server + 1))?;
        let first = first.get_or_insert_with(|| copy.clone());
        let differs = first.iter().zip(&copy).position(|(one, other)| one != other);
        wait::holds(differs.is_none(), || format!("servers 1 and {} differ at {differs:?}", server + 1))?;
    }
    Ok(())
}

/// What a server says of its own copy.
async fn own_state(site: &Site, server: usize) -> Result<Value, String> {
    let options = ConnectOptions::with_user_and_password("system".into(), SYSTEM_PASSWORD.into());
    let nats = options.connect(site.cluster.url_of(server)).await.map_err(|error| error.to_string())?;
    let subject = format!("$SYS.REQ.SERVER.{}.JSZ", nats.server_info().server_id);
    let question = br#"{"account":"KING","streams":true}"#.as_slice();
    let answer = timeout(REQUEST, nats.request(subject, question.into())).await;
    let answer = answer.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
    let told: Value = serde_json::from_slice(&answer.payload).map_err(|error| error.to_string())?;
    let streams = told["data"]["account_details"][0]["stream_detail"].as_array().cloned().unwrap_or_default();
    let log = streams.into_iter().find(|stream| stream["name"] == LOG_STREAM);
    log.map(|mut log| log["state"].take()).ok_or_else(|| format!("server {} has no copy", server + 1))
}

/// Makes a server lead the log.
async fn lead(site: &Site, server: usize) -> Result<(), String> {
    let begun = Instant::now();
    let name = format!("n{}", server + 1);
    let order = json!({ "placement": { "preferred": name } }).to_string();
    while site.cluster.leader_of(&site.client, LOG_STREAM).await != Ok(server) {
        wait::holds(begun.elapsed() < LEADING, || format!("server {} does not come to lead", server + 1))?;
        let subject = format!("$JS.API.STREAM.LEADER.STEPDOWN.{LOG_STREAM}");
        // Refused while nobody leads; then it is asked again.
        let _ = site.client.request(&subject, None, order.clone().into_bytes()).await;
        sleep(BETWEEN).await;
    }
    Ok(())
}

/// What the server that leads has of the log.
async fn all_of_the_leader(site: &Site, last: u64) -> Result<Vec<Bytes>, String> {
    let stream =
        site.client.jetstream.get_stream_no_info(LOG_STREAM).await.map_err(|error| error.to_string())?;
    let stream = &stream;
    let read = |sequence| async move {
        let message = stream.get_raw_message(sequence).await;
        message.map(|message| message.payload).map_err(|error| format!("commit {sequence}: {error}"))
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
