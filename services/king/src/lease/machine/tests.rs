//! Several machines over one key, with time by hand.

use super::*;
use uuid::Uuid;

const LEASE: u64 = 300;

fn king(number: u128) -> KingId {
    KingId(Uuid::from_u128(number))
}

/// A key, the log's epochs, and Kings that share them. What a King asks is answered at once, unless it is cut off.
struct World {
    now: u64,
    key: Option<Stored>,
    revisions: u64,
    /// The epochs of the log, each with its King.
    elections: Vec<KingId>,
    kings: Vec<Subject>,
}

struct Subject {
    machine: Machine,
    /// Neither runs nor hears.
    paused: bool,
    /// Runs, and cannot reach the bucket.
    cut: bool,
    alive: bool,
    reigns: bool,
    ended: bool,
    calls: Vec<KingId>,
}

impl World {
    fn of(kings: u128) -> Self {
        let (elections, revisions, now) = (Vec::new(), 0, 0);
        let mut world = Self { now, key: None, revisions, elections, kings: Vec::new() };
        (1..=kings).for_each(|number| world.add(number, None));
        world
    }

    fn add(&mut self, number: u128, forerunner: Option<KingId>) {
        let settings =
            Settings { me: king(number), forerunner, lease_ms: LEASE, seed: u64::try_from(number).unwrap() };
        let machine = Machine::new(settings, self.elections.len() as u64, self.now);
        let (paused, cut, alive, reigns, ended) = (false, false, true, false, false);
        self.kings.push(Subject { machine, paused, cut, alive, reigns, ended, calls: Vec::new() });
    }

    fn writers(&self) -> Vec<usize> {
        (0..self.kings.len()).filter(|index| self.kings[*index].reigns && self.kings[*index].alive).collect()
    }

    fn writer(&self) -> usize {
        let writers = self.writers();
        assert_eq!(writers.len(), 1, "one writes: {writers:?}");
        writers[0]
    }

    fn observe(&mut self, index: usize, observation: Observation) {
        let mut waiting = vec![observation];
        while let Some(observation) = waiting.pop() {
            let now = self.now;
            for action in self.kings[index].machine.observe(observation, now) {
                waiting.extend(self.perform(index, action));
            }
        }
    }

    fn perform(&mut self, index: usize, action: Action) -> Option<Observation> {
        let me = &mut self.kings[index];
        match action {
            Action::Read | Action::Write { .. } if me.cut => Some(Observation::Unreachable),
            Action::Read => Some(Observation::Read(self.key)),
            Action::Write { lease, revision } => {
                if self.key.map_or(0, |stored| stored.revision) != revision {
                    return Some(Observation::Overtaken);
                }
                self.revisions += 1;
                self.key = Some(Stored { revision: self.revisions, lease });
                Some(Observation::Written { revision: self.revisions })
            }
            Action::Elect => {
                self.elections.push(me.machine.settings.me);
                Some(Observation::Elected { epoch: self.elections.len() as u64 })
            }
            Action::Reign => {
                me.reigns = true;
                None
            }
            Action::Drain => Some(Observation::Drained),
            Action::Depose | Action::Follow => {
                me.reigns = false;
                None
            }
            Action::Call { heir } => {
                me.calls.push(heir);
                None
            }
            Action::End => {
                (me.reigns, me.ended) = (false, true);
                None
            }
        }
    }

    /// Lets time pass, a millisecond at a time.
    fn pass(&mut self, ms: u64) {
        for _ in 0..ms {
            self.now += 1;
            for index in 0..self.kings.len() {
                let subject = &self.kings[index];
                let due = subject.machine.wakes_at().is_some_and(|at| at <= self.now);
                if subject.alive && !subject.paused && due {
                    self.observe(index, Observation::Time);
                }
            }
        }
    }

    /// How long until one writes that is not this one.
    fn until_another_writes(&mut self, than: usize) -> u64 {
        let begun = self.now;
        while self.writers().iter().all(|index| *index == than) {
            self.pass(1);
            assert!(self.now < begun + 20 * LEASE, "nobody takes over");
        }
        self.now - begun
    }
}

#[test]
fn the_first_king_writes_at_once_and_the_others_are_backups() {
    let mut world = World::of(3);
    world.pass(1);
    let first = world.writer();
    world.pass(20 * LEASE);
    assert_eq!(world.writer(), first);
    assert_eq!(world.elections.len(), 1, "a lease that is renewed is left alone");
    for (index, subject) in world.kings.iter().enumerate() {
        let role = if index == first { KingRole::Writer } else { KingRole::Backup };
        assert_eq!(subject.machine.role(), role);
    }
}

