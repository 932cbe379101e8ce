//! How mails are brought on their way, told as short stories.

use super::item::Stage;
use super::{ANCIENT_MS, Action, Answered, COMMANDS, Courier, SENDINGS, Taken};
use crate::incidents::Notice;
use events::Timestamp;
use events::command::alert::{MailPhase, MailResult};
use events::event::MailPlanned;
use std::collections::BTreeSet;
use uuid::Uuid;

const PATIENCE: u64 = 3_600_000;
const NOW: Timestamp = Timestamp(10_000_000);
/// When what was now is ancient.
const LATER: Timestamp = Timestamp(NOW.0 + ANCIENT_MS + 1);

fn courier(recipients: &[&str]) -> Courier {
    Courier::new(recipients.iter().map(|recipient| (*recipient).to_owned()).collect(), PATIENCE)
}

fn notice(mail: u128, incident: &str, phase: MailPhase) -> Notice {
    Notice {
        mail: Uuid::from_u128(mail),
        incident: incident.to_owned(),
        phase,
        event: 7,
        at: NOW,
        subject: "subject".to_owned(),
        body: "body".to_owned(),
    }
}

fn firing(mail: u128, incident: &str) -> Notice {
    notice(mail, incident, MailPhase::Firing)
}

fn resolved(mail: u128, incident: &str) -> Notice {
    notice(mail, incident, MailPhase::Resolved)
}

fn plan(courier: &mut Courier, notice: &Notice) {
    let Notice { mail, incident, phase, subject, body, .. } = notice.clone();
    courier.planned(&MailPlanned { mail, incident, phase, subject, body }, NOW);
}

/// The actions in short: `plan 1`, `send 1 to a,b`, `record 1 sent via x`.
fn short(actions: Vec<Action>) -> Vec<String> {
    let one = |action| match action {
        Action::Plan(notice, 0) => format!("plan {}", notice.mail.as_u128()),
        Action::Plan(notice, refusals) => format!("plan {} again ({refusals})", notice.mail.as_u128()),
        Action::Send(letter, to) => format!("send {} to {}", letter.mail.as_u128(), to.join(",")),
        Action::Record(mail, MailResult::Sent { via }) => format!("record {} sent via {via}", mail.as_u128()),
        Action::Record(mail, MailResult::Failed { reason }) => {
            format!("record {} failed: {reason}", mail.as_u128())
        }
    };
    actions.into_iter().map(one).collect()
}

fn yes() -> Taken {
    Taken::Yes { via: "x".to_owned() }
}

fn no() -> Taken {
    Taken::No { reason: "550 unknown".to_owned() }
}

fn later() -> Taken {
    Taken::Later { reason: "451 busy".to_owned() }
}

fn sent(courier: &mut Courier, mail: u128, taken: &[(&str, Taken)], now: u64) {
    let taken = taken.iter().map(|(who, taken)| ((*who).to_owned(), taken.clone())).collect();
    courier.sent(Uuid::from_u128(mail), taken, now);
}

#[test]
fn a_mail_is_planned_then_sent_then_recorded() {
    let (mut courier, mail) = (courier(&["a"]), firing(1, "crash/i"));
    courier.want(mail.clone());
    assert_eq!(short(courier.next(0)), ["plan 1"]);
    assert_eq!(short(courier.next(10)), [""; 0], "one at a time");
    courier.plan_answered(mail.mail, Answered::Done, 20);
    assert_eq!(short(courier.next(20)), [""; 0], "not before the log shows it");
    plan(&mut courier, &mail);
    assert_eq!(short(courier.next(30)), ["send 1 to a"]);
    sent(&mut courier, 1, &[("a", yes())], 40);
    assert_eq!(short(courier.next(40)), ["record 1 sent via x"]);
    courier.record_answered(mail.mail, Answered::Done, 50);
    assert!(courier.is_empty());
}

#[test]
fn the_log_may_be_faster_than_the_answer() {
    let (mut courier, mail) = (courier(&["a"]), firing(1, "crash/i"));
    courier.want(mail.clone());
    assert_eq!(short(courier.next(0)), ["plan 1"]);
    plan(&mut courier, &mail);
    assert_eq!(short(courier.next(1)), ["send 1 to a"]);
    courier.plan_answered(mail.mail, Answered::Unanswered, 2);
    assert_eq!(short(courier.next(10_000)), [""; 0], "it is on its way");
}

