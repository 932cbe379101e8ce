//! Whether everything is at rest: what the log says is so everywhere, and nobody has anything left to say.

use super::World;
use super::servant::Servant;
use events::subject::{INBOX_STREAM, assignment_key, domain_key};
use events::view::{Assignment, Domain, Stamped};
use events::wire;
use realm::State;
use realm::project;

impl World {
    /// Why not everything is at rest, if so.
    pub(super) fn unrest(&self) -> Option<String> {
        let state = &self.net.judge.log.state;
        self.unrest_of_kings(state)
            .or_else(|| self.unrest_of_users(state))
            .or_else(|| self.unrest_of_views(state))
            .or_else(|| self.unrest_of_hosts(state))
            .or_else(|| unrest_of_apps(state))
            .or_else(|| self.unrest_of_mails(state))
    }

    fn unrest_of_kings(&self, state: &State) -> Option<String> {
        let writers = self.kings.iter().filter(|king| king.is_idle_writer()).count();
        if writers != 1 {
            return Some(format!("{writers} Kings write and are idle"));
        }
        let behind = self.kings.iter().position(|king| king.last() != state.last);
        if let Some(king) = behind {
            return Some(format!("king {king} has confirmed {} of {}", self.kings[king].last(), state.last));
        }
        let published = self.net.judge.published();
        (published != state.last).then(|| format!("{published} of {} events are published", state.last))
    }

    fn unrest_of_users(&self, state: &State) -> Option<String> {
        let inbox = self.net.server.jetstream.stream(INBOX_STREAM).map_or(0, |inbox| inbox.state().last);
        if state.inbox != inbox {
            return Some(format!("the inbox is worked off up to {} of {inbox}", state.inbox));
        }
        for user in &self.users {
            if !user.is_done() {
                return Some("a user still waits".to_owned());
            }
            if let Some(id) = user.ids().find(|id| self.net.judge.log.outcome(id).is_none()) {
                return Some(format!("{id} has no outcome"));
            }
        }
        None
    }

    fn unrest_of_views(&self, state: &State) -> Option<String> {
        for servant in state.servants.keys() {
            let stored = self.stored_view::<Assignment>(&assignment_key(*servant));
            if stored.map(|stored| stored.view) != Some(project::assignment(state, *servant)) {
                return Some(format!("the assignment of {servant} is not current"));
            }
        }
        for servant in state.servants.values() {
            let stored = self.stored_view::<Domain>(&domain_key(&servant.domain));
            if stored.map(|stored| stored.view) != Some(project::domain(state, &servant.domain)) {
                return Some(format!("the list of {} is not current", servant.domain));
            }
        }
        None
    }

    fn stored_view<T: serde::de::DeserializeOwned>(&self, key: &str) -> Option<Stamped<T>> {
        let views = self.net.server.jetstream.stream("KV_KING_VIEWS").ok()?;
        let (_, message) = views.read_last(&format!("$KV.KING_VIEWS.{key}"))?;
        wire::decode(&message.payload).ok()
    }

    fn unrest_of_hosts(&self, state: &State) -> Option<String> {
        if self.foremen.iter().any(|foreman| !foreman.is_quiet()) {
            return Some("a Foreman has something to tell".to_owned());
        }
        self.servants.iter().find_map(|servant| unrest_of_host(state, servant))
    }

    fn unrest_of_mails(&self, state: &State) -> Option<String> {
        if !state.mails.is_empty() {
            return Some(format!("{} mails are planned and not sent", state.mails.len()));
        }
        (!self.alerter.is_quiet(state.last)).then(|| "the Alerter has something to do".to_owned())
    }
}

fn unrest_of_host(state: &State, servant: &Servant) -> Option<String> {
    let id = servant.id();
    let Some(known) = state.servants.get(&id) else { return Some(format!("{id} has not joined")) };
    if known.lost {
        return Some(format!("{id} is lost"));
    }
    if !servant.is_quiet() {
        return Some(format!("{id} has something to report"));
    }
    let wanted = project::assignment(state, id);
    if servant.assignment().is_none_or(|assignment| assignment.view != wanted) {
        return Some(format!("{id} has not got its assignment"));
    }
    let running = servant.host.running();
    let stray = running.iter().find(|one| !wanted.instances.iter().any(|listed| listed.instance == **one));
    if let Some(stray) = stray {
        return Some(format!("{stray} runs on {id} and shall not"));
    }
    let missing = known.instances.iter().find(|instance| {
        let is_well =
            state.instances.get(instance).is_some_and(|found| found.is_well() && !found.is_finished());
        is_well && !running.contains(instance)
    });
    missing.map(|missing| format!("{missing} counts as well on {id} and does not run"))
}

/// An app is as it shall be, or something hopeless stands in its way.
fn unrest_of_apps(state: &State) -> Option<String> {
    let is_obstructed = |name| {
        state
            .apps
            .get(name)
            .is_some_and(|app| state.instances_of(app).any(|(_, instance)| instance.is_hopeless()))
    };
    let open = state.unsettled.iter().find(|name| !is_obstructed(*name));
    open.map(|name| format!("{name} is not settled"))
}
