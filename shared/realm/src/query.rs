//! Query: what people ask of the state, as lists with stable keys.

use crate::decide::refuse::{known_app, refusal};
use crate::explain;
use crate::schedule::Need;
use crate::state::{App, Exec, Instance, Scope, State};
use events::explain::{WhyItem, WhyNotItem};
use events::limits::{ITEMS_PER_REPLY, REPLY_BYTES};
use events::query::{
    AlertItem, AppItem, AppPhase, CommandItem, ConfigItem, ExecItem, ExecRunItem, InstanceItem, ProcessItem,
    Question, ReleaseItem, ServantItem, VersionItem,
};
use events::{AppName, ExecId, InstanceId, ProcessName, Refusal, RefusalCode, ServantId, ServantName};
use serde::Serialize;

/// The items of a reply; each kind of query has one kind of item.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Items {
    Apps(Vec<AppItem>),
    Versions(Vec<VersionItem>),
    Releases(Vec<ReleaseItem>),
    Instances(Vec<InstanceItem>),
    Servants(Vec<ServantItem>),
    Config(Vec<ConfigItem>),
    Commands(Vec<CommandItem>),
    Alerts(Vec<AlertItem>),
    Whys(Vec<WhyItem>),
    WhyNots(Vec<WhyNotItem>),
    Execs(Vec<ExecItem>),
}

/// One page of items, and what to ask for to get the next.
pub type Page = (Items, Option<String>);

impl Items {
    /// The page after the item that `after` names; the first when it names none.
    ///
    /// # Errors
    /// When that item is gone, so that nobody can say where the list goes on.
    fn page(self, after: Option<&str>) -> Result<Page, Refusal> {
        Ok(match self {
            Self::Apps(items) => wrap(Self::Apps, cut(items, after, |item| item.app.to_string())?),
            Self::Versions(items) => {
                wrap(Self::Versions, cut(items, after, |item| item.version.to_string())?)
            }
            Self::Releases(items) => {
                wrap(Self::Releases, cut(items, after, |item| item.release.to_string())?)
            }
            Self::Instances(items) => {
                wrap(Self::Instances, cut(items, after, |item| item.instance.to_string())?)
            }
            Self::Servants(items) => wrap(Self::Servants, cut(items, after, |item| item.name.to_string())?),
            Self::Config(items) => wrap(Self::Config, cut(items, after, config_place)?),
            Self::Commands(items) => wrap(Self::Commands, cut(items, after, |item| item.id.to_string())?),
            Self::Whys(items) => wrap(Self::Whys, cut(items, after, |item| item.instance.to_string())?),
            Self::WhyNots(items) => wrap(Self::WhyNots, cut(items, after, |item| item.process.to_string())?),
            Self::Execs(items) => wrap(Self::Execs, cut(items, after, |item| item.exec.to_string())?),
            Self::Alerts(items) => wrap(Self::Alerts, cut(items, after, |item| item.mail.to_string())?),
        })
    }
}

fn wrap<T>(variant: fn(Vec<T>) -> Items, (items, next): (Vec<T>, Option<String>)) -> Page {
    (variant(items), next)
}

fn config_place(item: &ConfigItem) -> String {
    let app = item.app.as_ref().map_or("", AppName::as_str);
    let process = item.process.as_ref().map_or("", ProcessName::as_str);
    format!("{app}/{process}/{}", item.key)
}

/// As many items as a reply holds, at least one, and where the next page goes on.
fn cut<T: Serialize>(
    mut items: Vec<T>,
    after: Option<&str>,
    place: impl Fn(&T) -> String,
) -> Result<(Vec<T>, Option<String>), Refusal> {
    if let Some(after) = after {
        let Some(last) = items.iter().position(|item| place(item) == after) else {
            let rule = "the item that the page before ended with is gone";
            return Err(refusal(RefusalCode::Conflict, "after", rule, "ask for the list from its beginning"));
        };
        items.drain(..=last);
    }
    let (mut bytes, mut count) = (0, 0);
    for item in items.iter().take(ITEMS_PER_REPLY) {
        bytes += events::wire::encode(item).len();
        if count > 0 && bytes > REPLY_BYTES {
            break;
        }
        count += 1;
    }
    let next = (count < items.len()).then(|| items[..count].last().map(&place)).flatten();
    items.truncate(count);
    Ok((items, next))
}

