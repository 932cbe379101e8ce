//! The King's end of the hook's socket: it takes what Git was sent, and gives back the verdict.

use super::cache::Held;
use super::refs::Change;
use super::{Remote, hook};
use events::AppName;
use events::limits::{REF_BYTES, REFS_PER_APP};
use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::time::Instant;

/// Most bytes that a hook may send: all references of an app, and some.
const HOOK_BYTES: u64 = ((REFS_PER_APP + 1000) * (REF_BYTES + 83)) as u64;
/// How much earlier than Git's end the verdict must come, so that it can still be said.
const VERDICT_BEFORE: Duration = Duration::from_secs(2);
/// The pause after a connection that could not be accepted: most likely too many files are open.
const BREATH: Duration = Duration::from_millis(100);
const SOCKET: &str = ".hook.sock";

/// Why the King cannot listen for hooks.
#[derive(Debug, thiserror::Error)]
#[error("could not listen on the socket {path}")]
pub struct ReceptionError {
    path: PathBuf,
    source: io::Error,
}

/// A push that Git is receiving.
pub struct Ticket {
    pub id: String,
    pub app: AppName,
    /// When Git is ended.
    pub deadline: Instant,
    /// The lock on the cache, from the verdict until Git has moved the references.
    pub held: Mutex<Option<Held>>,
}

/// The socket, and the pushes that may speak on it.
pub struct Reception {
    pub socket: PathBuf,
    listener: Mutex<Option<UnixListener>>,
    tickets: Mutex<HashMap<String, Arc<Ticket>>>,
}

impl Reception {
    pub fn open(folder: &Path) -> Result<Self, ReceptionError> {
        let socket = folder.join(SOCKET);
        let listener =
            listen(folder, &socket).map_err(|source| ReceptionError { path: socket.clone(), source })?;
        Ok(Self { socket, listener: Mutex::new(Some(listener)), tickets: Mutex::default() })
    }

    /// Lets the hook of a push speak.
    pub fn admit(&self, app: AppName, deadline: Instant) -> Arc<Ticket> {
        let id = service::clock::fresh_id().to_string();
        let ticket = Arc::new(Ticket { id: id.clone(), app, deadline, held: Mutex::default() });
        self.tickets().insert(id, Arc::clone(&ticket));
        ticket
    }

    /// Ends that, and lets go of the cache.
    pub fn dismiss(&self, ticket: &Ticket) {
        self.tickets().remove(&ticket.id);
        ticket.held.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    fn ticket(&self, id: &str) -> Option<Arc<Ticket>> {
        self.tickets().get(id).cloned()
    }

    fn tickets(&self) -> std::sync::MutexGuard<'_, HashMap<String, Arc<Ticket>>> {
        self.tickets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn listen(folder: &Path, socket: &Path) -> io::Result<UnixListener> {
    match std::fs::remove_file(socket) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let folder = std::fs::File::open(folder)?;
    UnixListener::bind(hook::short_path(&folder, socket))
}

/// What is said to the pusher, and whether the push is accepted.
pub struct Verdict {
    pub accepted: bool,
    pub lines: Vec<String>,
}

impl Verdict {
    /// A push that changes nothing, and why.
    pub fn refused(mut lines: Vec<String>) -> Self {
        lines.push("nothing was changed".into());
        Self { accepted: false, lines }
    }
}

impl Remote {
    /// Answers hooks until `shutdown` is ready. Without it every push fails.
    pub async fn run_hooks(self: Arc<Self>, shutdown: impl Future<Output = ()>) {
        let listener = self.reception.listener.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(listener) = listener else {
            tracing::error!("hooks are already answered by another task");
            return;
        };
        let mut shutdown = std::pin::pin!(shutdown);
        loop {
            let stream = tokio::select! {
                () = &mut shutdown => return,
                accepted = listener.accept() => accepted,
            };
            match stream {
                Ok((stream, _)) => {
                    let remote = Arc::clone(&self);
                    tokio::spawn(async move { remote.answer_hook(stream).await });
                }
                Err(error) => {
                    tracing::warn!(%error, "could not accept a hook");
                    tokio::time::sleep(BREATH).await;
                }
            }
        }
    }

    async fn answer_hook(self: &Arc<Self>, stream: UnixStream) {
        let (input, mut output) = stream.into_split();
        let mut input = BufReader::new(input.take(HOOK_BYTES));
        let verdict = match self.read_hook(&mut input).await {
            Ok((ticket, quarantine, changes)) => {
                tokio::select! {
                    verdict = self.judge(&ticket, quarantine, changes) => verdict,
                    // The hook sends nothing more: that it can be read means that it is gone.
                    _ = input.read_u8() => return,
                }
            }
            Err(reason) => Verdict::refused(vec![reason]),
        };
        let mut answer = String::new();
        for line in verdict.lines.iter().flat_map(|line| line.lines()) {
            answer.push_str(&format!("say king: {line}\n"));
        }
        answer.push_str(if verdict.accepted { "exit 0\n" } else { "exit 1\n" });
        if let Err(error) = output.write_all(answer.as_bytes()).await {
            tracing::info!(%error, "a hook went away before its verdict");
        }
    }

    async fn judge(
        self: &Arc<Self>,
        ticket: &Arc<Ticket>,
        quarantine: Option<String>,
        changes: Vec<Change>,
    ) -> Verdict {
        let deadline = ticket.deadline.checked_sub(VERDICT_BEFORE).unwrap_or(ticket.deadline);
        let verdict = tokio::time::timeout_at(deadline, self.receive(ticket, quarantine, changes)).await;
        verdict.unwrap_or_else(|_| {
            let seconds = self.options.time.as_secs();
            Verdict::refused(vec![format!("the push took longer than {seconds} s; push less at a time")])
        })
    }

    async fn read_hook<R: AsyncBufReadExt + Unpin>(
        &self,
        input: &mut R,
    ) -> Result<(Arc<Ticket>, Option<String>, Vec<Change>), String> {
        let id = field(&line(input).await?, "push")?;
        let ticket = self.reception.ticket(&id).ok_or("the push is not known; push again")?;
        let quarantine = field(&line(input).await?, "quarantine")?;
        let mut changes = Vec::new();
        loop {
            let line = line(input).await?;
            if line == b"end" {
                let quarantine = Some(quarantine).filter(|name| !name.is_empty());
                return Ok((ticket, quarantine, changes));
            }
            if changes.len() == REFS_PER_APP {
                return Err(format!("more than {REFS_PER_APP} references in one push; push fewer at a time"));
            }
            changes.push(Change::parse(&line)?);
        }
    }
}

async fn line<R: AsyncBufReadExt + Unpin>(input: &mut R) -> Result<Vec<u8>, String> {
    let mut line = Vec::new();
    input.read_until(b'\n', &mut line).await.map_err(|error| format!("could not read the push: {error}"))?;
    if line.pop() == Some(b'\n') {
        Ok(line)
    } else {
        Err("the push names more references than can be read; push fewer at a time".into())
    }
}

fn field(line: &[u8], name: &str) -> Result<String, String> {
    let text = std::str::from_utf8(line).ok().and_then(|text| text.strip_prefix(name)?.strip_prefix(' '));
    text.map(str::to_owned).ok_or_else(|| format!("the hook did not name its {name}"))
}
