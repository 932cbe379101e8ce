//! A Foreman between real connections: what it hears, what it says, what it passes on.

#[path = "support/mod.rs"]
mod support;

use bus::views::Views;
use bus::{Bus, Message, Subscription};
use events::answer::ReportAnswer;
use events::report::{News, ServantNews, Started};
use events::view::{Beat, Domain, DomainServant, Stamp, Stamped};
use events::wire::{Format, encode};
use events::{DomainName, InstanceId, Report, ReportId, ServantId, ServantName, Timestamp, Verdict, subject};
use std::time::Duration;
use support::nats::Nats;
use support::{Foreman, PATIENCE};
use tokio::time::{interval, timeout};
use uuid::Uuid;

fn domain() -> DomainName {
    DomainName::default_domain()
}

fn servant(number: u128) -> (ServantId, ServantName) {
    (ServantId(Uuid::from_u128(number)), format!("s{number}").parse().expect("a name"))
}

/// Plays the King's part: the view of the domain, and the answers to batches.
struct King {
    bus: Bus,
    batches: Subscription,
    views: Views,
    event: u64,
}

impl King {
    async fn start(nats: &Nats) -> Self {
        let bus = nats.provisioned().await;
        let batches = bus.subscribe(subject::REPORTS).await.expect("subscribed");
        let views = Views::open(&bus).await.expect("provisioned");
        Self { bus, batches, views, event: 0 }
    }

    async fn shows(&mut self, servants: impl IntoIterator<Item = (u128, bool)>) {
        self.event += 1;
        let listed = |(number, lost)| {
            let (servant, name) = servant(number);
            DomainServant { servant, name, lost }
        };
        let view = Domain { domain: domain(), servants: servants.into_iter().map(listed).collect() };
        let stamp = Stamp { epoch: 1, event: self.event };
        let bytes = encode(&Stamped { stamp, view });
        self.views.put(&subject::domain_key(&domain()), bytes, stamp).await.expect("written");
    }

    async fn batch(&mut self) -> (Message, Vec<Report>) {
        let message =
            timeout(PATIENCE, self.batches.next()).await.expect("a batch comes").expect("connected");
        let reports = Format::MessagePack.decode(&message.payload).expect("it can be read");
        (message, reports)
    }

    async fn answers(&self, message: &Message, verdicts: Vec<Verdict>) {
        self.bus.answer(message, encode(&ReportAnswer { verdicts })).await.expect("connected");
    }

    /// The next news of a Foreman itself, committed.
    async fn hears(&mut self) -> ServantNews {
        let (message, reports) = self.batch().await;
        self.answers(&message, vec![Verdict::Committed; reports.len()]).await;
        let report = reports.into_iter().next().expect("one at least");
        assert_eq!(report.actor.as_str(), "foreman:default");
        let News::Servant(news) = report.news else { panic!("a Foreman speaks of servants") };
        news
    }
}

/// Beats for a servant until it is dropped.
struct Heart(tokio::task::JoinHandle<()>);

impl Heart {
    fn of(number: u128, bus: &Bus) -> Self {
        let (bus, (servant, name)) = (bus.clone(), servant(number));
        Self(tokio::spawn(async move {
            let mut beats = interval(Duration::from_millis(200));
            loop {
                beats.tick().await;
                let sent =
                    bus.publish(&subject::beat(&domain(), &name), &[], encode(&Beat { servant })).await;
                // A server that stands still is left, so a beat may find no connection: it is missed like any other.
                if let Err(error) = sent {
                    eprintln!("a beat was not sent: {error}");
                }
            }
        }))
    }
}

