//! What the relay does, told as short stories.

use super::{Action, Dropped, FRESH_MS, Relay, Sender, Ticket, WAITING_REPORTS};
use events::limits::REPORTS_PER_BATCH;
use events::report::{Failed, LoseServant, News, Stage, Started};
use events::{InstanceId, Refusal, Report, ReportId, ServantId, Timestamp, Verdict};
use uuid::Uuid;

pub(super) fn relay() -> Relay {
    Relay::new("default".parse().expect("a name"))
}

pub(super) fn servant(name: &str) -> Sender {
    Sender::Servant(name.parse().expect("a name"))
}

pub(super) fn report(name: &str, number: u64, news: News) -> Report {
    Report {
        id: ReportId { sender: Uuid::from_u128(name.len() as u128), epoch: 1, number },
        at: Timestamp(0),
        actor: format!("servant:{name}").parse().expect("an actor"),
        domain: "default".parse().expect("a name"),
        news,
    }
}

pub(super) fn started(name: &str, number: u64) -> Report {
    report(
        name,
        number,
        News::Instance(Started { instance: InstanceId(Uuid::nil()), pid: 7, slot: None }.into()),
    )
}

fn failed(name: &str, number: u64, bytes: usize) -> Report {
    let (instance, stage) = (InstanceId(Uuid::nil()), Stage::Build);
    report(name, number, News::Instance(Failed { instance, stage, reason: "x".repeat(bytes) }.into()))
}

/// When it has something to do next, if nothing else happens.
fn wakes_at(relay: &Relay) -> Option<u64> {
    relay.flight.as_ref().and_then(|flight| flight.resend_at)
}

/// Whether nobody waits for an answer.
pub(super) fn is_idle(relay: &Relay) -> bool {
    relay.requests.is_empty()
}

fn sent(actions: &[Action]) -> Vec<(u64, Vec<u64>)> {
    let batch = |action: &Action| match action {
        Action::Send { batch, reports } => {
            Some((*batch, reports.iter().map(|report| report.id.number).collect()))
        }
        Action::Answer { .. } | Action::Drop { .. } => None,
    };
    actions.iter().filter_map(batch).collect()
}

#[test]
fn the_first_leaves_at_once_and_the_rest_as_one() {
    let (mut relay, a) = (relay(), servant("a"));
    assert_eq!(sent(&relay.received(Ticket(1), &a, vec![started("a", 1)], 0)), [(1, vec![1])]);
    assert_eq!(relay.received(Ticket(2), &a, vec![started("a", 2)], 1), []);
    assert_eq!(relay.received(Ticket(3), &servant("b"), vec![started("b", 9)], 2), []);
    let actions = relay.answered(1, vec![Verdict::Committed], 3);
    assert_eq!(actions[0], Action::Answer { ticket: Ticket(1), verdicts: vec![Verdict::Committed] });
    assert_eq!(sent(&actions), [(2, vec![2, 9])]);
    let actions = relay.answered(2, vec![Verdict::Committed, Verdict::Redundant], 4);
    let expected = [
        Action::Answer { ticket: Ticket(2), verdicts: vec![Verdict::Committed] },
        Action::Answer { ticket: Ticket(3), verdicts: vec![Verdict::Redundant] },
    ];
    assert_eq!(actions, expected);
    assert!(is_idle(&relay));
}

#[test]
fn nobody_is_answered_before_the_king_has_answered() {
    let mut relay = relay();
    let actions = relay.received(Ticket(1), &servant("a"), vec![started("a", 1)], 0);
    assert!(actions.iter().all(|action| matches!(action, Action::Send { .. })));
    assert_eq!(relay.tick(1000), []);
    assert!(!is_idle(&relay));
}

#[test]
fn a_king_that_is_away_is_asked_again_with_the_same_batch() {
    let mut relay = relay();
    relay.received(Ticket(1), &servant("a"), vec![started("a", 1)], 0);
    relay.received(Ticket(2), &servant("b"), vec![started("b", 1)], 0);
    assert_eq!(relay.failed(1, 10), []);
    assert_eq!(wakes_at(&relay), Some(60));
    assert_eq!(sent(&relay.tick(60)), [(1, vec![1])]);
    assert_eq!(relay.failed(1, 70), []);
    assert_eq!(wakes_at(&relay), Some(170), "the pause doubles");
    assert_eq!(sent(&relay.tick(170)), [(1, vec![1])]);
    assert_eq!(sent(&relay.answered(1, vec![Verdict::Committed], 180)), [(2, vec![1])]);
}

#[test]
fn a_request_that_nobody_waits_for_any_more_is_dropped() {
    let mut relay = relay();
    relay.received(Ticket(1), &servant("a"), vec![started("a", 1)], 0);
    relay.received(Ticket(2), &servant("b"), vec![started("b", 1)], 4000);
    relay.received(Ticket(3), &servant("a"), vec![started("a", 1)], FRESH_MS);
    let actions = relay.failed(1, FRESH_MS + 1);
    assert_eq!(actions[0], Action::Drop { ticket: Ticket(1), why: Dropped::Stale });
    assert_eq!(sent(&actions), [(2, vec![1, 1])], "what is fresh leaves in its place");
}

#[test]
fn a_batch_with_the_king_is_not_dropped() {
    let mut relay = relay();
    relay.received(Ticket(1), &servant("a"), vec![started("a", 1)], 0);
    assert_eq!(relay.tick(FRESH_MS + 1000), []);
    let actions = relay.answered(1, vec![Verdict::Committed], FRESH_MS + 2000);
    assert_eq!(actions, [Action::Answer { ticket: Ticket(1), verdicts: vec![Verdict::Committed] }]);
}

