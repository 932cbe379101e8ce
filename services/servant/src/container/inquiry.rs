//! A command that asks for health in the container of its instance: within its time, and ended with all that it started.
//!
//! While the engine is away nobody can be asked. That says nothing about the container, which goes on, so it is waited for.

use super::engine::inside::{Attached, Inside, InsideState};
use super::engine::{Asked, Engine, EngineError, Named, Status};
use super::shape::{self, Labels};
use crate::exec::{EXEC_VARIABLE, sweep};
use events::subject::Output;
use events::{ExecId, InstanceId, ServantId};
use futures_util::StreamExt;
use std::time::Duration;
use tokio::time::{sleep, timeout};

/// How much of what it says is told.
const WORDS_BYTES: usize = 512;
/// How long an engine that does not answer is left alone.
const AWAY: Duration = Duration::from_secs(1);
/// The engine may close the streams of a command before it knows how it ended.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// A command to ask.
pub struct Inquiry {
    pub(super) engine: Engine,
    pub(super) servant: ServantId,
    pub(super) instance: InstanceId,
    pub(super) run: u64,
    pub(super) arguments: Vec<String>,
}

/// Why there is no good answer.
enum Failure {
    /// For people.
    Answer(String),
    Engine(EngineError),
}

impl From<EngineError> for Failure {
    fn from(error: EngineError) -> Self {
        Self::Engine(error)
    }
}

impl Inquiry {
    /// Asks once, as soon as the engine answers. The command has so much time from its start.
    ///
    /// # Errors
    /// Why it is not healthy, for people: how the command ended, and what it said on its standard error.
    pub async fn ask(&self, limit: Duration) -> Result<(), String> {
        let what = self.arguments.join(" ");
        loop {
            match self.run(limit).await {
                Ok(()) => return Ok(()),
                Err(Failure::Engine(error)) if error.status().is_none() => {
                    tracing::debug!(instance = %self.instance, %error, "health cannot be asked for now");
                    sleep(AWAY).await;
                }
                Err(Failure::Engine(error)) => return Err(format!("`{what}`: {error}")),
                Err(Failure::Answer(reason)) => return Err(format!("`{what}`: {reason}")),
            }
        }
    }

    async fn run(&self, limit: Duration) -> Result<(), Failure> {
        let container = self.container().await?;
        let mark = ExecId(service::clock::fresh_id());
        let inside = Inside {
            command: self.arguments.clone(),
            environment: vec![format!("{EXEC_VARIABLE}={mark}")],
            is_terminal: false,
        };
        let attached = self.engine.begin_inside(&container, &inside).await?;
        if let Ok(ended) = timeout(limit, self.end(attached)).await {
            return judge(ended?);
        }
        sweep(mark).await;
        // An engine that hangs does not say that it has ended.
        self.engine.version().await?;
        Err(Failure::Answer(format!("not ended within {} ms", limit.as_millis())))
    }

    async fn container(&self) -> Result<String, Failure> {
        let labels = Labels { servant: self.servant, instance: Some(self.instance) };
        match self.engine.find(&shape::name(self.instance, self.run), &labels).await? {
            Named::Own(own) if matches!(own.status, Status::Running { .. }) => Ok(own.id),
            Named::Own(_) | Named::Nothing | Named::Foreign => {
                Err(Failure::Answer("its container does not run".to_owned()))
            }
        }
    }

    /// How it ended, and what it said.
    async fn end(&self, attached: Attached) -> Asked<(i64, String)> {
        let Attached { id, mut output, input } = attached;
        // It has nothing to read.
        drop(input);
        let mut said = Vec::new();
        while let Some(piece) = output.next().await {
            let (output, bytes) = piece?;
            if output == Output::Stderr {
                let room = WORDS_BYTES - said.len();
                said.extend_from_slice(&bytes[..bytes.len().min(room)]);
            }
        }
        loop {
            if let InsideState { is_running: false, code: Some(code), .. } = self.engine.inside(&id).await? {
                return Ok((code, String::from_utf8_lossy(&said).trim().to_owned()));
            }
            sleep(LOOK_AGAIN).await;
        }
    }
}

fn judge((code, said): (i64, String)) -> Result<(), Failure> {
    match (code, said.as_str()) {
        (0, _) => Ok(()),
        (code, "") => Err(Failure::Answer(format!("exit status: {code}"))),
        (code, said) => Err(Failure::Answer(format!("exit status: {code}: {said}"))),
    }
}
