//! `kingctl up`: a whole kingdom on this machine, in the foreground. It starts nats-server, the King, the Foreman, the
//! Servants and the Alerter, waits until the King serves, starts again what dies, and stops all of them in order.
//!
//! Each program runs in a process group of its own and writes to a log file of its own, so that it outlives even a
//! `kingctl up` that is killed; the next one finds it by its pid file and ends it first.

mod plan;
mod nats;
mod ports;
mod leftovers;
mod keeper;
mod grace;
mod log;
mod ready;

use crate::cli::Globals;
use crate::failure::Failure;
use anyhow::{Context, anyhow};
use clap::Args;
use keeper::Keeper;
use nats::Layout;
use plan::Plan;
use service::Shutdown;
use service::data::{Folder, FolderError};
use service::loopback::parse_bind;
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};

/// How to start a kingdom.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Examples:
  kingctl up
  kingctl up --data /var/tmp/other --http 127.0.0.1:8480 --nats-port 5222 --ports 26000-26999   # a second kingdom
  kingctl up --servants 3
  kingctl up --kings 3                # two backups, on ports 7481 and 7482
  kingctl up --nats-servers 3                # any one of the three may die: each keeps a copy of everything

Ctrl-C stops everything; the next start finds it as it was. A second Ctrl-C does not wait for anybody.")]
pub struct UpArgs {
    /// The data folder: everything that must survive.
    #[arg(long, env = "KING_DATA", value_name = "DIR", default_value = ".kingdom")]
    data: PathBuf,
    /// Where the King serves Git, health and events over HTTP.
    #[arg(long, env = "KING_HTTP", value_name = "ADDRESS", default_value = "127.0.0.1:7480", value_parser = parse_bind)]
    http: SocketAddr,
    /// The port of nats-server on 127.0.0.1. Three servers take six ports from this one on.
    #[arg(long, value_name = "PORT", default_value_t = 4222, value_parser = clap::value_parser!(u16).range(1..))]
    nats_port: u16,
    /// How many nats-servers: 1 or 3. A kingdom keeps the number that it was made with.
    #[arg(long, value_name = "N", value_parser = nats::parse_count)]
    nats_servers: Option<nats::Count>,
    /// How many Kings: one writes, the others take over. Each further one serves HTTP on the next port.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=9))]
    kings: u16,
    /// How many Servants; they are named s1, s2, …
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(0..=100))]
    servants: u16,
    /// The ports that instances get, shared out evenly among the Servants.
    #[arg(long, value_name = "FIRST-LAST", default_value = "20000-24999", value_parser = plan::parse_ports)]
    ports: plan::Ports,
    /// The folder of the programs; when absent, the one that holds kingctl.
    #[arg(long, value_name = "DIR")]
    programs: Option<PathBuf>,
    /// The nats-server program; when absent, the one of scripts/bootstrap, or else the one on the PATH.
    #[arg(long, env = "KING_NATS_SERVER", value_name = "PROGRAM")]
    nats_server: Option<PathBuf>,
}

impl UpArgs {
    /// Runs until it is told to end.
    ///
    /// # Errors
    /// When something is in the way at the start. Later deaths are repaired, not returned.
    pub async fn run(self, _globals: &Globals) -> Result<(), Failure> {
        let shutdown = Shutdown::on_signal().context("could not listen to signals")?;
        let data = open_data(&self.data)?;
        let folder = hold(&data)?;
        leftovers::end(&folder.join("pids"), &shutdown).await?;
        let layout = Layout::of(&data, self.nats_servers, self.nats_port)?;
        ports::check(&self, layout)?;
        let plan = Plan::of(&self, layout, &data, &folder)?;
        let mut kingdom = Kingdom { keepers: Vec::new(), hurry: Shutdown::by_hand(), layout };
        let ended = match kingdom.start(&plan, &shutdown).await {
            Ok(()) => {
                say(&self.welcome(layout, &data));
                until_told(&shutdown).await
            }
            Err(failure) => Err(failure),
        };
        kingdom.stop().await;
        ended
    }

    fn welcome(&self, layout: Layout, data: &Path) -> String {
        let (http, nats) = (self.http, layout.url());
        let mut text = format!(
            "\nThe kingdom is up.\n  \
               Git and HTTP  http://{http}/\n  \
               NATS          {nats}\n  \
               data, logs    {}\n\n\
             Next, in a Git repository with a king.yaml or a Procfile:\n",
            data.display()
        );
        if let Some(folder) = std::env::current_exe().ok().as_deref().and_then(Path::parent) {
            text.push_str(&format!("  export PATH=\"{}:$PATH\"\n", folder.display()));
        }
        if nats != "nats://127.0.0.1:4222" {
            text.push_str(&format!("  export KING_NATS={nats}\n"));
        }
        text.push_str(&format!(
            "  git remote add king http://{http}/git/hello.git\n  \
               git tag v1.0.0 && git push king main v1.0.0\n  \
               kingctl app deploy hello@1.0.0 --count 2\n\n\
             Ctrl-C stops everything; the next start finds it as it was.\n"
        ));
        text
    }
}

