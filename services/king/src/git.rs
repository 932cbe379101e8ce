//! The Git remote: a push over smart HTTP becomes refs, bundles, archives and versions of the kingdom.
//!
//! The refs are state and their objects lie in the object store as bundles; the repository on disk is a cache that is
//! brought to the state before each request and before a push is judged, so losing it loses nothing. A newcomer reads in
//! the order of a push: [`http`] (routes), [`cgi`] (`git http-backend`, streamed and bounded), [`cache`] (the repository
//! on disk), [`sweep`] (what killed processes leave in it), [`hook`] (the tiny program that Git runs) and [`reception`]
//! (the King's end of its socket), [`push`] (what a push must pass, and the one command that it becomes) with [`refs`],
//! [`inspection`], [`archive`], [`received`], [`bundle`] beneath it.
//!
//! Nothing of the pusher is executed: no hook, no filter, no submodule, no configuration from a repository.

mod http;
mod cgi;
mod cache;
mod sweep;
pub mod hook;
mod reception;
mod push;
mod refs;
mod inspection;
mod archive;
mod bundle;
mod received;
mod spool;
mod program;

pub use program::ProgramError;
pub use reception::ReceptionError;

use bus::Bus;
use bus::objects::Objects;
use cache::Caches;
use events::{AppName, CommitHash, Digest, EventNumber};
use futures_util::future::BoxFuture;
use program::Git;
use reception::Reception;
use semver::Version;
use spool::Spool;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;

/// What the state of the kingdom says of an app's repository.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RepositoryState {
    /// The refs by full name: `refs/heads/main`. An annotated tag's is the id of the tag object.
    pub refs: BTreeMap<String, CommitHash>,
    /// The bundles that hold its objects, in order, from the last whole one.
    pub bundles: Vec<Digest>,
    /// The published versions with their commits; none for one that was published without Git.
    pub versions: BTreeMap<Version, Option<CommitHash>>,
}

/// Reads the state of an app's repository; none when there is no such app.
pub type Repositories = Arc<dyn Fn(&AppName) -> Option<RepositoryState> + Send + Sync>;

/// Waits until the state reflects an event, for a bounded time; tells whether it does.
pub type Reached = Arc<dyn Fn(EventNumber) -> BoxFuture<'static, bool> + Send + Sync>;

/// Where the remote works and what it allows.
#[derive(Clone, Debug)]
pub struct GitOptions {
    /// The folder of the caches, for the King alone: `<data>/king/git`.
    pub folder: PathBuf,
    /// The `king` binary, which Git runs as its hook.
    pub hook: PathBuf,
    /// Largest pack that one push may bring, in bytes.
    pub push_bytes: u64,
    /// Longest time that one request may take.
    pub time: Duration,
    /// Most requests that run at once; others wait for a short time.
    pub concurrent: usize,
    /// Largest version, unpacked, in bytes.
    pub version_bytes: u64,
    /// Most files, folders and links of one version.
    pub version_files: u64,
    /// How many bundles there may be before one with everything takes their place.
    pub chain: usize,
    /// How long the King's writer may take to answer before the same command is sent again.
    pub answer: Duration,
}

impl GitOptions {
    /// The usual limits.
    pub fn new(folder: impl Into<PathBuf>, hook: impl Into<PathBuf>) -> Self {
        Self {
            folder: folder.into(),
            hook: hook.into(),
            push_bytes: 512 << 20,
            time: Duration::from_secs(300),
            concurrent: 8,
            version_bytes: 1 << 30,
            version_files: 100_000,
            chain: 32,
            answer: Duration::from_secs(10),
        }
    }
}

/// Why the remote cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum RemoteError {
    #[error("could not prepare the folder {path} of the Git remote")]
    Folder { path: PathBuf, source: std::io::Error },
    #[error("could not use Git; install it (Debian: apt-get install git)")]
    Git(#[source] ProgramError),
    #[error("could not listen for the hooks of Git")]
    Reception(#[source] ReceptionError),
}

/// The Git remote of a King.
pub struct Remote {
    options: GitOptions,
    git: Git,
    bus: Bus,
    objects: Objects,
    repositories: Repositories,
    reached: Reached,
    caches: Caches,
    spool: Spool,
    reception: Reception,
    permits: Arc<Semaphore>,
}

impl Remote {
    /// Prepares the folder and listens for hooks; serves nothing yet.
    ///
    /// # Errors
    /// When the folder cannot be written or there is no Git that fits.
    pub async fn new(
        options: GitOptions,
        bus: Bus,
        objects: Objects,
        repositories: Repositories,
        reached: Reached,
    ) -> Result<Self, RemoteError> {
        let folder = |path: &Path| {
            let path = path.to_owned();
            move |source| RemoteError::Folder { path, source }
        };
        std::fs::create_dir_all(&options.folder).map_err(folder(&options.folder))?;
        let options =
            GitOptions { folder: options.folder.canonicalize().map_err(folder(&options.folder))?, ..options };
        hook::install(&options.folder, &options.hook).map_err(folder(&options.folder))?;
        let caches = Caches::open(&options.folder).map_err(folder(&options.folder))?;
        let spool = Spool::open(options.folder.join(".spool")).map_err(folder(&options.folder))?;
        let git = Git::find(&options).await.map_err(RemoteError::Git)?;
        let reception = Reception::open(&options.folder).map_err(RemoteError::Reception)?;
        let permits = Arc::new(Semaphore::new(options.concurrent));
        Ok(Self { options, git, bus, objects, repositories, reached, caches, spool, reception, permits })
    }

    fn state(&self, app: &AppName) -> Option<RepositoryState> {
        (self.repositories)(app)
    }
}
