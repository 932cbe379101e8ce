//! Where a run takes place: on the host as the Servant's own user, in the surroundings of an instance, as its user, with its
//! environment and limits and in the folder of its release, or in its container.

use super::EXEC_VARIABLE;
use super::inside::{self, InsideOrder};
use super::words::{Reach, RunOrder};
use crate::app_events::place::{Place, Teller};
use crate::app_events::variables;
use crate::cgroup::Cgroups;
use crate::holder::words::{Confinement, GroupOrder};
use crate::keeper::InstanceFolder;
use crate::release::ReleaseFolder;
use crate::release::build::base_environment;
use crate::spec::{Runtime, Spec};
use events::exec::Stdio;
use events::view::AssignedExec;
use events::{ExecId, InstanceId, ServantId, ServantName};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

/// What is known of this host.
#[derive(Clone, Debug)]
pub struct Places {
    pub id: ServantId,
    pub servant: ServantName,
    /// Where the engine of containers listens.
    pub socket: PathBuf,
    pub instances: PathBuf,
    pub releases: PathBuf,
    /// Where programs are looked for.
    pub path: String,
    pub cgroups: Arc<Cgroups>,
    /// Where apps tell of events.
    pub events: Option<Place>,
}

/// In whose surroundings a run is.
#[derive(Default)]
struct Surroundings {
    environment: BTreeMap<String, String>,
    directory: PathBuf,
    groups: Vec<GroupOrder>,
    confinement: Confinement,
}

impl Places {
    /// What is to be run for a run, and where.
    ///
    /// # Errors
    /// Why it cannot be: the reason is told to whoever asked.
    pub fn order(&self, assigned: &AssignedExec) -> Result<RunOrder, String> {
        let spec = assigned.instance.map(|instance| self.spec(instance)).transpose()?;
        if let Some(spec) = spec.as_ref().filter(|spec| spec.runtime() == Runtime::Container) {
            return self.inside(assigned, spec.instance);
        }
        let mut around = match spec {
            Some(spec) => self.of_instance(&spec, assigned.exec)?,
            None => self.of_host(),
        };
        around.environment.extend(self.told(assigned));
        Ok(around.order(assigned.command.clone(), is_terminal(assigned), Reach::Runner))
    }

    /// What every run is told of itself.
    fn told(&self, assigned: &AssignedExec) -> BTreeMap<String, String> {
        let term = match &assigned.stdio {
            Stdio::Terminal(terminal) => Some(("TERM".to_owned(), terminal.term.clone())),
            Stdio::Discard | Stdio::Output | Stdio::Input => None,
        };
        let told = [
            ("KING_SERVANT".to_owned(), self.servant.to_string()),
            (EXEC_VARIABLE.to_owned(), assigned.exec.to_string()),
        ];
        told.into_iter().chain(term).collect()
    }

    /// This same program carries between the run and the engine.
    fn inside(&self, assigned: &AssignedExec, instance: InstanceId) -> Result<RunOrder, String> {
        let told = self.told(assigned);
        let order = InsideOrder {
            socket: self.socket.clone(),
            servant: self.id,
            instance,
            command: assigned.command.clone(),
            environment: told.iter().map(|(name, value)| format!("{name}={value}")).collect(),
            terminal: is_terminal(assigned),
        };
        let order = serde_json::to_string(&order).map_err(|error| error.to_string())?;
        let mut around = self.of_host();
        around.environment.extend(told);
        let arguments = ["/proc/self/exe".to_owned(), inside::WORD.to_owned(), order].into();
        Ok(around.order(arguments, is_terminal(assigned), Reach::Container))
    }

    fn spec(&self, instance: InstanceId) -> Result<Spec, String> {
        let folder = InstanceFolder::new(&self.instances, instance);
        folder.spec().ok_or_else(|| format!("the instance {instance} is not on this servant any more"))
    }

    fn of_host(&self) -> Surroundings {
        let directory = PathBuf::from("/");
        let environment = base_environment(&directory, &self.path);
        Surroundings { environment, directory, ..Surroundings::default() }
    }

    fn of_instance(&self, spec: &Spec, exec: ExecId) -> Result<Surroundings, String> {
        let directory = ReleaseFolder::new(&self.releases, &spec.key).tree;
        let mut environment = base_environment(&directory, &self.path);
        environment.extend(spec.environment(0));
        if let (Some(place), Ok(teller)) = (&self.events, Teller::of(spec)) {
            environment.extend(variables(&place.of(spec.instance, teller)));
        }
        let supervision = &spec.how.supervision;
        let confinement = self.cgroups.confinement(supervision).map_err(|error| error.to_string())?;
        let groups = self.cgroups.make_beside(spec.instance, exec, &supervision.limits);
        Ok(Surroundings {
            environment,
            directory,
            groups: groups.map_err(|error| error.to_string())?,
            confinement,
        })
    }
}

impl Surroundings {
    fn order(self, arguments: Vec<String>, terminal: bool, reach: Reach) -> RunOrder {
        let Self { environment, directory, groups, confinement } = self;
        RunOrder { arguments, environment, directory, terminal, reach, groups, confinement }
    }
}

fn is_terminal(assigned: &AssignedExec) -> bool {
    match &assigned.stdio {
        Stdio::Terminal(_) => true,
        Stdio::Discard | Stdio::Output | Stdio::Input => false,
    }
}
