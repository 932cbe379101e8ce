//! A kingdom to measure: `kingctl up` of the same build, with its data in a fresh folder below `target/bench`.

use anyhow::{Context, bail};
use kingdom_tests::client::Client;
use kingdom_tests::ports::Ports;
use kingdom_tests::process::{Process, clean_environment};
use kingdom_tests::repository::Repository;
use kingdom_tests::{http, strays, wait};
use rustix::process::Signal;
use serde_json::json;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::process::Command;

/// How long a kingdom may take to end.
const END_PATIENCE: Duration = Duration::from_secs(60);

/// The root of the checkout.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the tests lie in the workspace")
}

/// Where benchmarks keep what they make.
pub fn folder() -> PathBuf {
    root().join("target/bench")
}

/// A program of the kingdom, beside this one.
pub fn program(name: &str) -> anyhow::Result<PathBuf> {
    let path = std::env::current_exe()?.with_file_name(name);
    if !path.is_file() {
        bail!("the program {} is not built; run `make bench`, which builds it first", path.display());
    }
    Ok(path)
}

/// A kingdom that runs.
pub struct Stage {
    up: Process,
    data: PathBuf,
    pub ports: Ports,
    pub client: Client,
}

impl Stage {
    /// Starts one in a fresh folder, and waits until the King is ready and every servant lives.
    pub async fn start(name: &str, servants: u16) -> anyhow::Result<Self> {
        let data = fresh(name)?;
        let ports = Ports::reserve();
        let mut up = Process::new("up", &data, program("kingctl")?, up_flags(&data, &ports, servants));
        up.start();
        is_ready(&ports).await;
        let client = Client::connect(&nats_url(&ports)).await;
        let stage = Self { up, data, ports, client };
        stage.servants_live(servants).await;
        Ok(stage)
    }

    /// Waits until so many servants live, and no others.
    pub async fn servants_live(&self, servants: u16) {
        wait::until("every servant lives", async || {
            let known = self.client.ask("servant.ls", json!({})).await?;
            let live = known.iter().filter(|servant| servant["lost"] == false).count();
            wait::holds(live == usize::from(servants), || format!("{known:?}"))
        })
        .await;
    }

    /// Stops it, as Ctrl-C does.
    pub async fn stop(mut self) {
        self.up.signal(Signal::TERM);
        self.up.ended(END_PATIENCE).await;
    }

    /// The folder of everything.
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// Where NATS clients connect.
    pub fn nats_url(&self) -> String {
        nats_url(&self.ports)
    }

    /// Waits until every event has been published on its own subject, so that what follows has the server to itself.
    pub async fn is_quiet(&self) {
        wait::within(Duration::from_secs(300), "all events are published", async || {
            let king = self.client.ask("king.show", json!({})).await?.remove(0);
            wait::holds(king["event"] == king["published"], || king.to_string())
        })
        .await;
    }

    /// A repository with a remote of the same name as the app.
    pub async fn repository(&self, app: &str, files: &[(&str, &str)]) -> Repository {
        let remote = format!("http://{}/git/{app}.git", self.ports.http());
        Repository::create(&self.data.join("repositories").join(app), &remote, files).await
    }

    /// A call of `kingctl`.
    pub fn kingctl(&self, arguments: &[&str]) -> anyhow::Result<Command> {
        let mut command = Command::new(program("kingctl")?);
        command.args(arguments).env_clear().envs(clean_environment());
        command.env("KING_NATS", self.nats_url()).env("USER", "bench").current_dir(&self.data);
        Ok(command)
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        strays::kill_all(&self.data);
    }
}

/// The flags of `kingctl up`.
pub fn up_flags(data: &Path, ports: &Ports, servants: u16) -> Vec<OsString> {
    let (first, last) = ports.of_servant(0, 1);
    let flags = ["up", "--data", &data.display().to_string(), "--http", &ports.http().to_string()]
        .map(OsString::from)
        .into_iter();
    let ranges = [
        ("--nats-port", ports.nats().to_string()),
        ("--ports", format!("{first}-{last}")),
        ("--servants", servants.to_string()),
    ];
    flags.chain(ranges.into_iter().flat_map(|(flag, value)| [flag.into(), value.into()])).collect()
}

/// An empty folder for a benchmark.
pub fn fresh(name: &str) -> anyhow::Result<PathBuf> {
    let path = folder().join(name);
    if path.exists() {
        std::fs::remove_dir_all(&path).with_context(|| format!("could not empty {}", path.display()))?;
    }
    std::fs::create_dir_all(&path).with_context(|| format!("could not make {}", path.display()))?;
    Ok(path)
}

/// Waits until the King takes commands.
pub async fn is_ready(ports: &Ports) {
    wait::until("the King is ready", async || {
        let answer = http::get(ports.http(), "/readyz").await.map_err(|error| error.to_string())?;
        wait::holds(answer.status == 200, || answer.body)
    })
    .await;
}

fn nats_url(ports: &Ports) -> String {
    format!("nats://127.0.0.1:{}", ports.nats())
}
