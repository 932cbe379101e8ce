//! What holds whatever happens.

use super::stories::{at, event, fact, plan_of};
use super::{Incidents, Notice};
use events::Event;
use events::command::alert::MailPhase;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

const LINES: [&str; 20] = [
    "erred one pay",
    "erred two pay",
    "erred one save",
    "erred two disk",
    "placed one hello/web local",
    "placed two hello/web local",
    "crashed one signal 9",
    "crashed two code 1",
    "healthy one",
    "healthy two",
    "unhealthy one",
    "looped one",
    "steadied one",
    "failed one",
    "finished two",
    "retired one",
    "stopped two",
    "lost local",
    "returned local",
    "removed local",
];

fn steps() -> impl Strategy<Value = Vec<(usize, u8)>> {
    prop::collection::vec((0..=LINES.len(), 0..14u8), 1..150)
}

/// Lives through the steps with a tick a second and plans that reach the log one step later.
fn live(steps: &[(usize, u8)]) -> (Vec<Event>, Vec<Notice>) {
    let mut incidents = Incidents::new("king", 10_000, 20_000);
    let (mut log, mut notices, mut planned, mut seconds) = (Vec::new(), Vec::<Notice>::new(), 0, 0u32);
    let mut append = |incidents: &mut Incidents, seconds: u32, fact| {
        log.push(event(log.len() as u64 + 1, at(f64::from(seconds)), fact));
        incidents.apply(&log[log.len() - 1])
    };
    for (line, wait) in steps {
        let known = notices.len();
        for _ in 0..*wait {
            seconds += 1;
            notices.extend(incidents.tick(at(f64::from(seconds))));
        }
        if let Some(line) = LINES.get(*line) {
            let words: Vec<_> = line.split(' ').collect();
            notices.extend(append(&mut incidents, seconds, fact(&words)));
        }
        while planned < known {
            let plan = plan_of(&notices[planned]);
            planned += 1;
            notices.extend(append(&mut incidents, seconds, plan));
        }
    }
    (log, notices)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn every_beginning_has_at_most_one_end_and_no_end_comes_first(steps in steps()) {
        let (_, notices) = live(&steps);
        let (mut open, mut mails) = (BTreeMap::new(), BTreeSet::new());
        for notice in &notices {
            prop_assert!(mails.insert(notice.mail), "two mails with one id: {}", notice.subject);
            let open: &mut bool = open.entry(&notice.incident).or_default();
            match notice.phase {
                // A crash that its loop took the place of has no end of its own, nor has an error that came once: they
                // may begin again.
                MailPhase::Firing => {
                    let ends_in_silence = ["crash/", "error/"].iter().any(|kind| notice.incident.starts_with(kind));
                    prop_assert!(!*open || ends_in_silence, "begins twice: {}", notice.subject);
                    *open = true;
                }
                MailPhase::Resolved => prop_assert!(std::mem::take(open), "ends without beginning: {}", notice.subject),
            }
        }
    }

    #[test]
    fn a_replay_calls_for_no_mail_that_was_not_called_for_or_planned(steps in steps()) {
        let (log, notices) = live(&steps);
        let mut known: BTreeSet<_> = notices.iter().map(|notice| notice.mail).collect();
        let mut again = Incidents::new("king", 10_000, 20_000);
        let mut replayed: Vec<_> = log.iter().flat_map(|event| again.apply(event)).collect();
        replayed.extend(again.tick(at(1e6)));
        let last = log.last().map_or(0, |event| event.id);
        // What is still open at the end of the log may end now; nothing else is new.
        known.extend(replayed.iter().filter(|n| n.phase == MailPhase::Resolved && n.at >= at(0.0) && n.event <= last).map(|n| n.mail));
        for notice in &replayed {
            prop_assert!(known.contains(&notice.mail), "new on replay: {}", notice.subject);
        }
        let firing = |notices: &[Notice]| -> BTreeSet<_> {
            notices.iter().filter(|n| n.phase == MailPhase::Firing).map(|n| n.mail).collect()
        };
        prop_assert_eq!(firing(&notices), firing(&replayed), "the same beginnings");
    }

    #[test]
    fn what_is_passed_over_unread_changes_nothing(steps in steps()) {
        let (log, _) = live(&steps);
        let [mut all, mut some] = [(); 2].map(|()| Incidents::new("king", 10_000, 20_000));
        for event in &log {
            let notices = all.apply(event);
            if some.may_concern(&events::wire::encode(event)) {
                prop_assert_eq!(notices, some.apply(event));
            } else {
                prop_assert_eq!(notices, Vec::new());
            }
            prop_assert_eq!(all.open_mails(), some.open_mails());
        }
        prop_assert_eq!(all.tick(at(1e6)), some.tick(at(1e6)));
    }
}
