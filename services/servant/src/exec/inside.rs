//! A command in a container: this program in another mode, which a runner runs like any other command. It asks the engine
//! to run the command in the container, carries bytes between that and its own descriptors, and ends as it ends.
//!
//! The engine cannot be told to end such a command. What it started in the container has [`super::EXEC_VARIABLE`] in its
//! environment, by which the Servant finds and ends what is left; a Servant that is not root sees none of that.

use crate::container::Engine;
use crate::container::engine::EngineError;
use crate::container::engine::inside::{Attached, Inside};
use crate::container::shape::Labels;
use events::subject::Output;
use events::{InstanceId, ServantId};
use futures_util::StreamExt;
use rustix::process::{Pid, Signal, kill_process};
use rustix::stdio::stdin;
use rustix::termios::{OptionalActions, tcgetattr, tcgetwinsize, tcsetattr};
use serde::{Deserialize, Serialize};
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::signal::unix::{SignalKind, signal};

/// The first argument of this mode.
pub const WORD: &str = "inside";

/// What a command that could not be started ends with, as in a shell.
const NOT_STARTED: u8 = 127;
/// How often a terminal is told its first size, and with how much time in between.
const LOOKS: u32 = 100;
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// What the second argument says, as JSON.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct InsideOrder {
    pub socket: PathBuf,
    pub servant: ServantId,
    pub instance: InstanceId,
    pub command: Vec<String>,
    /// `NAME=value`.
    pub environment: Vec<String>,
    pub terminal: bool,
}

/// Why there is no end of the command itself.
#[derive(Debug, thiserror::Error)]
enum InsideError {
    #[error("the order cannot be read")]
    Order(#[from] serde_json::Error),
    #[error("no container of the instance {0} runs")]
    NothingRuns(InstanceId),
    #[error("the engine does not say how the command ended")]
    NoEnd,
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error("its streams cannot be carried")]
    Carry(#[from] io::Error),
}

/// Runs what the second argument says, to its end. Called first thing in `main`.
pub fn run() -> ExitCode {
    let order = std::env::args().nth(2).unwrap_or_default();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let ended = runtime.map_err(InsideError::from).and_then(|runtime| {
        let ended = runtime.block_on(carry(&order));
        // Input may be waited for, which nothing breaks off.
        runtime.shutdown_background();
        ended
    });
    match ended {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("servant: {}", service::chain::chain(&error));
            ExitCode::from(NOT_STARTED)
        }
    }
}

async fn carry(order: &str) -> Result<u8, InsideError> {
    let order: InsideOrder = serde_json::from_str(order)?;
    let engine = Engine::new(order.socket.clone());
    let labels = Labels { servant: order.servant, instance: Some(order.instance) };
    let container = engine.list(&labels).await?.into_iter().find(|listed| listed.is_running);
    let container = container.ok_or(InsideError::NothingRuns(order.instance))?.id;
    let inside = Inside {
        command: order.command.clone(),
        environment: order.environment.clone(),
        is_terminal: order.terminal,
    };
    let (mut told, mut resized) = (signal(SignalKind::terminate())?, signal(SignalKind::window_change())?);
    let Attached { id, mut output, input } = engine.begin_inside(&container, &inside).await?;
    if order.terminal {
        pass_all_through()?;
        tokio::spawn(first_size(engine.clone(), id.clone()));
    }
    tokio::spawn(feed(input));
    loop {
        tokio::select! {
            piece = output.next() => match piece {
                Some(piece) => show(piece?).await?,
                None => break,
            },
            _ = resized.recv(), if order.terminal => drop(resize(&engine, &id).await),
            _ = told.recv() => terminate(&engine, &id).await?,
        }
    }
    ended(&engine, &id).await
}

/// The terminal in the container does what terminals do: the one here must not do it, too.
fn pass_all_through() -> io::Result<()> {
    let mut attributes = tcgetattr(stdin())?;
    attributes.make_raw();
    Ok(tcsetattr(stdin(), OptionalActions::Now, &attributes)?)
}

/// The engine says that a command is begun a moment before that has its terminal, and has one of no size until it is told.
async fn first_size(engine: Engine, id: String) {
    for _ in 0..LOOKS {
        if resize(&engine, &id).await {
            return;
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

/// Says whether it was told to the engine.
async fn resize(engine: &Engine, id: &str) -> bool {
    let resized = match tcgetwinsize(stdin()) {
        Ok(size) => engine.resize_inside(id, size.ws_row, size.ws_col).await,
        Err(error) => {
            eprintln!("servant: the size of the terminal is not known: {error}");
            return false;
        }
    };
    match resized {
        Ok(()) => true,
        // A command that has ended has no terminal any more.
        Err(error) if error.status().is_some() => false,
        Err(error) => {
            eprintln!("servant: {}", service::chain::chain(&error));
            false
        }
    }
}

/// Carries input until its end, or until nobody takes it.
async fn feed(mut input: std::pin::Pin<Box<dyn AsyncWrite + Send>>) {
    // A command that reads no more, or has ended, is no trouble.
    let _ = tokio::io::copy(&mut tokio::io::stdin(), &mut input).await;
    let _ = input.shutdown().await;
}

async fn show((output, bytes): (Output, Vec<u8>)) -> io::Result<()> {
    match output {
        Output::Stdout => write(tokio::io::stdout(), &bytes).await,
        Output::Stderr => write(tokio::io::stderr(), &bytes).await,
    }
}

async fn write(mut to: impl AsyncWrite + Unpin, bytes: &[u8]) -> io::Result<()> {
    to.write_all(bytes).await?;
    to.flush().await
}

/// Asks the command to end, which only the host can.
async fn terminate(engine: &Engine, id: &str) -> Result<(), InsideError> {
    let state = engine.inside(id).await?;
    if let Some(pid) = state.pid.filter(|_| state.is_running).and_then(Pid::from_raw) {
        kill_process(pid, Signal::TERM).map_err(io::Error::from)?;
    }
    Ok(())
}

async fn ended(engine: &Engine, id: &str) -> Result<u8, InsideError> {
    let code = engine.end_inside(id).await?.ok_or(InsideError::NoEnd)?;
    Ok(u8::try_from(code).unwrap_or(u8::MAX))
}
