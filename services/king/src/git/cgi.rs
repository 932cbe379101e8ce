//! `git http-backend` as a CGI program (RFC 3875): streamed both ways, ended with all its children when its time is
//! over or the client goes away.

use super::http::Visit;
use super::program::last_lines;
use axum::body::{Body, Bytes};
use axum::response::Response;
use futures_util::{Stream, StreamExt};
use rustix::process::{Pid, Signal, kill_process_group};
use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::process::Stdio;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::io::ReaderStream;

/// Longest header block of an answer.
const HEADER_BYTES: u64 = 16 * 1024;
/// From SIGTERM, at which Git removes what it has half done, to SIGKILL.
const GRACE: Duration = Duration::from_secs(2);
/// What is still read of a body that Git does not want any more, so that its client comes to read why.
const DRAIN_BYTES: u64 = 64 << 20;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum CgiError {
    #[error("could not start git http-backend")]
    Start(#[source] io::Error),
    #[error("git http-backend ended without an answer")]
    NoAnswer,
    #[error("git http-backend took too long")]
    TimedOut,
}

/// A request as CGI tells it.
pub struct Call {
    pub method: String,
    pub root: PathBuf,
    pub path: String,
    pub query: String,
    pub content_type: Option<String>,
    pub content_length: Option<String>,
    pub content_encoding: Option<String>,
    pub protocol: Option<String>,
    /// The socket for the hook, and the id of the push.
    pub hook: Option<(PathBuf, String)>,
}

impl Call {
    /// Puts it into the environment of the program.
    pub fn apply(self, mut command: Command) -> Command {
        command
            .env("REQUEST_METHOD", self.method)
            .env("GIT_PROJECT_ROOT", self.root)
            .env("PATH_INFO", self.path)
            .env("QUERY_STRING", self.query)
            .env("GIT_HTTP_EXPORT_ALL", "1")
            .env("SERVER_PROTOCOL", "HTTP/1.1")
            .env("GATEWAY_INTERFACE", "CGI/1.1");
        let optional = [
            ("CONTENT_TYPE", self.content_type),
            ("CONTENT_LENGTH", self.content_length),
            ("HTTP_CONTENT_ENCODING", self.content_encoding),
            ("GIT_PROTOCOL", self.protocol),
        ];
        for (name, value) in optional {
            if let Some(value) = value {
                command.env(name, value);
            }
        }
        if let Some((socket, push)) = self.hook {
            command.env(super::hook::SOCKET, socket).env(super::hook::PUSH, push);
        }
        command
    }
}

/// Runs the program for one request. The visit ends when the program has.
pub async fn run(
    mut command: Command,
    body: Body,
    body_bytes: u64,
    deadline: Instant,
    visit: Visit,
) -> Result<Response, CgiError> {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    let mut child = command.spawn().map_err(CgiError::Start)?;
    let (Some(stdin), Some(stdout), Some(stderr)) =
        (child.stdin.take(), child.stdout.take(), child.stderr.take())
    else {
        unreachable!("all three are piped");
    };
    let (left, gone) = oneshot::channel();
    let (fed, feeding) = oneshot::channel();
    tokio::spawn(async move {
        // The receiver goes away when the program has ended.
        let _ = fed.send(feed(body, stdin, body_bytes).await);
    });
    tokio::spawn(conduct(child, stderr, gone, feeding, deadline, visit));
    let mut stdout = BufReader::new(stdout);
    let head = timeout_at(deadline, read_head(&mut stdout)).await.map_err(|_| CgiError::TimedOut)??;
    let reply = Reply { stream: ReaderStream::new(stdout), left: Some(left) };
    head.body(Body::from_stream(reply)).map_err(|_| CgiError::NoAnswer)
}

/// How the sending of a body to the program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fed {
    /// All of it, or as much as the program wanted.
    Enough,
    /// The client stopped in the middle, or sent too much.
    Broken,
}