/// Answers a query with one page, from the state. `king.show` is answered by the King itself, and is unknown here.
///
/// # Errors
/// When the kind is unknown, a field that it needs is missing, or what it names does not exist.
pub fn answer(state: &State, kind: &str, question: &Question) -> Result<Page, Refusal> {
    items(state, kind, question)?.page(question.after.as_deref())
}

/// All items that a query asks for, whatever their number.
///
/// # Errors
/// As [`answer`].
pub fn items(state: &State, kind: &str, question: &Question) -> Result<Items, Refusal> {
    match kind {
        "app.ls" => {
            Ok(Items::Apps(state.apps.iter().map(|(name, app)| app_item(state, name, app)).collect()))
        }
        "app.show" => {
            let name = needed("app", question.app.as_ref())?;
            Ok(Items::Apps(vec![app_item(state, name, known_app(state, name)?)]))
        }
        "version.ls" => versions(state, needed("app", question.app.as_ref())?),
        "release.ls" => releases(state, needed("app", question.app.as_ref())?),
        "instance.ls" => instances(state, question),
        "servant.ls" => Ok(Items::Servants(servants(state))),
        "config.ls" => Ok(Items::Config(config(state, question))),
        "command.show" => command(state, question),
        "why.instance" => explain::why(state, *needed("instance", question.instance.as_ref())?)
            .map(|item| Items::Whys(vec![item])),
        "why-not.app" => {
            let app = needed("app", question.app.as_ref())?;
            let servant = needed("servant", question.servant.as_ref())?;
            explain::why_not(state, app, servant, question.process.as_ref()).map(Items::WhyNots)
        }
        "alert.ls" => Ok(Items::Alerts(alerts(state))),
        "exec.ls" => Ok(Items::Execs(execs(state))),
        "exec.show" => {
            let id = *needed("exec", question.exec.as_ref())?;
            let exec = state.execs.get(id).ok_or_else(|| {
                let rule = format!("no run {id} is remembered");
                refusal(
                    RefusalCode::Unknown,
                    "exec",
                    rule,
                    "older ones stand in the log: kingctl event ls --noun exec",
                )
            })?;
            Ok(Items::Execs(vec![exec_item(state, id, exec)]))
        }
        other => Err(refusal(
            RefusalCode::Unknown,
            "kind",
            format!("there is no query {:?}", other.chars().take(64).collect::<String>()),
            format!("ask one of: {}", events::query::KINDS.join(", ")),
        )),
    }
}

fn needed<'a, T>(field: &str, value: Option<&'a T>) -> Result<&'a T, Refusal> {
    value.ok_or_else(|| {
        refusal(
            RefusalCode::Invalid,
            field,
            "the query needs it",
            format!("send {{\"{field}\": …}} as the payload"),
        )
    })
}

fn app_item(state: &State, name: &AppName, app: &App) -> AppItem {
    let release = app.current_release();
    AppItem {
        app: name.clone(),
        newest: app.versions.keys().next_back().cloned(),
        version: release.map(|(_, release)| release.version.clone()),
        release: app.current,
        phase: phase(state, name, app),
        processes: app
            .counts
            .iter()
            .map(|(process, wanted)| process_item(state, app, process, *wanted))
            .collect(),
        obstacles: obstacles(state, name, app),
        images: app.images.keys().cloned().collect(),
        created_at: app.created_at,
    }
}

fn phase(state: &State, name: &AppName, app: &App) -> AppPhase {
    let Some(release) = app.current else { return AppPhase::New };
    let current = || state.instances_of(app).filter(|(_, instance)| instance.release == release);
    if current().any(|(_, instance)| instance.is_hopeless()) {
        AppPhase::Failing
    } else if state.unsettled.contains(name) || current().any(|(_, instance)| !instance.is_well()) {
        AppPhase::Settling
    } else {
        AppPhase::Settled
    }
}

fn process_item(state: &State, app: &App, process: &ProcessName, wanted: u32) -> ProcessItem {
    let mut item = ProcessItem { process: process.clone(), wanted, healthy: 0, placed: 0, old: 0 };
    for (_, instance) in state.instances_of(app).filter(|(_, instance)| instance.process == *process) {
        let current = Some(instance.release) == app.current && !instance.is_retired();
        item.placed += u32::from(current);
        item.healthy += u32::from(current && state.serves(instance));
        item.old += u32::from(!current);
    }
    item
}

