//! `--wait`: follows what was asked for until every instance is healthy and the old ones are gone, and tells the
//! truth about it in the exit code.
//!
//! What is true comes from the King's answers. The public events only say when it is worth asking again, so that
//! nothing is lost with one of them.

use crate::cli::Globals;
use crate::client::Client;
use crate::failure::Failure;
use crate::instance::address;
use crate::logs;
use crate::output::{self, Format, visible};
use crate::progress::Progress;
use anyhow::anyhow;
use events::query::{AppItem, AppPhase, InstanceItem, InstancePhase, ProcessItem, Question};
use events::{AppName, EventNumber, ProcessName, RefusalCode, subject};
use std::time::Duration;
use tokio::time::{sleep, timeout};

/// Ask again at least this often.
const ASK_EVERY: Duration = Duration::from_secs(1);
/// Events come in bursts: ask once for all within this time.
const GATHER: Duration = Duration::from_millis(30);
/// Lines of output that a failure shows.
const LAST_LINES: usize = 20;

/// What a command wants of an app, as far as the app shows it later.
#[derive(Clone, Debug, PartialEq)]
pub struct Wish {
    /// The release that a deploy made or chose.
    pub release: Option<u32>,
    pub counts: Counts,
}

/// The counts that a command names.
#[derive(Clone, Debug, PartialEq)]
pub enum Counts {
    /// None: whatever shall run is right.
    Any,
    /// So many of one process type; of `web` or the only one, if it has no name here.
    One(Option<ProcessName>, u32),
    /// Nothing of the whole app.
    Nothing,
}

/// What an app's state means to who waits.
#[derive(Debug, PartialEq)]
enum Verdict {
    Going,
    Ended(End),
}

/// How waiting ends.
#[derive(Debug, PartialEq)]
enum End {
    Done,
    Failing,
    /// Another command came after this one: what shall be now.
    Superseded(String),
}

