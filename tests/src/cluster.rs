//! Three real NATS servers that are one cluster, durable as the King wants them: each can be killed, stopped, emptied
//! and cut off from the others by itself.

use crate::client::Client;
use crate::nats::{SYSTEM_PASSWORD, greets};
use crate::ports::Ports;
use crate::process::Process;
use crate::proxy::{Proxy, Weather};
use crate::{programs, wait};
use async_nats::jetstream::stream::ClusterInfo;
use rustix::process::Signal;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How many servers there are.
pub const SERVERS: usize = 3;
/// Elections take 4 to 9 s, one for the list of streams and one for each stream, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(90);

/// A cluster of three servers, numbered from 0.
#[derive(Debug)]
pub struct Cluster {
    nodes: Vec<Node>,
    /// By who connects and to whom.
    routes: BTreeMap<(usize, usize), Proxy>,
    /// The file that a King takes as `--nats-system-password-file`.
    pub password_file: PathBuf,
    _ports: Ports,
}

#[derive(Debug)]
struct Node {
    process: Process,
    port: u16,
    store: PathBuf,
}

impl Cluster {
    /// Starts three servers with their folders below `folder`, and waits until they have elected who keeps their list
    /// of streams.
    ///
    /// # Panics
    /// When they do not come up.
    pub async fn start(folder: &Path, logs: &Path) -> Self {
        Self::start_in(logs, &[0, 1, 2].map(|index| folder.join(format!("n{}", index + 1)))).await
    }

    /// [`Cluster::start`], with a named folder for each server.
    ///
    /// # Panics
    /// When they do not come up.
    pub async fn start_in(logs: &Path, folders: &[PathBuf; SERVERS]) -> Self {
        let ports = Ports::reserve();
        let mut routes = BTreeMap::new();
        for (from, to) in pairs() {
            routes.insert((from, to), Proxy::to(ports.route(to)).await);
        }
        let nodes =
            folders.iter().enumerate().map(|(index, folder)| node(index, folder, logs, &ports, &routes));
        let mut nodes: Vec<_> = nodes.collect();
        nodes.iter_mut().for_each(|node| node.process.start());
        let password_file = logs.join("system-password");
        std::fs::write(&password_file, SYSTEM_PASSWORD).expect("the test's folder can be written");
        let cluster = Self { nodes, routes, password_file, _ports: ports };
        for index in 0..SERVERS {
            greets(cluster.port(index)).await;
        }
        cluster.works().await;
        cluster
    }

    /// Where clients connect: all servers, separated by commas.
    pub fn url(&self) -> String {
        let urls: Vec<_> = (0..SERVERS).map(|index| self.url_of(index)).collect();
        urls.join(",")
    }

    /// Where clients of one server connect.
    pub fn url_of(&self, index: usize) -> String {
        format!("nats://127.0.0.1:{}", self.port(index))
    }

    /// The port for clients of one server.
    pub fn port(&self, index: usize) -> u16 {
        self.nodes[index].port
    }

    /// The process of one server.
    pub fn process(&self, index: usize) -> &Process {
        &self.nodes[index].process
    }

    /// Kills one with SIGKILL.
    pub fn kill9(&mut self, index: usize) {
        self.nodes[index].process.kill9();
    }

    /// Stops one with SIGSTOP: its connections stand, and nothing answers.
    pub fn pause(&self, index: usize) {
        self.nodes[index].process.signal(Signal::STOP);
    }

    /// Lets one go on that was stopped.
    pub fn resume(&self, index: usize) {
        self.nodes[index].process.signal(Signal::CONT);
    }

    /// Tells one to end, as its service manager does, and waits until it has: it hands over what it leads before.
    ///
    /// # Panics
    /// When it does not end.
    pub async fn end(&mut self, index: usize) {
        self.nodes[index].process.signal(Signal::TERM);
        self.nodes[index].process.ended(PATIENCE).await;
    }

    /// Starts those that were killed, at once, and waits until they greet.
    ///
    /// # Panics
    /// When one runs, or does not greet.
    pub async fn restart_all(&mut self, indexes: &[usize]) {
        indexes.iter().for_each(|index| self.nodes[*index].process.start());
        for index in indexes {
            greets(self.port(*index)).await;
        }
    }

    /// Starts one that was killed, and waits until it greets.
    ///
    /// # Panics
    /// When it runs, or does not greet.
    pub async fn restart(&mut self, index: usize) {
        self.restart_all(&[index]).await;
    }

    /// Removes everything that a killed one has stored.
    ///
    /// # Panics
    /// When it cannot be removed.
    pub fn wipe(&self, index: usize) {
        std::fs::remove_dir_all(&self.nodes[index].store)
            .expect("what the test's server wrote can be removed");
    }

