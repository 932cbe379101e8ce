//! The connection to one holder: orders there, words back, and the truth about its end.

use super::{Heard, HeardWhat, Host, InstanceFolder, unheld};
use crate::holder::words::{Order, Said, State};
use crate::holder::{LOCK, SOCKET};
use std::fs::{File, TryLockError};
use std::io;
use std::os::fd::AsRawFd;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::UnixStream;
use tokio::net::unix::OwnedReadHalf;
use tokio::sync::mpsc;

/// How long a living holder may take to say its state.
const GREETING: Duration = Duration::from_secs(2);
/// How often a holder that lives but does not answer is tried again.
const TRY_AGAIN: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(5);
/// What is read of a holder at once: its words are short, and there are hundreds of them.
const READ_BYTES: usize = 1024;

/// Connects to the living holder of an instance and hears its state; none when no holder lives. Takes as long as that
/// is not known.
pub async fn connect(folder: &InstanceFolder) -> Option<(UnixStream, State)> {
    loop {
        match is_held(folder) {
            Ok(false) => return None,
            Ok(true) => match tokio::time::timeout(GREETING, greet(folder)).await {
                Ok(Ok(greeted)) => return Some(greeted),
                Ok(Err(error)) => {
                    tracing::debug!(instance = %folder.instance, %error, "its holder lives and does not answer; trying again");
                }
                Err(_) => {
                    tracing::warn!(instance = %folder.instance, "its holder lives and says nothing; trying again");
                }
            },
            // Nothing is concluded from what cannot be seen: a holder that lives must not lose its instance.
            Err(error) => {
                tracing::warn!(instance = %folder.instance, %error, "whether its holder lives cannot be seen; trying again");
            }
        }
        tokio::time::sleep(TRY_AGAIN).await;
    }
}

/// A living holder holds its lock.
fn is_held(folder: &InstanceFolder) -> io::Result<bool> {
    match File::open(folder.path.join(LOCK)) {
        Ok(lock) => match lock.try_lock() {
            Ok(()) => Ok(false),
            Err(TryLockError::WouldBlock) => Ok(true),
            Err(TryLockError::Error(error)) => Err(error),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

async fn greet(folder: &InstanceFolder) -> io::Result<(UnixStream, State)> {
    // The path of a socket is at most 107 bytes long; by the descriptor of its folder it always is.
    let directory = File::open(&folder.path)?;
    let path = format!("/proc/self/fd/{}/{SOCKET}", directory.as_raw_fd());
    let mut stream = UnixStream::connect(path).await?;
    let state = first_word(&mut stream).await?;
    Ok((stream, state))
}

/// Reads byte by byte, so that nothing behind the first line is taken from the stream.
async fn first_word(stream: &mut UnixStream) -> io::Result<State> {
    use tokio::io::AsyncReadExt;
    let mut line = Vec::new();
    loop {
        match stream.read_u8().await? {
            b'\n' => break,
            byte => line.push(byte),
        }
    }
    match serde_json::from_slice(&line)? {
        Said::State(state) => Ok(state),
        other => Err(io::Error::other(format!("a holder says its state first, and this one said {other:?}"))),
    }
}

/// Carries orders and words until the holder is gone. Without a stream, a holder that is there is connected to first.
pub async fn run(
    folder: InstanceFolder,
    host: Host,
    mut stream: Option<UnixStream>,
    mut orders: mpsc::Receiver<Order>,
    heard: mpsc::Sender<Heard>,
) {
    loop {
        let end = match stream.take() {
            Some(stream) => carry(&folder, stream, &mut orders, &heard).await,
            None => End::Cut,
        };
        let what = match end {
            End::Left => HeardWhat::Left,
            End::ShellGone => return,
            // What happens seldom has its room only then: a task is as large as the largest thing that it may have to do.
            End::Cut => match Box::pin(connect(&folder)).await {
                Some((again, state)) => {
                    tell(&folder, &heard, HeardWhat::Again(state)).await;
                    stream = Some(again);
                    continue;
                }
                None => Box::pin(lost(&folder, &host, &heard)).await,
            },
        };
        tell(&folder, &heard, what).await;
        return;
    }
}

/// Until nothing of the instance is left: before that, it must not be started anew.
async fn lost(folder: &InstanceFolder, host: &Host, heard: &mpsc::Sender<Heard>) -> HeardWhat {
    let mut wait = TRY_AGAIN;
    loop {
        match unheld(folder, host).await {
            Ok(state) => {
                let others = state.others.into_iter().filter_map(|slot| slot.exit);
                return HeardWhat::Lost(state.exit.into_iter().chain(others).collect());
            }
            Err(error) => {
                tracing::error!(instance = %folder.instance, %error, "what a killed holder left could not be swept away; trying again");
            }
        }
        if heard.is_closed() {
            return HeardWhat::Lost(Vec::new());
        }
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(LONGEST_WAIT);
    }
}

enum End {
    Left,
    Cut,
    ShellGone,
}

async fn carry(
    folder: &InstanceFolder,
    stream: UnixStream,
    orders: &mut mpsc::Receiver<Order>,
    heard: &mpsc::Sender<Heard>,
) -> End {
    let (reader, mut writer) = stream.into_split();
    let mut lines = BufReader::with_capacity(READ_BYTES, reader).lines();
    loop {
        tokio::select! {
            order = orders.recv() => {
                let Some(order) = order else { return End::ShellGone };
                let mut line = serde_json::to_vec(&order).expect("orders have text keys");
                line.push(b'\n');
                // A failed write shows as the end of the reading side too.
                if writer.write_all(&line).await.is_err() {
                    return drain(folder, &mut lines, heard).await;
                }
            }
            said = next_word(&mut lines) => match said {
                Some(Said::Left) => return End::Left,
                Some(said) => tell(folder, heard, HeardWhat::Said(said)).await,
                None => return End::Cut,
            }
        }
    }
}

/// What the holder said before it closed.
async fn drain(
    folder: &InstanceFolder,
    lines: &mut Lines<BufReader<OwnedReadHalf>>,
    heard: &mpsc::Sender<Heard>,
) -> End {
    loop {
        match next_word(lines).await {
            Some(Said::Left) => return End::Left,
            Some(said) => tell(folder, heard, HeardWhat::Said(said)).await,
            None => return End::Cut,
        }
    }
}

/// What it says next; none when it says no more. What cannot be read is passed over: it may be newer than this Servant.
async fn next_word(lines: &mut Lines<BufReader<OwnedReadHalf>>) -> Option<Said> {
    loop {
        let line = lines.next_line().await.ok()??;
        match serde_json::from_str(&line) {
            Ok(said) => return Some(said),
            Err(error) => tracing::warn!(%error, "a holder says what cannot be read"),
        }
    }
}

async fn tell(folder: &InstanceFolder, heard: &mpsc::Sender<Heard>, what: HeardWhat) {
    // The shell is gone when the Servant ends: then nobody needs to know.
    let _ = heard.send(Heard { instance: folder.instance, what }).await;
}
