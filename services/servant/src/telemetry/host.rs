//! The host as a whole: processors, memory, disks, network, load.

use super::proc::{Buffer, ProcFile, lines, narrow, number, words};
use events::limits::{CORES, INTERFACES};
use events::metric::{Host, Network, OTHER_INTERFACES};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::PathBuf;

/// Looked at every so many samples: the room of the file system, and which disks there are.
const SELDOM: u64 = 10;
/// Bytes of a sector in `diskstats`, whatever the disk calls one.
const SECTOR: u64 = 512;
/// Devices that lie on others, or on memory: their traffic would be counted twice, or is none.
const STACKED: [&str; 7] = ["dm-", "md", "loop", "ram", "zram", "sr", "fd"];

/// Measures the host.
pub struct HostMeter {
    stat: ProcFile,
    meminfo: ProcFile,
    loadavg: ProcFile,
    uptime: ProcFile,
    /// Not everywhere.
    diskstats: Option<ProcFile>,
    interfaces: Option<ProcFile>,
    data: PathBuf,
    room: (u64, u64),
    disks: BTreeSet<Vec<u8>>,
    processors: Vec<Times>,
    transferred: Option<[u64; 2]>,
    traffic: BTreeMap<Vec<u8>, [u64; 3]>,
    samples: u64,
}

impl HostMeter {
    /// # Errors
    /// When `/proc` cannot be read.
    pub fn new(data: PathBuf) -> io::Result<Self> {
        Ok(Self {
            stat: ProcFile::open("/proc/stat")?,
            meminfo: ProcFile::open("/proc/meminfo")?,
            loadavg: ProcFile::open("/proc/loadavg")?,
            uptime: ProcFile::open("/proc/uptime")?,
            diskstats: ProcFile::open("/proc/diskstats").ok(),
            interfaces: ProcFile::open("/proc/net/dev").ok(),
            data,
            room: (0, 0),
            disks: BTreeSet::new(),
            processors: Vec::new(),
            transferred: None,
            traffic: BTreeMap::new(),
            samples: 0,
        })
    }

    /// What is so now, and what happened since the call before.
    ///
    /// # Errors
    /// When `/proc` cannot be read.
    pub fn sample(&mut self, buffer: &mut Buffer) -> io::Result<Host> {
        let mut host = Host::default();
        if self.samples.is_multiple_of(SELDOM) {
            self.look_seldom();
        }
        self.samples += 1;
        let now = times(self.stat.read(buffer)?);
        self.processors(now, &mut host);
        memory(self.meminfo.read(buffer)?, &mut host);
        load(self.loadavg.read(buffer)?, &mut host);
        host.uptime_s = words(self.uptime.read(buffer)?).next().and_then(number).unwrap_or_default();
        (host.disk_kib, host.disk_free_kib) = self.room;
        if let Some(diskstats) = &self.diskstats {
            let now = transferred(diskstats.read(buffer)?, &self.disks);
            let before = self.transferred.replace(now).unwrap_or(now);
            [host.read, host.written] = [0, 1].map(|at| now[at].saturating_sub(before[at]));
        }
        if let Some(interfaces) = &self.interfaces {
            let now = traffic(interfaces.read(buffer)?);
            host.networks = networks(&now, &self.traffic);
            self.traffic = now;
        }
        Ok(host)
    }

    fn processors(&mut self, now: Vec<Times>, host: &mut Host) {
        for (at, times) in now.iter().enumerate() {
            let before = self.processors.get(at).copied().unwrap_or(*times);
            let share = |part: fn(&Times) -> u64| {
                permille(part(times).saturating_sub(part(&before)), times.all.saturating_sub(before.all))
            };
            if at == 0 {
                (host.cpu, host.iowait, host.steal) =
                    (share(Times::busy), share(|times| times.iowait), share(|times| times.steal));
            } else {
                host.cores.push(share(Times::busy));
            }
        }
        self.processors = now;
    }

    fn look_seldom(&mut self) {
        // What cannot be told is told as before.
        if let Ok(space) = rustix::fs::statvfs(&self.data) {
            let kib = |blocks: u64| blocks.saturating_mul(space.f_frsize) / 1024;
            self.room = (kib(space.f_blocks), kib(space.f_bavail));
        }
        if let Ok(entries) = std::fs::read_dir("/sys/block") {
            let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
            let whole = names.filter(|name| !STACKED.iter().any(|stacked| name.starts_with(stacked)));
            self.disks = whole.map(String::into_bytes).collect();
        }
    }
}

