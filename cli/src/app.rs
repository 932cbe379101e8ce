//! `kingctl app`: what people do with their apps.

use crate::cli::Globals;
use crate::client::{Accepted, Client};
use crate::failure::Failure;
use crate::follow::{self, Counts, Wish};
use crate::output::{self, Format, Item, Paint};
use crate::plan::PlanArgs;
use crate::table::Cell;
use crate::values::{AppVersion, Scale, parse_count, parse_duration};
use clap::{Args, Subcommand};
use events::command::{AppCommand as Wanted, CreateApp, DeployApp, RemoveApp, ScaleApp, StopApp};
use events::query::{AppItem, AppPhase, Question};
use events::{AppName, ProcessName};
use std::time::Duration;

/// Apps.
#[derive(Debug, Subcommand)]
pub enum AppCommand {
    /// List apps.
    #[command(after_help = "Examples:\n  kingctl app ls\n  kingctl app ls -o json")]
    Ls,
    /// Show one app: what shall run, what does, and what stands in the way.
    #[command(after_help = "Example:\n  kingctl app show shop -o json")]
    Show { app: AppName },
    /// Make an app before its first push.
    #[command(after_help = "Example:\n  kingctl app create shop")]
    Create {
        app: AppName,
        #[command(flatten)]
        plan: PlanArgs,
    },
    /// Run a version. New instances become healthy first, then the old ones stop.
    #[command(
        after_help = "Examples:\n  kingctl app deploy shop@1.4.0\n  kingctl app deploy shop@1.4.0 --count 3 --wait=2m\n  kingctl app deploy shop@1.4.0 --detach\n  kingctl app deploy shop@1.4.0 --count 3 --plan"
    )]
    Deploy {
        /// The app and the version.
        #[arg(value_name = "NAME@VERSION")]
        target: AppVersion,
        /// How many instances; when absent, what runs now, or what the manifest says.
        #[arg(long, value_name = "N", value_parser = parse_count, allow_negative_numbers = true)]
        count: Option<u32>,
        /// The process type that --count means; when absent, `web` or the only one.
        #[arg(long, requires = "count")]
        process: Option<ProcessName>,
        #[command(flatten)]
        wait: WaitArgs,
        #[command(flatten)]
        plan: PlanArgs,
    },
    /// Change how many instances run.
    #[command(after_help = "Examples:\n  kingctl app scale shop 5\n  kingctl app scale shop worker=2")]
    Scale {
        app: AppName,
        /// How many, of `web` or the only process type, or of the one that is named.
        #[arg(value_name = "[PROCESS=]N", allow_negative_numbers = true)]
        scale: Scale,
        #[command(flatten)]
        wait: WaitArgs,
        #[command(flatten)]
        plan: PlanArgs,
    },
    /// Stop the instances of an app, or of one process type. A later deploy or scale starts them again.
    #[command(after_help = "Example:\n  kingctl app stop shop")]
    Stop {
        app: AppName,
        /// Only this process type.
        #[arg(long)]
        process: Option<ProcessName>,
        #[command(flatten)]
        wait: WaitArgs,
        #[command(flatten)]
        plan: PlanArgs,
    },
    /// Stop an app and forget its versions, releases and configuration.
    #[command(after_help = "Example:\n  kingctl app remove shop --yes\n  kingctl app remove shop --plan")]
    Remove {
        app: AppName,
        /// Yes, forget it.
        #[arg(long)]
        yes: bool,
        #[command(flatten)]
        plan: PlanArgs,
    },
}

/// How long to follow what was asked for.
#[derive(Clone, Debug, Args)]
pub struct WaitArgs {
    /// Follow until it is done, at most this long. This is the default.
    #[arg(long, value_name = "TIME", num_args = 0..=1, require_equals = true, default_value = "5m", default_missing_value = "5m", value_parser = parse_duration, conflicts_with = "detach")]
    wait: Duration,
    /// Do not follow: return when it is accepted.
    #[arg(long)]
    detach: bool,
}

impl AppCommand {
    /// Does it.
    ///
    /// # Errors
    /// When it is refused, fails, or no King answers.
    pub async fn run(self, globals: &Globals) -> Result<(), Failure> {
        match self {
            Self::Ls => {
                let client = Client::connect(globals).await?;
                let found = client.query::<AppItem>("app.ls", &Question::default()).await?;
                output::list(globals, &found)
            }
            Self::Show { app } => show(globals, app).await,
            Self::Create { app, plan } => {
                let said = format!("app {app} is there; push a version to it\n");
                plan.send_and_say(globals, Wanted::from(CreateApp { app }).into(), &said).await
            }
            Self::Deploy { target: AppVersion { app, version }, count, process, wait, plan } => {
                let counts = count.map_or(Counts::Any, |count| Counts::One(process.clone(), count));
                let order = DeployApp { app: app.clone(), version, count, process };
                change(globals, app, order.into(), counts, &wait, &plan).await
            }
            Self::Scale { app, scale: Scale { process, count }, wait, plan } => {
                let counts = Counts::One(process.clone(), count);
                let order = ScaleApp { app: app.clone(), process, count };
                change(globals, app, order.into(), counts, &wait, &plan).await
            }
            Self::Stop { app, process, wait, plan } => {
                let counts = match &process {
                    Some(process) => Counts::One(Some(process.clone()), 0),
                    None => Counts::Nothing,
                };
                let order = StopApp { app: app.clone(), process };
                change(globals, app, order.into(), counts, &wait, &plan).await
            }
            Self::Remove { app, yes: false, plan } if !plan.is_plan() => Err(Failure::Usage(format!(
                "this stops {app} and forgets its versions, releases and configuration; if you mean it, add --yes"
            ))),
            Self::Remove { app, yes: _, plan } => {
                let said = format!("app {app} is removed; its instances are being stopped\n");
                plan.send_and_say(globals, Wanted::from(RemoveApp { app }).into(), &said).await
            }
        }
    }
}

