//! The engine behind its unix socket: the calls that the Servant needs, each with a limit on its time. The only module
//! that names bollard. It decides nothing; [`super::shape`] says what a container is, [`super::life`] what becomes of it.

pub mod images;
pub mod inside;
mod paths;

use super::moment::Instant;
use super::shape::{Labels, Shape};
use bollard::Docker;
use bollard::container::LogOutput;
use bollard::errors::Error;
use bollard::models::{ContainerInspectResponse, ContainerStateStatusEnum, ContainerSummaryStateEnum};
use bollard::query_parameters::{
    CreateContainerOptions, EventsOptions, InspectContainerOptions, KillContainerOptions,
    ListContainersOptions, LogsOptions, RemoveContainerOptions,
};
use futures_util::{Stream, StreamExt};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::time::timeout;

/// How long the engine may take to say something of what it has.
const LOOK: Duration = Duration::from_secs(3);
/// How long it may take to signal.
const SIGNAL: Duration = Duration::from_secs(5);
/// How long it may take to make, start or remove a container.
const CHANGE: Duration = Duration::from_secs(60);
/// How long it may take to remove a container.
const REMOVE: Duration = Duration::from_secs(30);

/// Why the engine did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    #[error("the engine at {socket} did not {tried} within {limit:?}; does it hang?", socket = .socket.display())]
    Slow { socket: PathBuf, tried: &'static str, limit: Duration },
    #[error("the engine at {socket} cannot be reached to {tried}: {reason}", socket = .socket.display())]
    Away { socket: PathBuf, tried: &'static str, reason: String },
    #[error("the engine did not {tried} ({status}): {message}")]
    Refused { tried: &'static str, status: u16, message: String },
}

impl EngineError {
    /// The status of a refusal.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Refused { status, .. } => Some(*status),
            Self::Slow { .. } | Self::Away { .. } => None,
        }
    }
}

pub type Asked<T> = Result<T, EngineError>;

/// A container of this servant, seen to be so: only such a one is ever signalled or removed.
#[derive(Clone, Debug)]
pub struct Own {
    pub id: String,
    pub run: u64,
    pub status: Status,
    /// What it is told to end with.
    pub stop_signal: String,
    /// Whether it is shut in as this servant's containers are.
    pub is_shut_in: bool,
}

/// How a container stands.
#[derive(Clone, Debug, PartialEq)]
pub enum Status {
    Created,
    Running { pid: u32, since: Option<Instant> },
    Ended(End),
}

/// How a container ended.
#[derive(Clone, Debug, PartialEq)]
pub struct End {
    pub code: i32,
    /// The kernel killed a process of it for memory.
    pub is_out_of_memory: bool,
    pub since: Option<Instant>,
    pub at: Option<Instant>,
}

/// What has a name.
#[derive(Debug)]
pub enum Named {
    Nothing,
    Own(Box<Own>),
    /// Somebody else's: never touched.
    Foreign,
}

/// A container of this servant as a list shows it.
#[derive(Clone, Debug)]
pub struct Listed {
    pub id: String,
    pub instance: String,
    pub run: u64,
    pub is_running: bool,
}

/// The engine. Clones share the connection.
#[derive(Clone)]
pub struct Engine {
    socket: Arc<PathBuf>,
    docker: Arc<Mutex<Option<Docker>>>,
}

impl Engine {
    /// The engine behind this socket, which need not be there.
    pub fn new(socket: PathBuf) -> Self {
        Self { socket: Arc::new(socket), docker: Arc::default() }
    }

    /// Where it listens.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Its version.
    ///
    /// # Errors
    /// When it does not say it.
    pub async fn version(&self) -> Asked<String> {
        let docker = self.docker().await?;
        let version = self.ask("say its version", LOOK, docker.version()).await?;
        Ok(version.version.unwrap_or_default())
    }

