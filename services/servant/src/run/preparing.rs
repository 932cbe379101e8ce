//! The releases that are being prepared, each by one task at a time. One that nobody needs any more is broken off; when it
//! is needed again, the next task begins once nothing of the one before writes any more, and only its outcome counts.

use crate::container::supply::Supplied;
use crate::reconcile::Input;
use crate::release::Preparer;
use crate::spec::{ReleaseKey, Spec};
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinHandle;

/// What became of a release.
pub struct Prepared {
    key: ReleaseKey,
    attempt: u64,
    pub input: Input,
}

/// The tasks, by what they prepare.
pub struct Preparing {
    tasks: HashMap<ReleaseKey, Task>,
    attempts: u64,
    answers: mpsc::Sender<Prepared>,
}

struct Task {
    attempt: u64,
    handle: JoinHandle<()>,
    /// Held by whatever writes, which may outlive the task.
    turn: Arc<Mutex<()>>,
}

impl Preparing {
    pub fn new(answers: mpsc::Sender<Prepared>) -> Self {
        Self { tasks: HashMap::new(), attempts: 0, answers }
    }

    /// Prepares the release of this instance, anew if it is being prepared.
    pub fn begin(&mut self, preparer: Preparer, spec: Spec) {
        self.attempts += 1;
        let (key, attempt) = (spec.key.clone(), self.attempts);
        let turn = self.tasks.remove(&key).map(|old| {
            old.handle.abort();
            old.turn
        });
        let turn = turn.unwrap_or_default();
        let (answers, waiting) = (self.answers.clone(), turn.clone());
        let handle = tokio::spawn(async move {
            let turn = Arc::new(waiting.lock_owned().await);
            let input = match preparer.prepare(&spec, turn).await {
                Ok(Supplied::Ready) => Input::ReleaseReady(spec.key.clone()),
                Ok(Supplied::Built(built)) => Input::ImageBuilt { instance: spec.instance, built },
                Err(error) => {
                    tracing::error!(release = %spec.key, %error, "release cannot be had");
                    let (stage, reason) = (error.stage(), error.reason());
                    Input::ReleaseFailed { key: spec.key.clone(), stage, reason }
                }
            };
            // The shell is gone when the servant ends.
            let _ = answers.send(Prepared { key: spec.key, attempt, input }).await;
        });
        self.tasks.insert(key, Task { attempt, handle, turn });
    }

    /// Whether this is the outcome of the last task for its release.
    pub fn is_current(&self, prepared: &Prepared) -> bool {
        self.tasks.get(&prepared.key).is_some_and(|task| task.attempt == prepared.attempt)
    }

    /// Breaks off what nobody needs.
    pub fn keep(&mut self, used: &BTreeSet<ReleaseKey>) {
        for (_, task) in self.tasks.iter().filter(|(key, _)| !used.contains(key)) {
            task.handle.abort();
        }
        // What still writes is remembered, for the next to wait for it.
        self.tasks.retain(|key, task| used.contains(key) || Arc::strong_count(&task.turn) > 1);
    }
}