/// What stands in the way: instances that cannot be placed, with every servant's reasons, and those that failed.
fn obstacles(state: &State, name: &AppName, app: &App) -> Vec<String> {
    let Some((release, _)) = app.current_release() else { return Vec::new() };
    let mut obstacles = Vec::new();
    for (process, wanted) in &app.counts {
        let item = process_item(state, app, process, *wanted);
        let missing = wanted.saturating_sub(item.placed);
        if missing > 0 {
            let why = unplaceable(state, name, app, release, process);
            obstacles.push(format!("{process}: {missing} of {wanted} instances have no place: {why}"));
        }
    }
    for (id, instance) in state.instances_of(app).filter(|(_, instance)| instance.release == release) {
        if instance.is_hopeless() {
            obstacles.push(hopeless(state, id, instance));
        }
    }
    obstacles
}

fn unplaceable(state: &State, name: &AppName, app: &App, release: u32, process: &ProcessName) -> String {
    let Some(need) = Need::of(app, name, release, process) else {
        return "its manifest names no such process type".into();
    };
    if state.servants.is_empty() {
        return "there is no servant".into();
    }
    let reasons = state.servants.values().take(10).map(|servant| {
        let reasons = need.obstacles_of(state, servant);
        let reasons = if reasons.is_empty() { "will take some".to_owned() } else { reasons.join(", ") };
        format!("{} {reasons}", servant.facts.name)
    });
    reasons.collect::<Vec<_>>().join("; ")
}

fn hopeless(state: &State, id: InstanceId, instance: &Instance) -> String {
    let servant = servant_name(state, instance).map_or_else(String::new, |name| format!(" on {name}"));
    let what = if instance.looping { "crashes again and again" } else { "cannot be started" };
    let reason = instance.reason.as_deref().unwrap_or("no reason was given");
    format!("{}: instance {id}{servant} {what}: {reason}", instance.process)
}

fn servant_name(state: &State, instance: &Instance) -> Option<ServantName> {
    state.servants.get(&instance.servant).map(|servant| servant.facts.name.clone())
}

fn versions(state: &State, name: &AppName) -> Result<Items, Refusal> {
    let app = known_app(state, name)?;
    let items = app.versions.iter().map(|(version, published)| VersionItem {
        app: name.clone(),
        version: version.clone(),
        commit: published.commit,
        archive: published.archive,
        published_at: published.at,
    });
    Ok(Items::Versions(items.collect()))
}

fn releases(state: &State, name: &AppName) -> Result<Items, Refusal> {
    let app = known_app(state, name)?;
    let items = app.releases.iter().map(|(number, release)| ReleaseItem {
        app: name.clone(),
        release: *number,
        version: release.version.clone(),
        current: app.current == Some(*number),
        created_at: release.at,
    });
    Ok(Items::Releases(items.collect()))
}

fn instances(state: &State, question: &Question) -> Result<Items, Refusal> {
    if let Some(name) = &question.app {
        // An app that was removed may still have instances that are being stopped.
        if !state.instances.values().any(|instance| instance.app == *name) {
            known_app(state, name)?;
        }
    }
    if let Some(name) = question.servant.as_ref().filter(|name| state.servant_named(name).is_none()) {
        let rule = format!("there is no servant {name:?}");
        return Err(refusal(RefusalCode::Unknown, "servant", rule, "see `kingctl servant ls`"));
    }
    let wanted = state.instances.iter().filter_map(|(id, instance)| {
        let servant = servant_name(state, instance)?;
        let matches = question.app.as_ref().is_none_or(|app| instance.app == *app)
            && question.servant.as_ref().is_none_or(|name| servant == *name)
            && question.process.as_ref().is_none_or(|process| instance.process == *process);
        matches.then(|| instance_item(state, *id, instance, servant))
    });
    let mut items: Vec<InstanceItem> = wanted.collect();
    items.sort_by(|a, b| (&a.app, &a.process, a.instance).cmp(&(&b.app, &b.process, b.instance)));
    Ok(Items::Instances(items))
}

