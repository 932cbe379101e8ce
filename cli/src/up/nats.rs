//! The configuration of the kingdom's own nats-servers: on loopback, durable, and with a user who can prove it. One
//! server stands by itself; three are a cluster in which each keeps a copy of everything.

use crate::failure::Failure;
use anyhow::{Context, anyhow};
use service::data::write_synced;
use std::fs::File;
use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

const TEMPLATE: &str = include_str!("nats.conf");
const CLUSTER: &str = include_str!("cluster.conf");
/// The user of the system account.
pub const SYSTEM_USER: &str = "system";

/// How many nats-servers a kingdom has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Count {
    One,
    Three,
}

/// `1` or `3`.
///
/// # Errors
/// When it is another number.
pub fn parse_count(text: &str) -> Result<Count, String> {
    match text {
        "1" => Ok(Count::One),
        "3" => Ok(Count::Three),
        _ => Err(format!("{text:?} is neither 1 nor 3: two stand still when either is down, as one does")),
    }
}

/// The nats-servers as they are to be, with their ports: one for clients each, and then one for routes each where there
/// are three.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    count: Count,
    first_port: u16,
}

impl Layout {
    /// The layout of a kingdom in a data folder: what stands there, or else what is asked for.
    ///
    /// # Errors
    /// When what is asked for is not what stands there, or the ports end before the last.
    pub fn of(data: &Path, asked: Option<Count>, first_port: u16) -> Result<Self, Failure> {
        let found = found(data);
        if let (Some(found), Some(asked)) = (found, asked)
            && found != asked
        {
            return Err(Failure::Conflict(format!(
                "the kingdom in {} was made with {} nats-servers and cannot be started with {}: the streams of one server \
                 are not those of a cluster; start it without --nats-servers, or start another kingdom with --data",
                data.display(),
                found.number(),
                asked.number()
            )));
        }
        let count = found.or(asked).unwrap_or(Count::One);
        let layout = Self { count, first_port };
        let last = first_port.checked_add(layout.ports_count() - 1);
        last.map(|_| layout).ok_or_else(|| {
            Failure::Usage(format!("there are no {} ports from {first_port} on", layout.ports_count()))
        })
    }

    /// The names of the servers.
    pub fn names(self) -> Vec<String> {
        match self.count {
            Count::One => vec!["nats".to_owned()],
            Count::Three => (1..=3).map(|number| format!("nats-{number}")).collect(),
        }
    }

    /// Where clients connect.
    pub fn clients(self) -> Vec<SocketAddr> {
        (0..self.count.number()).map(|index| self.address(index)).collect()
    }

    /// Every address that has to be free.
    pub fn addresses(self) -> Vec<SocketAddr> {
        (0..self.ports_count()).map(|index| self.address(index)).collect()
    }

    /// What every client takes as its NATS server.
    pub fn url(self) -> String {
        let urls: Vec<_> = self.clients().iter().map(|client| format!("nats://{client}")).collect();
        urls.join(",")
    }

    fn ports_count(self) -> u16 {
        match self.count {
            Count::One => 1,
            Count::Three => 2 * self.count.number(),
        }
    }

    fn address(self, index: u16) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.first_port + index).into()
    }

    fn route(self, index: u16) -> SocketAddr {
        self.address(self.count.number() + index)
    }

    fn store(self, data: &Path, index: u16) -> PathBuf {
        match self.count {
            Count::One => data.join("nats/jetstream"),
            Count::Three => data.join("nats").join((index + 1).to_string()).join("jetstream"),
        }
    }

    /// The part of a server's configuration that names the others.
    fn cluster(self, index: u16, password: &str) -> String {
        if self.count == Count::One {
            return String::new();
        }
        let others = (0..self.count.number()).filter(|other| *other != index);
        let routes: Vec<_> =
            others.map(|other| format!("\"nats://route:{password}@{}\"", self.route(other))).collect();
        CLUSTER
            .replace("{listen}", &self.route(index).to_string())
            .replace("{password}", password)
            .replace("{routes}", &routes.join(", "))
    }
}

impl Count {
    fn number(self) -> u16 {
        match self {
            Self::One => 1,
            Self::Three => 3,
        }
    }
}

/// What an earlier start has made.
fn found(data: &Path) -> Option<Count> {
    let counts = [Count::One, Count::Three].into_iter();
    let mut stands = counts.filter(|count| Layout { count: *count, first_port: 1 }.store(data, 0).is_dir());
    stands.next()
}

/// nats-servers that are ready to be started.
#[derive(Debug)]
pub struct Servers {
    /// The name and configuration of each.
    pub configs: Vec<(String, PathBuf)>,
    pub system_password_file: PathBuf,
}

