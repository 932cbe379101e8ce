//! `--wait`: follows what was asked for until every instance is healthy and the old ones are gone, and tells the
//! truth about it in the exit code.
//!
//! What is true comes from the King's answers. The public events only say when it is worth asking again, so that
//! nothing is lost with one of them.

use crate::cli::Globals;
use crate::client::{Accepted, Client};
use crate::failure::Failure;
use crate::instance::address;
use crate::logs;
use crate::output::{self, Format, visible};
use crate::progress::Progress;
use anyhow::anyhow;
use events::query::{AppItem, AppPhase, InstanceItem, InstancePhase, Question};
use events::{AppName, EventNumber, subject};
use std::time::Duration;
use tokio::time::{sleep, timeout};

/// Ask again at least this often.
const ASK_EVERY: Duration = Duration::from_secs(1);
/// Events come in bursts: ask once for all within this time.
const GATHER: Duration = Duration::from_millis(30);
/// Lines of output that a failure shows.
const LAST_LINES: usize = 20;

/// What an app's state means to who waits for a release.
#[derive(Debug, PartialEq)]
enum Verdict {
    Done,
    Going,
    Failing,
    /// Another deploy came after this one.
    Superseded(u32),
}

/// Waits until an app has become what a command asked for, and prints what runs.
///
/// # Errors
/// When it will not get there by itself, another deploy took over, or the time is over.
pub async fn until_settled(
    globals: &Globals,
    client: &Client,
    app: &AppName,
    accepted: &Accepted,
    limit: Duration,
) -> Result<(), Failure> {
    let mut progress = Progress::new(globals);
    let followed = tokio::select! {
        followed = timeout(limit, watch(client, app, accepted, &mut progress)) => followed,
        _ = tokio::signal::ctrl_c() => {
            progress.clear();
            return Err(Failure::WaitTimedOut(format!("no longer followed, but it goes on; {}", how_to_follow(app))));
        }
    };
    let last = progress.last().to_owned();
    progress.clear();
    let Ok(watched) = followed else {
        return Err(Failure::WaitTimedOut(format!(
            "not done after {limit:?}, but it goes on ({last}); {}",
            how_to_follow(app)
        )));
    };
    let (item, verdict) = watched?;
    match verdict {
        Verdict::Done => tell_done(globals, client, &item, accepted.event).await,
        Verdict::Failing => Err(explain_failure(client, &item).await),
        Verdict::Superseded(release) => Err(Failure::Conflict(format!(
            "another deploy of {app} came after this one: release {release} shall run now; {}",
            how_to_follow(app)
        ))),
        Verdict::Going => unreachable!("the watch ends with a verdict"),
    }
}

fn how_to_follow(app: &AppName) -> String {
    format!("look with `kingctl app show {app}` or `kingctl event tail --app {app}`")
}

/// Asks until there is a verdict. A King that is away for a while is waited for.
async fn watch(
    client: &Client,
    app: &AppName,
    accepted: &Accepted,
    progress: &mut Progress,
) -> Result<(AppItem, Verdict), Failure> {
    let question =
        Question { app: Some(app.clone()), min_event: Some(accepted.event), ..Question::default() };
    let subscribe = async |noun| client.bus.subscribe(&subject::events_about(noun)).await;
    let mut of_apps = subscribe("app").await.map_err(|error| anyhow!(error))?;
    let mut of_instances = subscribe("instance").await.map_err(|error| anyhow!(error))?;
    loop {
        match client.query_one::<AppItem>("app.show", &question).await {
            Ok(item) => match judge(&item, accepted.release) {
                Verdict::Going => progress.show(&describe(&item)),
                verdict @ (Verdict::Done | Verdict::Failing | Verdict::Superseded(_)) => {
                    return Ok((item, verdict));
                }
            },
            Err(Failure::Failed(error)) => progress.show(&format!("{error:#}; still trying")),
            Err(
                failure @ (Failure::Refused(_)
                | Failure::NotFound(_)
                | Failure::Conflict(_)
                | Failure::Usage(_)
                | Failure::WaitTimedOut(_)
                | Failure::OutputClosed),
            ) => return Err(failure),
        }
        tokio::select! {
            _ = of_apps.next() => sleep(GATHER).await,
            _ = of_instances.next() => sleep(GATHER).await,
            () = sleep(ASK_EVERY) => {}
        }
    }
}

fn judge(item: &AppItem, wanted: Option<u32>) -> Verdict {
    match (wanted, item.release) {
        (Some(wanted), Some(current)) if current > wanted => return Verdict::Superseded(current),
        (Some(wanted), current) if current != Some(wanted) => return Verdict::Going,
        (Some(_) | None, _) => {}
    }
    match item.phase {
        AppPhase::Settled | AppPhase::New => Verdict::Done,
        AppPhase::Settling => Verdict::Going,
        AppPhase::Failing => Verdict::Failing,
    }
}