/// The times of a processor, in clock ticks since boot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Times {
    all: u64,
    idle: u64,
    iowait: u64,
    steal: u64,
}

impl Times {
    fn busy(&self) -> u64 {
        self.all.saturating_sub(self.idle + self.iowait)
    }
}

/// The times of all processors together, then of each.
fn times(text: &[u8]) -> Vec<Times> {
    let of_processors = lines(text).take_while(|line| line.starts_with(b"cpu"));
    of_processors
        .take(1 + CORES)
        .map(|line| {
            // user nice system idle iowait irq softirq steal; guests are in user and nice already.
            let mut parts = [0; 8];
            for (part, word) in parts.iter_mut().zip(words(line).skip(1)) {
                *part = number(word).unwrap_or_default();
            }
            Times { all: parts.iter().sum(), idle: parts[3], iowait: parts[4], steal: parts[7] }
        })
        .collect()
}

fn permille(part: u64, whole: u64) -> u16 {
    let share = part.saturating_mul(1000).checked_div(whole).unwrap_or_default();
    u16::try_from(share.min(1000)).unwrap_or(1000)
}

fn memory(text: &[u8], host: &mut Host) {
    for line in lines(text) {
        let mut words = words(line);
        let place = match words.next() {
            Some(b"MemTotal:") => &mut host.memory_kib,
            Some(b"MemAvailable:") => &mut host.available_kib,
            Some(b"SwapTotal:") => &mut host.swap_kib,
            Some(b"SwapFree:") => &mut host.swap_free_kib,
            Some(_) | None => continue,
        };
        *place = words.next().and_then(number).unwrap_or_default();
    }
}

/// `0.52 0.58 0.59 1/467 12345`
fn load(text: &[u8], host: &mut Host) {
    let mut words = words(text);
    for place in &mut host.load {
        *place = words.next().map(hundredths).unwrap_or_default();
    }
    let counts = words.next().unwrap_or_default();
    let all = counts.split(|byte| *byte == b'/').nth(1);
    host.processes = all.and_then(number).map(narrow).unwrap_or_default();
}

fn hundredths(word: &[u8]) -> u32 {
    let digits: Vec<u8> = word.iter().copied().filter(u8::is_ascii_digit).collect();
    number(&digits).map(narrow).unwrap_or_default()
}

/// Bytes read and written of these disks since boot.
fn transferred(text: &[u8], disks: &BTreeSet<Vec<u8>>) -> [u64; 2] {
    let mut sums = [0u64; 2];
    for line in lines(text) {
        let mut words = words(line).skip(2);
        if !words.next().is_some_and(|name| disks.contains(name)) {
            continue;
        }
        // reads, merged, sectors, ms, writes, merged, sectors
        let mut sectors = |skipped| words.nth(skipped).and_then(number).unwrap_or_default();
        for (sum, skipped) in sums.iter_mut().zip([2, 3]) {
            *sum = sum.wrapping_add(sectors(skipped).saturating_mul(SECTOR));
        }
    }
    sums
}

/// Bytes received and sent, and faults, by interface since boot.
fn traffic(text: &[u8]) -> BTreeMap<Vec<u8>, [u64; 3]> {
    let of_interface = |line: &[u8]| {
        let colon = line.iter().position(|byte| *byte == b':')?;
        let name = words(&line[..colon]).next()?.to_owned();
        // bytes packets errs drop fifo frame compressed multicast, then the same of what was sent
        let mut counts = [0; 12];
        for (count, word) in counts.iter_mut().zip(words(&line[colon + 1..])) {
            *count = number(word)?;
        }
        let faults = counts[2] + counts[3] + counts[10] + counts[11];
        Some((name, [counts[0], counts[8], faults]))
    };
    lines(text).filter_map(of_interface).collect()
}

