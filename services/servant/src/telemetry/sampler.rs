//! One frame each second, out of all meters; and what it costs.

use super::census::Census;
use super::host::HostMeter;
use super::instances::{InstanceMeters, Span};
use super::proc::{Buffer, narrow, ticks_per_second};
use super::roster::Roster;
use crate::app_events::Hub;
use crate::host;
use crate::reports::Sender;
use events::Timestamp;
use events::limits::INSTANCES_PER_FRAME;
use events::metric::{self, Frame, InstanceFigures, Instances, Top};
use rustix::process::{Resource, getrlimit};
use rustix::time::{ClockId, clock_gettime};
use std::io;
use std::path::PathBuf;
use std::time::Instant;

/// The files that measuring may hold open, as a part of those that this process may have.
const PART_OF_FILES: u64 = 4;
/// Where that has no limit.
const MOST_FILES: u64 = 100_000;

/// Measures.
pub struct Sampler {
    sender: Sender,
    life: Timestamp,
    number: u64,
    last: Instant,
    last_ticks: u64,
    roster: Roster,
    hub: Hub,
    host: HostMeter,
    instances: InstanceMeters,
    census: Census,
    buffer: Buffer,
    most_files: usize,
    cpus: u32,
}

impl Sampler {
    /// # Errors
    /// When `/proc` cannot be read.
    pub fn new(sender: &Sender, data: PathBuf, roster: Roster, hub: Hub) -> io::Result<Self> {
        let (mut host, mut buffer) = (HostMeter::new(data)?, Buffer::default());
        // What comes next is measured from here on.
        host.sample(&mut buffer)?;
        let files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX) / PART_OF_FILES;
        Ok(Self {
            sender: sender.clone(),
            life: service::clock::now(),
            number: 0,
            last: Instant::now(),
            last_ticks: ticks_since_boot(),
            roster,
            hub,
            host,
            instances: InstanceMeters::default(),
            census: Census::default(),
            buffer,
            most_files: usize::try_from(files.min(MOST_FILES)).unwrap_or(usize::MAX),
            cpus: host::cpus(),
        })
    }

    /// What is so now, and what happened since the sample before.
    pub fn sample(&mut self, now: Instant, at: Timestamp) -> Frame {
        let began = thread_time_us();
        let elapsed_us = u64::try_from(now.duration_since(self.last).as_micros()).unwrap_or(u64::MAX);
        let span = Span { since_ticks: self.last_ticks, elapsed_us, cpus: self.cpus };
        (self.last, self.last_ticks) = (now, ticks_since_boot());
        self.number += 1;
        let host = self.host.sample(&mut self.buffer).unwrap_or_else(|error| {
            tracing::warn!(%error, "the host cannot be measured");
            metric::Host::default()
        });
        let (instances, left_out) = self.instances(span);
        let top = self.census();
        Frame {
            schema: metric::SCHEMA,
            servant: self.sender.servant,
            name: self.sender.name.clone(),
            domain: self.sender.domain.clone(),
            life: self.life,
            number: self.number,
            at,
            interval_ms: narrow(elapsed_us / 1000),
            dropped: 0,
            cost_us: narrow(thread_time_us().saturating_sub(began)),
            host,
            instances,
            left_out,
            top,
            series: self.hub.series(),
        }
    }

    fn instances(&mut self, span: Span) -> (Instances, u32) {
        let roster = self.roster.all();
        let figures = self.instances.sample(&roster, span, self.most_files, &mut self.buffer);
        let left_out = figures.len().saturating_sub(INSTANCES_PER_FRAME);
        let (mut instances, lost) = (Instances::default(), self.hub.lost());
        for figures in figures.into_iter().take(INSTANCES_PER_FRAME) {
            let lost = lost.get(&figures.instance).copied().unwrap_or_default();
            instances.push(InstanceFigures { lost, ..figures });
        }
        (instances, u32::try_from(left_out).unwrap_or(u32::MAX))
    }

    /// A part of all processes; once all have been looked at, those that take the most.
    fn census(&mut self) -> Option<Top> {
        match self.census.step(&mut self.buffer) {
            Ok(false) => None,
            Ok(true) => {
                self.instances.extend(&self.census.links(), self.most_files);
                let owners = self.instances.owners();
                Some(self.census.top(|pid| owners.get(&pid).copied()))
            }
            Err(error) => {
                tracing::warn!(%error, "the processes of the host cannot be listed");
                None
            }
        }
    }
}

