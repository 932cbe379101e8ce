//! What is done to a kingdom, and how it is undone.

use super::dice::Dice;
use super::disk::Disk;
use super::site::{ALERTER, FOREMEN, KINGS, SERVANTS, SMALL_KING, SMALL_SERVANT, SMALL_SERVER, Site};
use super::{mend, rot};
use crate::cluster::SERVERS;
use crate::proxy::Weather;
use crate::wait;
use events::subject::LOG_STREAM;
use rustix::process::Signal;
use std::path::Path;
use std::time::Duration;

/// Replaces the clock of programs that are started with it.
const CLOCK_LIBRARY: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1";
/// How long a chunk of bytes takes on a slow network.
const SLOW: Duration = Duration::from_millis(30);
/// A Servant that is silent for longer is called lost, and what it runs moves.
const UNNOTICED: Duration = Duration::from_millis(1200);

macro_rules! faults {
    ($($fault:ident = $name:literal),* $(,)?) => {
        /// One fault.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Fault { $($fault),* }

        impl Fault {
            /// Every fault.
            pub const ALL: &[Self] = &[$(Self::$fault),*];

            /// Its name, on the command line and in the table.
            pub fn name(self) -> &'static str {
                match self { $(Self::$fault => $name),* }
            }
        }
    };
}

faults! {
    KillWriter = "kill-writer",
    KillBackup = "kill-backup-king",
    KillKings = "kill-all-kings",
    CutPowerOfWriter = "cut-power-writer",
    CutPowerOfKings = "cut-power-all-kings",
    PauseWriter = "pause-writer",
    KillForeman = "kill-foreman",
    PauseForeman = "pause-foreman",
    KillServant = "kill-servant",
    PauseServant = "pause-servant",
    KillAlerter = "kill-alerter",
    KillLeader = "kill-nats-leader",
    EndLeader = "end-nats-leader",
    PauseLeader = "pause-nats-leader",
    KillTwo = "kill-two-nats",
    KillAll = "kill-all-nats",
    CutPower = "cut-power-nats",
    CutPowerOfAll = "cut-power-all-nats",
    WipeServer = "wipe-nats",
    FlipLog = "flip-log",
    CutLeader = "cut-nats-leader",
    CutLeaderOneWay = "cut-nats-one-way",
    ResetRoutes = "reset-nats-routes",
    SlowRoutes = "slow-nats-routes",
    CutWriter = "cut-writer",
    CutWriterOneWay = "cut-writer-one-way",
    HalfOpenWriter = "half-open-writer",
    CutForeman = "cut-foreman",
    CutServant = "cut-servant",
    ResetServant = "reset-servant",
    FullServer = "full-disk-nats",
    FullKing = "full-disk-king",
    FullServant = "full-disk-servant",
    KingsAhead = "kings-an-hour-ahead",
}

/// On what a fault falls: two faults of a pair fall on different things.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum On {
    Kings,
    Foremen,
    Servants,
    Alerter,
    Servers,
}

/// A fault that was injected: what has to be healed.
#[derive(Clone, Debug)]
pub struct Hurt {
    pub fault: Fault,
    names: Vec<&'static str>,
    servers: Vec<usize>,
}