#[test]
fn an_answer_of_the_wrong_length_is_no_answer() {
    let mut relay = relay();
    relay.received(Ticket(1), &servant("a"), vec![started("a", 1)], 0);
    assert_eq!(relay.answered(1, vec![], 10), []);
    assert_eq!(sent(&relay.tick(60)), [(1, vec![1])]);
}

#[test]
fn one_that_the_king_cannot_read_stands_in_nobodys_way() {
    let (mut relay, bad) = (relay(), servant("a"));
    relay.received(Ticket(1), &servant("cc"), vec![started("cc", 1)], 0);
    relay.received(Ticket(2), &bad, vec![started("a", 1), started("a", 2)], 0);
    relay.received(Ticket(3), &servant("bb"), vec![started("bb", 7)], 0);
    assert_eq!(sent(&relay.answered(1, vec![Verdict::Committed], 1)), [(2, vec![1, 2, 7])]);
    assert_eq!(relay.answered(2, vec![], 10), [], "perhaps only this once");
    assert_eq!(sent(&relay.tick(60)), [(2, vec![1, 2, 7])]);
    assert_eq!(sent(&relay.answered(2, vec![], 70)), [(3, vec![1, 2])], "alone now");
    assert_eq!(relay.answered(3, vec![], 80), []);
    relay.tick(130);
    let actions = relay.answered(3, vec![], 140);
    assert_eq!(actions[0], Action::Drop { ticket: Ticket(2), why: Dropped::Unreadable });
    assert_eq!(sent(&actions), [(4, vec![7])]);
    let actions = relay.answered(4, vec![Verdict::Committed], 150);
    assert_eq!(actions, [Action::Answer { ticket: Ticket(3), verdicts: vec![Verdict::Committed] }]);
    assert!(is_idle(&relay));
}

#[test]
fn batches_are_bounded_by_count_and_by_bytes() {
    let (mut relay, a) = (relay(), servant("a"));
    let many = (1..=2500).map(|number| started("a", number)).collect();
    let first = sent(&relay.received(Ticket(1), &a, many, 0));
    assert_eq!(first[0].1.len(), REPORTS_PER_BATCH);
    let actions = relay.answered(1, vec![Verdict::Committed; REPORTS_PER_BATCH], 1);
    assert_eq!(sent(&actions)[0].1.len(), REPORTS_PER_BATCH);
    let actions = relay.answered(2, vec![Verdict::Committed; REPORTS_PER_BATCH], 2);
    assert_eq!(sent(&actions)[0].1.len(), 500);
    let actions = relay.answered(3, vec![Verdict::Committed; 500], 3);
    let Action::Answer { verdicts, .. } = &actions[0] else { panic!("answered: {actions:?}") };
    assert_eq!(verdicts.len(), 2500);
    let large = (1..=100).map(|number| failed("a", number, 8000)).collect();
    let sizes = sent(&relay.received(Ticket(2), &a, large, 4));
    assert_eq!(sizes[0].1.len(), 50, "400 KB of 8 kB each");
}

#[test]
fn a_full_relay_leaves_reports_with_their_sender() {
    let (mut relay, a) = (relay(), servant("a"));
    let many = |first: u64| (first..first + 10_000).map(|number| started("a", number)).collect::<Vec<_>>();
    for ticket in 0..(WAITING_REPORTS as u64 / 10_000) {
        relay.received(Ticket(ticket), &a, many(ticket * 10_000), 0);
    }
    let actions = relay.received(Ticket(99), &a, many(90_000), 0);
    assert_eq!(actions, [Action::Drop { ticket: Ticket(99), why: Dropped::Full }]);
}

#[test]
fn who_speaks_for_another_is_refused_and_the_rest_travels_on() {
    let mut relay = relay();
    let mut foreign = started("a", 3);
    foreign.domain = "elsewhere".parse().expect("a name");
    let lose = LoseServant { servant: ServantId(Uuid::nil()), silent_ms: 1 };
    let lose = report("a", 4, News::Servant(lose.into()));
    let reports = vec![started("b", 1), started("a", 2), foreign, lose];
    let actions = relay.received(Ticket(1), &servant("a"), reports, 0);
    assert_eq!(sent(&actions), [(1, vec![2])]);
    let actions = relay.answered(1, vec![Verdict::Committed], 1);
    let Action::Answer { verdicts, .. } = &actions[0] else { panic!("answered: {actions:?}") };
    let field = |verdict: &Verdict| match verdict {
        Verdict::Refused(Refusal { field, .. }) => field.clone(),
        Verdict::Committed => "committed".to_owned(),
        Verdict::Redundant => "redundant".to_owned(),
    };
    assert_eq!(verdicts.iter().map(field).collect::<Vec<_>>(), ["actor", "committed", "domain", "kind"]);
}

#[test]
fn a_request_of_which_all_is_refused_or_nothing_is_there_is_answered_at_once() {
    let mut relay = relay();
    let actions = relay.received(Ticket(1), &servant("a"), vec![started("b", 1)], 0);
    assert!(matches!(&actions[..], [Action::Answer { ticket: Ticket(1), .. }]), "{actions:?}");
    let actions = relay.received(Ticket(2), &servant("a"), vec![], 0);
    assert_eq!(actions, [Action::Answer { ticket: Ticket(2), verdicts: vec![] }]);
    assert!(is_idle(&relay));
}
