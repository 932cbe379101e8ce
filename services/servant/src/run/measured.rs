//! Which instances are measured, and listened to: what the reconciler hears, the roster of telemetry and the hub of app
//! events hear too. Of an instance with workers the one in slot 0 is measured.

use super::shell::Shell;
use crate::holder::runs;
use crate::keeper::InstanceFolder;
use crate::reconcile::{Adopted, Input};
use events::InstanceId;

impl Shell {
    /// Takes note of an input before the reconciler does.
    pub(super) fn measure(&self, input: &Input) {
        let roster = &self.telemetry.roster;
        match input {
            Input::Known { spec, adopted, .. } => {
                let pid = |adopted: &Adopted| match adopted {
                    Adopted::Running { pid, .. } => Some(*pid),
                    Adopted::Idle | Adopted::Exited { .. } => None,
                };
                let first = adopted.get(&0).and_then(pid);
                roster.found(spec.instance, first, self.restarts(spec.instance));
                if adopted.values().any(|adopted| pid(adopted).is_some()) {
                    self.events_of(spec);
                }
            }
            Input::Started { instance, slot: 0, pid } => roster.started(*instance, *pid),
            Input::Exited { instance, exit } => roster.ended(*instance, exit.pid),
            Input::Gone(instance) => {
                roster.forget(*instance);
                self.hub.close(*instance);
            }
            Input::Assigned { .. }
            | Input::Started { .. }
            | Input::Load { .. }
            | Input::ReleaseReady(_)
            | Input::ImageBuilt { .. }
            | Input::ReleaseFailed { .. }
            | Input::StartFailed { .. }
            | Input::Passed { .. }
            | Input::CheckFailed { .. }
            | Input::Tick
            | Input::End => {}
        }
    }

    /// How often an instance was started again before this servant was: by the number of its last run.
    fn restarts(&self, instance: InstanceId) -> u32 {
        let folder = InstanceFolder::new(&self.instances, instance);
        let last = runs::read(&folder.path).map_or(0, |state| state.last_run());
        u32::try_from(last.saturating_sub(1)).unwrap_or(u32::MAX)
    }
}
