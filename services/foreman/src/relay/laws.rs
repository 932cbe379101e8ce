//! What holds whatever happens: any mix of senders, and a King that answers, fails or stays silent.

use super::stories::{is_idle, relay, servant, started};
use super::{Action, BATCH_BYTES, FRESH_MS, Ticket};
use events::limits::REPORTS_PER_BATCH;
use events::{Report, Verdict};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

#[derive(Clone, Debug)]
enum Step {
    /// The servant of this length of name sends so many reports.
    Up(usize, usize),
    Answer,
    /// An answer that does not fit.
    Misfit,
    Fail,
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (1..4usize, 0..40usize).prop_map(|(sender, reports)| Step::Up(sender, reports)),
        3 => Just(Step::Answer),
        1 => Just(Step::Misfit),
        1 => Just(Step::Fail),
        1 => (1..3000u64).prop_map(Step::Wait),
    ]
}

/// A King whose verdict can be told from the report.
fn verdict(report: &Report) -> Verdict {
    if report.id.number.is_multiple_of(2) { Verdict::Committed } else { Verdict::Redundant }
}

#[derive(Default)]
struct World {
    now: u64,
    asked: BTreeMap<u64, Vec<Verdict>>,
    with_king: Option<(u64, Vec<Report>)>,
    /// Reports on which the King has answered.
    judged: BTreeSet<(u128, u64)>,
    settled: BTreeSet<u64>,
    carried: BTreeMap<u128, u64>,
    owners: BTreeMap<u64, Vec<(u128, u64)>>,
}

impl World {
    fn perform(&mut self, actions: Vec<Action>) -> Result<(), TestCaseError> {
        for action in actions {
            match action {
                Action::Send { batch, reports } => self.send(batch, reports)?,
                Action::Answer { ticket, verdicts } => {
                    prop_assert!(self.settled.insert(ticket.0), "settled once");
                    prop_assert_eq!(&self.asked[&ticket.0], &verdicts, "its own verdicts, in its order");
                    prop_assert!(self.owners[&ticket.0].iter().all(|id| self.judged.contains(id)));
                }
                Action::Drop { ticket, .. } => prop_assert!(self.settled.insert(ticket.0), "settled once"),
            }
        }
        Ok(())
    }

    fn send(&mut self, batch: u64, reports: Vec<Report>) -> Result<(), TestCaseError> {
        prop_assert!(self.with_king.is_none(), "one batch at a time");
        prop_assert!(!reports.is_empty() && reports.len() <= REPORTS_PER_BATCH);
        prop_assert!(events::wire::encode(&reports).len() <= BATCH_BYTES + 16);
        let mut numbers = BTreeMap::new();
        for report in &reports {
            let (sender, number) = (report.id.sender.as_u128(), report.id.number);
            prop_assert!(numbers.insert(sender, number).is_none_or(|before| before < number), "in order");
            let carried = self.carried.entry(sender).or_default();
            *carried = number.max(*carried);
        }
        self.with_king = Some((batch, reports));
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn every_request_is_settled_once_with_the_kings_own_verdicts(
        steps in prop::collection::vec(step(), 1..120)
    ) {
        let mut relay = relay();
        let mut world = World::default();
        let mut numbers = BTreeMap::<usize, u64>::new();
        let ending = std::iter::repeat_n([Step::Answer, Step::Wait(FRESH_MS + 1)], 40).flatten();
        for (ticket, step) in (0..).zip(steps.into_iter().chain(ending)) {
            let actions = match step {
                Step::Up(sender, count) => {
                    let name = "x".repeat(sender);
                    let number = numbers.entry(sender).or_default();
                    let reports: Vec<_> = (0..count).map(|_| { *number += 1; started(&name, *number) }).collect();
                    world.asked.insert(ticket, reports.iter().map(verdict).collect());
                    let ids = reports.iter().map(|report| (report.id.sender.as_u128(), report.id.number));
                    world.owners.insert(ticket, ids.collect());
                    relay.received(Ticket(ticket), &servant(&name), reports, world.now)
                }
                Step::Answer => match world.with_king.take() {
                    Some((batch, reports)) => {
                        let ids = reports.iter().map(|report| (report.id.sender.as_u128(), report.id.number));
                        world.judged.extend(ids);
                        relay.answered(batch, reports.iter().map(verdict).collect(), world.now)
                    }
                    None => Vec::new(),
                },
                Step::Misfit => match world.with_king.take() {
                    Some((batch, _)) => relay.answered(batch, Vec::new(), world.now),
                    None => Vec::new(),
                },
                Step::Fail => match world.with_king.take() {
                    Some((batch, _)) => relay.failed(batch, world.now),
                    None => Vec::new(),
                },
                Step::Wait(ms) => {
                    world.now += ms;
                    relay.tick(world.now)
                }
            };
            world.perform(actions)?;
        }
        prop_assert!(is_idle(&relay));
        prop_assert_eq!(world.settled.len(), world.asked.len());
    }
}