/// Writes the configurations, and the passwords when they are not there yet.
///
/// # Errors
/// When a file cannot be written.
pub fn prepare(data: &Path, layout: Layout) -> Result<Servers, Failure> {
    let folder = data.join("nats");
    std::fs::create_dir_all(&folder)
        .with_context(|| format!("could not make the folder {}", folder.display()))?;
    let system_password_file = folder.join("system-password");
    let (king, system) = (password(&folder.join("king-password"))?, password(&system_password_file)?);
    let route = match layout.count {
        Count::One => String::new(),
        Count::Three => password(&folder.join("route-password"))?,
    };
    let mut configs = Vec::new();
    for (index, name) in (0..).zip(layout.names()) {
        let text = fill(&Values {
            // A server by itself keeps the name under which it has always stored.
            server_name: if layout.count == Count::One { "king".to_owned() } else { name.clone() },
            listen: layout.address(index).to_string(),
            store_dir: layout.store(data, index).display().to_string(),
            king_password: king.clone(),
            system_password: system.clone(),
            cluster: layout.cluster(index, &route),
        });
        let config = folder.join(format!("{name}.conf"));
        write_synced(&config, text.as_bytes(), 0o600)
            .with_context(|| anyhow!("could not write the configuration of {name}"))?;
        configs.push((name, config));
    }
    Ok(Servers { configs, system_password_file })
}

struct Values {
    server_name: String,
    listen: String,
    store_dir: String,
    king_password: String,
    system_password: String,
    cluster: String,
}

fn fill(values: &Values) -> String {
    TEMPLATE
        .replace("{server_name}", &values.server_name)
        .replace("{listen}", &quoted(&values.listen))
        .replace("{store_dir}", &quoted(&values.store_dir))
        .replace("{king_password}", &values.king_password)
        .replace("{system_user}", SYSTEM_USER)
        .replace("{system_password}", &values.system_password)
        .replace("{cluster}", &values.cluster)
}

/// As it stands between double quotes.
fn quoted(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"")
}

/// The password in a file; drawn and stored when the file is missing.
fn password(path: &Path) -> Result<String, Failure> {
    match std::fs::read_to_string(path) {
        Ok(text) if !text.trim().is_empty() => return Ok(text.trim().to_owned()),
        Ok(_) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => {
            return Err(Failure::Failed(
                anyhow::Error::new(error).context(format!("could not read {}", path.display())),
            ));
        }
    }
    let mut random = [0_u8; 24];
    File::open("/dev/urandom")
        .and_then(|mut source| source.read_exact(&mut random))
        .context("could not draw a password from /dev/urandom")?;
    let text: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
    write_synced(path, text.as_bytes(), 0o600).context("could not store a password")?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn the_configuration_is_durable_and_private() {
        let data = tempfile::tempdir().expect("a temporary folder");
        let layout = Layout::of(data.path(), None, 4333).expect("one server");
        let first = prepare(data.path(), layout).expect("written");
        let text = std::fs::read_to_string(&first.configs[0].1).expect("readable");
        assert!(
            text.contains("sync_interval: always") && text.contains("listen: \"127.0.0.1:4333\""),
            "{text}"
        );
        assert!(!text.contains("{listen}") && !text.contains("password: \"\""), "{text}");
        assert!(!text.contains("cluster"), "{text}");
        let mode = first.system_password_file.metadata().expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        prepare(data.path(), layout).expect("written again");
        assert_eq!(std::fs::read_to_string(&first.configs[0].1).expect("readable"), text);
    }

    #[test]
    fn three_servers_know_each_other_and_take_six_ports() {
        let data = tempfile::tempdir().expect("a temporary folder");
        let layout = Layout::of(data.path(), Some(Count::Three), 4222).expect("three servers");
        assert_eq!(layout.url(), "nats://127.0.0.1:4222,nats://127.0.0.1:4223,nats://127.0.0.1:4224");
        let ports: Vec<_> = layout.addresses().iter().map(SocketAddr::port).collect();
        assert_eq!(ports, [4222, 4223, 4224, 4225, 4226, 4227]);
        let servers = prepare(data.path(), layout).expect("written");
        let names: Vec<_> = servers.configs.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["nats-1", "nats-2", "nats-3"]);
        let second = std::fs::read_to_string(&servers.configs[1].1).expect("readable");
        for part in
            ["server_name: nats-2", "listen: \"127.0.0.1:4226\"", "@127.0.0.1:4225\"", "@127.0.0.1:4227\""]
        {
            assert!(second.contains(part), "{part} is missing in {second}");
        }
        assert!(!second.contains("@127.0.0.1:4226") && !second.contains("{routes}"), "{second}");
        assert!(Layout::of(data.path(), Some(Count::Three), 65_531).is_err(), "65535 is the last port");
    }

    #[test]
    fn a_kingdom_keeps_the_servers_that_it_was_made_with() {
        let data = tempfile::tempdir().expect("a temporary folder");
        std::fs::create_dir_all(data.path().join("nats/1/jetstream")).expect("made");
        let layout = Layout::of(data.path(), None, 4222).expect("what stands there");
        assert_eq!(layout.names().len(), 3);
        match Layout::of(data.path(), Some(Count::One), 4222) {
            Err(Failure::Conflict(text)) => assert!(text.contains("made with 3"), "{text}"),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn odd_paths_stay_inside_their_quotes() {
        assert_eq!(quoted(r#"a"b\c"#), r#"a\"b\\c"#);
    }
}