/// A command whose effect can be followed.
async fn change(
    globals: &Globals,
    app: AppName,
    order: Wanted,
    counts: Counts,
    wait: &WaitArgs,
    plan: &PlanArgs,
) -> Result<(), Failure> {
    let client = Client::connect(globals).await?;
    let Some(accepted) = plan.send(globals, &client, order.into()).await? else { return Ok(()) };
    if wait.detach {
        return tell_accepted(globals, &app, &accepted);
    }
    let wish = Wish { release: accepted.release, counts };
    follow::until_settled(globals, &client, &app, accepted.event, &wish, wait.wait).await
}

fn tell_accepted(globals: &Globals, app: &AppName, accepted: &Accepted) -> Result<(), Failure> {
    let Accepted { id, event, release } = accepted;
    match globals.output {
        Format::Table => {
            let release = release.map_or_else(String::new, |release| format!(", release {release}"));
            output::print(&format!(
                "accepted as event {event}{release}; command {id}\nfollow it with: kingctl app show {app}\n"
            ))
        }
        Format::Json => output::print(&format!(
            "{}\n",
            serde_json::json!([{ "app": app, "id": id, "event": event, "release": release }])
        )),
        Format::Name => output::print(&format!("{id}\n")),
    }
}

async fn show(globals: &Globals, app: AppName) -> Result<(), Failure> {
    let client = Client::connect(globals).await?;
    let question = Question { app: Some(app), ..Question::default() };
    let item: AppItem = client.query_one("app.show", &question).await?;
    if globals.output != Format::Table {
        return output::list(globals, &[item]);
    }
    output::list(globals, std::slice::from_ref(&item))?;
    for obstacle in &item.obstacles {
        output::print(&format!("obstacle: {}\n", output::visible(obstacle)))?;
    }
    let instances = client.query("instance.ls", &question).await?;
    output::print("\n")?;
    output::list::<events::query::InstanceItem>(globals, &instances)
}

fn phase(phase: AppPhase) -> Cell {
    match phase {
        AppPhase::New => Cell::painted(Paint::Faint, "new"),
        AppPhase::Settled => Cell::painted(Paint::Good, "settled"),
        AppPhase::Settling => Cell::painted(Paint::Busy, "settling"),
        AppPhase::Failing => Cell::painted(Paint::Bad, "failing"),
    }
}

impl Item for AppItem {
    const COLUMNS: &'static [&'static str] =
        &["APP", "NEWEST", "VERSION", "RELEASE", "PHASE", "HEALTHY", "CREATED"];

    fn cells(&self) -> Vec<Cell> {
        let healthy: Vec<String> = self
            .processes
            .iter()
            .map(|process| format!("{} {}/{}", process.process, process.healthy, process.wanted))
            .collect();
        vec![
            Cell::new(&self.app),
            Cell::optional(self.newest.as_ref()),
            Cell::optional(self.version.as_ref()),
            Cell::optional(self.release),
            phase(self.phase),
            Cell::optional((!healthy.is_empty()).then(|| healthy.join(", "))),
            Cell::new(self.created_at),
        ]
    }

    fn name(&self) -> String {
        self.app.to_string()
    }
}

#[cfg(test)]
mod tests {
    use crate::cli::Cli;
    use clap::Parser;

    fn code(arguments: &[&str]) -> Option<i32> {
        let words = [&["kingctl", "app"], arguments].concat();
        Cli::try_parse_from(words).err().map(|error| error.exit_code())
    }

    #[test]
    fn deploys_are_understood() {
        for arguments in [
            &["deploy", "shop@1.4.0"][..],
            &["deploy", "shop@v1.4.0", "--count", "2", "--wait"],
            &["deploy", "shop@1.4.0", "--wait=30s"],
            &["deploy", "shop@1.4.0", "--count", "2", "--process", "worker", "--detach"],
            &["scale", "shop", "3"],
            &["scale", "shop", "worker=0", "--detach"],
            &["stop", "shop", "--wait=1m", "-o", "json"],
        ] {
            assert_eq!(code(arguments), None, "{arguments:?}");
        }
    }

    #[test]
    fn what_makes_no_sense_is_a_usage_error() {
        for arguments in [
            &["deploy", "shop"][..],
            &["deploy", "shop@latest"],
            &["deploy", "shop@1.4.0", "--count", "-1"],
            &["deploy", "shop@1.4.0", "--process", "web"],
            &["deploy", "shop@1.4.0", "--wait", "--detach"],
            &["deploy", "shop@1.4.0", "--wait=soon"],
            &["scale", "shop", "-1"],
            &["scale", "shop"],
            &["create", "no.dots"],
        ] {
            assert_eq!(code(arguments), Some(2), "{arguments:?}");
        }
    }
}
