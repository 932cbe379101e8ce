//! The tasks of a King: the first that fails ends all of them.

use super::KingError;
use service::Shutdown;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub(super) struct Tasks {
    set: JoinSet<Result<(), KingError>>,
    /// The one that ends after the others.
    last: JoinSet<Result<(), KingError>>,
    others_ended: CancellationToken,
    shutdown: Shutdown,
}

impl Tasks {
    pub fn new(shutdown: Shutdown) -> Self {
        let others_ended = CancellationToken::new();
        Self { set: JoinSet::new(), last: JoinSet::new(), others_ended, shutdown }
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

    /// Starts a task that may fail, and ends after all the others, which the token tells.
    pub fn spawn_last<E, F>(&mut self, task: impl FnOnce(CancellationToken) -> F)
    where
        F: Future<Output = Result<(), E>> + Send + 'static,
        KingError: From<E>,
    {
        let task = task(self.others_ended.clone());
        self.last.spawn(async move { Ok(task.await?) });
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
        loop {
            if self.set.is_empty() {
                self.others_ended.cancel();
            }
            let ended = tokio::select! {
                Some(ended) = self.set.join_next() => ended,
                Some(ended) = self.last.join_next() => ended,
                else => return first,
            };
            let ended = ended.expect("no task of the King panics or is cancelled");
            if ended.is_err() && first.is_ok() {
                first = ended;
                self.shutdown.request();
            }
        }
    }
}