#[test]
fn a_backup_takes_over_from_a_king_that_died() {
    let mut world = World::of(3);
    world.pass(1000);
    let first = world.writer();
    world.kings[first].alive = false;
    let gap = world.until_another_writes(first);
    assert!((LEASE - LEASE / 4..LEASE + LEASE / 2).contains(&gap), "{gap} ms");
    assert_eq!(world.elections.len(), 2, "the losers wait again");
    world.pass(10 * LEASE);
    assert_eq!(world.elections.len(), 2);
}

#[test]
fn a_paused_king_steps_down_when_it_wakes() {
    let mut world = World::of(2);
    world.pass(1000);
    let first = world.writer();
    world.kings[first].paused = true;
    world.until_another_writes(first);
    world.pass(10 * LEASE);
    assert!(world.kings[first].reigns, "it cannot know yet; the fence keeps it from writing");
    world.kings[first].paused = false;
    world.pass(1);
    assert!(!world.kings[first].reigns);
    assert_eq!(world.kings[first].machine.role(), KingRole::Backup);
    world.pass(10 * LEASE);
    assert_eq!(world.elections.len(), 2, "it waits like any backup");
}

#[test]
fn a_paused_backup_that_wakes_counts_anew() {
    let mut world = World::of(2);
    world.pass(1000);
    let first = world.writer();
    world.kings[1 - first].paused = true;
    world.pass(10 * LEASE);
    world.kings[1 - first].paused = false;
    world.pass(5 * LEASE);
    assert_eq!(world.elections.len(), 1);
}

#[test]
fn who_cannot_look_does_not_count() {
    let mut world = World::of(2);
    world.pass(1000);
    let first = world.writer();
    for index in 0..2 {
        world.kings[index].cut = true;
    }
    world.pass(10 * LEASE);
    assert_eq!(world.writer(), first, "a lease that nobody can reach deposes nobody");
    for index in 0..2 {
        world.kings[index].cut = false;
    }
    world.pass(10 * LEASE);
    assert_eq!((world.writer(), world.elections.len()), (first, 1));
}

#[test]
fn a_lost_bucket_is_made_anew_by_the_king_that_writes() {
    let mut world = World::of(3);
    world.pass(1000);
    let first = world.writer();
    (world.key, world.revisions) = (None, 0);
    world.pass(20 * LEASE);
    assert_eq!((world.writer(), world.elections.len()), (first, 1));
    assert_eq!(world.key.unwrap().lease.holder, Some(king(first as u128 + 1)));
}

#[test]
fn a_lost_bucket_without_a_king_that_writes_is_taken() {
    let mut world = World::of(2);
    world.pass(1000);
    let first = world.writer();
    world.kings[first].alive = false;
    (world.key, world.revisions) = (None, 0);
    assert!(world.until_another_writes(first) <= 5 * LEASE);
}

#[test]
fn a_transfer_changes_the_writer_at_once() {
    let mut world = World::of(3);
    world.pass(1000);
    let first = world.writer();
    let heir = (first + 1) % 3;
    world.observe(first, Observation::Transfer { heir: king(heir as u128 + 1) });
    assert_eq!(world.kings[first].calls, [king(heir as u128 + 1)]);
    assert!(!world.kings[first].reigns, "it writes no more before its heir is called");
    world.observe(heir, Observation::Called);
    assert_eq!(world.writer(), heir);
    world.pass(10 * LEASE);
    assert_eq!((world.writer(), world.elections.len()), (heir, 2));
    assert_eq!(world.kings[first].machine.role(), KingRole::Backup);
}

/// King 1 behind epoch 4, which has the key at revision 1 and appends its election.
fn electing() -> Machine {
    let settings = Settings { me: king(1), forerunner: None, lease_ms: LEASE, seed: 1 };
    let mut machine = Machine::new(settings, 4, 0);
    assert_eq!(machine.observe(Observation::Time, 0), [Action::Read]);
    let lease = Lease { holder: Some(king(1)), epoch: 5 };
    assert_eq!(machine.observe(Observation::Read(None), 0), [Action::Write { lease, revision: 0 }]);
    assert_eq!(machine.observe(Observation::Written { revision: 1 }, 0), [Action::Elect]);
    assert_eq!(machine.role(), KingRole::Electing);
    machine
}

