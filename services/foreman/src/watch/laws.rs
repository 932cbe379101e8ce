//! What holds whatever happens: random beats, cuts and late views.

use super::stories::{domain, servant};
use super::{Advice, Watch};
use events::ServantId;
use events::report::ServantNews;
use proptest::prelude::*;
use std::collections::BTreeMap;

const PERIOD: u64 = 3000;
const SERVANTS: u8 = 6;

/// One step of 100 ms.
#[derive(Clone, Debug)]
struct Step {
    beats: Vec<bool>,
    connected: bool,
    view_arrives: bool,
}

fn step() -> impl Strategy<Value = Step> {
    let beats = prop::collection::vec(prop::bool::weighted(0.03), usize::from(SERVANTS));
    (beats, prop::bool::weighted(0.995), prop::bool::weighted(0.3))
        .prop_map(|(beats, connected, view_arrives)| Step { beats, connected, view_arrives })
}

fn news(advice: Vec<Advice>) -> Vec<ServantNews> {
    let report = |advice| match advice {
        Advice::Report(news) => Some(news),
        Advice::Held(_) => None,
    };
    advice.into_iter().filter_map(report).collect()
}

fn about(news: &ServantNews) -> (ServantId, bool) {
    match news {
        ServantNews::Lose(lose) => (lose.servant, true),
        ServantNews::Return(back) => (back.servant, false),
        ServantNews::Register(_) | ServantNews::MeasureDisk(_) | ServantNews::CleanDisk(_) => {
            unreachable!("a servant says that itself")
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn losses_rest_on_a_period_of_heard_silence_and_take_turns_with_returns(
        steps in prop::collection::vec(step(), 1..400)
    ) {
        let mut watch = Watch::new(PERIOD, 0);
        let mut king: BTreeMap<u8, bool> = (0..SERVANTS).map(|number| (number, false)).collect();
        watch.view(&domain(king.clone()), 0);
        let mut heard = BTreeMap::<ServantId, u64>::new();
        let (mut hearing_since, mut connected) = (0, true);
        for (now, step) in (0..).step_by(100).zip(steps) {
            match (connected, step.connected) {
                (true, false) => watch.disconnected(),
                (false, true) => { watch.connected(now); hearing_since = now; }
                (true, true) | (false, false) => {}
            }
            connected = step.connected;
            let mut said = Vec::new();
            for number in (0..SERVANTS).filter(|number| connected && step.beats[usize::from(*number)]) {
                heard.insert(servant(number), now);
                said.extend(news(watch.beat(servant(number), now)));
            }
            said.extend(news(watch.tick(now)));
            for news in &said {
                let (id, lost) = about(news);
                let number = (0..SERVANTS).find(|number| servant(*number) == id).expect("one of ours");
                let last = heard.get(&id).copied().unwrap_or(0).max(hearing_since);
                prop_assert!(!lost || (connected && now - last >= PERIOD), "lost too early at {now}");
                prop_assert!(lost || heard.get(&id) == Some(&now), "back without a beat at {now}");
                king.insert(number, lost);
            }
            if step.view_arrives {
                watch.view(&domain(king.clone()), now);
            }
        }
    }

    #[test]
    fn whoever_stays_silent_is_lost_within_three_periods(dead in 1..=SERVANTS, from in 0u64..2000) {
        let mut watch = Watch::new(PERIOD, 0);
        watch.view(&domain((0..SERVANTS).map(|number| (number, false))), 0);
        let mut lost = Vec::new();
        for now in (0..from + 3 * PERIOD).step_by(100) {
            for number in 0..SERVANTS {
                if (now % 1000 == 0) && (number >= dead || now < from) {
                    watch.beat(servant(number), now);
                }
            }
            lost.extend(news(watch.tick(now)).iter().map(about));
        }
        let mut all: Vec<_> = (0..dead).map(|number| (servant(number), true)).collect();
        lost.sort();
        lost.dedup();
        all.sort();
        prop_assert_eq!(lost, all);
    }
}