impl Fault {
    /// The fault of a name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|fault| fault.name() == name)
    }

    /// On what it falls.
    pub fn on(self) -> On {
        match self {
            Self::KillWriter | Self::KillBackup | Self::KillKings | Self::PauseWriter | Self::CutWriter => {
                On::Kings
            }
            Self::CutWriterOneWay | Self::HalfOpenWriter | Self::FullKing | Self::KingsAhead => On::Kings,
            Self::CutPowerOfWriter | Self::CutPowerOfKings => On::Kings,
            Self::KillForeman | Self::PauseForeman | Self::CutForeman => On::Foremen,
            Self::KillServant | Self::PauseServant | Self::CutServant => On::Servants,
            Self::ResetServant | Self::FullServant => On::Servants,
            Self::KillAlerter => On::Alerter,
            Self::KillLeader | Self::EndLeader | Self::PauseLeader | Self::KillTwo | Self::KillAll => {
                On::Servers
            }
            Self::WipeServer | Self::FlipLog | Self::CutLeader | Self::CutLeaderOneWay => On::Servers,
            Self::ResetRoutes | Self::SlowRoutes | Self::FullServer => On::Servers,
            Self::CutPower | Self::CutPowerOfAll => On::Servers,
        }
    }

    /// How long it lasts.
    pub fn lasts(self, dice: &mut Dice) -> Duration {
        let seconds = Duration::from_secs;
        match self {
            Self::PauseServant | Self::CutServant => UNNOTICED,
            Self::PauseForeman | Self::CutForeman => dice.between(seconds(1), seconds(5)),
            Self::KillWriter | Self::KillBackup | Self::KillKings | Self::KillForeman => {
                dice.between(seconds(0), seconds(3))
            }
            Self::CutPowerOfWriter | Self::CutPowerOfKings => dice.between(seconds(0), seconds(3)),
            Self::KillServant | Self::KillAlerter | Self::ResetServant => dice.between(seconds(0), UNNOTICED),
            Self::PauseWriter | Self::CutWriter | Self::CutWriterOneWay | Self::HalfOpenWriter => {
                dice.between(seconds(1), seconds(6))
            }
            Self::KillTwo | Self::KillAll | Self::EndLeader | Self::ResetRoutes | Self::FlipLog => {
                dice.between(seconds(0), seconds(4))
            }
            Self::KillLeader | Self::PauseLeader | Self::WipeServer => dice.between(seconds(2), seconds(12)),
            Self::CutPower | Self::CutPowerOfAll => dice.between(seconds(0), seconds(6)),
            Self::CutLeader | Self::CutLeaderOneWay => dice.between(seconds(2), seconds(12)),
            Self::SlowRoutes | Self::FullServer | Self::FullKing | Self::FullServant => {
                dice.between(seconds(3), seconds(6))
            }
            Self::KingsAhead => seconds(2),
        }
    }

    /// Whether instances may move for it: a Servant that is connected to a server which the others cannot reach is
    /// silent for its Foreman, and is called lost after 3 s.
    pub fn may_move(self) -> bool {
        self == Self::CutLeader || self == Self::CutLeaderOneWay
    }

    /// Whether what was proved of the log before is to be proved again: servers may have another log than they had.
    pub fn may_change_the_log(self) -> bool {
        self == Self::FlipLog
    }

    /// Why it cannot be done here, when it cannot.
    pub fn obstacle(self, site: &Site) -> Option<&'static str> {
        const NO_DISK: &str = "a disk of one's own takes root and `unshare --mount`";
        match self {
            Self::FullServer | Self::CutPower | Self::CutPowerOfAll => {
                site.disks.servers.is_empty().then_some(NO_DISK)
            }
            Self::FullKing | Self::CutPowerOfWriter | Self::CutPowerOfKings => {
                site.disks.kings.is_empty().then_some(NO_DISK)
            }
            Self::FullServant => site.disks.servant.is_none().then_some(NO_DISK),
            Self::KingsAhead => (!Path::new(CLOCK_LIBRARY).exists())
                .then_some("another clock takes libfaketime (Debian: faketime)"),
            _ => None,
        }
    }

    /// Does it.
    ///
    /// # Panics
    /// When it cannot be done.
    pub async fn inject(self, site: &mut Site, dice: &mut Dice) -> Hurt {
        let mut hurt = Hurt { fault: self, names: Vec::new(), servers: Vec::new() };
        match self.on() {
            On::Kings => hurt.names = self.kings(site, dice).await,
            On::Foremen => hurt.names = vec![dice.one(&FOREMEN).0],
            On::Servants if self == Self::FullServant => hurt.names = vec![SMALL_SERVANT],
            On::Servants => hurt.names = vec![dice.one(&SERVANTS).0],
            On::Alerter => hurt.names = vec![ALERTER],
            On::Servers => hurt.servers = self.servers(site, dice).await,
        }
        hurt.inject(site, dice).await;
        hurt
    }

    async fn kings(self, site: &Site, dice: &mut Dice) -> Vec<&'static str> {
        match self {
            Self::KillKings | Self::KingsAhead | Self::CutPowerOfKings => KINGS.to_vec(),
            Self::FullKing => vec![KINGS[SMALL_KING]],
            Self::KillBackup => {
                let writer = site.writer().await;
                let backups: Vec<_> = KINGS.into_iter().filter(|king| *king != writer).collect();
                vec![dice.one(&backups)]
            }
            _ => vec![site.writer().await],
        }
    }

    async fn servers(self, site: &Site, dice: &mut Dice) -> Vec<usize> {
        let leader = wait::until("the log has a leader", async || {
            site.cluster.leader_of(&site.client, LOG_STREAM).await
        })
        .await;
        match self {
            Self::KillAll | Self::SlowRoutes | Self::CutPowerOfAll => (0..SERVERS).collect(),
            Self::KillTwo => (0..SERVERS).filter(|server| *server != dice.below(SERVERS)).take(2).collect(),
            Self::WipeServer | Self::FlipLog | Self::CutPower => vec![dice.below(SERVERS)],
            Self::FullServer => vec![SMALL_SERVER],
            _ => vec![leader],
        }
    }
}

