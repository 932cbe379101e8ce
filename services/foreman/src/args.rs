//! The flags of a Foreman.

use clap::Parser;
use events::DomainName;
use service::CommonArgs;

/// The relay of a domain: it hears the heartbeats of its servants, says when one is lost or back, and carries their
/// reports to the King.
#[derive(Clone, Debug, Parser)]
#[command(name = "foreman", version, after_help = EXAMPLES)]
pub struct Args {
    /// The domain whose servants it cares for.
    #[arg(long, env = "KING_DOMAIN", value_name = "NAME", default_value = "default")]
    pub domain: DomainName,

    /// How long a servant may be silent before it is called lost, in milliseconds. Servants beat every 1000.
    #[arg(long, env = "KING_LOST_AFTER_MS", value_name = "MS", default_value_t = 3000,
          value_parser = clap::value_parser!(u64).range(1500..=600_000))]
    pub lost_after_ms: u64,

    #[command(flatten)]
    pub common: CommonArgs,
}

const EXAMPLES: &str = "\
Examples:
  foreman                                   the domain `default`, NATS on 127.0.0.1:4222, data in .kingdom/
  foreman --domain cellar --lost-after-ms 5000
  KING_NATS=nats://127.0.0.1:4333 KING_DATA=/var/lib/king foreman";