async fn feed(body: Body, mut stdin: ChildStdin, most: u64) -> Fed {
    let mut chunks = body.into_data_stream();
    let mut total = 0;
    while let Some(chunk) = chunks.next().await {
        let Ok(chunk) = chunk else { return Fed::Broken };
        total += chunk.len() as u64;
        if total > most {
            return Fed::Broken;
        }
        if stdin.write_all(&chunk).await.is_err() {
            drop(stdin);
            return drain(chunks).await;
        }
    }
    Fed::Enough
}

async fn drain(mut chunks: impl Stream<Item = Result<Bytes, axum::Error>> + Unpin) -> Fed {
    let mut total = 0;
    while let Some(Ok(chunk)) = chunks.next().await {
        total += chunk.len() as u64;
        if total > DRAIN_BYTES {
            return Fed::Broken;
        }
    }
    Fed::Enough
}

/// Waits for the end of the program, or brings it about.
async fn conduct(
    mut child: Child,
    stderr: ChildStderr,
    gone: oneshot::Receiver<()>,
    feeding: oneshot::Receiver<Fed>,
    deadline: Instant,
    visit: Visit,
) {
    let broken = async {
        if feeding.await != Ok(Fed::Broken) {
            std::future::pending::<()>().await;
        }
    };
    let left = async {
        // An answer that was read to its end says so; one that was dropped does not.
        if gone.await.is_ok() {
            std::future::pending::<()>().await;
        }
    };
    let mut said = Vec::new();
    let mut stderr = stderr.take(HEADER_BYTES);
    let reason = {
        let work = async { tokio::join!(child.wait(), stderr.read_to_end(&mut said)) };
        tokio::select! {
            _ = work => None,
            () = broken => Some("its request broke off"),
            () = left => Some("its client went away"),
            () = tokio::time::sleep_until(deadline) => Some("its time was over"),
        }
    };
    if let Some(reason) = reason {
        tracing::info!(reason, "git http-backend is ended");
        end(&mut child, stderr.into_inner()).await;
    } else if !said.is_empty() {
        tracing::info!(said = last_lines(&said), "git http-backend said");
    }
    drop(visit);
}

/// Ends the program with all its children: each of them holds its standard error open until it is gone.
async fn end(child: &mut Child, mut stderr: ChildStderr) {
    let group = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
    let Some(group) = group else { return };
    // A group that is gone needs no signal.
    let _ = kill_process_group(group, Signal::TERM);
    if timeout(GRACE, all_gone(child, &mut stderr)).await.is_err() {
        let _ = kill_process_group(group, Signal::KILL);
        if timeout(GRACE, all_gone(child, &mut stderr)).await.is_err() {
            tracing::warn!("git http-backend or a child of it does not end");
        }
    }
}

async fn all_gone(child: &mut Child, stderr: &mut ChildStderr) {
    let mut nobody_listens = tokio::io::sink();
    // Both can fail only when there is nothing to wait for.
    let _ = tokio::join!(child.wait(), tokio::io::copy(stderr, &mut nobody_listens));
}

async fn read_head(stdout: &mut BufReader<ChildStdout>) -> Result<axum::http::response::Builder, CgiError> {
    let mut head = Response::builder();
    let mut input = stdout.take(HEADER_BYTES);
    loop {
        let mut line = String::new();
        let length = input.read_line(&mut line).await.map_err(|_| CgiError::NoAnswer)?;
        let line = line.trim_end();
        if length == 0 {
            return Err(CgiError::NoAnswer);
        }
        if line.is_empty() {
            return Ok(head);
        }
        let (name, value) = line.split_once(':').ok_or(CgiError::NoAnswer)?;
        head = match name.to_ascii_lowercase().as_str() {
            "status" => head.status(value.trim().split(' ').next().unwrap_or_default()),
            _ => head.header(name, value.trim()),
        };
    }
}

/// The rest of the answer; tells whether it was read to its end.
struct Reply {
    stream: ReaderStream<BufReader<ChildStdout>>,
    left: Option<oneshot::Sender<()>>,
}

impl Stream for Reply {
    type Item = io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        let next = Pin::new(&mut self.stream).poll_next(context);
        if let Poll::Ready(None) = &next
            && let Some(left) = self.left.take()
        {
            // The conductor is gone when the program has ended.
            let _ = left.send(());
        }
        next
    }
}