    /// The containers with these labels, whatever they do.
    ///
    /// # Errors
    /// When the engine does not answer.
    pub async fn list(&self, labels: &Labels) -> Asked<Vec<Listed>> {
        let options = ListContainersOptions {
            all: true,
            filters: Some(filters(labels)),
            ..ListContainersOptions::default()
        };
        let docker = self.docker().await?;
        let found = self.ask("list its containers", LOOK, docker.list_containers(Some(options))).await?;
        let listed = found.into_iter().filter_map(|summary| {
            let (instance, run) = labels.matching(summary.labels.as_ref()?)?;
            let is_running = matches!(
                summary.state,
                Some(
                    ContainerSummaryStateEnum::RUNNING
                        | ContainerSummaryStateEnum::PAUSED
                        | ContainerSummaryStateEnum::RESTARTING
                )
            );
            Some(Listed { id: summary.id?, instance, run, is_running })
        });
        Ok(listed.collect())
    }

    /// What has this name or id.
    ///
    /// # Errors
    /// When the engine does not answer.
    pub async fn find(&self, name: &str, labels: &Labels) -> Asked<Named> {
        let docker = self.docker().await?;
        let asked = docker.inspect_container(name, None::<InspectContainerOptions>);
        match self.ask("look at a container", LOOK, asked).await {
            Ok(found) => Ok(own(found, labels).map_or(Named::Foreign, |own| Named::Own(Box::new(own)))),
            Err(error) if error.status() == Some(404) => Ok(Named::Nothing),
            Err(error) => Err(error),
        }
    }

    /// Makes a container, which does not run yet.
    ///
    /// # Errors
    /// When the engine refuses or does not answer.
    pub async fn create(&self, shape: &Shape) -> Asked<()> {
        for volume in &shape.volumes {
            self.provide(volume).await?;
        }
        let options =
            CreateContainerOptions { name: Some(shape.name.clone()), ..CreateContainerOptions::default() };
        let docker = self.docker().await?;
        let made = docker.create_container(Some(options), shape.body.clone());
        self.ask("make the container", CHANGE, made).await.map(|_| ())
    }

    /// Starts a container, if it does not run yet.
    ///
    /// # Errors
    /// When the engine refuses or does not answer.
    pub async fn start(&self, own: &Own) -> Asked<()> {
        let docker = self.docker().await?;
        self.ask("start the container", CHANGE, docker.start_container(&own.id, None)).await
    }