/// Processor time of this thread.
fn thread_time_us() -> u64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    micros(time.tv_sec, time.tv_nsec)
}

/// The time since boot in clock ticks, as the start times of processes are given.
pub fn ticks_since_boot() -> u64 {
    let time = clock_gettime(ClockId::Boottime);
    micros(time.tv_sec, time.tv_nsec) * ticks_per_second() / 1_000_000
}

fn micros(seconds: i64, nanos: i64) -> u64 {
    u64::try_from(seconds.saturating_mul(1_000_000).saturating_add(nanos / 1000)).unwrap_or_default()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use events::{InstanceId, ServantId};
    use std::process::{Child, Command};
    use std::time::Duration;
    use uuid::Uuid;

    fn sender() -> Sender {
        Sender {
            servant: ServantId(Uuid::from_u128(1)),
            name: "one".parse().unwrap(),
            domain: "default".parse().unwrap(),
        }
    }

    /// A frame of nothing with a number.
    pub fn frame(number: u64) -> Frame {
        let mut sampler = Sampler::new(&sender(), "/".into(), Roster::default(), Hub::new(None).0).unwrap();
        Frame { number, ..sampler.sample(Instant::now(), Timestamp(1)) }
    }

    fn sampler(roster: &Roster) -> Sampler {
        Sampler::new(&sender(), std::env::temp_dir(), roster.clone(), Hub::new(None).0).unwrap()
    }

    fn end(mut child: Child) {
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// The processor time of a process, read another way.
    fn ticks(pid: u32) -> u64 {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        let fields = stat.rsplit_once(')').unwrap().1.split_ascii_whitespace().skip(11).take(2);
        fields.map(|ticks| ticks.parse::<u64>().unwrap()).sum()
    }

    #[test]
    fn a_process_that_burns_one_core_shows_what_it_got() {
        let (roster, one) = (Roster::default(), InstanceId(Uuid::from_u128(1)));
        let child = Command::new("sh").args(["-c", "while :; do :; done"]).spawn().unwrap();
        roster.started(one, 0, child.id());
        let mut sampler = sampler(&roster);
        sampler.sample(Instant::now(), Timestamp(1));
        let (before, began) = (ticks(child.id()), Instant::now());
        let until = Instant::now() + Duration::from_millis(1500);
        while Instant::now() < until {
            std::thread::park_timeout(until.saturating_duration_since(Instant::now()));
        }
        let frame = sampler.sample(Instant::now(), Timestamp(2));
        let used = (ticks(child.id()) - before) as f64 / ticks_per_second() as f64;
        end(child);
        // Others want the processors of this machine too: it shows what it got of them.
        let wanted = used / began.elapsed().as_secs_f64() * 1000.0;
        let shown = f64::from(frame.instances.cpu[0]);
        assert!(wanted > 0.0 && (shown - wanted).abs() < 40.0, "{shown}, and the kernel says {wanted}");
        assert_eq!((frame.number, frame.instances.processes[0], frame.instances.threads[0]), (2, 1, 1));
        assert!(frame.interval_ms >= 1500 && frame.cost_us > 0, "{frame:?}");
    }

    #[test]
    fn processes_that_take_the_most_come_once_in_a_cycle() {
        let mut sampler = sampler(&Roster::default());
        let frames: Vec<Frame> = (0..25).map(|at| sampler.sample(Instant::now(), Timestamp(at))).collect();
        let with_top = frames.iter().filter(|frame| frame.top.is_some()).count();
        assert!((1..=3).contains(&with_top), "{with_top} of 25");
        assert_eq!(frames.iter().map(|frame| frame.number).collect::<Vec<_>>(), (1..=25).collect::<Vec<_>>());
    }
}