impl Hurt {
    async fn inject(&self, site: &mut Site, dice: &mut Dice) {
        match self.fault {
            Fault::KillWriter | Fault::KillBackup | Fault::KillKings | Fault::KillForeman => self.kill(site),
            Fault::KillServant | Fault::KillAlerter => self.kill(site),
            Fault::PauseWriter | Fault::PauseForeman | Fault::PauseServant => self.signal(site, Signal::STOP),
            Fault::CutWriter | Fault::CutForeman | Fault::CutServant => self.weather(site, Weather::Held),
            Fault::CutWriterOneWay => self.weather(site, Weather::HeldBack),
            Fault::HalfOpenWriter => self.names.iter().for_each(|name| site.half_open(name)),
            Fault::ResetServant => self.names.iter().for_each(|name| site.reset(name)),
            Fault::KillLeader | Fault::KillTwo | Fault::KillAll => self.kill(site),
            Fault::CutPower | Fault::CutPowerOfAll | Fault::CutPowerOfWriter | Fault::CutPowerOfKings => {
                site.cut_power(&self.names, &self.servers).await;
            }
            Fault::WipeServer => {
                self.kill(site);
                self.servers.iter().for_each(|server| site.cluster.wipe(*server));
            }
            Fault::FlipLog => self.rot(site, dice).await,
            Fault::EndLeader => {
                for server in &self.servers {
                    site.cluster.end(*server).await;
                }
            }
            Fault::PauseLeader => self.servers.iter().for_each(|server| site.cluster.pause(*server)),
            Fault::CutLeader => self.routes(site, Weather::Held),
            Fault::CutLeaderOneWay => {
                self.servers.iter().for_each(|server| site.cluster.weather_from(*server, Weather::Held));
            }
            Fault::ResetRoutes => self.servers.iter().for_each(|server| site.cluster.reset_routes(*server)),
            Fault::SlowRoutes => site.cluster.weather(Weather::Slow(SLOW)),
            Fault::FullServer => site.disks.servers[SMALL_SERVER].fill(),
            Fault::FullKing => site.disks.kings[SMALL_KING].fill(),
            Fault::FullServant => site.disks.servant.iter().for_each(Disk::fill),
            Fault::KingsAhead => self.restart_kings(site, Some(CLOCK_LIBRARY)),
        }
    }

