//! A push in quarantine becomes one command: what it must pass, what is stored before, and what the pusher is told.

use super::archive::{self, ArchiveError, Limits};
use super::bundle::{self, BundleError, Wanted};
use super::cache::{Cache, CacheError};
use super::inspection::Inspector;
use super::program::ProgramError;
use super::received::Received;
use super::reception::{Ticket, Verdict};
use super::refs::{self, Change};
use super::spool::Spooled;
use super::{Remote, RepositoryState};
use bus::connect::RequestError;
use bus::objects::ObjectError;
use events::command::app::Bundle;
use events::command::{AppCommand, Order, PushApp, RefChange, VersionSpec};
use events::limits::MESSAGE_BYTES;
use events::subject::{self, HEADER_ACTOR, HEADER_ID};
use events::{Answer, Digest, EventNumber, Manifest, Outcome, RefusalCode, wire};
use semver::Version;
use service::chain;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::time::{Instant, sleep};

/// How often the command is sent before the pusher is told that nobody knows.
const ATTEMPTS: usize = 3;
/// How long nobody may take commands before the pusher is told so.
const NO_KING_PATIENCE: Duration = Duration::from_secs(10);
/// Between two looks for somebody who does.
const PAUSE: Duration = Duration::from_millis(50);
/// Versions that are packed at once.
const ARCHIVES: usize = 2;

