//! The scheduler: which servant gets the next instance, and which ports.
//!
//! It spreads: first over the servants with the fewest instances of the same process type, then over those with the
//! fewest of all, then by name. It looks only at live servants that have what the process type needs and a free port
//! for each that it wants.

use crate::state::{App, Instance, Servant, State};
use events::limits::ASSIGNMENT_BYTES;
use events::{AppName, PortName, ProcessName, ServantId, ServantName};
use semver::{Version, VersionReq};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};

/// Whatever its version.
static ANY: VersionReq = VersionReq::STAR;

/// What an instance of a process type needs from its servant.
pub struct Need<'a> {
    pub app: &'a AppName,
    pub release: u32,
    pub process: &'a ProcessName,
    pub tools: Vec<(&'a str, &'a VersionReq)>,
    pub ports: &'a [PortName],
}

impl<'a> Need<'a> {
    /// What a process type of a manifest needs; none if the manifest has no such process type.
    pub fn of(app: &'a App, name: &'a AppName, release: u32, process: &'a ProcessName) -> Option<Self> {
        let manifest = app.manifest_of(release)?;
        let declared = manifest.processes.get(process)?;
        let named =
            manifest.needs.iter().chain(&declared.needs).map(|(tool, wanted)| (tool.as_str(), wanted));
        // A limit that its servant could not hold would be none; the engine holds those of its containers.
        let limits = declared.supervision.limits.needs().filter(|_| declared.image.is_none());
        let engine = declared.image.as_ref().map(|_| ENGINE);
        let tools = named.chain(limits.map(|limit| (limit, &ANY))).chain(engine);
        Some(Self { app: name, release, process, tools: tools.collect(), ports: &declared.ports })
    }

    /// What each servant has already. One walk over all instances is much cheaper than to look up those of each servant.
    pub fn loads<'s>(&self, state: &'s State) -> Loads<'s> {
        let mut loads = Loads::default();
        for instance in state.instances.values() {
            loads.0.entry(instance.servant).or_default().add(self, instance);
        }
        loads
    }

    /// Every reason for which one servant cannot run it, without a look at all the others.
    pub fn obstacles_of(&self, state: &State, servant: &Servant) -> Vec<String> {
        let mut load = Load::default();
        let instances = servant.instances.iter().filter_map(|id| state.instances.get(id));
        instances.for_each(|instance| load.add(self, instance));
        self.obstacles(servant, self.room(state, &load))
    }

    /// Every reason for which a servant cannot run it; empty if it can.
    fn obstacles(&self, servant: &Servant, room: usize) -> Vec<String> {
        let mut obstacles = Vec::new();
        if servant.lost {
            obstacles.push("is lost".to_owned());
        }
        if let Some(disk) = servant.full_disk() {
            obstacles.push(format!("has a full disk ({} % used)", disk.used_percent));
        }
        for (tool, wanted) in &self.tools {
            match servant.facts.capabilities.get(*tool) {
                None => obstacles.push(format!("has no {tool}")),
                Some(found) if !satisfies(found, wanted) => {
                    obstacles.push(format!("has {tool} {found}, not {wanted}"))
                }
                Some(_) => {}
            }
        }
        let (free, wanted) = (free_ports(servant, self.ports.len()).len(), self.ports.len());
        if free < wanted {
            let range = servant.facts.ports;
            let free = if free == 0 {
                "no free port".to_owned()
            } else {
                format!("only {free} of {wanted} ports free")
            };
            obstacles.push(format!("has {free} in {}-{}", range.first, range.last));
        }
        if room == 0 {
            obstacles.push("has as much assigned as one assignment holds".to_owned());
        }
        obstacles
    }

    /// For how many more of these instances the servant's assignment has room.
    fn room(&self, state: &State, load: &Load<'_>) -> usize {
        let own = (self.app, self.release);
        let releases = load.releases.iter().copied().chain((!load.releases.contains(&own)).then_some(own));
        let releases: usize = releases.map(|(app, release)| release_bytes(state, app, release)).sum();
        let each = instance_bytes(self.app, self.process, self.ports.iter());
        ASSIGNMENT_BYTES.saturating_sub(releases + load.bytes) / each
    }
}

/// What servants have already, by their ids.
#[derive(Default)]
pub struct Loads<'a>(BTreeMap<ServantId, Load<'a>>);

/// What one servant has already, as far as it counts for a need.
#[derive(Default)]
struct Load<'a> {
    /// Its instances of the same process type that are not told to stop.
    same: usize,
    /// What its instances take in its assignment, without their releases.
    bytes: usize,
    releases: BTreeSet<(&'a AppName, u32)>,
}

impl<'a> Load<'a> {
    fn add(&mut self, need: &Need<'_>, instance: &'a Instance) {
        let Instance { app, process, release, ports, .. } = instance;
        let is_same = app == need.app && process == need.process && !instance.is_retired();
        self.same += usize::from(is_same);
        self.bytes += instance_bytes(app, process, ports.keys());
        self.releases.insert((app, *release));
    }
}

/// What every container needs: an engine that answers.
const ENGINE: (&str, &VersionReq) = ("docker", &VersionReq::STAR);