    /// Signals the first process of a container; says whether it still ran.
    ///
    /// # Errors
    /// When the engine does not answer.
    pub async fn signal(&self, own: &Own, signal: &str) -> Asked<bool> {
        let docker = self.docker().await?;
        let options = KillContainerOptions { signal: signal.to_owned() };
        match self.ask("signal the container", SIGNAL, docker.kill_container(&own.id, Some(options))).await {
            Ok(()) => Ok(true),
            // It is gone, or has ended.
            Err(error) if matches!(error.status(), Some(404 | 409)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Removes a container, with all that runs in it.
    ///
    /// # Errors
    /// When the engine refuses or does not answer.
    pub async fn remove(&self, own: &Own) -> Asked<()> {
        let docker = self.docker().await?;
        let options = RemoveContainerOptions { force: true, v: true, link: false };
        match self.ask("remove the container", REMOVE, docker.remove_container(&own.id, Some(options))).await
        {
            Ok(()) => Ok(()),
            // Gone, or being removed already.
            Err(error) if matches!(error.status(), Some(404 | 409)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// What a container writes, from a second on, each entry with its moment before it; for as long as it runs.
    ///
    /// # Errors
    /// When the engine cannot be reached.
    pub async fn output(
        &self,
        id: &str,
        since: i64,
    ) -> Asked<impl Stream<Item = Result<LogOutput, Error>> + use<>> {
        let options = LogsOptions {
            follow: true,
            stdout: true,
            stderr: true,
            timestamps: true,
            since: i32::try_from(since).unwrap_or(i32::MAX),
            ..LogsOptions::default()
        };
        Ok(self.docker().await?.logs(id, Some(options)).boxed())
    }

    /// Says that something happened to a container with these labels; ends when the engine goes away.
    ///
    /// # Errors
    /// When the engine cannot be reached.
    pub async fn events(&self, labels: &Labels) -> Asked<impl Stream<Item = Result<(), Error>> + use<>> {
        let mut filters = filters(labels);
        filters.insert("type".to_owned(), vec!["container".to_owned()]);
        let options = EventsOptions { filters: Some(filters), ..EventsOptions::default() };
        Ok(self.docker().await?.events(Some(options)).map(|event| event.map(drop)).boxed())
    }

    /// The connection, with the version that both sides speak.
    async fn docker(&self) -> Asked<Docker> {
        if let Some(docker) = self.kept().clone() {
            return Ok(docker);
        }
        let path = self.socket.to_string_lossy().into_owned();
        let fresh = Docker::connect_with_unix(&path, CHANGE.as_secs(), bollard::API_DEFAULT_VERSION);
        let fresh = fresh.map_err(|error| self.failed("connect", error))?;
        let negotiated = self.ask("agree on a version", LOOK, fresh.negotiate_version()).await?;
        let version = negotiated.client_version();
        let docker = negotiated.with_request_modifier(move |request| paths::versioned(request, &version));
        *self.kept() = Some(docker.clone());
        Ok(docker)
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, Option<Docker>> {
        self.docker.lock().expect("nobody panics with it")
    }

    async fn ask<T>(
        &self,
        tried: &'static str,
        limit: Duration,
        asked: impl Future<Output = Result<T, Error>>,
    ) -> Asked<T> {
        match timeout(limit, asked).await {
            Ok(answer) => answer.map_err(|error| self.failed(tried, error)),
            Err(_) => Err(EngineError::Slow { socket: self.socket.as_ref().clone(), tried, limit }),
        }
    }

    fn failed(&self, tried: &'static str, error: Error) -> EngineError {
        match error {
            Error::DockerResponseServerError { status_code, message } => {
                EngineError::Refused { tried, status: status_code, message }
            }
            Error::DockerStreamError { error } => EngineError::Refused { tried, status: 500, message: error },
            other => {
                // Another engine may answer next time, of another version.
                *self.kept() = None;
                let reason = service::chain::chain(&other);
                EngineError::Away { socket: self.socket.as_ref().clone(), tried, reason }
            }
        }
    }
}

fn filters(labels: &Labels) -> HashMap<String, Vec<String>> {
    HashMap::from([("label".to_owned(), labels.filters())])
}

fn own(found: ContainerInspectResponse, labels: &Labels) -> Option<Own> {
    let config = found.config?;
    let (instance, run) = labels.matching(config.labels.as_ref()?)?;
    let state = found.state.unwrap_or_default();
    let moment = |text: &Option<String>| text.as_deref().and_then(Instant::parse);
    let status = match state.status {
        Some(ContainerStateStatusEnum::CREATED) => Status::Created,
        Some(
            ContainerStateStatusEnum::RUNNING
            | ContainerStateStatusEnum::PAUSED
            | ContainerStateStatusEnum::RESTARTING,
        ) => Status::Running {
            pid: state.pid.and_then(|pid| u32::try_from(pid).ok()).unwrap_or_default(),
            since: moment(&state.started_at),
        },
        _ => Status::Ended(End {
            code: state.exit_code.and_then(|code| i32::try_from(code).ok()).unwrap_or_default(),
            is_out_of_memory: state.oom_killed.unwrap_or(false),
            since: moment(&state.started_at),
            at: moment(&state.finished_at),
        }),
    };
    Some(Own {
        id: found.id?,
        run,
        status,
        stop_signal: config.stop_signal.unwrap_or_else(|| "SIGTERM".to_owned()),
        is_shut_in: instance
            .parse()
            .is_ok_and(|instance| super::shape::is_shut_in(&found.host_config.unwrap_or_default(), instance)),
    })
}
