//! Images in assignments: where each servant gets them, and who builds one that nobody has. Among the servants that need an
//! image, the one with the oldest instance that is not given up builds it; the others wait until the kingdom holds it.

use super::ViewKey;
use crate::state::{App, Instance, PublishedVersion, Release, State};
use events::event::InstanceEvent;
use events::query::InstancePhase;
use events::view::{AssignedContainer, AssignedImage};
use events::{AppName, Image, InstanceId, ProcessName, ServantId};

/// For whom an assignment is made.
pub(super) struct Whom<'a> {
    pub state: &'a State,
    pub app: &'a App,
    pub servant: ServantId,
}

impl Whom<'_> {
    /// What a process type needs to run as a container there.
    pub(super) fn container(
        &self,
        release: &Release,
        published: &PublishedVersion,
        process: &ProcessName,
    ) -> Option<AssignedContainer> {
        let declared = published.manifest.processes.get(process)?;
        let image = match declared.image.as_ref()? {
            Image::Named(name) => match release.images.get(process) {
                Some(held) => AssignedImage::Held(*held),
                None => AssignedImage::Named(name.clone()),
            },
            Image::Built { build } => match published.built.get(build) {
                Some(held) => AssignedImage::Held(held.archive),
                None if self.builder(release, build) == Some(self.servant) => {
                    AssignedImage::Build(build.clone())
                }
                None => AssignedImage::Awaited,
            },
        };
        Some(AssignedContainer {
            image,
            ports: declared.container_ports.clone(),
            volumes: declared.volumes.clone(),
        })
    }

    /// Who builds an image of a version.
    fn builder(&self, release: &Release, dockerfile: &str) -> Option<ServantId> {
        let needs = |instance: &Instance| {
            let own = self.app.releases.get(&instance.release);
            own.is_some_and(|own| own.version == release.version)
                && builds(self.app, instance) == Some(dockerfile)
                && !instance.is_retired()
                && instance.phase != InstancePhase::Failed
                && !self.state.is_lost(instance.servant)
        };
        let found = self.state.instances_of(self.app).find(|(_, instance)| needs(instance));
        found.map(|(_, instance)| instance.servant)
    }
}

/// The Dockerfile that an instance's image is built from.
fn builds<'a>(app: &'a App, instance: &Instance) -> Option<&'a str> {
    match app.manifest_of(instance.release)?.processes.get(&instance.process)?.image.as_ref()? {
        Image::Named(_) => None,
        Image::Built { build } => Some(build),
    }
}

/// The assignments that change when an image of an app is built, or somebody else builds it.
pub(super) fn waiting(before: &State, app: &AppName) -> Vec<ViewKey> {
    let Some(app) = before.apps.get(app) else { return Vec::new() };
    let waits = before.instances_of(app).filter(|(_, instance)| {
        let version =
            app.releases.get(&instance.release).and_then(|release| app.versions.get(&release.version));
        builds(app, instance)
            .is_some_and(|dockerfile| version.is_some_and(|version| !version.built.contains_key(dockerfile)))
    });
    waits.map(|(_, instance)| ViewKey::Assignment(instance.servant)).collect()
}

/// The assignments in which an instance that comes, fails or goes may change who builds.
pub(super) fn moved_by_instance(before: &State, fact: &InstanceEvent) -> Vec<ViewKey> {
    let app = |id: InstanceId| before.instances.get(&id).map(|instance| &instance.app);
    let app = match fact {
        InstanceEvent::Placed(fact) => Some(&fact.app),
        InstanceEvent::Failed(_) | InstanceEvent::Retired(_) | InstanceEvent::Stopped(_) => {
            app(fact.instance())
        }
        InstanceEvent::PortsReplaced(_)
        | InstanceEvent::Started(_)
        | InstanceEvent::BecameHealthy(_)
        | InstanceEvent::BecameUnhealthy(_)
        | InstanceEvent::Crashed(_)
        | InstanceEvent::Finished(_)
        | InstanceEvent::CrashLooped(_)
        | InstanceEvent::Steadied(_)
        | InstanceEvent::Halted(_)
        | InstanceEvent::Erred(_)
        | InstanceEvent::RestartOrdered(_)
        | InstanceEvent::WorkersScaled(_) => None,
    };
    app.map_or_else(Vec::new, |app| waiting(before, app))
}

/// The assignments in which a servant that is lost or back may change who builds.
pub(super) fn moved_by_servant(before: &State, servant: ServantId) -> Vec<ViewKey> {
    let Some(servant) = before.servants.get(&servant) else { return Vec::new() };
    let instances = servant.instances.iter().filter_map(|id| before.instances.get(id));
    instances.flat_map(|instance| waiting(before, &instance.app)).collect()
}
