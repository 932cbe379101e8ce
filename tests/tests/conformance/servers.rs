//! One real nats-server, or a cluster of three, each in a folder of its own.

use kingdom_tests::process::Process;
use kingdom_tests::programs;
use simulation::jetstream::Replicas;
use std::path::Path;
use tempfile::TempDir;

/// The servers. They die with this value.
pub struct Servers {
    pub replicas: Replicas,
    processes: Vec<Process>,
    first_port: u16,
    _folder: TempDir,
}

impl Servers {
    /// Starts them on ports from this one on: first those for clients, then those between servers.
    pub fn start(replicas: Replicas, first_port: u16) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let count = match replicas {
            Replicas::One => 1,
            Replicas::Three => 3,
        };
        let processes = (0..count).map(|index| process(folder.path(), first_port, index, count)).collect();
        let mut servers = Self { replicas, processes, first_port, _folder: folder };
        servers.processes.iter_mut().for_each(Process::start);
        servers
    }

    /// Where the first of them listens: all clients of the cases are there.
    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.first_port)
    }

    /// Kills all and starts them again on their disks.
    pub fn restart(&mut self) {
        self.processes.iter_mut().for_each(Process::kill9);
        self.processes.iter_mut().for_each(Process::start);
    }
}

fn process(folder: &Path, first_port: u16, index: u16, count: u16) -> Process {
    let path = folder.join(format!("{index}.conf"));
    std::fs::write(&path, configuration(folder, first_port, index, count)).unwrap();
    let arguments = ["--config".as_ref(), path.as_os_str()];
    Process::new(&format!("nats-{index}"), folder, programs::nats_server(), arguments)
}

fn configuration(folder: &Path, first_port: u16, index: u16, count: u16) -> String {
    let (port, store) = (first_port + index, folder.join(format!("store-{index}")));
    let between = |server: u16| format!("127.0.0.1:{}", first_port + 10 + server);
    let routes: Vec<String> = (0..count).map(|server| format!("\"nats://{}\"", between(server))).collect();
    let cluster = match count {
        1 => String::new(),
        _ => {
            format!(
                "cluster {{ name: cases, listen: \"{}\", routes: [{}] }}",
                between(index),
                routes.join(", ")
            )
        }
    };
    format!(
        "server_name: case-{index}\nlisten: \"127.0.0.1:{port}\"\n\
         jetstream {{ store_dir: \"{}\", sync_interval: always }}\n{cluster}\n",
        store.display()
    )
}
