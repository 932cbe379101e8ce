//! Which instances are measured, and listened to: what the reconciler hears, the roster of telemetry and the hub of app
//! events hear too.

use super::shell::Shell;
use crate::holder::runs;
use crate::keeper::InstanceFolder;
use crate::reconcile::{Adopted, Input};
use events::{InstanceId, Slot};
use std::collections::BTreeMap;

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
                let running = adopted.iter().filter_map(|(slot, adopted)| Some((*slot, pid(adopted)?)));
                let mains: BTreeMap<Slot, u32> = running.collect();
                if !mains.is_empty() {
                    self.events_of(spec);
                }
                roster.found(spec.instance, mains, self.restarts(spec.instance));
            }
            Input::Started { instance, slot, pid } => roster.started(*instance, *slot, *pid),
            Input::Exited { instance, exit } => roster.ended(*instance, exit.slot, exit.pid),
            Input::Gone(instance) => {
                roster.forget(*instance);
                self.hub.close(*instance);
            }
            Input::Assigned { .. }
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
