//! What a repair rests on: the longest chain that journals and the stream prove, and what was seen beyond it.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

mod support;

use async_nats::jetstream::{self, Context};
use bus::Bus;
use bus::compare::{self, Finding, Walk};
use bus::journal::{Entry, Journal, Place};
use bus::log::Log;
use bus::repair::{self, Claim, Deed, Journals, Plan, RepairError};
use bytes::Bytes;
use events::subject::{LOG_STREAM, LOG_SUBJECT};
use events::{Actor, Cause, Commit, Digest, DomainName, Event, Fact, KingId, Timestamp, wire};
use std::path::Path;
use support::{Server, limits};
use tempfile::TempDir;
use uuid::Uuid;

/// So many commits stand in a whole log.
const COMMITS: u64 = 12;

fn event(id: u64, epoch: u64) -> Event {
    Event {
        id,
        at: Timestamp(1_000 + id),
        actor: Actor::king(),
        cause: Cause::Election,
        domain: DomainName::default_domain(),
        fact: Fact::King(
            events::event::KingElected { king: KingId(Uuid::from_u128(u128::from(epoch))), epoch, key: None }
                .into(),
        ),
    }
}

/// Commits of two events each that follow a place.
fn commits(mut after: Walk, epoch: u64, count: u64) -> Vec<(Entry, Walk)> {
    let mut made = Vec::new();
    for _ in 0..count {
        let first = after.event + 1;
        let events = vec![event(first, epoch), event(first + 1, epoch)];
        let commit = Commit { epoch, first, previous: after.hash, inbox: 0, events };
        let bytes = Bytes::from(wire::encode(&commit));
        let entry = Entry::of(after.sequence + 1, &commit, Digest::of(&bytes), bytes);
        after.take(&entry.bytes).unwrap();
        made.push((entry, after));
    }
    made
}

fn chain() -> Vec<(Entry, Walk)> {
    commits(Walk::START, 1, COMMITS)
}

/// A journal with the first so many of some commits.
fn journal(folder: &Path, name: &str, of: &[(Entry, Walk)], count: u64) -> Journal {
    let journal = Journal::open(folder.join(name)).unwrap();
    let entries: Vec<_> = of.iter().take(count as usize).map(|(entry, _)| entry.clone()).collect();
    journal.append(&entries).unwrap();
    journal.sync().unwrap();
    journal
}

struct Site {
    _server: Server,
    bus: Bus,
    context: Context,
    folder: TempDir,
}

impl Site {
    /// A server with these commits in its log.
    async fn with(log: &[Bytes]) -> Self {
        let server = Server::start();
        let bus = server.provisioned().await;
        let context = jetstream::new(async_nats::connect(server.url()).await.unwrap());
        let site = Self { _server: server, bus, context, folder: tempfile::tempdir().unwrap() };
        for bytes in log {
            site.context.publish(LOG_SUBJECT, bytes.clone()).await.unwrap().await.unwrap();
        }
        site
    }

    fn journal(&self, name: &str, of: &[(Entry, Walk)], count: u64) -> Journal {
        journal(self.folder.path(), name, of, count)
    }

    async fn plan(&self, journals: Vec<Journal>, claims: &[Claim]) -> (Journals, Plan) {
        let journals = Journals::prove(journals).unwrap();
        let plan = repair::plan(&self.bus, &journals, claims).await.unwrap();
        (journals, plan)
    }

    async fn carry_out(&self, journals: &mut Journals, plan: &Plan) {
        let save = self.folder.path().join("saved");
        let seal = |last: &Commit, end: Walk| Commit {
            epoch: last.epoch + 100,
            first: end.event + 1,
            previous: end.hash,
            inbox: last.inbox,
            events: vec![event(end.event + 1, last.epoch + 100)],
        };
        repair::carry_out(&self.bus, journals, plan, &limits(), &save, seal, |_| {}).await.unwrap();
    }

    async fn log(&self) -> Vec<Bytes> {
        let log = Log::open(&self.bus).await.unwrap();
        let mut found = Vec::new();
        for sequence in 1..=log.last_sequence().await.unwrap() {
            found.push(log.read(sequence).await.unwrap().unwrap());
        }
        found
    }
}

fn bytes(of: &[(Entry, Walk)]) -> Vec<Bytes> {
    of.iter().map(|(entry, _)| entry.bytes.clone()).collect()
}

/// The commits with a byte of one changed.
fn altered(of: &[(Entry, Walk)], sequence: usize) -> Vec<Bytes> {
    let mut all = bytes(of);
    let mut changed = all[sequence - 1].to_vec();
    *changed.last_mut().unwrap() ^= 1;
    all[sequence - 1] = changed.into();
    all
}

#[tokio::test]
async fn what_the_stream_alone_holds_is_rescued() {
    let chain = chain();
    let site = Site::with(&altered(&chain, 3)).await;
    let (mut journals, plan) = site.plan(vec![site.journal("one", &chain, 8)], &[]).await;
    assert_eq!(plan.deed, Deed::Replace { stream: COMMITS, to: COMMITS });
    assert_eq!((plan.rescued, &plan.lost), (Some((9, COMMITS)), &None));
    site.carry_out(&mut journals, &plan).await;
    assert_eq!(site.log().await, bytes(&chain));
    drop(journals);
    assert_eq!(Journal::open(site.folder.path().join("one")).unwrap().last().sequence, COMMITS);
}

