//! The orderly end: SIGTERM or SIGINT, awaited by as many tasks as like.

use std::io;
use tokio::signal::unix::{SignalKind, signal as listen};
use tokio::sync::watch;

/// A handle on the end of this process. Clones share it.
#[derive(Clone, Debug)]
pub struct Shutdown {
    requested: watch::Sender<bool>,
}

impl Shutdown {
    /// A handle that only [`Shutdown::request`] ends: for tests and for parts of a process.
    pub fn by_hand() -> Self {
        Self { requested: watch::Sender::new(false) }
    }

    /// A handle that SIGTERM and SIGINT end. From now on neither kills this process by itself.
    ///
    /// # Errors
    /// When the signals cannot be listened to.
    pub fn on_signal() -> io::Result<Self> {
        let shutdown = Self::by_hand();
        let (mut terminate, mut interrupt) =
            (listen(SignalKind::terminate())?, listen(SignalKind::interrupt())?);
        let task = shutdown.clone();
        tokio::spawn(async move {
            let name = tokio::select! {
                _ = terminate.recv() => "SIGTERM",
                _ = interrupt.recv() => "SIGINT",
            };
            tracing::info!(signal = name, "stopping");
            task.request();
        });
        Ok(shutdown)
    }

    /// A handle for a part of what this one ends: it ends with this one, and can be ended alone.
    pub fn part(&self) -> Self {
        let (whole, part) = (self.clone(), Self::by_hand());
        let ended = part.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = whole.requested() => ended.request(),
                () = ended.requested() => {}
            }
        });
        part
    }

    /// Asks every holder of this handle to end.
    pub fn request(&self) {
        self.requested.send_replace(true);
    }

    /// Whether the end was asked for.
    pub fn is_requested(&self) -> bool {
        *self.requested.borrow()
    }

    /// Waits until the end is asked for; returns at once if it was. May be awaited in `select!` any number of times.
    pub async fn requested(&self) {
        let mut changes = self.requested.subscribe();
        changes.wait_for(|requested| *requested).await.expect("this handle holds the sender");
    }
}

/// Waits for the next SIGTERM or SIGINT: for a program with nothing but one task.
///
/// # Errors
/// When the signals cannot be listened to.
pub async fn signal() -> io::Result<()> {
    let (mut terminate, mut interrupt) = (listen(SignalKind::terminate())?, listen(SignalKind::interrupt())?);
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_part_ends_alone_or_with_the_whole() {
        let whole = Shutdown::by_hand();
        let (first, second) = (whole.part(), whole.part());
        first.request();
        first.requested().await;
        assert!(!whole.is_requested() && !second.is_requested());
        whole.request();
        second.requested().await;
    }

    #[tokio::test]
    async fn many_tasks_hear_one_request() {
        let shutdown = Shutdown::by_hand();
        let waiters: Vec<_> = (0..3)
            .map(|_| {
                let waiter = shutdown.clone();
                tokio::spawn(async move { waiter.requested().await })
            })
            .collect();
        assert!(!shutdown.is_requested());
        shutdown.request();
        for waiter in waiters {
            waiter.await.expect("no waiter panics");
        }
        shutdown.requested().await;
        assert!(shutdown.is_requested());
    }
}
