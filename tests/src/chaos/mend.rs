//! What must come of a log that is not the same on every server any more, within [`NOTICED`].
//!
//! The servers heal it, so that each has the whole log. Or
//! every King stops, names the first bad commit, and `kingctl king repair` makes the log whole. Or every King says that one
//! server has no whole copy any more, which nats-server 2.15 does not heal where the snapshot of its vote is damaged ("Stream
//! create failed: raft: snapshot corrupt" in its log), and where commits are missing in an older file (the others take it
//! for current): the kingdom goes on with the two others, a mail says which server it is, and emptied and started again it
//! takes everything from them.

use super::site::{KINGS, Site};
use crate::client::REQUEST;
use crate::cluster::SERVERS;
use crate::command::{Ended, run};
use crate::nats::SYSTEM_PASSWORD;
use crate::process::clean_environment;
use crate::{http, programs, wait};
use async_nats::ConnectOptions;
use bytes::Bytes;
use events::subject::LOG_STREAM;
use futures_util::StreamExt;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;
use tokio::process::Command;
use tokio::time::{Instant, timeout};

/// How long rot may go unseen and unhealed.
const NOTICED: Duration = Duration::from_secs(60);
/// How long all Kings may take to stop once one has, or to go on once the log is whole.
const TOGETHER: Duration = Duration::from_secs(60);
/// How long the servers may take to let a certain one lead.
const LEADING: Duration = Duration::from_secs(15);
/// Between two looks: each lets another server lead.
const BETWEEN: Duration = Duration::from_millis(500);
/// Reads of the log that are under way at once.
const READS: usize = 64;

/// How it ends.
enum End {
    Alarmed,
    /// One server has no whole copy.
    Missing(usize),
    Healed,
}

/// Waits for one of the three ends; the log is whole on every server after it.
///
/// # Panics
/// When none comes, when a King that stops does not name the bad commit, or when it cannot be repaired.
pub async fn is_mended(site: &mut Site) {
    let (begun, mut reasons) = (Instant::now(), BTreeSet::new());
    let end = wait::attempt(BETWEEN, NOTICED, async || {
        let look = end(site).await;
        if let Err(reason) = &look {
            reasons.insert(reason.clone());
        }
        look
    });
    let end = end.await;
    match end {
        Ok(End::Alarmed) => {
            println!("chaos: noticed after {:.1?}", begun.elapsed());
            is_repaired(site).await;
        }
        Ok(End::Missing(server)) => {
            let number = server + 1;
            println!(
                "chaos: the copy of server {number} is said to be missing after {:.1?}",
                begun.elapsed()
            );
            is_filled_anew(site, server).await;
        }
        Ok(End::Healed) => println!("chaos: healed by the servers within {:.1?}", begun.elapsed()),
        Err(_) => panic!("not healed within {NOTICED:?}, and no King says so: {reasons:#?}"),
    }
}

async fn end(site: &mut Site) -> Result<End, String> {
    site.revive();
    if !alarmed(site).await.is_empty() {
        return Ok(End::Alarmed);
    }
    if let Some(server) = is_said_to_be_missing(site).await {
        return Ok(End::Missing(server));
    }
    each_copy_is_whole(site).await.map(|()| End::Healed)
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
pub struct Alarmed {
    pub king: &'static str,
    /// How many commits its journal has seen.
    pub seen: u64,
    /// What `/readyz` says.
    pub reason: String,
}

/// The Kings that have stopped.
pub async fn alarmed(site: &Site) -> Vec<Alarmed> {
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

/// Waits until every King has stopped, each with the first bad commit named.
///
/// # Panics
/// When one goes on.
pub async fn all_are_alarmed(site: &mut Site, within: Duration) -> Vec<Alarmed> {
    let stopped = wait::within(within, "every King stops", async || {
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
    stopped
}

/// Where a King keeps its journal.
pub fn journal(site: &Site, king: &str) -> PathBuf {
    site.path().join(king).join("king/journal")
}

/// What an operator does: name every journal, look at the plan, carry it out. The Kings go on by themselves.
///
/// # Panics
/// When it does not succeed.
pub async fn is_repaired(site: &mut Site) {
    let stopped = all_are_alarmed(site, TOGETHER).await;
    for Alarmed { king, seen, reason } in &stopped {
        println!("chaos: {king} has seen {seen}: {reason}");
    }
    let journals = KINGS.map(|king| journal(site, king).display().to_string());
    let named = journals.iter().flat_map(|journal| ["--journal", journal.as_str()]);
    let arguments: Vec<_> = ["king", "repair"].into_iter().chain(named).collect();
    let plan = kingctl(site, &arguments).await;
    assert!(plan.code == 1 && plan.stdout.contains("append"), "a plan is shown, and nothing done: {plan:?}");
    assert!(!plan.stdout.contains("lose"), "nothing is lost: {plan:?}");
    let done = kingctl(site, &[&arguments[..], &["--yes"]].concat()).await.success();
    println!("chaos: repaired: {done}");
    wait::within(TOGETHER, "the Kings go on", async || {
        let revived = site.revive();
        let stopped = alarmed(site).await;
        wait::holds(stopped.is_empty(), || format!("{stopped:?}; {revived:?} were started again"))
    })
    .await;
}

/// Runs `kingctl` as an operator of all servers.
pub async fn kingctl(site: &Site, arguments: &[&str]) -> Ended {
    let mut command = Command::new(programs::kingdom("kingctl"));
    command.args(arguments).env_clear().envs(clean_environment());
    command.env("KING_NATS", site.cluster.url()).env("USER", "chaos").current_dir(site.path());
    run(command).await
}

/// Whether every server has the same messages, all of them, in what it keeps itself: each is made the one that leads, for
/// only that one answers from its own copy and from no other.
///
/// # Errors
/// Which server has not.
pub async fn each_copy_is_whole(site: &Site) -> Result<(), String> {
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
    let name = format!("n{}", server + 1);
    let order = json!({ "placement": { "preferred": name } }).to_string();
    wait::attempt(BETWEEN, LEADING, async || {
        if site.cluster.leader_of(&site.client, LOG_STREAM).await == Ok(server) {
            return Ok(());
        }
        let subject = format!("$JS.API.STREAM.LEADER.STEPDOWN.{LOG_STREAM}");
        // Refused while nobody leads; then it is asked again.
        let _ = site.client.request(&subject, None, order.clone().into_bytes()).await;
        Err(format!("server {} does not come to lead", server + 1))
    })
    .await
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
    fn a_number_is_found_among_others() {
        let text =
            "# TYPE king_journal_sequence gauge\nking_journal_sequence_x 3\nking_journal_sequence 41\n";
        assert_eq!(number(text, "king_journal_sequence"), 41);
        assert_eq!(number(text, "king_other"), 0);
    }
}