/// Waits until an app has become what a command asked for, and prints what runs.
///
/// # Errors
/// When it will not get there by itself, another deploy took over, or the time is over.
pub async fn until_settled(
    globals: &Globals,
    client: &Client,
    app: &AppName,
    event: EventNumber,
    wish: &Wish,
    limit: Duration,
) -> Result<(), Failure> {
    let mut progress = Progress::new(globals);
    let followed = tokio::select! {
        followed = timeout(limit, watch(client, app, event, wish, &mut progress)) => followed,
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
    let (item, end) = watched?;
    match end {
        End::Done => tell_done(globals, client, &item, event).await,
        End::Failing => Err(explain_failure(client, &item).await),
        End::Superseded(now) => Err(Failure::Conflict(format!(
            "another command for {app} came after this one: {now}; {}",
            how_to_follow(app)
        ))),
    }
}

fn how_to_follow(app: &AppName) -> String {
    format!("look with `kingctl app show {app}` or `kingctl event tail --app {app}`")
}

/// Asks until there is a verdict. A King that is away for a while is waited for.
async fn watch(
    client: &Client,
    app: &AppName,
    event: EventNumber,
    wish: &Wish,
    progress: &mut Progress,
) -> Result<(AppItem, End), Failure> {
    let question = Question { app: Some(app.clone()), min_event: Some(event), ..Question::default() };
    let subscribe = async |noun| client.bus.subscribe(&subject::events_about(noun)).await;
    let mut of_apps = subscribe("app").await.map_err(|error| anyhow!(error))?;
    let mut of_instances = subscribe("instance").await.map_err(|error| anyhow!(error))?;
    loop {
        match client.query_one::<AppItem>("app.show", &question).await {
            Ok(item) => match judge(&item, wish) {
                Verdict::Going => progress.show(&describe(&item)),
                Verdict::Ended(end) => return Ok((item, end)),
            },
            Err(Failure::Failed(error)) => progress.show(&format!("{error:#}; still trying")),
            // A King that catches up says so.
            Err(Failure::Refused(refusal)) if refusal.code == RefusalCode::Unavailable => {
                progress.show(&format!("{refusal}; still trying"));
            }
            Err(
                failure @ (Failure::Refused(_)
                | Failure::NotFound(_)
                | Failure::Conflict(_)
                | Failure::Usage(_)
                | Failure::WaitTimedOut(_)
                | Failure::PartlyDone(_)
                | Failure::Exit(_)
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

fn judge(item: &AppItem, wish: &Wish) -> Verdict {
    if let Some(now) = superseded(item, wish) {
        return Verdict::Ended(End::Superseded(now));
    }
    if wish.release.is_some() && wish.release != item.release {
        return Verdict::Going;
    }
    match item.phase {
        AppPhase::Settled | AppPhase::New => Verdict::Ended(End::Done),
        AppPhase::Settling => Verdict::Going,
        AppPhase::Failing => Verdict::Ended(End::Failing),
    }
}

/// What shall be now, if that is no longer what was wished for. The item reflects the command already.
fn superseded(item: &AppItem, wish: &Wish) -> Option<String> {
    if let (Some(wished), Some(current)) = (wish.release, item.release)
        && current > wished
    {
        return Some(format!("release {current} shall run now"));
    }
    if wish.release.is_some() && wish.release != item.release {
        return None;
    }
    match &wish.counts {
        Counts::Any => None,
        Counts::Nothing => {
            item.processes.iter().find(|process| process.wanted > 0).map(|process| changed(process, 0))
        }
        Counts::One(name, count) => match one_process(item, name.as_ref()) {
            Some(process) if process.wanted != *count => Some(changed(process, *count)),
            Some(_) => None,
            None => Some("that process type is no longer among what shall run".to_owned()),
        },
    }
}

fn changed(process: &ProcessItem, wished: u32) -> String {
    format!("{} of {} shall run now, not {wished}", process.wanted, process.process)
}

/// The one that is named; or `web`, or the only one: as the King understands it.
fn one_process<'a>(item: &'a AppItem, name: Option<&ProcessName>) -> Option<&'a ProcessItem> {
    let named = |name: &ProcessName| item.processes.iter().find(|process| process.process == *name);
    match (name, item.processes.as_slice()) {
        (Some(name), _) => named(name),
        (None, [only]) => Some(only),
        (None, _) => named(&ProcessName::web()),
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
    use events::Timestamp;

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
            images: vec![],
            created_at: Timestamp(0),
        }
    }

    fn verdict(release: Option<u32>, phase: AppPhase, wished: Option<u32>, counts: Counts) -> Verdict {
        judge(&app(release, phase), &Wish { release: wished, counts })
    }

    fn is_superseded(verdict: &Verdict) -> bool {
        matches!(verdict, Verdict::Ended(End::Superseded(_)))
    }

    #[test]
    fn done_means_this_release_and_settled() {
        let verdict = |release, phase, wished| verdict(release, phase, wished, Counts::Any);
        assert_eq!(verdict(Some(3), AppPhase::Settled, Some(3)), Verdict::Ended(End::Done));
        assert_eq!(verdict(Some(3), AppPhase::Settling, Some(3)), Verdict::Going);
        assert_eq!(verdict(Some(3), AppPhase::Failing, Some(3)), Verdict::Ended(End::Failing));
        assert_eq!(verdict(Some(2), AppPhase::Settled, Some(3)), Verdict::Going);
        assert!(is_superseded(&verdict(Some(4), AppPhase::Settled, Some(3))));
        assert_eq!(verdict(Some(4), AppPhase::Settled, None), Verdict::Ended(End::Done));
        assert_eq!(verdict(None, AppPhase::New, None), Verdict::Ended(End::Done));
    }

    #[test]
    fn done_means_the_counts_that_were_asked_for() {
        let verdict = |counts| verdict(Some(3), AppPhase::Settled, None, counts);
        let web = || Some(ProcessName::web());
        assert_eq!(verdict(Counts::One(web(), 2)), Verdict::Ended(End::Done));
        assert_eq!(verdict(Counts::One(None, 2)), Verdict::Ended(End::Done));
        let now = "2 of web shall run now, not 5".to_owned();
        assert_eq!(verdict(Counts::One(None, 5)), Verdict::Ended(End::Superseded(now)));
        assert!(is_superseded(&verdict(Counts::Nothing)));
        let worker = "worker".parse().expect("a name");
        assert!(is_superseded(&verdict(Counts::One(Some(worker), 2))));
    }

    #[test]
    fn progress_says_how_far_it_is() {
        let text = describe(&app(Some(3), AppPhase::Settling));
        assert_eq!(text, "shop 1.4.0 (release 3): web 1/2 healthy, 1 old");
    }
}
