//! The connection to one holder: orders there, words back, and the truth about its end.

use super::{Heard, HeardWhat, InstanceFolder, unheld};
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

/// Connects to the living holder of an instance and hears its state; none when no holder lives.
pub async fn connect(folder: &InstanceFolder) -> Option<(UnixStream, State)> {
    while is_held(folder) {
        if let Ok(greeted) = tokio::time::timeout(GREETING, greet(folder)).await
            && let Ok(greeted) = greeted
        {
            return Some(greeted);
        }
        tracing::debug!(instance = %folder.instance, "its holder lives and does not answer; trying again");
        tokio::time::sleep(TRY_AGAIN).await;
    }
    None
}

/// A living holder holds its lock.
fn is_held(folder: &InstanceFolder) -> bool {
    match File::open(folder.path.join(LOCK)) {
        Ok(lock) => matches!(lock.try_lock(), Err(TryLockError::WouldBlock)),
        Err(_) => false,
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

/// Carries orders and words until the holder is gone.
pub async fn run(
    folder: InstanceFolder,
    boot: String,
    stream: UnixStream,
    mut orders: mpsc::Receiver<Order>,
    heard: mpsc::Sender<Heard>,
) {
    let mut stream = stream;
    loop {
        let end = carry(&folder, stream, &mut orders, &heard).await;
        let what = match end {
            End::Left => HeardWhat::Left,
            End::ShellGone => return,
            End::Cut => match connect(&folder).await {
                Some((again, state)) => {
                    tell(&folder, &heard, HeardWhat::Again(state)).await;
                    stream = again;
                    continue;
                }
                None => lost(&folder, &boot).await,
            },
        };
        tell(&folder, &heard, what).await;
        return;
    }
}

async fn lost(folder: &InstanceFolder, boot: &str) -> HeardWhat {
    match unheld(folder, boot).await {
        Ok(state) => HeardWhat::Lost(state.exit),
        Err(error) => {
            tracing::error!(instance = %folder.instance, %error, "what a killed holder left could not be swept away");
            HeardWhat::Lost(None)
        }
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
    let mut lines = BufReader::new(reader).lines();
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

async fn next_word(lines: &mut Lines<BufReader<OwnedReadHalf>>) -> Option<Said> {
    let line = lines.next_line().await.ok()??;
    match serde_json::from_str(&line) {
        Ok(said) => Some(said),
        Err(error) => {
            tracing::warn!(%error, "a holder says what cannot be read");
            None
        }
    }
}

async fn tell(folder: &InstanceFolder, heard: &mpsc::Sender<Heard>, what: HeardWhat) {
    // The shell is gone when the Servant ends: then nobody needs to know.
    let _ = heard.send(Heard { instance: folder.instance, what }).await;
}
