//! The thread that sends: lines out of a bounded queue, several in one datagram, again and again until the servant takes
//! them.

use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, TrySendError, sync_channel};
use std::thread;
use std::time::Duration;

/// Most lines that wait.
const QUEUE: usize = 1024;
/// Longest line: the servant takes no longer one.
const LINE_BYTES: usize = 8 * 1024;
/// When a datagram is large enough to be sent.
const DATAGRAM_BYTES: usize = 16 * 1024;
/// How long one attempt may take while the servant reads slowly.
const ATTEMPT: Duration = Duration::from_secs(1);
/// How long to wait while there is no servant.
const PAUSE: Duration = Duration::from_millis(100);

enum Word {
    Line(String),
    /// All before it has gone out.
    Flush(SyncSender<()>),
}

#[derive(Debug)]
pub struct Sender {
    words: SyncSender<Word>,
    lost: Arc<AtomicU64>,
}

impl Sender {
    /// Starts the thread; none when this system gives no socket or no thread.
    pub fn start(path: PathBuf) -> Option<Self> {
        let socket = UnixDatagram::unbound().ok()?;
        socket.set_write_timeout(Some(ATTEMPT)).ok()?;
        let (words, waiting) = sync_channel(QUEUE);
        let lost = Arc::new(AtomicU64::new(0));
        let courier = Courier { path, socket, waiting, lost: lost.clone(), told: 0 };
        let work = move || courier.run();
        thread::Builder::new().name("king-events".to_owned()).spawn(work).ok()?;
        Some(Self { words, lost })
    }

    /// Never waits.
    pub fn send(&self, line: String) {
        let is_long = line.len() > LINE_BYTES;
        if is_long || matches!(self.words.try_send(Word::Line(line)), Err(TrySendError::Full(_))) {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub fn flush(&self, within: Duration) -> bool {
        let (done, heard) = sync_channel(1);
        // A full queue is not flushed in time either.
        self.words.try_send(Word::Flush(done)).is_ok() && heard.recv_timeout(within).is_ok()
    }

    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }
}

struct Courier {
    path: PathBuf,
    socket: UnixDatagram,
    waiting: Receiver<Word>,
    lost: Arc<AtomicU64>,
    /// How many of the lost the servant was told of.
    told: u64,
}

impl Courier {
    /// Until nobody can tell anything any more.
    fn run(mut self) {
        while let Ok(first) = self.waiting.recv() {
            let (mut batch, mut flushes) = (String::new(), Vec::new());
            let mut next = Ok(first);
            loop {
                match next {
                    Ok(Word::Line(line)) => {
                        batch.push_str(&line);
                        batch.push('\n');
                    }
                    Ok(Word::Flush(done)) => flushes.push(done),
                    Err(TryRecvError::Empty | TryRecvError::Disconnected) => break,
                }
                if batch.len() >= DATAGRAM_BYTES {
                    break;
                }
                next = self.waiting.try_recv();
            }
            self.deliver(batch);
            // Who waited for it may have gone.
            for done in flushes {
                let _ = done.try_send(());
            }
        }
    }

    #[allow(
        clippy::disallowed_methods,
        reason = "a servant that comes back says nothing that could be awaited"
    )]
    fn deliver(&mut self, mut batch: String) {
        let lost = self.lost.load(Ordering::Relaxed);
        if lost > self.told {
            batch.push_str(&format!("{{\"lost\":{}}}\n", lost - self.told));
            self.told = lost;
        }
        while !batch.is_empty() && self.socket.send_to(batch.as_bytes(), &self.path).is_err() {
            // The servant is away or does not come to read: it will be back, at the same place.
            thread::sleep(PAUSE);
        }
    }
}
