//! The lane: a thread of its own for the connection to NATS and for the writer.
//!
//! Every command passes between these two, twice, and every commit too. On threads that share all work each pass may wake
//! another thread, which costs more than deciding the command does; on one thread it costs nothing. Nothing that takes
//! long belongs here: what can be done beside the writer runs on the threads of the King at large.

use std::io;
use std::thread;
use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

/// The lane. It ends when this is dropped, and with it what still runs there.
pub struct Lane {
    handle: Handle,
    _end: oneshot::Sender<()>,
}

impl Lane {
    /// Starts the thread.
    ///
    /// # Errors
    /// When the host gives none.
    pub fn open() -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let (end, ended) = oneshot::channel::<()>();
        let handle = runtime.handle().clone();
        thread::Builder::new().name("king-lane".into()).spawn(move || {
            // It is never sent: the other side is dropped.
            let _ = runtime.block_on(ended);
        })?;
        Ok(Self { handle, _end: end })
    }

    /// Where tasks are spawned on it.
    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Does something there. What it spawns runs there too.
    pub async fn run<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> T {
        self.handle.spawn(work).await.expect("what runs on the lane does not panic, and the lane is open")
    }
}
