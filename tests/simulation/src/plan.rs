//! What a seed means: the cast, what users will want and which faults will come when. A plan can be made smaller.

use crate::jetstream::Replicas;
use crate::random::Random;
use crate::world::net::{Direction, MS, Micros, SECOND, Weather};
use crate::world::user::{Errand, Way};
use events::{Kinded, Order};

/// When the faults end.
pub const HEAL: Micros = 20 * SECOND;
/// Of a thousand seeds, so many have disks that fail a sync.
const FAILING_DISKS: u64 = 250;

/// Everything that will be done to a world.
#[derive(Clone, Debug)]
pub struct Plan {
    pub seed: u64,
    pub replicas: Replicas,
    pub kings: usize,
    pub servants: usize,
    pub users: Vec<Vec<Errand>>,
    pub faults: Vec<(Micros, Fault)>,
    pub disaster: Option<Disaster>,
}

/// Who a fault strikes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Victim {
    King(usize),
    Foreman(usize),
    Servant(usize),
    Alerter,
    User(usize),
}

/// A fault.
#[derive(Clone, Copy, Debug)]
pub enum Fault {
    /// Dies after so many of its next effects: in the middle of a step.
    Crash {
        victim: Victim,
        effects: u64,
        down_for: Micros,
    },
    /// The King that writes dies after so many of its next effects.
    CrashWriter {
        effects: u64,
        down_for: Micros,
    },
    Pause {
        victim: Victim,
        length: Micros,
    },
    PauseWriter {
        length: Micros,
    },
    Weather {
        victim: Option<Victim>,
        weather: Weather,
    },
    Block {
        victim: Victim,
        direction: Direction,
        length: Micros,
    },
    Cut {
        victim: Victim,
    },
    RestartServer {
        down_for: Micros,
    },
    ChangeLeader {
        length: Micros,
        lost_acks: u64,
    },
    JumpClock {
        king: usize,
        by_ms: i64,
    },
    FillLog {
        length: Micros,
    },
    TearJournal {
        king: usize,
    },
    LoseOutbox {
        servant: usize,
    },
    CrashInstance {
        servant: usize,
    },
    /// The next sync of its disk fails. Only Kings and Servants have one that can.
    FailSync {
        victim: Victim,
    },
}

/// What ends a run that cannot be healed by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disaster {
    /// The log loses so many of its last commits.
    Cut(u64),
    /// The log is made anew.
    Lost,
}

impl Plan {
    /// The plan of a seed.
    pub fn of(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let replicas = *random.pick(&[Replicas::One, Replicas::Three]);
        let (kings, servants) = (cast(&mut random, 2, 3), cast(&mut random, 2, 4));
        let users = (0..2).map(|user| errands(&mut random, user)).collect();
        let mut plan = Self { seed, replicas, kings, servants, users, faults: Vec::new(), disaster: None };
        let count = random.between(2, 14);
        for _ in 0..count {
            let at = random.between(SECOND, HEAL - 2 * SECOND);
            let fault = plan.fault(&mut random);
            plan.faults.push((at, fault));
        }
        plan.faults.sort_by_key(|(at, _)| *at);
        plan.disaster = match random.below(40) {
            0 => Some(Disaster::Cut(random.between(1, 5))),
            1 => Some(Disaster::Lost),
            _ => None,
        };
        plan.fail_syncs(&mut random);
        plan
    }

    /// In some seeds disks fail. Drawn last, so that the others are what they were.
    fn fail_syncs(&mut self, random: &mut Random) {
        if !random.chance(FAILING_DISKS) {
            return;
        }
        for _ in 0..random.between(1, 3) {
            let at = random.between(SECOND, HEAL - 2 * SECOND);
            let victim = match random.below(2) {
                0 => Victim::King(index(random, self.kings as u64)),
                _ => Victim::Servant(index(random, self.servants as u64)),
            };
            self.faults.push((at, Fault::FailSync { victim }));
        }
        self.faults.sort_by_key(|(at, _)| *at);
    }

    fn victim(&self, random: &mut Random) -> Victim {
        let (kings, servants) = (self.kings as u64, self.servants as u64);
        match random.below(10) {
            0..=3 => Victim::King(index(random, kings)),
            4 | 5 => Victim::Foreman(index(random, 2)),
            6 | 7 => Victim::Servant(index(random, servants)),
            8 => Victim::Alerter,
            _ => Victim::User(index(random, 2)),
        }
    }

