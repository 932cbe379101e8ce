//! `kingctl instance`: the running copies of process types.

use crate::cli::Globals;
use crate::client::Client;
use crate::failure::Failure;
use crate::output::{self, Item, Paint};
use crate::plan::PlanArgs;
use crate::table::Cell;
use crate::top::{self, Measured, TopArgs, age, percent, size};
use clap::Subcommand;
use events::command::{InstanceCommand as Wanted, RestartInstance};
use events::query::{InstanceItem, InstanceMetrics, InstancePhase, MetricsQuestion, Question};
use events::{AppName, InstanceId, ServantName};

/// Instances.
#[derive(Debug, Subcommand)]
pub enum InstanceCommand {
    /// List instances.
    #[command(after_help = "Examples:\n  kingctl instance ls\n  kingctl instance ls --app shop -o json")]
    Ls {
        /// Only those of this app.
        #[arg(long)]
        app: Option<AppName>,
        /// Only those on this servant.
        #[arg(long)]
        servant: Option<ServantName>,
    },
    /// What instances use now, the busiest first.
    #[command(
        after_help = "Examples:\n  kingctl instance top\n  kingctl instance top --app shop --watch\n  kingctl instance top --sort memory --limit 10 -o json"
    )]
    Top {
        /// Only those of this app.
        #[arg(long)]
        app: Option<AppName>,
        /// Only those on this servant.
        #[arg(long)]
        servant: Option<ServantName>,
        #[command(flatten)]
        top: TopArgs,
    },
    /// Restart what an instance runs: its workers one after another, each new one before an old one ends.
    #[command(after_help = "Examples:\n  kingctl instance restart 0192f0c1-5d6e-7a3b-8c4d-9e0f1a2b3c4d\n  \
                      kingctl event ls --kind instance.started")]
    Restart {
        /// Its id, from `kingctl instance ls`.
        instance: InstanceId,
        #[command(flatten)]
        plan: PlanArgs,
    },
}

impl InstanceCommand {
    /// Does it.
    ///
    /// # Errors
    /// When the app or servant does not exist, or no King answers.
    pub async fn run(self, globals: &Globals) -> Result<(), Failure> {
        match self {
            Self::Ls { app, servant } => {
                let client = Client::connect(globals).await?;
                let question = Question { app, servant, ..Question::default() };
                let found = client.query::<InstanceItem>("instance.ls", &question).await?;
                output::list(globals, &found)
            }
            Self::Top { app, servant, top } => {
                let question = MetricsQuestion { app, servant, ..MetricsQuestion::default() };
                top::run::<InstanceMetrics>(globals, "instance.metrics", &question, &top).await
            }
            Self::Restart { instance, plan } => {
                let said = format!("instance {instance} is told to restart\n");
                plan.send_and_say(globals, Wanted::from(RestartInstance { instance }).into(), &said).await
            }
        }
    }
}

/// The address of an instance's first port for people, if it has one: the port `http`, or else the first by name.
pub fn address(instance: &InstanceItem) -> Option<String> {
    let http = instance.ports.iter().find(|(name, _)| name.as_str() == "http");
    let (_, port) = http.or_else(|| instance.ports.iter().next())?;
    Some(format!("http://127.0.0.1:{port}/"))
}

fn paint(phase: InstancePhase) -> Paint {
    match phase {
        InstancePhase::Healthy => Paint::Good,
        InstancePhase::Placed | InstancePhase::Started | InstancePhase::Stopping => Paint::Busy,
        InstancePhase::Unhealthy | InstancePhase::Crashed | InstancePhase::Failed => Paint::Bad,
        InstancePhase::Finished => Paint::Faint,
    }
}

impl Item for InstanceItem {
    const COLUMNS: &'static [&'static str] = &[
        "INSTANCE", "APP", "PROCESS", "RELEASE", "VERSION", "SERVANT", "PHASE", "PID", "WORKERS", "PORTS",
        "CRASHES", "REASON",
    ];

    fn cells(&self) -> Vec<Cell> {
        let ports: Vec<String> = self.ports.iter().map(|(name, port)| format!("{name}={port}")).collect();
        let first_line = self.reason.as_deref().and_then(|reason| reason.lines().next());
        vec![
            Cell::new(self.instance),
            Cell::new(&self.app),
            Cell::new(&self.process),
            Cell::new(self.release),
            Cell::optional(self.version.as_ref()),
            Cell::new(&self.servant),
            Cell::painted(paint(self.phase), self.phase),
            Cell::optional(self.pid),
            Cell::optional(self.workers),
            Cell::optional((!ports.is_empty()).then(|| ports.join(","))),
            Cell::new(self.crashes),
            Cell::optional(first_line),
        ]
    }

    fn name(&self) -> String {
        self.instance.to_string()
    }
}

impl Item for InstanceMetrics {
    const COLUMNS: &'static [&'static str] = &[
        "INSTANCE",
        "APP",
        "PROCESS",
        "SERVANT",
        "CPU",
        "MEMORY",
        "FILES",
        "PROCESSES",
        "THREADS",
        "RESTARTS",
        "LOST",
        "AGE",
    ];

    fn cells(&self) -> Vec<Cell> {
        vec![
            Cell::new(self.instance),
            Cell::new(&self.app),
            Cell::new(&self.process),
            Cell::new(&self.servant),
            Cell::new(percent(self.cpu_percent)),
            Cell::new(size(self.memory_bytes)),
            Cell::new(self.descriptors),
            Cell::new(self.processes),
            Cell::new(self.threads),
            Cell::new(self.restarts),
            Cell::new(self.lost),
            Cell::new(age(self.age_ms)),
        ]
    }

    fn name(&self) -> String {
        self.instance.to_string()
    }
}

impl Measured for InstanceMetrics {
    fn cpu_percent(&self) -> f64 {
        self.cpu_percent
    }

    fn used_bytes(&self) -> u64 {
        self.memory_bytes
    }
}
