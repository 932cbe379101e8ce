//! A command that asks for health in the container of its instance: within its time, and ended with all that it started.
//!
//! While the engine is away nobody can be asked. That says nothing about the container, which goes on, so it is waited for.

use super::engine::inside::{Attached, Inside};
use super::engine::{Engine, EngineError, Named, Status};
use super::shape::{self, Labels};
use crate::exec::{EXEC_VARIABLE, sweep};
use crate::probe::Words;
use events::subject::Output;
use events::{ExecId, InstanceId, ServantId};
use futures_util::StreamExt;
use std::time::Duration;
use tokio::time::{sleep, timeout};

/// How long an engine that does not answer is left alone.
const AWAY: Duration = Duration::from_secs(1);

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
        if let Ok(answer) = timeout(limit, self.answer(attached)).await {
            return answer;
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

    /// By how it ended, and what it said.
    async fn answer(&self, attached: Attached) -> Result<(), Failure> {
        let Attached { id, mut output, input } = attached;
        // It has nothing to read.
        drop(input);
        let mut said = Words::default();
        while let Some(piece) = output.next().await {
            if let (Output::Stderr, bytes) = piece? {
                said.hear(&bytes);
            }
        }
        match self.engine.end_inside(&id).await? {
            Some(0) => Ok(()),
            Some(code) => Err(Failure::Answer(said.after(format!("exit status: {code}")))),
            None => Err(Failure::Answer("the engine does not say how it ended".to_owned())),
        }
    }
}
