//! What the watch says, told as short stories. One period is 3,000 ms; the clock starts at 0.

use super::{Advice, Watch};
use events::ServantId;
use events::report::{LoseServant, ReturnServant, ServantNews};
use events::view::{Domain, DomainServant};
use uuid::Uuid;

const PERIOD: u64 = 3000;

pub(super) fn servant(number: u8) -> ServantId {
    ServantId(Uuid::from_u128(u128::from(number)))
}

pub(super) fn domain(servants: impl IntoIterator<Item = (u8, bool)>) -> Domain {
    let servants = servants.into_iter().map(|(number, lost)| DomainServant {
        servant: servant(number),
        name: format!("s{number}").parse().expect("a name"),
        lost,
    });
    Domain { domain: "default".parse().expect("a name"), servants: servants.collect() }
}

/// Ticks every 100 ms, lets some servants beat every second, and returns what was said with its time.
fn pass(watch: &mut Watch, from: u64, to: u64, beating: &[u8]) -> Vec<(u64, Advice)> {
    let mut said = Vec::new();
    for now in (from..to).step_by(100) {
        if now % 1000 == 0 {
            for number in beating {
                said.extend(watch.beat(servant(*number), now).into_iter().map(|advice| (now, advice)));
            }
        }
        said.extend(watch.tick(now).into_iter().map(|advice| (now, advice)));
    }
    said
}

fn lose(number: u8, silent_ms: u64) -> Advice {
    Advice::Report(ServantNews::Lose(LoseServant { servant: servant(number), silent_ms }))
}

fn back(number: u8) -> Advice {
    Advice::Report(ServantNews::Return(ReturnServant { servant: servant(number) }))
}

fn watching(numbers: &[u8]) -> Watch {
    let mut watch = Watch::new(PERIOD, 0);
    watch.view(&domain(numbers.iter().map(|number| (*number, false))), 0);
    watch
}

#[test]
fn a_silent_servant_is_lost_after_one_period_and_once() {
    let mut watch = watching(&[1, 2]);
    assert_eq!(pass(&mut watch, 0, 5100, &[1, 2]), []);
    let said = pass(&mut watch, 5100, 10_000, &[1]);
    assert_eq!(said, [(8000, lose(2, 3000))]);
    watch.view(&domain([(1, false), (2, true)]), 10_000);
    assert_eq!(pass(&mut watch, 10_000, 60_000, &[1]), []);
}

#[test]
fn a_lost_servant_that_beats_is_back_at_once() {
    let mut watch = Watch::new(PERIOD, 0);
    watch.view(&domain([(1, true)]), 0);
    assert_eq!(pass(&mut watch, 0, 1000, &[]), []);
    assert_eq!(watch.beat(servant(1), 1000), [back(1)]);
    assert_eq!(watch.beat(servant(1), 2000), [], "the King was told and works on it");
}

#[test]
fn one_that_beats_before_the_view_shows_its_loss_is_back_too() {
    let mut watch = watching(&[1]);
    assert_eq!(pass(&mut watch, 0, 3100, &[]), [(3000, lose(1, 3000))]);
    assert_eq!(watch.beat(servant(1), 3200), [back(1)]);
}

#[test]
fn what_the_view_never_shows_is_said_again() {
    let mut watch = watching(&[1]);
    let said = pass(&mut watch, 0, 9100, &[]);
    assert_eq!(said, [(3000, lose(1, 3000)), (6000, lose(1, 6000)), (9000, lose(1, 9000))]);
}

#[test]
fn what_did_not_arrive_is_said_again_at_once() {
    let mut watch = watching(&[1]);
    assert_eq!(pass(&mut watch, 0, 3100, &[]), [(3000, lose(1, 3000))]);
    watch.unsaid(servant(1));
    assert_eq!(watch.tick(3200), [lose(1, 3200)]);
}

#[test]
fn a_foreman_that_was_cut_off_gives_a_full_period() {
    let mut watch = watching(&[1, 2]);
    assert_eq!(pass(&mut watch, 0, 2000, &[1, 2]), []);
    watch.disconnected();
    assert_eq!(pass(&mut watch, 2000, 60_000, &[]), [], "its own link was down");
    watch.connected(60_000);
    assert_eq!(pass(&mut watch, 60_000, 66_000, &[1]), [(63_000, lose(2, 3000))]);
}

#[test]
fn a_foreman_that_was_stopped_for_long_gives_a_full_period() {
    let mut watch = watching(&[1]);
    assert_eq!(pass(&mut watch, 0, 1100, &[1]), []);
    assert_eq!(watch.tick(50_000), [], "the beats of the gap may lie unheard");
    assert_eq!(pass(&mut watch, 50_100, 53_100, &[]), [(53_000, lose(1, 3000))]);
}

#[test]
fn a_servant_that_joins_gets_a_full_period() {
    let mut watch = watching(&[]);
    assert_eq!(pass(&mut watch, 0, 10_000, &[]), []);
    watch.view(&domain([(1, false)]), 10_000);
    assert_eq!(pass(&mut watch, 10_000, 13_100, &[]), [(13_000, lose(1, 3000))]);
}

#[test]
fn a_removed_servant_is_forgotten() {
    let mut watch = watching(&[1]);
    watch.view(&domain([]), 100);
    assert_eq!(pass(&mut watch, 100, 10_000, &[]), []);
    assert_eq!(watch.beat(servant(1), 10_000), []);
}

#[test]
fn most_of_a_domain_at_once_is_held_for_a_further_period() {
    let mut watch = watching(&[1, 2, 3, 4]);
    assert_eq!(pass(&mut watch, 0, 1100, &[1, 2, 3, 4]), []);
    let said = pass(&mut watch, 1100, 9000, &[4]);
    let (at, Advice::Held(hold)) = &said[0] else { panic!("the brake comes first: {said:?}") };
    assert_eq!((*at, hold.silent, hold.of), (3000, 3, 4));
    assert_eq!(said[1..], [(7000, lose(1, 6000)), (7000, lose(2, 6000)), (7000, lose(3, 6000))]);
}

#[test]
fn a_held_loss_that_passes_is_never_told() {
    let mut watch = watching(&[1, 2, 3, 4, 5]);
    assert_eq!(pass(&mut watch, 0, 1100, &[1, 2, 3, 4, 5]), []);
    assert_eq!(pass(&mut watch, 1100, 5000, &[]).len(), 1, "only that it is held");
    assert_eq!(pass(&mut watch, 5000, 20_000, &[1, 2, 3, 4, 5]), []);
}

#[test]
fn half_of_a_domain_is_told_at_once() {
    let mut watch = watching(&[1, 2, 3, 4]);
    assert_eq!(pass(&mut watch, 0, 100, &[1, 2, 3, 4]), []);
    assert_eq!(pass(&mut watch, 100, 4000, &[3, 4]), [(3000, lose(1, 3000)), (3000, lose(2, 3000))]);
}