    /// Undoes it. What has ended by itself meanwhile is started again.
    ///
    /// # Panics
    /// When it cannot be undone.
    pub async fn heal(&self, site: &mut Site) {
        match self.fault {
            Fault::KillWriter | Fault::KillBackup | Fault::KillKings | Fault::KillForeman => self.start(site),
            Fault::KillServant | Fault::KillAlerter => self.start(site),
            Fault::PauseWriter | Fault::PauseForeman | Fault::PauseServant => self.signal(site, Signal::CONT),
            Fault::CutWriter | Fault::CutWriterOneWay | Fault::CutForeman | Fault::CutServant => {
                self.weather(site, Weather::Fair);
            }
            Fault::HalfOpenWriter | Fault::ResetServant | Fault::ResetRoutes => {}
            Fault::KillLeader | Fault::KillTwo | Fault::KillAll | Fault::WipeServer | Fault::EndLeader => {
                site.cluster.restart_all(&self.servers).await;
            }
            Fault::CutPower | Fault::CutPowerOfAll | Fault::CutPowerOfWriter | Fault::CutPowerOfKings => {
                site.give_power(&self.names, &self.servers);
                self.start(site);
                site.cluster.restart_all(&self.servers).await;
            }
            Fault::FlipLog => {
                site.cluster.restart_all(&self.servers).await;
                mend::is_mended(site).await;
            }
            Fault::PauseLeader => self.servers.iter().for_each(|server| site.cluster.resume(*server)),
            Fault::CutLeader | Fault::CutLeaderOneWay => self.routes(site, Weather::Fair),
            Fault::SlowRoutes => site.cluster.weather(Weather::Fair),
            // A server that ran out of room stops storing until it is started again.
            Fault::FullServer => {
                site.disks.servers[SMALL_SERVER].free();
                self.kill(site);
                site.cluster.restart_all(&self.servers).await;
            }
            Fault::FullKing => site.disks.kings[SMALL_KING].free(),
            Fault::FullServant => site.disks.servant.iter().for_each(Disk::free),
            Fault::KingsAhead => self.restart_kings(site, None),
        }
        site.revive();
    }

    /// Kills a server, and lets what it has of the log rot.
    async fn rot(&self, site: &mut Site, dice: &mut Dice) {
        rot::grow(&site.client, dice).await;
        let group = rot::group(&site.client).await;
        self.kill(site);
        for server in &self.servers {
            for rot in rot::set_in(site.cluster.store(*server), &group, dice) {
                println!("chaos: server {}: {rot}", server + 1);
            }
        }
    }

    fn kill(&self, site: &mut Site) {
        self.names.iter().for_each(|name| site.kill9(name));
        self.servers.iter().for_each(|server| site.cluster.kill9(*server));
    }

    fn start(&self, site: &mut Site) {
        self.names.iter().for_each(|name| site.start_again(name));
    }

    fn signal(&self, site: &Site, signal: Signal) {
        self.names.iter().for_each(|name| site.signal(name, signal));
    }

    fn weather(&self, site: &Site, weather: Weather) {
        self.names.iter().for_each(|name| site.weather(name, weather));
    }

    fn routes(&self, site: &Site, weather: Weather) {
        self.servers.iter().for_each(|server| site.cluster.weather_around(*server, weather));
    }

    /// Starts the Kings again, an hour ahead with the library and in time without.
    fn restart_kings(&self, site: &mut Site, library: Option<&str>) {
        site.revive();
        for king in &self.names {
            site.kill9(king);
            site.variable(king, "LD_PRELOAD", library);
            site.variable(king, "FAKETIME", library.map(|_| "+1h"));
            site.variable(king, "FAKETIME_DONT_FAKE_MONOTONIC", library.map(|_| "1"));
            site.start_again(king);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_fault_has_a_name_of_its_own() {
        let names: BTreeSet<_> = Fault::ALL.iter().map(|fault| fault.name()).collect();
        assert_eq!(names.len(), Fault::ALL.len());
        assert!(Fault::ALL.iter().all(|fault| Fault::named(fault.name()) == Some(*fault)));
    }
}
