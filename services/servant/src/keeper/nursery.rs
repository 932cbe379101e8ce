//! The Servant's stem, from which its holders are forked: started ahead, and anew when it is gone.

use super::InstanceFolder;
use crate::holder::WORD;
use crate::holder::stem::{self, Birth};
use events::InstanceId;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;
use tokio::process::Command;

/// How long a stem may take to take an order: it has nothing else to do.
const TAKE: Duration = Duration::from_secs(2);

/// Where holders come from.
pub struct Nursery {
    program: PathBuf,
    instances: PathBuf,
    stem: Option<OwnedFd>,
}

impl Nursery {
    /// `program` is this same program, which can be a stem; `instances` is where the folders of instances are.
    pub fn new(program: PathBuf, instances: PathBuf) -> Self {
        Self { program, instances, stem: None }
    }

    /// Starts the stem ahead of the first order. That it cannot be started now is told by that order.
    pub fn prepare(&mut self) {
        match self.start() {
            Ok(stem) => self.stem = Some(stem),
            Err(error) => tracing::warn!(%error, "no holder can be started now"),
        }
    }

    /// Orders a holder. That it could not be forked after all shows as the end of its connection.
    ///
    /// # Errors
    /// When no stem can be started, or none takes the order.
    pub fn bear(&mut self, birth: &Birth) -> io::Result<()> {
        if let Some(stem) = self.stem.take() {
            match stem::ask(&stem, birth) {
                Ok(()) => {
                    self.stem = Some(stem);
                    return Ok(());
                }
                // It ends when its socket is closed.
                Err(error) => {
                    tracing::warn!(%error, "the stem of the holders takes no orders; starting another")
                }
            }
        }
        let stem = self.start()?;
        stem::ask(&stem, birth)?;
        self.stem = Some(stem);
        Ok(())
    }

    fn start(&self) -> io::Result<OwnedFd> {
        let (ours, theirs) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        set_socket_timeout(&ours, Timeout::Send, Some(TAKE))?;
        let mut command = Command::new(&self.program);
        // Each holder writes its folder over this one, for those who list processes.
        let any = InstanceFolder::new(&self.instances, InstanceId(uuid::Uuid::nil()));
        command.arg(WORD).arg(any.path).arg0("king-holder").env_clear();
        command.stdin(Stdio::from(theirs)).stdout(Stdio::null()).stderr(Stdio::inherit());
        let failed = |error| {
            io::Error::other(format!(
                "{} could not be started as a stem of holders: {error}",
                self.program.display()
            ))
        };
        let mut stem = command.kill_on_drop(false).spawn().map_err(failed)?;
        // Reaped when it ends, if the Servant still lives.
        tokio::spawn(async move { stem.wait().await });
        Ok(ours)
    }
}