fn instance_item(state: &State, id: InstanceId, instance: &Instance, servant: ServantName) -> InstanceItem {
    let release = state.apps.get(&instance.app).and_then(|app| app.releases.get(&instance.release));
    InstanceItem {
        instance: id,
        app: instance.app.clone(),
        process: instance.process.clone(),
        release: instance.release,
        version: release.map(|release| release.version.clone()),
        servant,
        phase: instance.phase,
        pid: instance.pid,
        workers: instance.workers,
        ports: instance.ports.clone(),
        crashes: instance.crashes,
        reason: instance.reason.clone(),
        since: instance.since,
    }
}

fn servants(state: &State) -> Vec<ServantItem> {
    let items = state.servant_names.iter().filter_map(|(name, id)| {
        let servant = state.servants.get(id)?;
        Some(ServantItem {
            servant: *id,
            name: name.clone(),
            domain: servant.domain.clone(),
            lost: servant.lost,
            since: servant.since,
            instances: u32::try_from(servant.instances.len()).unwrap_or(u32::MAX),
            capabilities: servant.facts.capabilities.clone(),
            cpus: servant.facts.cpus,
            memory_bytes: servant.facts.memory_bytes,
            labels: servant.facts.labels.clone(),
            disk: servant.disk,
        })
    });
    items.collect()
}

/// The newest first.
fn execs(state: &State) -> Vec<ExecItem> {
    let mut known: Vec<_> = state.execs.0.iter().collect();
    known.sort_by_key(|(_, exec)| std::cmp::Reverse(exec.number));
    known.into_iter().map(|(id, exec)| exec_item(state, *id, exec)).collect()
}

fn exec_item(state: &State, id: ExecId, exec: &Exec) -> ExecItem {
    let runs = exec.runs.iter().map(|(servant, run)| {
        let known = state.servants.get(servant);
        ExecRunItem {
            servant: known.map_or_else(|| gone(*servant), |known| known.facts.name.clone()),
            lost: state.is_lost(*servant),
            outcome: run.ended.as_ref().map(|(_, outcome)| outcome.clone()),
            ended_at: run.ended.as_ref().map(|(at, _)| *at),
        }
    });
    ExecItem {
        exec: id,
        command: exec.requested.command.clone(),
        actor: exec.actor.clone(),
        requested_at: exec.at,
        selector: exec.requested.selector.clone(),
        instance: exec.requested.instance,
        stdio: exec.requested.stdio.clone(),
        limits: exec.requested.limits,
        cancelled_by: exec.cancelled_by.clone(),
        runs: runs.collect(),
        left_out: exec.requested.left_out.clone(),
    }
}

/// A servant that was removed has no name any more: its id is one too.
fn gone(servant: ServantId) -> ServantName {
    servant.to_string().parse().expect("a UUID is a label: 36 hexadecimal digits and dashes")
}

fn config(state: &State, question: &Question) -> Vec<ConfigItem> {
    let scopes = state.config.scopes.iter().filter(|(scope, _)| {
        question.app.as_ref().is_none_or(|app| scope.app.as_ref() == Some(app))
            && question.process.as_ref().is_none_or(|process| scope.process.as_ref() == Some(process))
    });
    let items = scopes.flat_map(|(Scope { app, process }, settings)| {
        settings.iter().map(move |(key, setting)| ConfigItem {
            app: app.clone(),
            process: process.clone(),
            key: key.clone(),
            value: setting.value.clone(),
            revision: setting.revision,
        })
    });
    items.collect()
}

fn command(state: &State, question: &Question) -> Result<Items, Refusal> {
    let id = needed("id", question.id.as_ref())?;
    let stored = state.outcomes.get(id).ok_or_else(|| {
        let rule = format!("no outcome of a command {id:?} is remembered");
        refusal(
            RefusalCode::Unknown,
            "id",
            rule,
            "outcomes are kept for a day; ask the event log for older ones",
        )
    })?;
    Ok(Items::Commands(vec![CommandItem {
        id: id.clone(),
        command: stored.command.to_string(),
        at: stored.at,
        outcome: stored.outcome,
    }]))
}

fn alerts(state: &State) -> Vec<AlertItem> {
    let items = state.mails.iter().map(|(mail, planned)| AlertItem {
        mail: *mail,
        incident: planned.incident.clone(),
        subject: planned.subject.clone(),
        planned_at: planned.at,
    });
    items.collect()
}
