//! The flags of the King.

use bus::connect::Options;
use clap::Parser;
use clap::builder::TypedValueParser;
use events::KingName;
use events::limits::LEASE_MS;
use service::CommonArgs;
use service::loopback::parse_bind;
use std::net::SocketAddr;
use std::path::PathBuf;

/// The control plane: takes commands and Git pushes, keeps the event log, places apps on servants.
#[derive(Debug, Parser)]
#[command(
    name = "king",
    version,
    after_help = "Examples:\n  \
        king --nats nats://127.0.0.1:4222 --data /var/lib/king --nats-system-password-file /var/lib/king/system\n  \
        king --http 127.0.0.1:7480 --log-format json\n  \
        king --nats nats://127.0.0.1:4222,nats://127.0.0.1:4223,nats://127.0.0.1:4224   # one cluster of three\n  \
        king --http 127.0.0.1:7481 --data /var/lib/king-2 --name second --nats-system-password-file …   # a backup\n\n\
        Of several Kings one writes; the others follow the log, answer reads and serve Git, and take over by themselves.\n\
        Every NATS server must sync every message (jetstream { sync_interval: always }); the King asks each, as a user of\n\
        its system account, and refuses to serve otherwise. Of three servers each keeps a copy of everything. `kingctl up` sets all of this up on one machine."
)]
pub struct Args {
    #[command(flatten)]
    pub common: CommonArgs,

    /// Where HTTP, the event stream and the Git remote are served. Only loopback addresses are taken.
    #[arg(long, env = "KING_HTTP", value_name = "ADDRESS", default_value = "127.0.0.1:7480", value_parser = parse_bind)]
    pub http: SocketAddr,

    /// What this King is called among the Kings of the kingdom; by default king-<port of --http>.
    #[arg(long, env = "KING_NAME", value_name = "NAME")]
    pub name: Option<KingName>,

    /// How long the King that writes may be silent before a backup takes over, in milliseconds.
    #[arg(long, env = "KING_LEASE_MS", value_name = "MS", default_value_t = 300, value_parser = lease_ms())]
    pub lease_ms: u64,

    /// The user of NATS's system account, by which the durability of the server is proved.
    #[arg(long, env = "KING_NATS_SYSTEM_USER", value_name = "USER", default_value = "system")]
    pub nats_system_user: String,

    /// A file with that user's password.
    #[arg(long, env = "KING_NATS_SYSTEM_PASSWORD_FILE", value_name = "FILE")]
    pub nats_system_password_file: PathBuf,

    /// Give streams that were made when there were fewer servers as many copies as there are to be now.
    #[arg(long, env = "KING_MORE_COPIES")]
    pub more_copies: bool,

    /// Largest Git push, in megabytes.
    #[arg(long, env = "KING_PUSH_MEGABYTES", value_name = "MB", default_value_t = 512)]
    pub push_megabytes: u64,

    /// Longest Git push or fetch, in seconds.
    #[arg(long, env = "KING_GIT_SECONDS", value_name = "S", default_value_t = 300)]
    pub git_seconds: u64,
}

fn lease_ms() -> impl TypedValueParser<Value = u64> {
    clap::value_parser!(u64).range(LEASE_MS)
}

impl Args {
    /// What this King is called.
    ///
    /// # Panics
    /// Never: a port makes a name.
    pub fn name(&self) -> KingName {
        let usual = || format!("king-{}", self.http.port()).parse().expect("a word and a number are a name");
        self.name.clone().unwrap_or_else(usual)
    }

    /// How to connect for everything but the proof.
    pub fn bus(&self) -> Options {
        Options { url: self.common.nats.clone(), name: "king".into(), credentials: None }
    }

    /// How to connect for the proof.
    ///
    /// # Errors
    /// When the password file cannot be read.
    pub fn system(&self) -> std::io::Result<Options> {
        let password = std::fs::read_to_string(&self.nats_system_password_file)?.trim().to_owned();
        Ok(Options {
            url: self.common.nats.clone(),
            name: "king-proof".into(),
            credentials: Some((self.nats_system_user.clone(), password)),
        })
    }
}
