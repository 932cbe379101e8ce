//! The shell: it opens what the servant needs, finds what runs, and turns events into inputs of the reconciler and its
//! actions into deeds. [`shell`] is the loop, [`perform`] does the actions, [`background`] what runs beside it.

mod background;
mod found;
mod perform;
mod preparing;
mod shell;

use crate::args::Args;
use crate::cgroup::Cgroups;
use crate::keeper::Host;
use crate::memory::Memory;
use crate::release::Preparer;
use crate::reports::{Reports, Sender};
use crate::{host, keeper};
use anyhow::{Context, Result};
use bus::Bus;
use events::report::PortRange;
use events::{ServantId, ServantName};
use service::Shutdown;
use service::data::Folder;
use std::path::PathBuf;
use std::sync::Arc;

/// Everything that a servant needs to run.
pub struct Servant {
    folder: Folder,
    bus: Bus,
    sender: Sender,
    memory: Memory,
    reports: Reports,
    preparer: Preparer,
    ports: PortRange,
    host: Host,
    steady_ms: u64,
    at_end: AtEnd,
}

/// What becomes of the instances when the servant is told to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AtEnd {
    Leave,
    Stop,
}

impl Servant {
    /// Takes the data folder and connects.
    ///
    /// # Errors
    /// When the folder is in use or damaged, or no server answers.
    pub async fn open(args: &Args) -> Result<Self> {
        let name = name(args)?;
        let folder = Folder::open(args.common.data.join(format!("servant-{name}")))?;
        let servant = ServantId(service::identity::load_or_create(&folder.join("id"))?);
        for part in ["instances", "releases"] {
            std::fs::create_dir_all(folder.join(part)).with_context(|| format!("could not make {part}"))?;
        }
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
        let preparer = Preparer {
            bus: bus.clone(),
            servant,
            releases: folder.join("releases"),
            boot,
            path: args.path.clone(),
        };
        let at_end = if args.stop_instances_on_exit { AtEnd::Stop } else { AtEnd::Leave };
        tracing::info!(name = %sender.name, id = %servant, domain = %sender.domain, data = %folder.path().display(), "servant");
        Ok(Self {
            folder,
            bus,
            sender,
            memory,
            reports,
            preparer,
            ports: args.ports,
            host,
            steady_ms: args.steady_ms,
            at_end,
        })
    }

    /// Runs until it is told to stop.
    ///
    /// # Errors
    /// When the King refuses this servant, or the disk fails.
    pub async fn run(self, shutdown: Shutdown) -> Result<()> {
        self.sweep_builds().await?;
        let registration = background::Registration::new(&self.sender, self.ports, &self.host);
        let beats = tokio::spawn(background::beat(self.bus.clone(), self.sender.clone()));
        let registering = tokio::spawn(background::register(registration, self.reports.clone()));
        let sending = tokio::spawn(self.reports.clone().send(self.bus.clone()));
        let (at_end, cgroups) = (self.at_end, self.host.cgroups.clone());
        let mut shell = shell::Shell::new(self);
        tokio::select! {
            found = shell.find() => found?,
            // What runs is left running, so nothing needs to be found; what shall be stopped does.
            () = shutdown.requested(), if at_end == AtEnd::Leave => {}
        }
        let mut sending = sending;
        let result = tokio::select! {
            result = shell.run(&shutdown) => result,
            sent = &mut sending => sent.context("sending reports broke off")?.map_err(Into::into),
        };
        beats.abort();
        registering.abort();
        shell.drain().await;
        sending.abort();
        cgroups.forget();
        result
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

fn name(args: &Args) -> Result<ServantName> {
    match &args.name {
        Some(name) => Ok(name.clone()),
        None => {
            host::label().parse().context("the host's name makes no name for a servant; give one with --name")
        }
    }
}
