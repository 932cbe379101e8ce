//! The shell: it opens what the servant needs, finds what runs, and turns events into inputs of the reconciler and its
//! actions into deeds. [`shell`] is the loop, [`perform`] does the actions, [`background`] what runs beside it.

mod background;
mod found;
mod make_way;
mod measured;
mod perform;
mod preparing;
mod shell;
mod starts;

use crate::app_events::place::Place;
use crate::app_events::{Hub, relay};
use crate::args::Args;
use crate::cgroup::Cgroups;
use crate::container::Engine;
use crate::container::supply::Supplier;
use crate::container::supply::ledger::Ledger;
use crate::disk::shelf::Shelf;
use crate::disk::{Caretaker, Hands, Room};
use crate::exec::records::Records;
use crate::exec::{self, Executor};
use crate::keeper::Host;
use crate::memory::Memory;
use crate::reconcile::Settings;
use crate::release::Preparer;
use crate::reports::{Reports, Sender};
use crate::telemetry::Telemetry;
use crate::{host, keeper};
use anyhow::{Context, Result};
use bus::Bus;
use bus::table::Table;
use events::report::{Emitted, PortRange};
use events::{Labels, ServantId, ServantName, label};
use service::Shutdown;
use service::data::{Folder, Passage};
use std::collections::BTreeSet;
use std::fs::Permissions;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

/// How long runs of commands may take to end when the servant does.
const END_EXECS: Duration = Duration::from_secs(2);

/// Everything that a servant needs to run.
pub struct Servant {
    folder: Folder,
    bus: Bus,
    sender: Sender,
    memory: Memory,
    reports: Reports,
    preparer: Preparer,
    telemetry: Telemetry,
    hub: Hub,
    /// Until it runs.
    emitted: Option<mpsc::Receiver<Emitted>>,
    engine: Engine,
    ports: PortRange,
    labels: Labels,
    exec: Exec,
    host: Host,
    settings: Settings,
    at_end: AtEnd,
}

/// What becomes of the instances when the servant is told to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AtEnd {
    Leave,
    Stop,
}

/// Whether arbitrary commands are run here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exec {
    On,
    Off,
}

impl Servant {
    /// Takes the data folder and connects.
    ///
    /// # Errors
    /// When the folder is in use or damaged, or no server answers.
    pub async fn open(args: &Args) -> Result<Self> {
        let name = name(args)?;
        let labels = label::collect(args.labels.iter().cloned()).context("--label or KING_LABELS")?;
        // Instances of other users may have been let through, to their releases.
        let folder = Folder::open_for(args.common.data.join(format!("servant-{name}")), Passage::Kept)?;
        let servant = ServantId(service::identity::load_or_create(&folder.join("id"))?);
        for (part, mode) in PARTS {
            make_part(&folder.join(part), mode).with_context(|| format!("could not make {part}"))?;
        }
        keeper::prepare(&folder.join("instances")).context("could not make the drawers of instances")?;
        let boot = host::boot_id().context("could not read the boot id of the kernel")?;
        let host = Host { boot: boot.clone(), cgroups: Arc::new(Cgroups::probe(servant)) };
        let sender = Sender { servant, name, domain: args.domain.clone() };
        let memory = Memory::open(&folder.join("table")).await?;
        let reports = Reports::open(&folder.join("outbox"), sender.clone()).await?;
        let options = bus::Options {
            url: args.common.nats.clone(),
            name: format!("servant {}", sender.name),
            credentials: None,
        };
        let bus = bus::connect(&options).await?;
        let engine = Engine::new(args.docker_socket.clone());
        let room = Room { folder: folder.path().to_owned(), settings: args.disk_settings()? };
        let supplier = Supplier {
            engine: engine.clone(),
            bus: bus.clone(),
            folder: folder.join("releases"),
            ledger: Ledger::open(folder.join("images")).context("could not make images")?,
            room: room.clone(),
        };
        let preparer = Preparer {
            supplier,
            bus: bus.clone(),
            servant,
            releases: folder.join("releases"),
            room,
            boot,
            path: args.path.clone(),
        };
        let (hub, emitted) = Hub::new(place(&folder, servant));
        let telemetry = Telemetry::start(&sender, folder.path().to_owned(), hub.clone())
            .context("this host cannot be measured")?;
        let at_end = if args.stop_instances_on_exit { AtEnd::Stop } else { AtEnd::Leave };
        tracing::info!(name = %sender.name, id = %servant, domain = %sender.domain, data = %folder.path().display(), "servant");
        Ok(Self {
            folder,
            bus,
            sender,
            memory,
            reports,
            preparer,
            telemetry,
            hub,
            emitted: Some(emitted),
            engine,
            ports: args.ports,
            labels,
            exec: if args.no_exec { Exec::Off } else { Exec::On },
            host,
            settings: args.settings(),
            at_end,
        })
    }

