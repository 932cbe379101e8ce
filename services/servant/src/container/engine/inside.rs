//! Commands in a container that runs: begun, attached to, resized, and asked how they ended.

use super::{Asked, CHANGE, Engine, EngineError, LOOK};
use bollard::container::LogOutput;
use bollard::exec::{CreateExecOptions, ResizeExecOptions, StartExecOptions, StartExecResults};
use events::subject::Output;
use futures_util::{Stream, StreamExt};
use std::pin::Pin;
use std::time::Duration;
use tokio::io::AsyncWrite;
use tokio::time::sleep;

/// Most bytes of output that the engine gives at once.
const PIECE: usize = 64 * 1024;

/// The engine may close the streams of a command before it knows how it ended: so often it is asked, and with so much time
/// in between.
const LOOKS: u32 = 100;
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// What is to be run in a container.
#[derive(Clone, Debug)]
pub struct Inside {
    pub command: Vec<String>,
    /// Beside what the container has: `NAME=value`.
    pub environment: Vec<String>,
    pub is_terminal: bool,
}

/// A piece of what a command wrote.
type Piece = Asked<(Output, Vec<u8>)>;

/// A command that was begun.
pub struct Attached {
    /// As the engine calls it.
    pub id: String,
    /// All of the output of a terminal is standard output.
    pub output: Pin<Box<dyn Stream<Item = Piece> + Send>>,
    pub input: Pin<Box<dyn AsyncWrite + Send>>,
}

/// How a command in a container stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InsideState {
    pub is_running: bool,
    /// As the host numbers it.
    pub pid: Option<i32>,
    pub code: Option<i64>,
}

impl Engine {
    /// Begins a command in a container, and attaches to it.
    ///
    /// # Errors
    /// When the engine refuses or does not answer.
    pub async fn begin_inside(&self, container: &str, inside: &Inside) -> Asked<Attached> {
        let docker = self.docker().await?;
        let options = CreateExecOptions {
            attach_stdin: Some(true),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            tty: Some(inside.is_terminal),
            cmd: Some(inside.command.clone()),
            env: Some(inside.environment.clone()),
            ..CreateExecOptions::default()
        };
        let made =
            self.ask("make a command in the container", CHANGE, docker.create_exec(container, options));
        let id = made.await?.id;
        let options =
            StartExecOptions { detach: false, tty: inside.is_terminal, output_capacity: Some(PIECE) };
        let started = docker.start_exec(&id, Some(options));
        let tried = "start a command in the container";
        let StartExecResults::Attached { output, input } = self.ask(tried, CHANGE, started).await? else {
            let message = "it gave no streams of the command".to_owned();
            return Err(EngineError::Refused { tried, status: 500, message });
        };
        let engine = self.clone();
        let output = output.map(move |piece| {
            piece.map(split).map_err(|error| engine.failed("carry the output of a command", error))
        });
        Ok(Attached { id, output: output.boxed(), input })
    }

    /// Says how large the terminal of a command is now.
    ///
    /// # Errors
    /// When the engine refuses or does not answer.
    pub async fn resize_inside(&self, id: &str, rows: u16, columns: u16) -> Asked<()> {
        let docker = self.docker().await?;
        let options = ResizeExecOptions { height: rows, width: columns };
        self.ask("resize a terminal in the container", LOOK, docker.resize_exec(id, options)).await
    }

    /// How a command stands.
    ///
    /// # Errors
    /// When the engine does not answer, or does not know it any more.
    pub async fn inside(&self, id: &str) -> Asked<InsideState> {
        let docker = self.docker().await?;
        let seen = self.ask("look at a command in the container", LOOK, docker.inspect_exec(id)).await?;
        Ok(InsideState {
            is_running: seen.running.unwrap_or(false),
            pid: seen.pid.and_then(|pid| i32::try_from(pid).ok()).filter(|pid| *pid > 0),
            code: seen.exit_code,
        })
    }

    /// How a command has ended whose streams are closed; none when the engine does not say it in time.
    ///
    /// # Errors
    /// As [`Engine::inside`].
    pub async fn end_inside(&self, id: &str) -> Asked<Option<i64>> {
        for _ in 0..LOOKS {
            if let InsideState { is_running: false, code: Some(code), .. } = self.inside(id).await? {
                return Ok(Some(code));
            }
            sleep(LOOK_AGAIN).await;
        }
        Ok(None)
    }
}

fn split(piece: LogOutput) -> (Output, Vec<u8>) {
    match piece {
        LogOutput::StdErr { message } => (Output::Stderr, message.into()),
        LogOutput::StdOut { message } | LogOutput::Console { message } | LogOutput::StdIn { message } => {
            (Output::Stdout, message.into())
        }
    }
}