#[tokio::test]
async fn an_end_of_the_stream_that_its_own_next_commit_contradicts_is_not_believed() {
    let chain = chain();
    let site = Site::with(&altered(&chain, 11)).await;
    let (_, plan) = site.plan(vec![site.journal("one", &chain, 8)], &[]).await;
    assert_eq!((plan.end.sequence, plan.rescued), (10, Some((9, 10))), "11 is not what 12 names");
    let lost = plan.lost.unwrap();
    assert_eq!((lost.from, lost.to, lost.first_event, lost.last_event), (11, 12, Some(21), None));
}

#[tokio::test]
async fn the_longest_of_the_journals_is_taken_and_the_others_are_no_loss() {
    let chain = chain();
    let site = Site::with(&bytes(&chain)[..5]).await;
    let journals = vec![site.journal("one", &chain, 7), site.journal("two", &chain, COMMITS)];
    let claims = [Claim { who: "king-2".into(), sequence: COMMITS, event: 2 * COMMITS }];
    let (mut journals, plan) = site.plan(journals, &claims).await;
    assert_eq!((&plan.deed, &plan.lost), (&Deed::Append { from: 6, to: COMMITS }, &None));
    assert_eq!(plan.base, site.folder.path().join("two"));
    site.carry_out(&mut journals, &plan).await;
    assert_eq!(site.log().await, bytes(&chain));
}

#[tokio::test]
async fn what_a_king_has_seen_and_no_journal_holds_is_named_and_given_up_only_under_a_new_epoch() {
    let chain = chain();
    let site = Site::with(&bytes(&chain)[..5]).await;
    let claims = [Claim { who: "king-2".into(), sequence: 10, event: 20 }];
    let (mut journals, plan) = site.plan(vec![site.journal("one", &chain, 7)], &claims).await;
    let lost = plan.lost.clone().unwrap();
    assert_eq!((lost.from, lost.to, lost.first_event, lost.last_event), (8, 10, Some(15), Some(20)));
    assert_eq!(lost.seen_by, ["king-2"]);
    site.carry_out(&mut journals, &plan).await;
    let log = site.log().await;
    assert_eq!(log[..7], bytes(&chain)[..7]);
    assert_eq!(wire::decode::<Commit>(&log[7]).unwrap().epoch, 101);
    assert_eq!(log.len(), 8);
}

#[tokio::test]
async fn a_chain_that_was_written_on_without_a_journal_is_not_thrown_away_in_silence() {
    let chain = chain();
    let after = chain[7].1;
    let other = commits(after, 2, 3);
    let log = [&bytes(&chain)[..8], &bytes(&other)].concat();
    let site = Site::with(&log).await;
    let (_, plan) = site.plan(vec![site.journal("one", &chain, COMMITS)], &[]).await;
    let lost = plan.lost.unwrap();
    assert_eq!((lost.from, lost.to), (9, 11), "{lost:?}");
}

#[tokio::test]
async fn journals_of_two_logs_are_refused() {
    let chain = chain();
    let folder = tempfile::tempdir().unwrap();
    let other = [&chain[..4], &commits(chain[3].1, 2, 6)].concat();
    let journals = vec![journal(folder.path(), "one", &chain, 9), journal(folder.path(), "two", &other, 10)];
    match Journals::prove(journals) {
        Err(RepairError::Apart { sequence, .. }) => assert_eq!(sequence, 5),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_commit_that_is_missing_at_the_end_is_a_hole_and_nobody_waits_for_it() {
    let server = Server::start();
    let bus = server.connect().await;
    let context = jetstream::new(async_nats::connect(server.url()).await.unwrap());
    let config = jetstream::stream::Config {
        name: LOG_STREAM.into(),
        subjects: vec![LOG_SUBJECT.into()],
        ..jetstream::stream::Config::default()
    };
    let stream = context.create_stream(config).await.unwrap();
    let chain = chain();
    for bytes in bytes(&chain) {
        context.publish(LOG_SUBJECT, bytes).await.unwrap().await.unwrap();
    }
    stream.delete_message(COMMITS).await.unwrap();
    let report = compare::whole_log(&bus, None, |_| {}).await.unwrap();
    assert_eq!(report.finding, Some(Finding::Hole { sequence: COMMITS }));
    assert_eq!(report.good.sequence, COMMITS - 1);
}

#[test]
fn a_witness_tells_its_end_while_it_is_used() {
    let folder = tempfile::tempdir().unwrap();
    let journal = journal(folder.path(), "one", &chain(), 9);
    assert_eq!(bus::journal::witnessed_in(journal.folder()).unwrap(), Some(9));
    assert_eq!(bus::journal::witnessed_in(folder.path()).unwrap(), None);
    assert_eq!(journal.witness(9).unwrap().map(|place: Place| place.sequence), Some(9));
}