    /// Runs until it is told to stop.
    ///
    /// # Errors
    /// When the King refuses this servant, or the disk fails.
    pub async fn run(mut self, shutdown: Shutdown) -> Result<()> {
        self.sweep_builds().await?;
        let registration = background::Registration::new(
            &self.sender,
            self.ports,
            self.labels.clone(),
            self.exec,
            &self.host,
        );
        let beats = tokio::spawn(background::beat(self.bus.clone(), self.sender.clone()));
        let registering =
            tokio::spawn(background::register(registration, self.engine.clone(), self.reports.clone()));
        let sending = tokio::spawn(self.reports.clone().send(self.bus.clone()));
        let frames = self.telemetry.outgoing.clone();
        let telling = tokio::spawn(frames.send(self.bus.clone(), self.sender.domain.clone()));
        let emitted = self.emitted.take().expect("it is run once");
        let keeping = tokio::spawn(relay::run(self.hub.clone(), emitted, self.reports.clone()));
        let (hub, at_end, cgroups) = (self.hub.clone(), self.at_end, self.host.cgroups.clone());
        let (end_execs, execs) = self.execs()?;
        let (used, told) = watch::channel(BTreeSet::new());
        let (wishes, removals) = mpsc::channel(1);
        let shelf = Shelf {
            releases: self.preparer.releases.clone(),
            instances: self.instances(),
            images: self.preparer.supplier.ledger.clone(),
        };
        let hands = Hands { shelf, engine: self.engine.clone() };
        let (servant, room) = (self.sender.servant, self.preparer.room.clone());
        let caretaker = Caretaker::new(servant, room, hands, self.reports.clone(), told, wishes);
        let failing = failing(self.reports.clone(), self.memory.table());
        let mut shell = shell::Shell::new(self, used, removals);
        tokio::select! {
            found = shell.find() => found?,
            // What runs is left running, so nothing needs to be found; what shall be stopped does.
            () = shutdown.requested(), if at_end == AtEnd::Leave => {}
        }
        // Only now is known what is in use.
        let caring = tokio::spawn(caretaker.run());
        let mut sending = sending;
        let result = tokio::select! {
            result = shell.run(&shutdown) => result,
            sent = &mut sending => sent.context("sending reports broke off")?.map_err(Into::into),
            error = failing => Err(error),
        };
        caring.abort();
        beats.abort();
        registering.abort();
        telling.abort();
        hub.end();
        keeping.await.context("keeping events of apps broke off")?;
        end_execs.send_replace(true);
        if tokio::time::timeout(END_EXECS, execs).await.is_err() {
            tracing::warn!("runs are ended by their runners; they are told to be lost at the next start");
        }
        shell.drain().await;
        sending.abort();
        cgroups.forget();
        result
    }

    /// Runs commands from now on, also where none may be begun any more: those of before must be told.
    fn execs(&self) -> Result<(watch::Sender<bool>, JoinHandle<()>)> {
        let host = exec::Host {
            bus: self.bus.clone(),
            sender: self.sender.clone(),
            reports: self.reports.clone(),
            records: Records::open(&self.folder.join("execs")).context("could not make execs")?,
            places: exec::Places {
                id: self.sender.servant,
                servant: self.sender.name.clone(),
                socket: self.engine.socket().to_owned(),
                instances: self.instances(),
                releases: self.preparer.releases.clone(),
                path: self.preparer.path.clone(),
                cgroups: self.host.cgroups.clone(),
                events: self.hub.place(),
            },
            program: PathBuf::from("/proc/self/exe"),
        };
        let (end, ending) = watch::channel(false);
        Ok((end, tokio::spawn(Executor::serve(host, ending))))
    }

    /// A build whose Servant died goes on writing into a tree that will be made anew.
    async fn sweep_builds(&self) -> Result<()> {
        let mark = format!("{}={}", crate::release::build::BUILDER_VARIABLE, self.sender.servant);
        tokio::task::spawn_blocking(move || keeper::sweep(&mark, Vec::new()))
            .await?
            .context("a build of before could not be ended")
    }

    fn instances(&self) -> PathBuf {
        self.folder.join("instances")
    }
}

/// Waits until the disk fails what must not be lost. Nothing is kept any more then: what runs is left running, and the
/// next start writes anew what can be read.
async fn failing(reports: Reports, table: Table) -> anyhow::Error {
    tokio::select! {
        error = reports.fails() => error.into(),
        error = table.fails() => error.into(),
    }
}

/// The parts of the data folder: whoever may pass through that gets to the releases, and cannot list even these.
const PARTS: [(&str, u32); 6] = [
    ("instances", 0o700),
    ("images", 0o700),
    ("execs", 0o700),
    ("table", 0o700),
    ("outbox", 0o700),
    ("releases", 0o711),
];

fn make_part(part: &Path, mode: u32) -> io::Result<()> {
    std::fs::create_dir_all(part)?;
    std::fs::set_permissions(part, Permissions::from_mode(mode))
}

/// Where apps tell of events. Without a place for that, everything else goes on.
fn place(folder: &Folder, servant: ServantId) -> Option<Place> {
    Place::open(folder.path(), servant)
        .inspect_err(|error| tracing::error!(%error, "apps cannot tell of events here"))
        .ok()
}

fn name(args: &Args) -> Result<ServantName> {
    match &args.name {
        Some(name) => Ok(name.clone()),
        None => {
            host::label().parse().context("the host's name makes no name for a servant; give one with --name")
        }
    }
}