    /// The folder in which one stores.
    pub fn store(&self, index: usize) -> &Path {
        &self.nodes[index].store
    }

    /// The weather on the routes between one server and the others, both ways.
    pub fn weather_around(&self, index: usize, weather: Weather) {
        for ((from, to), route) in &self.routes {
            if *from == index || *to == index {
                route.set(weather);
            }
        }
    }

    /// The weather on the routes that one server has opened to the others.
    pub fn weather_from(&self, index: usize, weather: Weather) {
        self.routes.iter().filter(|((from, _), _)| *from == index).for_each(|(_, route)| route.set(weather));
    }

    /// The weather on every route.
    pub fn weather(&self, weather: Weather) {
        self.routes.values().for_each(|route| route.set(weather));
    }

    /// Resets every route of one server.
    pub fn reset_routes(&self, index: usize) {
        for ((from, to), route) in &self.routes {
            if *from == index || *to == index {
                route.reset();
            }
        }
    }

    /// Waits until the servers answer about their streams, which takes an elected leader.
    ///
    /// # Panics
    /// When they do not.
    pub async fn works(&self) {
        wait::within(PATIENCE, "the servers have elected a leader", async || {
            let client = Client::try_connect(&self.url()).await?;
            client.jetstream.query_account().await.map_err(|error| error.to_string())
        })
        .await;
    }

    /// The server that leads a stream, when there is one.
    ///
    /// # Errors
    /// Why none is known.
    pub async fn leader_of(&self, client: &Client, stream: &str) -> Result<usize, String> {
        let leader = placement(client, stream).await?.leader.ok_or("it has no leader")?;
        (0..SERVERS).find(|index| name(*index) == leader).ok_or(format!("{leader} is none of the servers"))
    }

    /// Waits until every stream has a leader and all its copies are current.
    ///
    /// # Panics
    /// When that does not come.
    pub async fn is_current(&self) {
        wait::within(PATIENCE, "every copy of every stream is current", async || {
            let client = Client::try_connect(&self.url()).await?;
            for stream in client.stream_names().await? {
                let placement = placement(&client, &stream).await?;
                let current = placement.replicas.iter().all(|copy| copy.current && !copy.offline);
                wait::holds(placement.leader.is_some() && current, || format!("{stream}: {placement:?}"))?;
            }
            Ok::<_, String>(())
        })
        .await;
    }
}

fn pairs() -> impl Iterator<Item = (usize, usize)> {
    (0..SERVERS).flat_map(|from| (0..SERVERS).map(move |to| (from, to))).filter(|(from, to)| from != to)
}

fn name(index: usize) -> String {
    format!("n{}", index + 1)
}

async fn placement(client: &Client, stream: &str) -> Result<ClusterInfo, String> {
    let stream = client.jetstream.get_stream(stream).await.map_err(|error| error.to_string())?;
    stream.cached_info().cluster.clone().ok_or_else(|| "it belongs to no cluster".to_owned())
}

fn node(
    index: usize,
    folder: &Path,
    logs: &Path,
    ports: &Ports,
    routes: &BTreeMap<(usize, usize), Proxy>,
) -> Node {
    std::fs::create_dir_all(folder).expect("the test's folder can be written");
    let (config, store) = (logs.join(format!("{}.conf", name(index))), folder.join("jetstream"));
    let own = routes.iter().filter(|((from, _), _)| *from == index);
    let own: Vec<_> = own.map(|(_, route)| format!("\"nats://127.0.0.1:{}\"", route.port())).collect();
    let text = configuration(index, ports, &store, &own.join(", "));
    std::fs::write(&config, text).expect("the test's folder can be written");
    let arguments = ["--config".as_ref(), config.as_os_str()];
    let process = Process::new(&name(index), logs, programs::nats_server(), arguments);
    Node { process, port: ports.client(index), store }
}

/// Nobody listens where a server says that its routes are to be found: so no other opens one past the proxies.
fn configuration(index: usize, ports: &Ports, store: &Path, routes: &str) -> String {
    format!(
        r#"
server_name: {name}
listen: "127.0.0.1:{client}"
no_auth_user: king
system_account: SYS
jetstream {{ store_dir: "{store}", sync_interval: always, max_file_store: 64GB }}
cluster {{
  name: kingdom
  listen: "127.0.0.1:{route}"
  cluster_advertise: "127.0.0.1:{nowhere}"
  no_advertise: true
  routes: [ {routes} ]
}}
accounts {{
  KING {{ jetstream: enabled, users: [ {{ user: king, password: king }} ] }}
  SYS {{ users: [ {{ user: system, password: "{SYSTEM_PASSWORD}" }} ] }}
}}
"#,
        name = name(index),
        client = ports.client(index),
        route = ports.route(index),
        nowhere = ports.nowhere(index),
        store = store.display(),
    )
}
