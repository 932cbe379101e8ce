//! The sockets of one instance: a datagram socket, and a stream socket for those that have no datagrams. Both are read
//! however much comes; what is too much is dropped where it is looked at, not here.

use super::hub::Hub;
use super::place::{Paths, beside};
use events::InstanceId;
use events::limits::{APP_CONNECTIONS, APP_LINE_BYTES};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::net::{UnixDatagram, UnixListener, UnixStream};
use tokio::sync::Semaphore;

/// Largest datagram.
const DATAGRAM_BYTES: usize = 64 * 1024;
/// Most datagrams that are read before others get their turn.
const DATAGRAMS_AT_ONCE: usize = 64;
/// How long to wait when a connection could not be taken.
const PAUSE: Duration = Duration::from_secs(1);

/// Opens the sockets at their place, whether others were there before or not.
///
/// # Errors
/// When they cannot be made.
pub fn bind(paths: &Paths) -> io::Result<(UnixDatagram, UnixListener)> {
    paths.create()?;
    let datagram = at(paths, &paths.datagram, |path| UnixDatagram::bind(path))?;
    let listener = at(paths, &paths.stream, |path| UnixListener::bind(path))?;
    Ok((datagram, listener))
}

/// One that is there already was a former servant's: the new one is made beside it and moved there, so who looks for it
/// always finds one.
fn at<T>(paths: &Paths, path: &Path, bind: impl Fn(&Path) -> io::Result<T>) -> io::Result<T> {
    match bind(path) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
        Err(error) => return Err(error),
        Ok(socket) => return paths.grant(path).map(|()| socket),
    }
    let beside = beside(path);
    match std::fs::remove_file(&beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let socket = bind(&beside)?;
    paths.grant(&beside)?;
    std::fs::rename(&beside, path)?;
    Ok(socket)
}

/// Reads datagrams for ever.
pub async fn read_datagrams(socket: UnixDatagram, instance: InstanceId, hub: Hub) {
    loop {
        if let Err(error) = socket.readable().await {
            tracing::warn!(%instance, %error, "app events cannot be waited for");
            return;
        }
        // Between datagrams nothing is held: there may be thousands of instances.
        let mut buffer = vec![0; DATAGRAM_BYTES];
        while drain(&socket, &mut buffer, instance, &hub) == Drained::More {
            tokio::task::yield_now().await;
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Drained {
    All,
    More,
}

/// Reads what is there, and not too much of it at once.
fn drain(socket: &UnixDatagram, buffer: &mut [u8], instance: InstanceId, hub: &Hub) -> Drained {
    for _ in 0..DATAGRAMS_AT_ONCE {
        match socket.try_recv(buffer) {
            Ok(length) => hub.take(instance, &buffer[..length]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Drained::All,
            Err(error) => tracing::warn!(%instance, %error, "an app event cannot be read"),
        }
    }
    Drained::More
}

/// Takes connections for ever: a bounded number at once, and who is too many waits.
pub async fn accept(listener: UnixListener, instance: InstanceId, hub: Hub) {
    let places = Arc::new(Semaphore::new(APP_CONNECTIONS));
    loop {
        let place = places.clone().acquire_owned().await.expect("it is never closed");
        match listener.accept().await {
            Ok((stream, _)) => {
                let hub = hub.clone();
                tokio::spawn(async move {
                    read_lines(stream, instance, &hub).await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%instance, %error, "an app cannot connect to tell of events");
                // For instance when there are no more descriptors: the next one may find some.
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// Reads lines until the end. The last one needs no newline.
async fn read_lines(mut stream: UnixStream, instance: InstanceId, hub: &Hub) {
    let (mut pending, mut chunk) = (Pending::default(), vec![0; 2 * APP_LINE_BYTES]);
    loop {
        match stream.read(&mut chunk).await {
            Ok(0) | Err(_) => break,
            Ok(length) => pending.take(
                &chunk[..length],
                |lines| hub.take(instance, lines),
                || {
                    hub.refuse(instance, format!("a line has more than {APP_LINE_BYTES} bytes"));
                },
            ),
        }
        if hub.is_closed(instance) {
            return;
        }
    }
    if !pending.line.is_empty() {
        hub.take(instance, &pending.line);
    }
}

/// The beginning of a line whose end has not come yet.
#[derive(Default)]
struct Pending {
    line: Vec<u8>,
    /// It is too long: the rest of it is passed over.
    is_skipping: bool,
}

impl Pending {
    fn take(&mut self, bytes: &[u8], mut lines: impl FnMut(&[u8]), mut too_long: impl FnMut()) {
        let mut rest = bytes;
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let (line, after) = (&rest[..end], &rest[end + 1..]);
            rest = after;
            if std::mem::take(&mut self.is_skipping) {
                continue;
            }
            if self.line.len() + line.len() > APP_LINE_BYTES {
                too_long();
            } else if self.line.is_empty() {
                lines(line);
            } else {
                self.line.extend_from_slice(line);
                lines(&self.line);
            }
            self.line.clear();
        }
        if self.is_skipping {
            return;
        }
        if self.line.len() + rest.len() > APP_LINE_BYTES {
            too_long();
            self.line.clear();
            self.is_skipping = true;
        } else {
            self.line.extend_from_slice(rest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn cut(bytes: &[u8], sizes: &[usize]) -> (Vec<Vec<u8>>, usize, Vec<u8>) {
        let (mut pending, mut lines, mut long) = (Pending::default(), Vec::new(), 0);
        let (mut rest, mut sizes) = (bytes, sizes.iter().cycle());
        while !rest.is_empty() {
            let size = (*sizes.next().unwrap()).min(rest.len());
            pending.take(&rest[..size], |line| lines.push(line.to_vec()), || long += 1);
            rest = &rest[size..];
        }
        (lines, long, pending.line)
    }

    #[test]
    fn a_line_that_is_too_long_is_told_once_and_the_next_one_is_whole() {
        let mut text = vec![b'x'; 3 * APP_LINE_BYTES];
        text.extend_from_slice(b"\nnext\nrest");
        for sizes in [[1000], [APP_LINE_BYTES * 4]] {
            assert_eq!(cut(&text, &sizes), (vec![b"next".to_vec()], 1, b"rest".to_vec()));
        }
    }

    proptest! {
        #[test]
        fn lines_are_the_same_however_they_are_cut(
            lines in proptest::collection::vec("[a-z]{0,20}", 0..20),
            sizes in proptest::collection::vec(1usize..30, 1..10),
        ) {
            let text = lines.join("\n");
            let (mut found, long, rest) = cut(text.as_bytes(), &sizes);
            found.push(rest);
            let wanted: Vec<Vec<u8>> = text.split('\n').map(|line| line.as_bytes().to_vec()).collect();
            prop_assert_eq!((found, long), (wanted, 0));
        }
    }
}