/// The running programs, in the order of their start.
struct Kingdom {
    keepers: Vec<Keeper>,
    hurry: Shutdown,
    layout: Layout,
}

impl Kingdom {
    /// Starts one program after the other, as each needs the one before.
    async fn start(&mut self, plan: &Plan, shutdown: &Shutdown) -> Result<(), Failure> {
        for (server, address) in plan.nats.iter().zip(plan.layout.clients()) {
            self.add(Keeper::start(server.clone(), &self.hurry)?);
            self.until(shutdown, ready::nats(address)).await?;
        }
        self.add(Keeper::start(plan.king.clone(), &self.hurry)?);
        self.until(shutdown, ready::king(plan.http)).await?;
        for king in &plan.backups {
            self.add(Keeper::start(king.clone(), &self.hurry)?);
        }
        for service in &plan.others {
            self.add(Keeper::start(service.clone(), &self.hurry)?);
        }
        Ok(())
    }

    fn add(&mut self, keeper: Keeper) {
        self.keepers.push(keeper);
    }

    /// Waits for the newest program to be ready, unless it dies or the end is asked for.
    async fn until(
        &self,
        shutdown: &Shutdown,
        ready: impl Future<Output = Result<(), Failure>>,
    ) -> Result<(), Failure> {
        let newest = self.keepers.last().expect("a program was started");
        tokio::select! {
            ready = ready => ready.map_err(|failure| newest.with_last_words(failure)),
            death = newest.death() => Err(newest.with_last_words(Failure::Failed(anyhow!(
                "{} ended at its start ({death}), so the kingdom does not start", newest.name()
            )))),
            () = shutdown.requested() => Err(Failure::Failed(anyhow!("told to stop while starting"))),
        }
    }

    /// Stops the newest first: Servants stop their instances while everybody who must hear of it still lives.
    async fn stop(mut self) {
        say("stopping; another Ctrl-C kills what is left\n");
        let hurry = self.hurry.clone();
        tokio::spawn(async move {
            if service::shutdown::signal().await.is_ok() {
                hurry.request();
            }
        });
        let servers = self.layout.names();
        let is_core = |name: &str| {
            matches!(name, "king" | "foreman")
                || name.starts_with("king-")
                || servers.iter().any(|own| own == name)
        };
        let (core, mut outer): (Vec<_>, Vec<_>) =
            self.keepers.drain(..).partition(|keeper| is_core(keeper.name()));
        // Servants before the Alerter, so that it can still tell of what their end brings.
        outer.sort_by_key(|keeper| keeper.name() == "alerter");
        let servants = || outer.iter().filter(|keeper| keeper.is_servant());
        if servants().next().is_some() {
            let nats = self.layout.url();
            let grace = tokio::select! {
                grace = grace::of_servants(&nats) => grace,
                () = self.hurry.requested() => Duration::ZERO,
            };
            servants().for_each(|servant| servant.grant(grace));
            servants().for_each(Keeper::ask_to_end);
        }
        for keeper in outer.into_iter().chain(core.into_iter().rev()) {
            keeper.stop().await;
        }
        say("stopped\n");
    }
}

/// SIGINT, SIGTERM, or the terminal is gone.
async fn until_told(shutdown: &Shutdown) -> Result<(), Failure> {
    let mut hang_up = signal(SignalKind::hangup()).context("could not listen to SIGHUP")?;
    tokio::select! {
        () = shutdown.requested() => {}
        _ = hang_up.recv() => {}
    }
    Ok(())
}

fn open_data(data: &Path) -> Result<PathBuf, Failure> {
    std::fs::create_dir_all(data)
        .and_then(|()| data.canonicalize())
        .with_context(|| format!("could not make the data folder {}", data.display()))
        .map_err(Failure::from)
}

/// Holds the data folder against a second `kingctl up`.
fn hold(data: &Path) -> Result<Folder, Failure> {
    Folder::open(data.join("up")).map_err(|error| match error {
        FolderError::Held { holder, .. } => Failure::Conflict(format!(
            "a kingdom runs in {} already: `kingctl up` with pid {holder}; stop that one first, or give this one \
             --data, --http, --nats-port and --ports of its own",
            data.display()
        )),
        error @ FolderError::Io { .. } => Failure::Failed(error.into()),
    })
}

/// Says something on the terminal. A terminal that is gone must not end the kingdom.
fn say(text: &str) {
    let mut stderr = std::io::stderr().lock();
    let _ = stderr.write_all(text.as_bytes());
    let _ = stderr.flush();
}