    fn fault(&self, random: &mut Random) -> Fault {
        let (kings, servants) = (self.kings as u64, self.servants as u64);
        let victim = self.victim(random);
        let down_for = random.between(50 * MS, 5 * SECOND);
        let length = random.between(200 * MS, 6 * SECOND);
        match random.below(22) {
            0 | 1 if !matches!(victim, Victim::User(_)) => {
                Fault::Crash { victim, effects: random.below(6), down_for }
            }
            2..=4 => Fault::CrashWriter { effects: random.below(8), down_for },
            5 if !matches!(victim, Victim::User(_)) => Fault::Pause { victim, length },
            6 | 7 => Fault::PauseWriter { length },
            8..=10 => {
                let until = random.between(500 * MS, 6 * SECOND);
                let victim = random.chance(600).then_some(victim);
                let weather = Weather {
                    until,
                    lost: random.below(300),
                    copied: random.below(150),
                    late: random.below(300),
                    delay: random.between(MS, 2500 * MS),
                };
                Fault::Weather { victim, weather }
            }
            11 | 12 => {
                Fault::Block { victim, direction: *random.pick(&[Direction::Up, Direction::Down]), length }
            }
            13 => Fault::Cut { victim },
            14 => Fault::RestartServer { down_for: random.between(20 * MS, 3 * SECOND) },
            15 | 16 => Fault::ChangeLeader { length, lost_acks: random.below(500) },
            17 => {
                let by_ms = i64::try_from(random.below(7_200_000)).expect("a small number") - 3_600_000;
                Fault::JumpClock { king: index(random, kings), by_ms }
            }
            18 => Fault::FillLog { length },
            19 => Fault::TearJournal { king: index(random, kings) },
            20 => Fault::LoseOutbox { servant: index(random, servants) },
            _ => Fault::CrashInstance { servant: index(random, servants) },
        }
    }
}

fn cast(random: &mut Random, first: u64, last: u64) -> usize {
    usize::try_from(random.between(first, last)).expect("a small number")
}

fn index(random: &mut Random, end: u64) -> usize {
    usize::try_from(random.below(end)).expect("a small number")
}

const APPS: [&str; 2] = ["shop", "blog"];

/// What a user wants: apps first, then anything, now and then many things at once.
fn errands(random: &mut Random, user: usize) -> Vec<Errand> {
    let app = APPS[user];
    let mut wanted = vec![
        order("app.create", &format!(r#"{{"app":"{app}"}}"#)),
        order("version.publish", &publish(app, 1)),
        order("app.deploy", &deploy(app, 1, 2)),
        order("version.publish", &publish(app, 2)),
    ];
    for number in 0..random.between(3, 16) {
        wanted.push(match random.below(10) {
            0..=2 => order("app.deploy", &deploy(app, random.between(1, 2), random.between(0, 4))),
            3 | 4 => order("app.scale", &format!(r#"{{"app":"{app}","count":{}}}"#, random.below(5))),
            5 => order("app.stop", &format!(r#"{{"app":"{app}"}}"#)),
            6 => order("app.create", &format!(r#"{{"app":"{app}"}}"#)),
            _ => order("config.set", &config(app, number)),
        });
    }
    let mut at = 100 * MS;
    let mut errands = Vec::new();
    for order in wanted {
        at += random.between(20 * MS, 1800 * MS);
        let way = if random.chance(250) { Way::Queue } else { Way::Request };
        errands.push(Errand { at, way, order });
    }
    if random.chance(120) {
        let at = random.between(2 * SECOND, HEAL - 3 * SECOND);
        let burst = (0..180).map(|number| Errand {
            at: at + number * 5,
            way: Way::Request,
            order: order("config.set", &config(app, 1000 + number)),
        });
        errands.extend(burst);
    }
    errands
}

fn order(kind: &str, data: &str) -> Order {
    Order::deserialize_data(kind, 1, &mut serde_json::Deserializer::from_str(data))
        .expect("the orders of the plan can be read")
}

fn publish(app: &str, version: u64) -> String {
    let archive = events::Digest::of(&version.to_be_bytes());
    format!(
        r#"{{"app":"{app}","version":"{version}.0.0","archive":"{archive}","manifest":{{"processes":{{"side":{{"command":"run","ports":["http"]}},"web":{{"command":"run","ports":["http"]}}}}}}}}"#
    )
}

fn deploy(app: &str, version: u64, count: u64) -> String {
    format!(r#"{{"app":"{app}","version":"{version}.0.0","count":{count}}}"#)
}

fn config(app: &str, number: u64) -> String {
    format!(r#"{{"app":"{app}","values":{{"K{}":"{number}"}}}}"#, number % 7)
}