#[test]
fn a_king_that_does_not_answer_is_asked_again_after_growing_pauses() {
    let mut courier = courier(&["a"]);
    courier.want(firing(1, "crash/i"));
    let mut asked = Vec::new();
    for now in 0..20_000 {
        for action in courier.next(now) {
            asked.push(now);
            assert_eq!(short(vec![action]), ["plan 1"]);
            courier.plan_answered(Uuid::from_u128(1), Answered::Unanswered, now);
        }
    }
    let pauses: Vec<_> = asked.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(pauses.windows(2).all(|pair| pair[0] <= pair[1]), "{pauses:?}");
    assert!(pauses.iter().all(|pause| (100..=6250).contains(pause)), "{pauses:?}");
}

#[test]
fn a_mail_that_was_planned_by_an_earlier_life_is_sent_again_and_one_that_was_sent_is_not() {
    let mut courier = courier(&["a"]);
    let (first, second) = (firing(1, "crash/i"), firing(2, "crash/j"));
    for notice in [&first, &second] {
        courier.want(notice.clone());
        plan(&mut courier, notice);
    }
    courier.settled(second.mail);
    assert_eq!(courier.caught_up(NOW, &BTreeSet::new()), 0);
    assert_eq!(short(courier.next(0)), ["send 1 to a"]);
}

#[test]
fn what_is_long_past_and_was_never_planned_is_not_mailed_nor_is_its_end() {
    let mut courier = courier(&["a"]);
    courier.want(firing(1, "crash/i"));
    let mut end = resolved(2, "crash/i");
    end.at = Timestamp(NOW.0 + ANCIENT_MS);
    courier.want(end);
    assert_eq!(courier.caught_up(LATER, &BTreeSet::new()), 2);
    assert_eq!(short(courier.next(0)), [""; 0]);
    assert!(courier.is_empty());
}

#[test]
fn what_is_long_past_and_still_open_is_mailed() {
    let mut courier = courier(&["a"]);
    courier.want(firing(1, "crash/i"));
    courier.want(resolved(2, "crash/i"));
    courier.want(firing(3, "crash/i"));
    courier.want(firing(4, "crash/j"));
    assert_eq!(courier.caught_up(LATER, &BTreeSet::from([Uuid::from_u128(3)])), 3);
    assert_eq!(short(courier.next(0)), ["plan 3"]);
}

#[test]
fn an_end_long_past_is_mailed_when_its_beginning_was() {
    let mut courier = courier(&["a"]);
    let first = firing(1, "crash/i");
    courier.want(first.clone());
    plan(&mut courier, &first);
    courier.settled(first.mail);
    for notice in [resolved(2, "crash/i"), firing(3, "crash/i"), resolved(4, "crash/i")] {
        courier.want(notice);
    }
    assert_eq!(courier.caught_up(LATER, &BTreeSet::new()), 2);
    assert_eq!(short(courier.next(0)), ["plan 2"]);
}

#[test]
fn no_end_is_planned_or_sent_before_its_beginning() {
    let mut courier = courier(&["a"]);
    let (first, last) = (firing(1, "crash/i"), resolved(2, "crash/i"));
    courier.want(first.clone());
    courier.want(last.clone());
    assert_eq!(short(courier.next(0)), ["plan 1"]);
    plan(&mut courier, &first);
    assert_eq!(short(courier.next(1)), ["send 1 to a", "plan 2"]);
    plan(&mut courier, &last);
    sent(&mut courier, 1, &[("a", later())], 2);
    assert_eq!(short(courier.next(2)), [""; 0], "the beginning waits for its server");
    let again = courier.next(5000);
    assert_eq!(short(again), ["send 1 to a"]);
    sent(&mut courier, 1, &[("a", yes())], 5001);
    let next = courier.next(5001);
    let Some(Action::Send(letter, _)) = next.last() else { panic!("the end is sent: {next:?}") };
    assert_eq!((letter.mail, letter.reply_to), (last.mail, Some(first.mail)));
}