/// What travelled since before: the busiest interfaces, and the rest in one. One that is new counts from its next time.
fn networks(now: &BTreeMap<Vec<u8>, [u64; 3]>, before: &BTreeMap<Vec<u8>, [u64; 3]>) -> Vec<Network> {
    let of_interface = |(name, counts): (&Vec<u8>, &[u64; 3])| {
        let before = before.get(name).unwrap_or(counts);
        let [received, sent, faults] = [0, 1, 2].map(|at| counts[at].saturating_sub(before[at]));
        Network { name: String::from_utf8_lossy(name).into_owned(), received, sent, faults }
    };
    let mut networks: Vec<Network> = now.iter().map(of_interface).collect();
    if networks.len() > INTERFACES {
        networks.sort_by_key(|network| std::cmp::Reverse(network.received + network.sent));
        let rest = networks.split_off(INTERFACES - 1);
        let mut other = Network { name: OTHER_INTERFACES.to_owned(), ..Network::default() };
        for network in rest {
            other.received += network.received;
            other.sent += network.sent;
            other.faults += network.faults;
        }
        networks.push(other);
    }
    networks
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn processors_are_busy_by_what_they_did_since_before() {
        let text = b"cpu  100 0 50 800 50 0 0 0 0 0\ncpu0 50 0 25 400 25 0 0 0 0 0\ncpu1 50 0 25 400 25 0 0 0 0 0\nintr 1\n";
        let later = b"cpu  200 0 100 850 50 0 0 0 0 0\ncpu0 150 0 75 400 25 0 0 0 0 0\ncpu1 50 0 25 450 25 0 0 0 0 0\nintr 1\n";
        let mut meter = HostMeter::new("/".into()).unwrap();
        let mut host = Host::default();
        meter.processors(times(text), &mut host);
        assert_eq!((host.cpu, host.cores), (0, vec![0, 0]));
        let mut host = Host::default();
        meter.processors(times(later), &mut host);
        assert_eq!((host.cpu, host.cores), (750, vec![1000, 0]));
    }

    #[test]
    fn disks_are_summed_up_and_parts_of_them_left_out() {
        let text = b" 254 0 vda 10 0 100 0 20 0 300 0 0 0 0\n 254 1 vda1 10 0 100 0 20 0 300 0 0 0 0\n 7 0 loop0 1 1 1 1 1 1 1 1\n";
        assert_eq!(transferred(text, &BTreeSet::from([b"vda".to_vec()])), [51_200, 153_600]);
    }

    #[test]
    fn interfaces_beyond_the_bound_are_summed_up() {
        let head = "Inter-| Receive | Transmit\n face |bytes packets|bytes\n";
        let line = |name: usize, bytes: usize| {
            format!("  veth{name}: {bytes} 1 0 0 0 0 0 0 {bytes} 1 1 0 0 0 0 0\n")
        };
        let text = |bytes: usize| {
            let all: String = (0..40).map(|name| line(name, bytes * (name + 1))).collect();
            format!("{head}{all}")
        };
        let (before, now) = (traffic(text(0).as_bytes()), traffic(text(10).as_bytes()));
        assert_eq!(now.len(), 40);
        let networks = networks(&now, &before);
        assert_eq!((networks.len(), networks[0].name.as_str()), (INTERFACES, "veth39"));
        let sum: u64 = networks.iter().map(|network| network.received).sum();
        assert_eq!((sum, networks[INTERFACES - 1].name.as_str()), (10 * 820, OTHER_INTERFACES));
    }

    #[test]
    fn this_host_is_plausible() {
        let mut meter = HostMeter::new(std::env::temp_dir()).unwrap();
        let mut buffer = Buffer::default();
        meter.sample(&mut buffer).unwrap();
        let host = meter.sample(&mut buffer).unwrap();
        assert!(host.cores.len() >= crate::host::cpus() as usize);
        assert!(host.memory_kib > host.available_kib && host.available_kib > 0, "{host:?}");
        assert_eq!(host.memory_kib, crate::host::memory_bytes() / 1024);
        assert!(host.disk_kib > host.disk_free_kib && host.processes > 1 && host.uptime_s > 0, "{host:?}");
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in proptest::collection::vec(any::<u8>(), 0..600)) {
            let mut host = Host::default();
            memory(&text, &mut host);
            load(&text, &mut host);
            let _ = (times(&text), traffic(&text), transferred(&text, &BTreeSet::new()));
        }
    }
}
