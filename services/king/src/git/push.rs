//! A push in quarantine becomes one command: what it must pass, what is stored before, and what the pusher is told.

use super::archive::{self, ArchiveError, Limits};
use super::bundle::{self, BundleError, Wanted};
use super::cache::Cache;
use super::inspection::Inspector;
use super::program::ProgramError;
use super::reception::{Ticket, Verdict};
use super::refs::{self, Change};
use super::spool::Spooled;
use super::{Remote, RepositoryState};
use bus::objects::ObjectError;
use events::command::app::Bundle;
use events::command::{AppCommand, Order, PushApp, RefChange, VersionSpec};
use events::limits::MESSAGE_BYTES;
use events::subject::{self, HEADER_ACTOR, HEADER_ID};
use events::{Answer, Digest, Manifest, Outcome, wire};
use semver::Version;
use service::chain;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};
use tokio::io::{AsyncRead, AsyncReadExt};

/// How often the command is sent before the pusher is told that nobody knows.
const ATTEMPTS: usize = 3;
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
        &self,
        ticket: &Arc<Ticket>,
        quarantine: Option<String>,
        changes: Vec<Change>,
    ) -> Verdict {
        let cache = self.caches.of(&ticket.app);
        let held = cache.hold().await;
        let verdict = match self.publish(ticket, &cache, quarantine, changes).await {
            Ok(lines) => Verdict { accepted: true, lines },
            Err(PushError::Refused(lines)) => Verdict::refused(lines),
            Err(error) => {
                let reason = chain(&error);
                tracing::error!(app = %ticket.app, push = %ticket.id, reason, "push failed");
                Verdict::refused(vec![format!("the push failed: {reason}; push again")])
            }
        };
        if verdict.accepted {
            *ticket.held.lock().unwrap_or_else(PoisonError::into_inner) = Some(held);
        }
        verdict
    }

    async fn publish(
        &self,
        ticket: &Arc<Ticket>,
        cache: &Cache,
        quarantine: Option<String>,
        changes: Vec<Change>,
    ) -> Result<Vec<String>, PushError> {
        let state = self.state(&ticket.app).unwrap_or_default();
        refs::check(&changes, &state).map_err(|reason| PushError::Refused(vec![reason]))?;
        let place = Place {
            repository: cache.path.clone(),
            quarantine: quarantine.map(|name| cache.path.join("objects").join(name)),
        };
        let bundle = self.store_bundle(&place, &changes, &state);
        let versions = self.store_versions(&place, &changes, &state);
        let (bundle, (versions, warnings)) = tokio::try_join!(bundle, versions)?;
        let mut lines = warnings;
        lines.extend(versions.iter().map(|version| published(&ticket.app, version)));
        let change = |change: Change| RefChange { name: change.name, old: change.old, new: change.new };
        let refs = changes.into_iter().map(change).collect();
        self.command(PushApp { app: ticket.app.clone(), refs, bundle, versions }).await?;
        Ok(lines)
    }

    async fn store_bundle(
        &self,
        place: &Place,
        changes: &[Change],
        state: &RepositoryState,
    ) -> Result<Option<Bundle>, PushError> {
        let pack = match &place.quarantine {
            Some(quarantine) => bundle::quarantined_pack(quarantine).map_err(PushError::Quarantine)?,
            None => None,
        };
        let whole = pack.is_some() && state.bundles.len() + 1 >= self.options.chain;
        let digest = match pack {
            None => self.write_bundle(place, changes, state, whole).await?,
            Some(_) if whole => self.write_bundle(place, changes, state, whole).await?,
            Some(pack) => Some(self.store_pack(&pack, &bundle::header(changes, state, whole)).await?),
        };
        let replaces = if whole { state.bundles.clone() } else { Vec::new() };
        Ok(digest.map(|digest| Bundle { digest, replaces }))
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

    /// The way of a push that brings no pack, and of every bundle that shall hold everything.
    async fn write_bundle(
        &self,
        place: &Place,
        changes: &[Change],
        state: &RepositoryState,
        whole: bool,
    ) -> Result<Option<Digest>, PushError> {
        if changes.iter().all(|change| change.new.is_none()) {
            return Ok(None);
        }
        let header = bundle::header(changes, state, whole);
        let wanted = if whole { Wanted::Everything } else { Wanted::Beyond { changes, state } };
        let quarantine = place.quarantine.as_deref();
        let written =
            bundle::write(&self.git, &place.repository, quarantine, &self.spool, &header, wanted).await?;
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
            let mut answer = bus.request(&subject, &headers, payload.clone(), time).await;
            for _ in 1..ATTEMPTS {
                if answer.is_ok() {
                    break;
                }
                answer = bus.request(&subject, &headers, payload.clone(), time).await;
            }
            answer
        });
        match sent.await.expect("sending does not panic") {
            Ok(message) => outcome(&message.payload),
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

fn outcome(payload: &[u8]) -> Result<(), PushError> {
    match wire::decode::<Answer>(payload) {
        Ok(Answer { outcome: Outcome::Accepted { .. }, .. }) => Ok(()),
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