#[test]
fn one_bad_recipient_blocks_no_other() {
    let (mut courier, mail) = (courier(&["a", "bad", "slow"]), firing(1, "crash/i"));
    courier.want(mail.clone());
    plan(&mut courier, &mail);
    assert_eq!(short(courier.next(0)), ["send 1 to a,bad,slow"]);
    sent(&mut courier, 1, &[("a", yes()), ("bad", no()), ("slow", later())], 0);
    assert_eq!(short(courier.next(2000)), ["send 1 to slow"]);
    sent(&mut courier, 1, &[("slow", yes())], 2000);
    assert_eq!(short(courier.next(2000)), ["record 1 sent via x; not taken by bad: 550 unknown"]);
}

#[test]
fn a_mail_that_nobody_takes_is_recorded_as_failed() {
    let (mut courier, mail) = (courier(&["a"]), firing(1, "crash/i"));
    courier.want(mail.clone());
    plan(&mut courier, &mail);
    courier.next(0);
    sent(&mut courier, 1, &[("a", no())], 1);
    assert_eq!(short(courier.next(1)), ["record 1 failed: a: 550 unknown"]);
}

#[test]
fn a_mail_is_given_up_after_its_time_and_not_before() {
    let (mut courier, mail) = (courier(&["a"]), firing(1, "crash/i"));
    courier.want(mail.clone());
    plan(&mut courier, &mail);
    let mut now = 0;
    let recorded = loop {
        match short(courier.next(now)).as_slice() {
            [action] if action.starts_with("send") => sent(&mut courier, 1, &[("a", later())], now),
            [action] => break action.clone(),
            _ => now += 100,
        }
    };
    assert_eq!(recorded, "record 1 failed: a: given up; the last time: 451 busy");
    assert!((PATIENCE..PATIENCE + 80_000).contains(&now), "{now}");
}

#[test]
fn a_mail_of_which_nobody_knows_is_sent_three_times_at_most() {
    let (mut courier, mail) = (courier(&["a", "b"]), firing(1, "crash/i"));
    courier.want(mail.clone());
    plan(&mut courier, &mail);
    let unknown = || Taken::Unknown { reason: "no answer".to_owned() };
    for (attempt, to) in [(0, "a,b"), (1, "a"), (2, "a")] {
        assert_eq!(short(courier.next(attempt * 5000)), [format!("send 1 to {to}")]);
        let taken: Vec<_> =
            to.split(',').map(|who| (who, if who == "a" { unknown() } else { yes() })).collect();
        sent(&mut courier, 1, &taken, attempt * 5000);
    }
    let expected = "record 1 sent via x; not taken by a: given up, though it may have been taken; the last time: no answer";
    assert_eq!(short(courier.next(15_000)), [expected]);
}

#[test]
fn a_plan_for_which_the_king_has_no_room_is_tried_again_under_another_id() {
    let (mut courier, mail) = (courier(&["a"]), firing(1, "crash/i"));
    courier.want(mail.clone());
    assert_eq!(short(courier.next(0)), ["plan 1"]);
    courier.plan_answered(mail.mail, Answered::Full, 0);
    assert_eq!(short(courier.next(5000)), ["plan 1 again (1)"]);
    courier.plan_answered(mail.mail, Answered::Unanswered, 5000);
    assert_eq!(short(courier.next(10_000)), ["plan 1 again (1)"]);
}

#[test]
fn a_record_that_is_not_answered_is_repeated_and_nothing_is_sent_again() {
    let (mut courier, mail) = (courier(&["a"]), firing(1, "crash/i"));
    courier.want(mail.clone());
    plan(&mut courier, &mail);
    courier.next(0);
    sent(&mut courier, 1, &[("a", yes())], 0);
    courier.next(0);
    courier.record_answered(mail.mail, Answered::Unanswered, 1);
    assert_eq!(short(courier.next(1000)), ["record 1 sent via x"]);
    courier.settled(mail.mail);
    assert!(courier.is_empty(), "the log shows it");
}

#[test]
fn a_storm_is_worked_off_a_few_at_a_time() {
    let mut courier = courier(&["a"]);
    for mail in 1..=5000 {
        courier.want(firing(mail, &format!("crash/{mail}")));
    }
    assert_eq!(courier.next(0).len(), COMMANDS);
    for mail in 1..=100 {
        plan(&mut courier, &firing(mail, &format!("crash/{mail}")));
    }
    courier.next(0);
    assert_eq!(courier.count(|stage| matches!(stage, Stage::Sending)), SENDINGS);
}