#[test]
fn a_renewal_under_way_is_not_taken_for_the_gift() {
    let mut machine = electing();
    let own = Lease { holder: Some(king(1)), epoch: 5 };
    let renewal = |revision| Action::Write { lease: own, revision };
    assert_eq!(machine.observe(Observation::Elected { epoch: 5 }, 0), [Action::Reign, renewal(1)]);
    machine.observe(Observation::Written { revision: 2 }, 1);
    assert_eq!(machine.observe(Observation::Time, 100), [renewal(2)]);
    let heir = king(2);
    assert_eq!(machine.observe(Observation::Transfer { heir }, 101), [Action::Drain]);
    assert_eq!(machine.observe(Observation::Drained, 102), []);
    let gift = Action::Write { lease: Lease { holder: Some(heir), epoch: 6 }, revision: 3 };
    assert_eq!(machine.observe(Observation::Written { revision: 3 }, 103), [gift], "the renewal is done");
    assert_eq!(
        machine.observe(Observation::Written { revision: 4 }, 104),
        [Action::Call { heir }, Action::Follow]
    );
}

#[test]
fn an_heir_that_died_is_replaced() {
    let mut world = World::of(3);
    world.pass(1000);
    let first = world.writer();
    let heir = (first + 1) % 3;
    world.kings[heir].alive = false;
    world.observe(first, Observation::Transfer { heir: king(heir as u128 + 1) });
    world.pass(3 * LEASE);
    assert_ne!(world.writer(), heir);
}

#[test]
fn a_king_that_ends_lets_go() {
    let mut world = World::of(2);
    world.pass(1000);
    let first = world.writer();
    world.observe(first, Observation::Stop { heir: None });
    assert!(world.kings[first].ended);
    world.kings[first].alive = false;
    assert!(world.until_another_writes(first) <= LEASE / 2, "nobody waits for a lease that is free");
}

#[test]
fn a_king_that_is_started_again_does_not_wait_for_its_own_lease() {
    let mut world = World::of(1);
    world.pass(1000);
    world.kings[0].alive = false;
    world.add(2, Some(king(1)));
    world.pass(2);
    assert_eq!(world.writer(), 1);
    world.kings[1].alive = false;
    world.add(3, None);
    let waited = world.until_another_writes(1);
    assert!(waited >= LEASE, "a stranger waits: {waited} ms");
}

#[test]
fn a_fence_that_fails_ends_the_reign() {
    let mut world = World::of(2);
    world.pass(1000);
    let first = world.writer();
    world.observe(first, Observation::Deposed);
    assert!(!world.kings[first].reigns);
    world.pass(20 * LEASE);
    assert_eq!(world.elections.len(), 2, "the lease that nobody renews is taken once");
    world.writer();
}

#[test]
fn an_election_whose_lease_is_lost_is_given_up() {
    let mut machine = electing();
    let lease = Lease { holder: Some(king(1)), epoch: 5 };
    let renewal = Action::Write { lease, revision: 1 };
    assert_eq!(machine.observe(Observation::Time, 100), [renewal]);
    assert_eq!(machine.observe(Observation::Overtaken, 101), [Action::Read]);
    let other = Stored { revision: 2, lease: Lease { holder: Some(king(2)), epoch: 6 } };
    assert_eq!(machine.observe(Observation::Read(Some(other)), 102), []);
    assert_eq!(machine.wakes_at(), None, "the end of the election is awaited");
    assert_eq!(machine.observe(Observation::Elected { epoch: 5 }, 103), [Action::Follow, Action::Read]);
    assert_eq!(machine.role(), KingRole::Backup);
}

#[test]
fn an_election_after_that_of_the_key_is_kept() {
    let mut machine = electing();
    machine.observe(Observation::Time, 100);
    machine.observe(Observation::Overtaken, 101);
    let other = Stored { revision: 2, lease: Lease { holder: Some(king(2)), epoch: 5 } };
    assert_eq!(machine.observe(Observation::Read(Some(other)), 102), []);
    assert_eq!(machine.observe(Observation::Elected { epoch: 6 }, 103), [Action::Reign, Action::Read]);
    let own = Action::Write { lease: Lease { holder: Some(king(1)), epoch: 6 }, revision: 2 };
    assert_eq!(machine.observe(Observation::Read(Some(other)), 104), [own], "the other one hears of it so");
}

#[test]
fn a_write_without_an_answer_is_looked_for() {
    let settings = Settings { me: king(1), forerunner: None, lease_ms: LEASE, seed: 1 };
    let mut machine = Machine::new(settings, 0, 0);
    machine.observe(Observation::Time, 0);
    machine.observe(Observation::Read(None), 0);
    assert_eq!(machine.observe(Observation::Unreachable, 10), []);
    assert_eq!(machine.observe(Observation::Time, 100), [Action::Read]);
    let own = Stored { revision: 1, lease: Lease { holder: Some(king(1)), epoch: 1 } };
    assert_eq!(machine.observe(Observation::Read(Some(own)), 101), [Action::Elect], "it was done after all");
}
