//! `kingctl servant`: the hosts that run instances.

mod show;

use crate::cli::Globals;
use crate::client::Client;
use crate::failure::Failure;
use crate::output::{self, Item, Paint};
use crate::plan::PlanArgs;
use crate::table::Cell;
use crate::top::{self, Measured, TopArgs, age, percent, size};
use clap::Subcommand;
use events::command::{RemoveServant, ServantCommand as Wanted};
use events::disk::DiskLevel;
use events::query::{MetricsQuestion, Question, ServantItem, ServantMetrics};
use events::{Selector, ServantName};

/// Servants.
#[derive(Debug, Subcommand)]
pub enum ServantCommand {
    /// List servants.
    #[command(
        after_help = "Examples:\n  kingctl servant ls\n  kingctl servant ls --selector role=web\n  kingctl servant ls -o json"
    )]
    Ls {
        /// Only those with these labels: role=web, role!=db, zone, !zone; a comma means and.
        #[arg(short = 'l', long, value_name = "TERMS")]
        selector: Option<Selector>,
    },
    /// Show a servant: what it is, and what it uses now.
    #[command(after_help = "Examples:\n  kingctl servant show s1\n  kingctl servant show s1 -o json")]
    Show { servant: ServantName },
    /// What servants use now, the busiest first.
    #[command(
        after_help = "Examples:\n  kingctl servant top\n  kingctl servant top s1 --watch\n  kingctl servant top --sort memory -o json"
    )]
    Top {
        /// Only this one.
        servant: Option<ServantName>,
        #[command(flatten)]
        top: TopArgs,
    },
    /// Forget a lost servant for good and free its name.
    #[command(after_help = "Example:\n  kingctl servant remove s2 --yes")]
    Remove {
        servant: ServantName,
        /// Yes, forget it.
        #[arg(long)]
        yes: bool,
        #[command(flatten)]
        plan: PlanArgs,
    },
}

impl ServantCommand {
    /// Does it.
    ///
    /// # Errors
    /// When the servant does not exist or still lives, or no King answers.
    pub async fn run(self, globals: &Globals) -> Result<(), Failure> {
        match self {
            Self::Ls { selector } => {
                let client = Client::connect(globals).await?;
                let mut found = client.query::<ServantItem>("servant.ls", &Question::default()).await?;
                found.retain(|servant| selector.as_ref().is_none_or(|it| it.chooses(&servant.labels)));
                output::list(globals, &found)
            }
            Self::Show { servant } => show::show(globals, servant).await,
            Self::Top { servant, top } => {
                let question = MetricsQuestion { servant, ..MetricsQuestion::default() };
                top::run::<ServantMetrics>(globals, "servant.metrics", &question, &top).await
            }
            Self::Remove { servant, yes: false, plan } if !plan.is_plan() => Err(Failure::Usage(format!(
                "this forgets the servant {servant} for good; if you mean it, add --yes"
            ))),
            Self::Remove { servant, yes: _, plan } => {
                let said = format!("servant {servant} is forgotten\n");
                plan.send_and_say(globals, Wanted::from(RemoveServant { servant }).into(), &said).await
            }
        }
    }
}

impl Item for ServantItem {
    const COLUMNS: &'static [&'static str] =
        &["SERVANT", "DOMAIN", "STATE", "INSTANCES", "CPUS", "MEMORY", "LABELS", "CAPABILITIES", "SINCE"];

    fn cells(&self) -> Vec<Cell> {
        let full = self.disk.filter(|disk| disk.level == DiskLevel::Critical);
        let state = match (self.lost, full) {
            (true, _) => (Paint::Bad, "lost".to_owned()),
            (false, Some(disk)) => (Paint::Bad, format!("disk {} % full", disk.used_percent)),
            (false, None) => (Paint::Good, "alive".to_owned()),
        };
        vec![
            Cell::new(&self.name),
            Cell::new(&self.domain),
            Cell::painted(state.0, state.1),
            Cell::new(self.instances),
            Cell::new(self.cpus),
            Cell::new(format!("{:.1} GiB", self.memory_bytes as f64 / f64::from(1 << 30))),
            Cell::new(labels(self)),
            Cell::new(capabilities(self)),
            Cell::new(self.since),
        ]
    }

    fn name(&self) -> String {
        self.name.to_string()
    }
}

impl Item for ServantMetrics {
    const COLUMNS: &'static [&'static str] = &[
        "SERVANT",
        "CPU",
        "LOAD",
        "MEMORY",
        "OF",
        "DISK FREE",
        "READ/S",
        "WRITTEN/S",
        "IN/S",
        "OUT/S",
        "INSTANCES",
        "AGE",
    ];

    fn cells(&self) -> Vec<Cell> {
        vec![
            Cell::new(&self.name),
            Cell::new(percent(self.cpu_percent)),
            Cell::new(format!("{:.2}", self.load[0])),
            Cell::new(size(self.memory_used_bytes)),
            Cell::new(size(self.memory_bytes)),
            Cell::new(size(self.disk_free_bytes)),
            Cell::new(size(self.read_bytes_per_s)),
            Cell::new(size(self.written_bytes_per_s)),
            Cell::new(size(self.received_bytes_per_s)),
            Cell::new(size(self.sent_bytes_per_s)),
            Cell::new(self.instances),
            Cell::new(age(self.age_ms)),
        ]
    }

    fn name(&self) -> String {
        self.name.to_string()
    }
}

impl Measured for ServantMetrics {
    fn cpu_percent(&self) -> f64 {
        self.cpu_percent
    }

    fn used_bytes(&self) -> u64 {
        self.memory_used_bytes
    }
}

fn labels(servant: &ServantItem) -> String {
    let each = servant.labels.iter().map(|(name, value)| format!("{name}={value}"));
    each.collect::<Vec<_>>().join(", ")
}

fn capabilities(servant: &ServantItem) -> String {
    let each = servant.capabilities.iter();
    let words = each
        .map(|(tool, version)| if version.is_empty() { tool.clone() } else { format!("{tool} {version}") });
    words.collect::<Vec<_>>().join(", ")
}