impl Drop for Heart {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn started(number: u128, count: u64) -> Report {
    let (id, name) = servant(number);
    Report {
        id: ReportId { sender: id.0, epoch: 1, number: count },
        at: Timestamp(1),
        actor: format!("servant:{name}").parse().expect("an actor"),
        domain: domain(),
        news: News::Instance(Started { instance: InstanceId(Uuid::nil()), pid: 7, slot: None }.into()),
    }
}

/// A servant's request; its answer comes in a task of its own.
fn up(bus: &Bus, number: u128, reports: Vec<Report>) -> tokio::task::JoinHandle<Vec<Verdict>> {
    let bus = bus.clone();
    tokio::spawn(async move {
        let subject = subject::up(&domain(), &servant(number).1);
        let answer = bus.request(&subject, &[], encode(&reports), PATIENCE).await.expect("an answer");
        let answer: ReportAnswer = Format::MessagePack.decode(&answer.payload).expect("it can be read");
        answer.verdicts
    })
}

#[tokio::test]
async fn a_servant_falls_silent_and_comes_back() {
    let (nats, data) = (Nats::start(), tempfile::tempdir().expect("a folder"));
    let mut king = King::start(&nats).await;
    king.shows([(1, false), (2, false)]).await;
    let _first = Heart::of(1, &king.bus);
    let second = Heart::of(2, &king.bus);
    let _foreman = Foreman::start(&nats.url, &data).await;
    drop(second);
    let ServantNews::Lose(lose) = king.hears().await else { panic!("it is lost") };
    assert_eq!(lose.servant, servant(2).0);
    assert!(lose.silent_ms >= 1500, "{lose:?}");
    king.shows([(1, false), (2, true)]).await;
    let _second = Heart::of(2, &king.bus);
    let ServantNews::Return(back) = king.hears().await else { panic!("it is back") };
    assert_eq!(back.servant, servant(2).0);
}

#[tokio::test]
async fn a_server_that_stands_still_makes_nobody_lost() {
    let (nats, data) = (Nats::start(), tempfile::tempdir().expect("a folder"));
    let mut king = King::start(&nats).await;
    king.shows([(1, false), (2, false)]).await;
    let (_first, second) = (Heart::of(1, &king.bus), Heart::of(2, &king.bus));
    let mut foreman = Foreman::start(&nats.url, &data).await;
    nats.stand_still();
    foreman.says("heard=false").await;
    // How long it stands still is what is tried: well over the time after which a servant is lost.
    tokio::time::sleep(Duration::from_millis(2500)).await;
    nats.go_on();
    foreman.says("heard=true").await;
    drop(second);
    let ServantNews::Lose(lose) = king.hears().await else { panic!("one is lost") };
    assert_eq!(lose.servant, servant(2).0, "only the one that fell silent afterwards");
}

#[tokio::test]
async fn a_foreman_that_starts_again_keeps_its_numbers_rising() {
    let (nats, data) = (Nats::start(), tempfile::tempdir().expect("a folder"));
    let mut king = King::start(&nats).await;
    king.shows([(1, false)]).await;
    let mut ids = Vec::new();
    for _ in 0..2 {
        let foreman = Foreman::start(&nats.url, &data).await;
        let (_unanswered, reports) = king.batch().await;
        ids.push(reports[0].id);
        foreman.kill().await;
    }
    assert_eq!((ids[0].sender, ids[0].epoch), (ids[1].sender, ids[1].epoch));
    assert!(ids[0].number < ids[1].number, "{ids:?}");
}

#[tokio::test]
async fn each_servant_gets_its_own_verdicts_and_none_before_the_kings() {
    let (nats, data) = (Nats::start(), tempfile::tempdir().expect("a folder"));
    let mut king = King::start(&nats).await;
    let _foreman = Foreman::start(&nats.url, &data).await;
    let first = up(&king.bus, 1, vec![started(1, 1)]);
    let (message, reports) = king.batch().await;
    assert_eq!(reports, [started(1, 1)]);
    let second = up(&king.bus, 1, vec![started(1, 2), started(1, 3)]);
    let third = up(&king.bus, 2, vec![started(2, 1), started(1, 9)]);
    assert!(!first.is_finished(), "no answer before the King's");
    king.answers(&message, vec![Verdict::Redundant]).await;
    assert_eq!(first.await.expect("no panic"), [Verdict::Redundant]);
    let mut carried = Vec::new();
    while carried.len() < 3 {
        let (message, reports) = king.batch().await;
        king.answers(&message, vec![Verdict::Committed; reports.len()]).await;
        carried.extend(reports);
    }
    assert_eq!(second.await.expect("no panic"), [Verdict::Committed, Verdict::Committed]);
    let third = third.await.expect("no panic");
    assert_eq!(third[0], Verdict::Committed);
    assert!(matches!(&third[1], Verdict::Refused(refusal) if refusal.field == "actor"), "{third:?}");
}

#[tokio::test]
async fn a_king_that_comes_late_gets_the_batch_all_the_same() {
    let (nats, data) = (Nats::start(), tempfile::tempdir().expect("a folder"));
    let bus = nats.provisioned().await;
    let _foreman = Foreman::start(&nats.url, &data).await;
    let answer = up(&bus, 1, vec![started(1, 1)]);
    let mut king = King::start(&nats).await;
    let (message, reports) = king.batch().await;
    king.answers(&message, vec![Verdict::Committed; reports.len()]).await;
    assert_eq!(answer.await.expect("no panic"), [Verdict::Committed]);
}
