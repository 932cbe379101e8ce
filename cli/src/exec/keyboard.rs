//! Where the input of a run comes from: standard input, as a pipe or as a terminal in raw mode that is put back on every
//! way out.

use bus::flow::ITEM_BYTES;
use events::exec::TerminalSize;
use rustix::termios::{OptionalActions, Termios, isatty, tcgetattr, tcgetwinsize, tcsetattr};
use std::io::{self, Read};
use tokio::sync::mpsc;

/// The size of the terminal that standard input is, if it is one.
pub fn terminal_size() -> Option<TerminalSize> {
    let stdin = io::stdin();
    if !isatty(&stdin) {
        return None;
    }
    let size = tcgetwinsize(&stdin).ok()?;
    // A terminal that does not know its size has the usual one.
    let or = |cells: u16, usual: u16| if cells == 0 { usual } else { cells };
    Some(TerminalSize { rows: or(size.ws_row, 24), columns: or(size.ws_col, 80) })
}

/// A terminal that passes every key on; as it was before, once this is dropped.
pub struct Raw {
    before: Termios,
}

impl Raw {
    /// Makes the terminal raw.
    ///
    /// # Errors
    /// When standard input is no terminal.
    pub fn enter() -> io::Result<Self> {
        let stdin = io::stdin();
        let before = tcgetattr(&stdin)?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(&stdin, OptionalActions::Now, &raw)?;
        Ok(Self { before })
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        // A terminal that is gone needs nothing.
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &self.before);
    }
}

/// Pieces of standard input as they come, then none. They are read by a thread that nobody waits for: reading cannot be
/// broken off.
pub fn read() -> mpsc::Receiver<Vec<u8>> {
    let (pieces, reader) = mpsc::channel(1);
    std::thread::spawn(move || {
        let mut stdin = io::stdin().lock();
        let mut buffer = vec![0; ITEM_BYTES];
        loop {
            match stdin.read(&mut buffer) {
                Ok(0) => return,
                Ok(length) => {
                    if pieces.blocking_send(buffer[..length].to_vec()).is_err() {
                        return;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return,
            }
        }
    });
    reader
}
