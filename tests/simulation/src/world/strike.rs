//! Faults, as they strike.

use super::World;
use super::net::{MS, Weather};
use super::packet::Node;
use crate::coverage::Sight;
use crate::plan::{Fault, Victim};

impl World {
    pub(super) fn strike(&mut self, fault: Fault) {
        match fault {
            Fault::Crash { victim, effects, down_for } => {
                self.net.crash_after(self.node(victim), effects, down_for);
            }
            Fault::CrashWriter { effects, down_for } => {
                if let Some(writer) = self.writer() {
                    self.net.crash_after(self.node(Victim::King(writer)), effects, down_for);
                }
            }
            Fault::Pause { victim, length } => self.pause(victim, length),
            Fault::PauseWriter { length } => {
                if let Some(writer) = self.writer() {
                    self.pause(Victim::King(writer), length);
                }
            }
            Fault::Weather { victim, weather } => self.weather(victim, weather),
            Fault::Block { victim, direction, length } => {
                self.net.block(self.node(victim), direction, length);
            }
            Fault::Cut { victim } => self.net.cut(self.node(victim)),
            Fault::RestartServer { down_for } => self.net.restart_server(down_for),
            Fault::ChangeLeader { length, lost_acks } => {
                self.net.saw(Sight::LeaderChanged);
                self.net.server.lost_acks = lost_acks;
                self.net.change_leader(length);
            }
            Fault::JumpClock { king, by_ms } => self.kings[king].clock_ms += by_ms,
            Fault::FillLog { length } => {
                self.set_full(true);
                self.full_until = Some(self.net.now + length);
            }
            Fault::TearJournal { king } => {
                self.kill(self.node(Victim::King(king)));
                self.kings[king].journal.tear(&mut self.net.random);
            }
            Fault::LoseOutbox { servant } => {
                self.kill(self.node(Victim::Servant(servant)));
                self.servants[servant].lose_outbox();
            }
            Fault::FailSync { victim } => self.fail_sync(victim),
            Fault::CrashInstance { servant } => self.servants[servant].crash_one(&mut self.net),
        }
    }

    fn fail_sync(&mut self, victim: Victim) {
        match victim {
            Victim::King(king) => self.kings[king].disk.fail(),
            Victim::Servant(servant) => self.servants[servant].disk.fail(),
            Victim::Foreman(_) | Victim::Alerter | Victim::User(_) => {}
        }
    }

    fn kill(&mut self, node: Node) {
        self.net.crash(node, 300 * MS);
        self.died(node);
    }

    fn pause(&mut self, victim: Victim, length: u64) {
        if let Victim::King(king) = victim {
            self.kings[king].paused();
        }
        self.net.pause(self.node(victim), length);
    }

    fn weather(&mut self, victim: Option<Victim>, weather: Weather) {
        let weather = Weather { until: self.net.now + weather.until, ..weather };
        match victim {
            Some(victim) => self.net.set_weather(self.node(victim), weather),
            None => (0..self.who.len()).for_each(|node| self.net.set_weather(node, weather)),
        }
    }

    fn writer(&self) -> Option<usize> {
        self.kings.iter().position(super::King::writes)
    }

    fn node(&self, victim: Victim) -> Node {
        let (kings, servants) = (self.kings.len(), self.servants.len());
        match victim {
            Victim::King(index) => index,
            Victim::Foreman(index) => kings + index,
            Victim::Servant(index) => kings + 2 + index,
            Victim::Alerter => kings + 2 + servants,
            Victim::User(index) => kings + 3 + servants + index,
        }
    }
}