/// `shop 1.4.0 (release 3): web 1/2 healthy, 1 old`.
fn describe(item: &AppItem) -> String {
    let mut text = title(item);
    let mut separator = ": ";
    for process in &item.processes {
        text.push_str(&format!(
            "{separator}{} {}/{} healthy",
            process.process, process.healthy, process.wanted
        ));
        if process.old > 0 {
            text.push_str(&format!(", {} old", process.old));
        }
        separator = "; ";
    }
    for obstacle in &item.obstacles {
        text.push_str(&format!("{separator}{obstacle}"));
        separator = "; ";
    }
    text
}

fn title(item: &AppItem) -> String {
    let version = item.version.as_ref().map_or_else(String::new, |version| format!(" {version}"));
    let release = item.release.map_or_else(String::new, |release| format!(" (release {release})"));
    format!("{}{version}{release}", item.app)
}

async fn instances_of(
    client: &Client,
    app: &AppName,
    event: EventNumber,
) -> Result<Vec<InstanceItem>, Failure> {
    let question = Question { app: Some(app.clone()), min_event: Some(event), ..Question::default() };
    client.query("instance.ls", &question).await
}

async fn tell_done(
    globals: &Globals,
    client: &Client,
    item: &AppItem,
    event: EventNumber,
) -> Result<(), Failure> {
    let instances = instances_of(client, &item.app, event).await?;
    if globals.output != Format::Table {
        return output::list(globals, &instances);
    }
    if instances.is_empty() {
        return output::print(&format!("{}: nothing runs\n", title(item)));
    }
    let addresses: String =
        instances.iter().filter_map(address).map(|address| format!("  {address}\n")).collect();
    output::print(&format!("{} runs\n{addresses}\n", title(item)))?;
    output::list(globals, &instances)
}

/// Why it does not get there: what stands in the way, and the last words of an instance that failed.
async fn explain_failure(client: &Client, item: &AppItem) -> Failure {
    let mut text = format!("{} does not get there by itself", title(item));
    for obstacle in &item.obstacles {
        text.push_str(&format!("\n  {}", visible(obstacle)));
    }
    let instances = instances_of(client, &item.app, 0).await.unwrap_or_default();
    let broken =
        |instance: &&InstanceItem| Some(instance.release) == item.release && is_broken(instance.phase);
    if let Some(instance) = instances.iter().find(broken) {
        text.push_str(&format!(
            "\n  instance {} ({}) {}",
            instance.instance, instance.process, instance.phase
        ));
        if let Some(reason) = &instance.reason {
            text.push_str(&format!(": {}", indent(reason)));
        }
        let lines = logs::last_lines(client, instance.instance, LAST_LINES).await.unwrap_or_default();
        if !lines.is_empty() {
            text.push_str(&format!("\nits last output:\n  {}", indent(&lines.join("\n"))));
        }
    }
    if item.processes.iter().any(|process| process.old > 0) {
        text.push_str(
            "\nwhat ran before still runs; deploy its version again to go back, or a new one that mends it",
        );
    }
    text.push_str(&format!("\n{}", how_to_follow(&item.app)));
    Failure::Failed(anyhow!(text))
}

fn is_broken(phase: InstancePhase) -> bool {
    match phase {
        InstancePhase::Unhealthy | InstancePhase::Crashed | InstancePhase::Failed => true,
        InstancePhase::Placed
        | InstancePhase::Started
        | InstancePhase::Healthy
        | InstancePhase::Finished
        | InstancePhase::Stopping => false,
    }
}

fn indent(text: &str) -> String {
    text.lines().map(visible).collect::<Vec<_>>().join("\n  ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use events::query::ProcessItem;
    use events::{ProcessName, Timestamp};

    fn app(release: Option<u32>, phase: AppPhase) -> AppItem {
        AppItem {
            app: "shop".parse().expect("a name"),
            newest: None,
            version: Some(semver::Version::new(1, 4, 0)),
            release,
            phase,
            processes: vec![ProcessItem {
                process: ProcessName::web(),
                wanted: 2,
                healthy: 1,
                placed: 2,
                old: 1,
            }],
            obstacles: vec![],
            created_at: Timestamp(0),
        }
    }

    #[test]
    fn done_means_this_release_and_settled() {
        assert_eq!(judge(&app(Some(3), AppPhase::Settled), Some(3)), Verdict::Done);
        assert_eq!(judge(&app(Some(3), AppPhase::Settling), Some(3)), Verdict::Going);
        assert_eq!(judge(&app(Some(3), AppPhase::Failing), Some(3)), Verdict::Failing);
        assert_eq!(judge(&app(Some(2), AppPhase::Settled), Some(3)), Verdict::Going);
        assert_eq!(judge(&app(Some(4), AppPhase::Settled), Some(3)), Verdict::Superseded(4));
        assert_eq!(judge(&app(Some(4), AppPhase::Settled), None), Verdict::Done);
        assert_eq!(judge(&app(None, AppPhase::New), None), Verdict::Done);
    }

    #[test]
    fn progress_says_how_far_it_is() {
        let text = describe(&app(Some(3), AppPhase::Settling));
        assert_eq!(text, "shop 1.4.0 (release 3): web 1/2 healthy, 1 old");
    }
}
