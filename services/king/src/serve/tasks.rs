//! The tasks of a King: the first that fails ends all of them.

use super::KingError;
use service::Shutdown;
use tokio::task::JoinSet;

pub(super) struct Tasks {
    set: JoinSet<Result<(), KingError>>,
    shutdown: Shutdown,
}

impl Tasks {
    pub fn new(shutdown: Shutdown) -> Self {
        Self { set: JoinSet::new(), shutdown }
    }

    pub fn shutdown(&self) -> &Shutdown {
        &self.shutdown
    }

    /// Starts a task that may fail.
    pub fn spawn<E>(&mut self, task: impl Future<Output = Result<(), E>> + Send + 'static)
    where
        KingError: From<E>,
    {
        self.set.spawn(async move { Ok(task.await?) });
    }

    /// Starts a task that cannot fail.
    pub fn spawn_plain(&mut self, task: impl Future<Output = ()> + Send + 'static) {
        self.set.spawn(async move {
            task.await;
            Ok(())
        });
    }

    /// Waits until all have ended; the first that fails asks the others to end.
    pub async fn wait(mut self) -> Result<(), KingError> {
        let mut first = Ok(());
        while let Some(ended) = self.set.join_next().await {
            let ended = ended.expect("no task of the King panics or is cancelled");
            if ended.is_err() && first.is_ok() {
                first = ended;
                self.shutdown.request();
            }
        }
        first
    }
}