/// What an instance takes in an assignment: its id, its names and the names of its fields.
fn instance_bytes<'a>(
    app: &AppName,
    process: &ProcessName,
    ports: impl Iterator<Item = &'a PortName>,
) -> usize {
    let ports: usize = ports.map(|port| port.as_str().len() + 4).sum();
    80 + app.as_str().len() + process.as_str().len() + ports
}

/// What a release takes in an assignment, estimated from above.
fn release_bytes(state: &State, name: &AppName, number: u32) -> usize {
    let Some(release) = state.apps.get(name).and_then(|app| app.releases.get(&number)) else { return 0 };
    let pairs = release.environments.values().flatten();
    let environments: usize = pairs.map(|(key, value)| key.len() + value.len() + 8).sum();
    environments + release.environments.len() * PROCESS_BYTES + PROCESS_BYTES
}

/// What a process type takes beside its environment: its command line above all.
const PROCESS_BYTES: usize = 4096 + 512;

/// A tool of unknown version has what any version will do for.
fn satisfies(found: &str, wanted: &VersionReq) -> bool {
    *wanted == VersionReq::STAR || Version::parse(found).is_ok_and(|version| wanted.matches(&version))
}

/// The free ports of a servant, from `start` on and around the end of its range.
fn search(servant: &Servant, start: u16) -> impl Iterator<Item = u16> {
    let range = servant.facts.ports;
    let start = if range.contains(start) { start } else { range.first };
    (start..=range.last).chain(range.first..start).filter(|port| servant.is_free(*port))
}

/// Up to `count` free ports of a servant, where its search for one goes on.
pub fn free_ports(servant: &Servant, count: usize) -> Vec<u16> {
    search(servant, servant.next_port).take(count).collect()
}

/// A place for one instance.
#[derive(Clone, Debug, PartialEq)]
pub struct Place {
    pub servant: ServantId,
    pub ports: BTreeMap<PortName, u16>,
}

/// A servant as the scheduler looks at it for one process type.
#[derive(Clone, Debug)]
pub struct Assessment<'a> {
    pub id: ServantId,
    pub servant: &'a Servant,
    /// Every reason for which it cannot run another one; empty if it can.
    pub obstacles: Vec<String>,
    /// Its instances of the same process type that are not told to stop.
    pub same: usize,
    /// All its instances.
    pub all: usize,
    /// For how many more its assignment has room.
    room: usize,
}

impl Need<'_> {
    /// Looks at a servant.
    pub fn assess<'a>(
        &self,
        state: &State,
        loads: &Loads<'_>,
        id: ServantId,
        servant: &'a Servant,
    ) -> Assessment<'a> {
        let idle = Load::default();
        let load = loads.0.get(&id).unwrap_or(&idle);
        let room = self.room(state, load);
        let (obstacles, all) = (self.obstacles(servant, room), servant.instances.len());
        Assessment { id, servant, obstacles, same: load.same, all, room }
    }
}

impl<'a> Assessment<'a> {
    /// Where it stands in the order of choice: the least comes first.
    pub fn rank(&self) -> (usize, usize, &'a ServantName) {
        (self.same, self.all, &self.servant.facts.name)
    }
}

/// A servant in the order of the search; the ports that this search has given out on it are not yet in the state.
struct Candidate<'a> {
    id: ServantId,
    servant: &'a Servant,
    given: BTreeSet<u16>,
    next_port: u16,
    /// For how many more instances its assignment has room.
    room: usize,
}

impl Candidate<'_> {
    fn take_ports(&mut self, names: &[PortName]) -> Option<BTreeMap<PortName, u16>> {
        let free = search(self.servant, self.next_port).filter(|port| !self.given.contains(port));
        let chosen: Vec<u16> = free.take(names.len()).collect();
        if chosen.len() < names.len() || self.room == 0 {
            return None;
        }
        self.room -= 1;
        self.given.extend(&chosen);
        self.next_port = chosen.last().map_or(self.next_port, |port| port.saturating_add(1));
        Some(names.iter().cloned().zip(chosen).collect())
    }
}

/// Places for up to `count` instances; fewer where servants or ports run out. `avoid` says which servants not to use.
pub fn places(state: &State, need: &Need<'_>, count: usize, avoid: impl Fn(ServantId) -> bool) -> Vec<Place> {
    let loads = need.loads(state);
    let mut candidates: Vec<Candidate<'_>> = Vec::new();
    let mut order = BinaryHeap::new();
    for (&id, servant) in &state.servants {
        if avoid(id) {
            continue;
        }
        let assessment = need.assess(state, &loads, id, servant);
        if !assessment.obstacles.is_empty() {
            continue;
        }
        let (same, all, name) = assessment.rank();
        order.push(Reverse((same, all, name, candidates.len())));
        let (given, next_port, room) = (BTreeSet::new(), servant.next_port, assessment.room);
        candidates.push(Candidate { id, servant, given, next_port, room });
    }
    let mut places = Vec::new();
    while places.len() < count {
        let Some(Reverse((same, all, name, index))) = order.pop() else { break };
        let candidate = &mut candidates[index];
        if let Some(ports) = candidate.take_ports(need.ports) {
            places.push(Place { servant: candidate.id, ports });
            order.push(Reverse((same + 1, all + 1, name, index)));
        }
    }
    places
}
