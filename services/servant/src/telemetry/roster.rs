//! Which instances are measured, and by which processes each is known. Written by the shell, read once a second.

use events::{InstanceId, Slot};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The instances to be measured. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Roster {
    inner: Arc<Mutex<BTreeMap<InstanceId, Watched>>>,
}

/// What is known of an instance.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Watched {
    /// Its main processes while they run: one, or one for each worker.
    pub mains: BTreeMap<Slot, u32>,
    /// The slots that had a process before: the next one there is a restart.
    had: BTreeSet<Slot>,
    /// How often one was started again.
    pub restarts: u32,
}

impl Watched {
    /// Found so.
    pub fn new(mains: BTreeMap<Slot, u32>, restarts: u32) -> Self {
        // Whatever it was: it is not the first time that it is started.
        let had = mains.keys().copied().chain([0]).collect();
        Self { mains, had, restarts }
    }
}

impl Roster {
    /// An instance that was found with these processes, and how many it had before.
    pub fn found(&self, instance: InstanceId, mains: BTreeMap<Slot, u32>, restarts: u32) {
        self.lock().insert(instance, Watched::new(mains, restarts));
    }

    /// A process of it was started.
    pub fn started(&self, instance: InstanceId, slot: Slot, pid: u32) {
        let mut all = self.lock();
        let watched = all.entry(instance).or_default();
        let is_new = watched.mains.insert(slot, pid) != Some(pid);
        let is_first = watched.had.insert(slot);
        watched.restarts += u32::from(is_new && !is_first);
    }

    /// A process of it has ended; its successor may run already.
    pub fn ended(&self, instance: InstanceId, slot: Slot, pid: u32) {
        if let Some(watched) = self.lock().get_mut(&instance)
            && watched.mains.get(&slot) == Some(&pid)
        {
            watched.mains.remove(&slot);
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
        let seen = |roster: &Roster| {
            let watched = &roster.all()[&one];
            (watched.mains.values().copied().collect::<Vec<_>>(), watched.restarts)
        };
        roster.started(one, 0, 10);
        roster.started(one, 0, 10);
        assert_eq!(seen(&roster), (vec![10], 0));
        roster.ended(one, 0, 9);
        assert_eq!(seen(&roster), (vec![10], 0));
        roster.ended(one, 0, 10);
        assert_eq!(seen(&roster), (vec![], 0));
        roster.started(one, 0, 11);
        assert_eq!(seen(&roster), (vec![11], 1));
        roster.started(one, 3, 20);
        assert_eq!(seen(&roster), (vec![11, 20], 1), "another worker is none");
        roster.started(one, 3, 21);
        assert_eq!(seen(&roster), (vec![11, 21], 2));
        roster.found(one, BTreeMap::from([(0, 12)]), 7);
        roster.started(one, 0, 13);
        assert_eq!(seen(&roster), (vec![13], 8));
        roster.forget(one);
        assert!(roster.all().is_empty());
    }
}
