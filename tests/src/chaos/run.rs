//! The rounds: faults chosen by the seed, one at a time and in pairs, each healed and each followed by the proof that
//! the kingdom kept its word.

use super::dice::Dice;
use super::fault::{Fault, Hurt, On};
use super::past::{Counts, Past};
use super::site::{SERVANTS, STEADY, Site};
use super::table::{Round, Table};
use super::users::Users;
use super::whole::{self, Pids};
use crate::replay;
use bus::outbox::Outbox;
use std::time::Duration;
use tokio::time::{Instant, sleep, sleep_until};

/// What to do.
#[derive(Clone, Debug)]
pub struct Plan {
    pub seed: u64,
    /// Rounds over all faults; none is the short form, which ends after [`SHORT`].
    pub rounds: Option<u32>,
    /// Only these faults; all when empty.
    pub only: Vec<Fault>,
}

/// When the short form begins no further round.
pub const SHORT: Duration = Duration::from_secs(240);
/// Of so many faults, one comes with another.
const PAIR_IN: usize = 4;
/// Longest time between the two faults of a pair.
const APART: Duration = Duration::from_millis(1500);

/// A run.
#[derive(Debug)]
pub struct Run {
    pub site: Site,
    pub table: Table,
    users: Users,
    past: Past,
    pids: Pids,
    dice: Dice,
}

impl Run {
    /// Starts a kingdom and its users.
    ///
    /// # Panics
    /// When it does not come up.
    pub async fn start(seed: u64) -> Self {
        let mut site = Site::start().await;
        let pids = whole::again(&mut site).await;
        let steady: u32 = STEADY.iter().map(|(.., count)| count).sum();
        assert_eq!(pids.len(), steady as usize, "the steady instances run");
        let users = Users::start(&site.cluster.url()).await;
        let (table, past, dice) = (Table::default(), Past::default(), Dice::new(seed));
        Self { site, table, users, past, pids, dice }
    }

    /// Runs what is planned. Ends at the first round in which something is wrong.
    ///
    /// # Panics
    /// When the kingdom does not recover, or differs from its log.
    pub async fn all(&mut self, plan: &Plan) {
        let (began, mut round) = (Instant::now(), 0);
        let may_go_on = |round| match plan.rounds {
            Some(rounds) => round < rounds,
            None => round < 1 || !plan.only.is_empty() && round < 3,
        };
        while may_go_on(round) {
            for faults in self.choose(&plan.only) {
                let short = plan.rounds.is_none() && began.elapsed() >= SHORT;
                if short || self.is_broken() {
                    return;
                }
                self.round(&faults).await;
            }
            round += 1;
        }
    }

    /// Every fault that is possible here once, in the order of the seed, some with another.
    fn choose(&mut self, only: &[Fault]) -> Vec<Vec<Fault>> {
        let mut faults = Vec::new();
        for fault in Fault::ALL.iter().filter(|fault| only.is_empty() || only.contains(fault)) {
            match fault.obstacle(&self.site) {
                Some(why) => self.table.leave_out(fault.name(), why),
                None => faults.push(*fault),
            }
        }
        self.dice.shuffle(&mut faults);
        let mut chosen = Vec::new();
        for first in &faults {
            let second = self.dice.one(&faults);
            // Who waits for the log to be mended cannot heal anything else meanwhile.
            let mends = first.may_change_the_log() || second.may_change_the_log();
            let pair = self.dice.below(PAIR_IN) == 0 && second.on() != first.on() && !mends;
            chosen.push(if pair { vec![*first, second] } else { vec![*first] });
        }
        chosen
    }

    /// Whether a round has found something wrong.
    pub fn is_broken(&self) -> bool {
        self.table.rounds().iter().any(|round| !round.wrong.is_empty())
    }

    /// One round: these faults, the healing, the proof.
    ///
    /// # Panics
    /// When the kingdom does not recover, or differs from its log.
    pub async fn round(&mut self, faults: &[Fault]) {
        let names: Vec<_> = faults.iter().map(|fault| fault.name()).collect();
        let name = names.join(" + ");
        println!("chaos: {name} …");
        self.users.go_on();
        let begun = Instant::now();
        self.users.somebody_is_told(begun).await;
        self.hurt_and_heal(faults).await;
        let healed = Instant::now();
        self.users.somebody_is_told(healed).await;
        let told = Instant::now();
        self.users.rest().await;
        let pids = whole::again(&mut self.site).await;
        let recovery = healed.elapsed();
        if faults.iter().any(|fault| fault.may_move()) {
            self.pids.clone_from(&pids);
        }
        if faults.iter().any(|fault| fault.may_change_the_log()) {
            self.past = Past::default();
        }
        let (counts, wrong) = self.prove(pids).await;
        wrong.iter().for_each(|wrong| println!("chaos: WRONG: {wrong}"));
        let silence = self.users.silence(begun, told);
        println!(
            "chaos: {name}: silence {silence:.1?}, recovery {recovery:.1?}, {} commands",
            counts.commands
        );
        self.table.add(Round { name, silence, recovery, counts, wrong });
    }

    /// Injects the faults one after the other, and heals each when its own time is over.
    async fn hurt_and_heal(&mut self, faults: &[Fault]) {
        let mut faults = faults.to_vec();
        // A Servant may be away for a moment only, so it comes last: choosing whom else to hurt can take long.
        faults.sort_by_key(|fault| fault.on() == On::Servants);
        let mut hurt: Vec<(Instant, Hurt)> = Vec::new();
        for fault in faults {
            if !hurt.is_empty() {
                sleep(self.dice.between(Duration::ZERO, APART)).await;
            }
            let lasts = fault.lasts(&mut self.dice);
            let injected = fault.inject(&mut self.site, &mut self.dice).await;
            hurt.push((Instant::now() + lasts, injected));
        }
        hurt.sort_by_key(|(until, _)| *until);
        for (until, hurt) in hurt {
            // The length of a fault is what is wanted here, not a condition.
            sleep_until(until).await;
            hurt.heal(&mut self.site).await;
        }
    }

    async fn prove(&mut self, pids: Pids) -> (Counts, Vec<String>) {
        self.past.works_off_the_queue(&self.site).await;
        self.past.equals_every_king(&self.site).await;
        let (counts, mut wrong) = self.past.compare(&self.users.memory());
        if pids != self.pids {
            wrong.push(format!("steady instances were {:?} and are {pids:?}", self.pids));
        }
        (counts, wrong)
    }

    /// The end: public events are those of the log, and no Servant holds a report back.
    ///
    /// # Panics
    /// When it is otherwise.
    pub async fn end(&mut self) {
        self.users.rest().await;
        replay::public_events_are_the_log(&self.site.client).await;
        for (servant, _) in SERVANTS {
            self.site.stop(servant).await;
            let outbox = Outbox::open(self.site.outbox(servant)).await.expect("a servant that ended left it");
            assert!(outbox.is_empty(), "{servant} holds {} reports back", outbox.len());
        }
    }
}
