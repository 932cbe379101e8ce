//! Explain: why an instance is where it is, and why an app is not on a servant. The reasons are the scheduler's own: what
//! it would refuse a servant for, and the order in which it chooses among those that remain.

use crate::decide::refuse::{known_app, refusal};
use crate::schedule::{Assessment, Need};
use crate::state::{App, Instance, State};
use events::explain::{CandidateItem, Standing, WhyItem, WhyNotItem};
use events::limits::CANDIDATES_SHOWN;
use events::query::InstancePhase;
use events::{AppName, InstanceId, ProcessName, Refusal, RefusalCode, ServantId, ServantName};

/// Why an instance is where and how it is.
///
/// # Errors
/// When there is no such instance.
pub fn why(state: &State, id: InstanceId) -> Result<WhyItem, Refusal> {
    let known = state.instances.get(&id);
    let known = known.and_then(|instance| Some((instance, state.servants.get(&instance.servant)?)));
    let Some((instance, servant)) = known else {
        let rule = format!("there is no instance {id}: it is gone, or never was");
        let fix = "see `kingctl instance ls`; what became of one that is gone stands in its events";
        return Err(refusal(RefusalCode::Unknown, "instance", rule, fix));
    };
    let mut reasons = vec![wanted(state, instance), doing(instance)];
    if servant.lost {
        reasons.push(format!("its servant {} is lost: how it does is not known", servant.facts.name));
    }
    let candidates = candidates(state, instance);
    Ok(WhyItem {
        instance: id,
        app: instance.app.clone(),
        process: instance.process.clone(),
        release: instance.release,
        servant: servant.facts.name.clone(),
        phase: instance.phase,
        reasons,
        causes: Vec::new(),
        candidates_left_out: candidates.len().saturating_sub(CANDIDATES_SHOWN),
        candidates: candidates.into_iter().take(CANDIDATES_SHOWN).collect(),
    })
}

/// Whether it shall run, and for what.
fn wanted(state: &State, instance: &Instance) -> String {
    let Instance { app: name, process, release, .. } = instance;
    let Some(app) = state.apps.get(name) else { return format!("the app {name} was removed") };
    match (app.current, app.counts.get(process)) {
        (Some(current), Some(count)) if current == *release => {
            format!("release {release} of {name} shall run, with {count} of {process}")
        }
        (Some(current), _) if current != *release => format!(
            "it is of release {release}, and release {current} of {name} shall run; it goes when all of that is well"
        ),
        (Some(_) | None, _) => format!("nothing of {process} of {name} shall run"),
    }
}

/// How it does, and why.
fn doing(instance: &Instance) -> String {
    let mut text = format!("it is {} since {}", instance.phase, instance.since);
    if let Some(reason) = &instance.reason {
        text.push_str(&format!(": {reason}"));
    }
    if instance.crashes > 0 {
        text.push_str(&format!("; it has crashed {} times", instance.crashes));
    }
    if instance.looping {
        text.push_str(" and is in a crash loop");
    }
    text
}

/// Every servant as the scheduler would look at it now for another instance like this one, best first.
fn candidates(state: &State, instance: &Instance) -> Vec<CandidateItem> {
    let app = state.apps.get(&instance.app);
    let need = app.and_then(|app| Need::of(app, &instance.app, instance.release, &instance.process));
    let Some(need) = need else { return Vec::new() };
    assessed(state, &need).into_iter().map(candidate).collect()
}

fn candidate(assessment: Assessment<'_>) -> CandidateItem {
    CandidateItem {
        servant: assessment.servant.facts.name.clone(),
        same: assessment.same,
        all: assessment.all,
        obstacles: assessment.obstacles,
    }
}

/// Those that can, in the order of choice, then those that cannot.
fn assessed<'a>(state: &'a State, need: &Need<'_>) -> Vec<Assessment<'a>> {
    let (servants, loads) = (state.servants.iter(), need.loads(state));
    let mut all: Vec<_> = servants.map(|(id, servant)| need.assess(state, &loads, *id, servant)).collect();
    all.sort_by(|one, other| {
        (!one.obstacles.is_empty(), one.rank()).cmp(&(!other.obstacles.is_empty(), other.rank()))
    });
    all
}

/// Why each process type of an app, or the one that is named, is or is not on a servant.
///
/// # Errors
/// When the app, the servant or the process type does not exist, or nothing of the app was ever deployed.
pub fn why_not(
    state: &State,
    name: &AppName,
    servant: &ServantName,
    process: Option<&ProcessName>,
) -> Result<Vec<WhyNotItem>, Refusal> {
    let app = known_app(state, name)?;
    let Some((servant, _)) = state.servant_named(servant) else {
        let rule = format!("there is no servant {servant:?}");
        return Err(refusal(RefusalCode::Unknown, "servant", rule, "see `kingctl servant ls`"));
    };
    let Some((release, _)) = app.current_release() else {
        let rule = format!("the app {name:?} was never deployed, so it runs nowhere");
        let fix = format!("deploy a version first: kingctl app deploy {name}@VERSION");
        return Err(refusal(RefusalCode::Conflict, "app", rule, fix));
    };
    let asked = app.counts.keys().filter(|known| process.is_none_or(|process| *known == process));
    let items: Vec<WhyNotItem> =
        asked.filter_map(|process| stand(state, app, name, release, process, servant)).collect();
    if items.is_empty() {
        let rule = format!("release {release} of {name:?} has no such process type");
        return Err(refusal(RefusalCode::Unknown, "process", rule, format!("see `kingctl app show {name}`")));
    }
    Ok(items)
}

fn stand(
    state: &State,
    app: &App,
    name: &AppName,
    release: u32,
    process: &ProcessName,
    id: ServantId,
) -> Option<WhyNotItem> {
    let need = Need::of(app, name, release, process)?;
    let all = assessed(state, &need);
    let place = all.iter().position(|assessment| assessment.id == id)?;
    let (here, wanted) = (&all[place], app.counts.get(process).copied().unwrap_or(0));
    let (standing, mut reasons) = if here.same > 0 {
        (Standing::Runs, vec![format!("{} of {wanted} run there", here.same)])
    } else if !here.obstacles.is_empty() {
        (Standing::Cannot, Vec::new())
    } else if wanted == 0 {
        (Standing::NotWanted, vec![format!("0 of {process} shall run")])
    } else {
        (Standing::NotChosen, not_chosen(state, app, process, wanted, &all, place))
    };
    // What stands in the way of another one is told in every case.
    reasons.extend(here.obstacles.iter().map(|obstacle| format!("it {obstacle}")));
    let servant = here.servant.facts.name.clone();
    Some(WhyNotItem { app: name.clone(), process: process.clone(), servant, standing, reasons })
}

fn not_chosen(
    state: &State,
    app: &App,
    process: &ProcessName,
    wanted: u32,
    all: &[Assessment<'_>],
    place: usize,
) -> Vec<String> {
    let live = state.instances_of(app).filter(|(_, instance)| {
        instance.process == *process
            && Some(instance.release) == app.current
            && instance.phase != InstancePhase::Stopping
    });
    let placed = live.count();
    let able = all.iter().filter(|assessment| assessment.obstacles.is_empty()).count();
    let here = &all[place];
    vec![
        format!("it could; all {placed} of {wanted} have a place elsewhere, and nothing is moved that runs"),
        format!(
            "for another one it would be number {} of {able}: the fewest of {process} come first (it has {}), then the fewest of all (it has {}), then the name",
            place + 1,
            here.same,
            here.all
        ),
    ]
}
