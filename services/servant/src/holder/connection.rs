//! The connection to the Servant: never waited for, bounded, and dropped when it does not keep up.

use super::words::{Order, Said};
use rustix::event::PollFlags;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

/// Most that waits for the Servant to read it, and longest order.
const BUFFER_BYTES: usize = 1 << 20;

pub struct Connection {
    stream: UnixStream,
    input: Vec<u8>,
    output: Vec<u8>,
}

impl Connection {
    pub fn new(stream: UnixStream) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        Ok(Self { stream, input: Vec::new(), output: Vec::new() })
    }

    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }

    pub fn wants(&self) -> PollFlags {
        if self.output.is_empty() { PollFlags::IN } else { PollFlags::IN | PollFlags::OUT }
    }

    /// The orders that have come, and whether the connection is still good.
    pub fn hear(&mut self) -> (Vec<Order>, bool) {
        let is_open = self.read();
        let mut orders = Vec::new();
        while let Some(end) = self.input.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.input.drain(..=end).collect();
            match serde_json::from_slice(&line) {
                Ok(order) => orders.push(order),
                // Written to holder.log: both ends are the same program, unless it was replaced meanwhile.
                Err(error) => super::note(&format!("an order that cannot be read: {error}")),
            }
        }
        (orders, is_open && self.input.len() <= BUFFER_BYTES)
    }

    fn read(&mut self) -> bool {
        let mut chunk = [0; 16 * 1024];
        loop {
            match self.stream.read(&mut chunk) {
                Ok(0) => return false,
                Ok(length) => self.input.extend_from_slice(&chunk[..length]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return error.kind() == io::ErrorKind::WouldBlock,
            }
            if self.input.len() > BUFFER_BYTES {
                return true;
            }
        }
    }

    pub fn say(&mut self, said: &Said) {
        serde_json::to_writer(&mut self.output, said).expect("words have text keys and memory does not fail");
        self.output.push(b'\n');
    }

    /// Says what can wait while the Servant is busy; tells whether it was said.
    pub fn say_if_idle(&mut self, said: &Said) -> bool {
        let is_idle = self.is_idle();
        if is_idle {
            self.say(said);
        }
        is_idle
    }

    /// Whether nothing waits for the Servant to read it.
    pub fn is_idle(&self) -> bool {
        self.output.is_empty()
    }

    /// Writes what can be written; says whether the connection is still good.
    pub fn flush(&mut self) -> bool {
        while !self.output.is_empty() {
            match self.stream.write(&self.output) {
                Ok(0) => return false,
                Ok(length) => drop(self.output.drain(..length)),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return self.output.len() <= BUFFER_BYTES;
                }
                Err(_) => return false,
            }
        }
        true
    }
}