/// Why a push does not become a command.
#[derive(Debug, thiserror::Error)]
enum PushError {
    /// Each line is for the pusher.
    #[error("{}", .0.join("; "))]
    Refused(Vec<String>),
    #[error(transparent)]
    Git(#[from] ProgramError),
    #[error(transparent)]
    Bundle(#[from] BundleError),
    #[error("could not read what Git has received")]
    Quarantine(#[source] io::Error),
    #[error("could not store what was pushed")]
    Store(#[from] ObjectError),
    #[error("could not bring the repository to the state")]
    Cache(#[from] CacheError),
    /// The state has other bundles now than the push's bundle replaces.
    #[error("overtaken by another push: {0}")]
    Overtaken(String),
    #[error("could not pack version {version}")]
    Archive { version: Version, source: ArchiveError },
}

fn refused<T>(line: impl Into<String>) -> Result<T, PushError> {
    Err(PushError::Refused(vec![line.into()]))
}

/// Where the objects of a push lie.
struct Place {
    repository: PathBuf,
    quarantine: Option<PathBuf>,
    received: Option<Received>,
}

impl Place {
    fn new(cache: &Cache, quarantine: Option<String>) -> Result<Self, PushError> {
        let quarantine = quarantine.map(|name| cache.path.join("objects").join(name));
        let received = match &quarantine {
            Some(quarantine) => Received::find(quarantine).map_err(PushError::Quarantine)?,
            None => None,
        };
        Ok(Self { repository: cache.path.clone(), quarantine, received })
    }
}

/// A version that a push publishes.
struct Fresh {
    version: Version,
    commit: events::CommitHash,
    manifest: Manifest,
    warning: Option<String>,
}

impl Remote {
    /// Judges a push; when it is accepted, the state has it and the cache stays locked until Git has moved its
    /// references.
    pub(super) async fn receive(
        self: &Arc<Self>,
        ticket: &Arc<Ticket>,
        quarantine: Option<String>,
        changes: Vec<Change>,
    ) -> Verdict {
        match self.receive_held(ticket, quarantine, changes).await {
            Ok(lines) => Verdict { accepted: true, lines },
            Err(PushError::Refused(lines)) => Verdict::refused(lines),
            Err(error) => {
                let reason = chain(&error);
                tracing::error!(app = %ticket.app, push = %ticket.id, reason, "push failed");
                Verdict::refused(vec![format!("the push failed: {reason}; push again")])
            }
        }
    }

    async fn receive_held(
        self: &Arc<Self>,
        ticket: &Arc<Ticket>,
        quarantine: Option<String>,
        changes: Vec<Change>,
    ) -> Result<Vec<String>, PushError> {
        let cache = self.caches.of(&ticket.app);
        let held = cache.hold().await;
        // The push that held the lock before may have been taken by the King and yet not been finished by Git.
        let state = self.state(&ticket.app);
        let held = self.bring_held(&cache, held, state.as_ref()).await?;
        let place = Place::new(&cache, quarantine)?;
        let lines = self.publish(ticket, &place, &changes, &state.unwrap_or_default()).await?;
        *ticket.held.lock().unwrap_or_else(PoisonError::into_inner) = Some(held);
        Ok(lines)
    }

    async fn publish(
        &self,
        ticket: &Arc<Ticket>,
        place: &Place,
        changes: &[Change],
        state: &RepositoryState,
    ) -> Result<Vec<String>, PushError> {
        refs::check(changes, state).map_err(|reason| PushError::Refused(vec![reason]))?;
        let bundle = self.store_bundle(place, changes, state);
        let versions = self.store_versions(place, changes, state);
        let (bundle, (versions, warnings)) = tokio::try_join!(bundle, versions)?;
        let mut lines = warnings;
        lines.extend(versions.iter().map(|version| published(&ticket.app, version)));
        let change =
            |change: &Change| RefChange { name: change.name.clone(), old: change.old, new: change.new };
        let refs = changes.iter().map(change).collect();
        let push = PushApp { app: ticket.app.clone(), refs, bundle, versions };
        match self.command(push.clone()).await {
            Err(PushError::Overtaken(reason)) => {
                tracing::info!(app = %ticket.app, push = %ticket.id, reason, "push is sent with what is new alone");
                let bundle = self.store_new(place, changes, state).await?;
                self.command(PushApp { bundle, ..push }).await?;
            }
            sent => sent?,
        }
        Ok(lines)
    }

    /// Now and then a bundle with everything takes the place of all that there are.
    async fn store_bundle(
        &self,
        place: &Place,
        changes: &[Change],
        state: &RepositoryState,
    ) -> Result<Option<Bundle>, PushError> {
        let due = place.received.is_some() && state.bundles.len() + 1 >= self.options.chain;
        if !due || !self.has_everything(place, changes, state).await? {
            return self.store_new(place, changes, state).await;
        }
        let header = bundle::header(changes, &BTreeMap::new());
        let digest = self.write_bundle(place, &header, Wanted::Everything).await?;
        Ok(digest.map(|digest| Bundle { digest, replaces: state.bundles.clone() }))
    }

    /// Proves it, if need be after all bundles were unpacked again.
    async fn has_everything(
        &self,
        place: &Place,
        changes: &[Change],
        state: &RepositoryState,
    ) -> Result<bool, PushError> {
        let quarantine = place.quarantine.as_deref();
        if bundle::is_complete(&self.git, &place.repository, quarantine, changes, state).await? {
            return Ok(true);
        }
        if let Err(error) = self.fill(&place.repository, state).await {
            tracing::error!(path = %place.repository.display(), reason = chain(&error), "git cache stays incomplete");
            return Ok(false);
        }
        Ok(bundle::is_complete(&self.git, &place.repository, quarantine, changes, state).await?)
    }

    /// A bundle of what is new alone; none if nothing is.
    async fn store_new(
        &self,
        place: &Place,
        changes: &[Change],
        state: &RepositoryState,
    ) -> Result<Option<Bundle>, PushError> {
        let header = bundle::header(changes, &state.refs);
        let digest = match &place.received {
            Some(received) if received.explains(changes, state) => {
                Some(self.store_pack(&received.pack, &header).await?)
            }
            None if changes.iter().all(|change| change.new.is_none()) => None,
            received => {
                let received = received.as_ref().map_or(&[][..], |received| &received.objects);
                self.write_bundle(place, &header, Wanted::Beyond { changes, received, state }).await?
            }
        };
        Ok(digest.map(|digest| Bundle { digest, replaces: Vec::new() }))
    }

    /// The usual way: the pack that Git has received is the body of the bundle as it is.
    async fn store_pack(&self, pack: &Path, header: &str) -> Result<Digest, PushError> {
        let reader = || async {
            let file = tokio::fs::File::open(pack).await.map_err(PushError::Quarantine)?;
            let bytes = file.metadata().await.map_err(PushError::Quarantine)?.len() + header.len() as u64;
            Ok::<_, PushError>((header.as_bytes().chain(file), bytes))
        };
        let digest = digest_of(reader().await?.0).await.map_err(PushError::Quarantine)?;
        let (reader, bytes) = reader().await?;
        self.objects.put_reader(&digest, bytes, reader).await?;
        Ok(digest)
    }

    /// The way of a push whose pack is none or not enough, and of every bundle that shall hold everything.
    async fn write_bundle(
        &self,
        place: &Place,
        header: &str,
        wanted: Wanted<'_>,
    ) -> Result<Option<Digest>, PushError> {
        let quarantine = place.quarantine.as_deref();
        let written =
            bundle::write(&self.git, &place.repository, quarantine, &self.spool, header, wanted).await?;
        match written {
            None => Ok(None),
            Some(spooled) => {
                let file = tokio::fs::File::open(spooled.path()).await.map_err(PushError::Quarantine)?;
                let digest = digest_of(file).await.map_err(PushError::Quarantine)?;
                self.objects.put_file(&digest, spooled.path()).await?;
                Ok(Some(digest))
            }
        }
    }

    /// Checks what the references name, and stores the archives of the versions that are new.
    async fn store_versions(
        &self,
        place: &Place,
        changes: &[Change],
        state: &RepositoryState,
    ) -> Result<(Vec<VersionSpec>, Vec<String>), PushError> {
        let fresh = self.inspect(place, changes, state).await?;
        let warnings = fresh.iter().filter_map(|fresh| fresh.warning.clone()).collect();
        let mut specs = Vec::new();
        let mut rest = fresh.into_iter().peekable();
        while rest.peek().is_some() {
            let some = rest.by_ref().take(ARCHIVES).map(|fresh| self.store_version(place, fresh));
            specs.extend(futures_util::future::try_join_all(some).await?);
        }
        Ok((specs, warnings))
    }

    async fn store_version(&self, place: &Place, fresh: Fresh) -> Result<VersionSpec, PushError> {
        let Fresh { version, commit, manifest, warning: _ } = fresh;
        let quarantine = place.quarantine.as_deref();
        let limits = Limits::from(&self.options);
        let written =
            archive::write(&self.git, &place.repository, quarantine, &self.spool, commit, limits).await;
        let (archive, spooled): (Digest, Spooled) = written.map_err(|error| match error {
            ArchiveError::Refused(reason) => {
                PushError::Refused(vec![format!("version {version} ({}) {reason}", refs::short(commit))])
            }
            ArchiveError::Pack(_) | ArchiveError::Git(_) => {
                PushError::Archive { version: version.clone(), source: error }
            }
        })?;
        self.objects.put_file(&archive, spooled.path()).await?;
        Ok(VersionSpec { version, commit, archive, manifest })
    }

    async fn inspect(
        &self,
        place: &Place,
        changes: &[Change],
        state: &RepositoryState,
    ) -> Result<Vec<Fresh>, PushError> {
        let mut inspector = Inspector::start(&self.git, &place.repository, place.quarantine.as_deref())?;
        let mut fresh = BTreeMap::new();
        for change in changes {
            let Some(new) = change.new else { continue };
            if change.name.starts_with("refs/heads/") && !inspector.is_commit(new).await? {
                return refused(format!("{} does not name a commit; a branch must", change.name));
            }
            let Some(version) = change.version() else { continue };
            let Some(commit) = inspector.commit(new).await? else {
                return refused(format!("{} does not name a commit; the tag of a version must", change.name));
            };
            refs::check_version(&version, commit, state).map_err(|line| PushError::Refused(vec![line]))?;
            if state.versions.contains_key(&version) {
                continue;
            }
            if let Some((other, first)) = fresh.insert(version.clone(), (commit, change.name.clone()))
                && other != commit
            {
                return refused(format!("{first} and {} name two commits as version {version}", change.name));
            }
        }
        read_manifests(&mut inspector, fresh).await
    }

    /// Sends the one command, under one id however often.
    async fn command(&self, push: PushApp) -> Result<(), PushError> {
        let order = Order::App(AppCommand::Push(push));
        let (subject, payload) = (subject::command(order.kind()), wire::encode_order(&order));
        if payload.len() > MESSAGE_BYTES {
            let line = format!(
                "the push makes a command of {} bytes; at most {MESSAGE_BYTES}: push fewer references at a time",
                payload.len()
            );
            return refused(line);
        }
        let id = service::clock::fresh_id().to_string();
        let (bus, time) = (self.bus.clone(), self.options.answer);
        // In a task of its own: once sent, it is not given up when the pusher goes away.
        let sent = tokio::spawn(async move {
            let headers = [(HEADER_ID, id.as_str()), (HEADER_ACTOR, "git")];
            let deadline = Instant::now() + NO_KING_PATIENCE;
            let mut attempts = 1;
            loop {
                match bus.request(&subject, &headers, payload.clone(), time).await {
                    // No King writes at this moment: another takes over.
                    Err(RequestError::NoResponders { .. }) if Instant::now() < deadline => {
                        sleep(PAUSE).await;
                    }
                    Err(_) if attempts < ATTEMPTS => attempts += 1,
                    answer => return answer,
                }
            }
        });
        match sent.await.expect("sending does not panic") {
            Ok(message) => {
                let event = outcome(&message.payload)?;
                // Another King may have written it: what the pusher reads next here shall show it.
                if !(self.reached)(event).await {
                    tracing::warn!(event, "the log is not followed to the push yet");
                }
                Ok(())
            }
            Err(error) => refused(format!(
                "the King did not answer ({}); it is not known whether the push was taken: push again",
                chain(&error)
            )),
        }
    }
}

async fn read_manifests(
    inspector: &mut Inspector,
    fresh: BTreeMap<Version, (events::CommitHash, String)>,
) -> Result<Vec<Fresh>, PushError> {
    let (mut versions, mut faults) = (Vec::new(), Vec::new());
    for (version, (commit, tag)) in fresh {
        match inspector.manifest(commit).await? {
            Ok(manifest) => {
                let submodules = inspector.has_submodules(commit).await?;
                let warning = submodules.then(|| {
                    format!(
                        "version {version} has submodules; they are not fetched, their folders stay empty"
                    )
                });
                versions.push(Fresh { version, commit, manifest, warning });
            }
            Err(fault) => {
                let tag = tag.trim_start_matches("refs/tags/");
                faults.push(format!(
                    "version {version} (tag {tag}, commit {}) cannot be published:",
                    refs::short(commit)
                ));
                faults.push(fault.to_string());
            }
        }
    }
    if faults.is_empty() { Ok(versions) } else { Err(PushError::Refused(faults)) }
}

/// The event up to which the state has the push.
fn outcome(payload: &[u8]) -> Result<EventNumber, PushError> {
    match wire::decode::<Answer>(payload) {
        Ok(Answer { outcome: Outcome::Accepted { event, .. }, .. }) => Ok(event),
        Ok(Answer { outcome: Outcome::Refused { refusal, .. }, .. })
            if refusal.code == RefusalCode::Conflict && refusal.field == "bundle.replaces" =>
        {
            Err(PushError::Overtaken(refusal.to_string()))
        }
        Ok(Answer { outcome: Outcome::Refused { refusal, .. }, .. }) => {
            refused(format!("refused: {refusal}"))
        }
        Err(error) => refused(format!("the King's answer cannot be read: {}; push again", error.reason())),
    }
}

fn published(app: &events::AppName, version: &VersionSpec) -> String {
    let processes: Vec<&str> = version.manifest.processes.keys().map(|name| name.as_str()).collect();
    let (version, processes) = (&version.version, processes.join(", "));
    format!("version {version} published ({processes}); deploy it with: kingctl app deploy {app}@{version}")
}

async fn digest_of(mut reader: impl AsyncRead + Unpin) -> io::Result<Digest> {
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0; 128 * 1024];
    loop {
        match reader.read(&mut buffer).await? {
            0 => return Ok(Digest::from_bytes(*hasher.finalize().as_bytes())),
            length => hasher.update(&buffer[..length]),
        };
    }
}
