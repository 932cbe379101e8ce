//! Which instances are measured, and by which process each is known. Written by the shell, read once a second.

use events::InstanceId;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The instances to be measured. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Roster {
    inner: Arc<Mutex<BTreeMap<InstanceId, Watched>>>,
}

/// What is known of an instance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Watched {
    /// Its main process, while it runs.
    pub pid: Option<u32>,
    /// How often it was started again.
    pub restarts: u32,
}

impl Roster {
    /// An instance that was found, and how many processes it had before.
    pub fn found(&self, instance: InstanceId, pid: Option<u32>, restarts: u32) {
        self.lock().insert(instance, Watched { pid, restarts });
    }

    /// Its process was started.
    pub fn started(&self, instance: InstanceId, pid: u32) {
        let mut watched = self.lock();
        let restarts = watched
            .get(&instance)
            .map_or(0, |before| if before.pid == Some(pid) { before.restarts } else { before.restarts + 1 });
        watched.insert(instance, Watched { pid: Some(pid), restarts });
    }

    /// A process of it has ended; its successor may run already.
    pub fn ended(&self, instance: InstanceId, pid: u32) {
        if let Some(watched) = self.lock().get_mut(&instance).filter(|watched| watched.pid == Some(pid)) {
            watched.pid = None;
        }
    }

    /// It is no more.
    pub fn forget(&self, instance: InstanceId) {
        self.lock().remove(&instance);
    }

    /// All of them.
    pub fn all(&self) -> BTreeMap<InstanceId, Watched> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<InstanceId, Watched>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    #[test]
    fn a_start_after_another_is_a_restart_and_the_same_one_told_again_is_not() {
        let (roster, one) = (Roster::default(), InstanceId(Uuid::from_u128(1)));
        roster.started(one, 10);
        roster.started(one, 10);
        assert_eq!(roster.all()[&one], Watched { pid: Some(10), restarts: 0 });
        roster.ended(one, 9);
        assert_eq!(roster.all()[&one].pid, Some(10));
        roster.ended(one, 10);
        assert_eq!(roster.all()[&one].pid, None);
        roster.started(one, 11);
        assert_eq!(roster.all()[&one], Watched { pid: Some(11), restarts: 1 });
        roster.found(one, Some(12), 7);
        roster.started(one, 13);
        assert_eq!(roster.all()[&one].restarts, 8);
        roster.forget(one);
        assert!(roster.all().is_empty());
    }
}
