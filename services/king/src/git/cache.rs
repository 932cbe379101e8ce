//! The repositories on disk: caches of the state, made and repaired before they are used.

use super::bundle::{self, BundleError};
use super::program::{self, ProgramError};
use super::{Remote, RepositoryState, sweep};
use bus::objects::ObjectError;
use events::{AppName, CommitHash, Digest};
use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::OwnedMutexGuard;

const CONFIG: &str = "[core]\n\trepositoryformatversion = 0\n\tfilemode = true\n\tbare = true\n";
const HEAD: &str = "ref: refs/heads/main\n";
/// Packs in a cache above which it is made anew from its bundles.
const PACKS: usize = 100;

type Refs = BTreeMap<String, CommitHash>;

/// The references that a cache is known to have; none before it has been looked at.
pub type Note = Option<Refs>;
/// The lock on a cache.
pub type Held = OwnedMutexGuard<Note>;

/// Why a cache could not be brought to the state.
#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    #[error("could not write the cache {path}")]
    Write { path: PathBuf, source: io::Error },
    #[error("could not fetch the bundle {digest}")]
    Fetch { digest: Digest, source: ObjectError },
    #[error("could not unpack the bundle {digest}")]
    Unpack { digest: Digest, source: BundleError },
    #[error(transparent)]
    Git(#[from] ProgramError),
}

impl CacheError {
    /// Whether a cache that is made anew may be spared the fault.
    fn is_of_cache(&self) -> bool {
        match self {
            Self::Write { .. } | Self::Unpack { .. } | Self::Git(_) => true,
            Self::Fetch { .. } => false,
        }
    }
}

/// All caches, each made when it is first used.
pub struct Caches {
    folder: PathBuf,
    caches: Mutex<HashMap<AppName, Arc<Cache>>>,
}

/// The cache of one app.
pub struct Cache {
    pub path: PathBuf,
    note: Arc<tokio::sync::Mutex<Note>>,
}

impl Cache {
    pub async fn hold(&self) -> Held {
        Arc::clone(&self.note).lock_owned().await
    }

    fn is_at(&self, note: &Note, state: Option<&RepositoryState>) -> bool {
        let there = self.path.join("HEAD").is_file();
        there && note.as_ref() == Some(state.map_or(&Refs::new(), |state| &state.refs))
    }
}

impl Caches {
    pub fn open(folder: &Path) -> io::Result<Self> {
        Ok(Self { folder: folder.to_owned(), caches: Mutex::default() })
    }

    /// The cache of an app, for as long as the value lives.
    pub fn of(&self, app: &AppName) -> Arc<Cache> {
        let mut caches = self.caches.lock().unwrap_or_else(PoisonError::into_inner);
        let made = || Arc::new(Cache { path: self.folder.join(format!("{app}.git")), note: Arc::default() });
        Arc::clone(caches.entry(app.clone()).or_insert_with(made))
    }

    /// Forgets the cache of an app that does not exist, and removes it from the disk, unless somebody else uses it.
    pub fn forget(&self, app: &AppName, cache: &Arc<Cache>) -> io::Result<()> {
        let mut caches = self.caches.lock().unwrap_or_else(PoisonError::into_inner);
        // One is the caller's, one is ours.
        if Arc::strong_count(cache) > 2 {
            return Ok(());
        }
        caches.remove(app);
        remove(&cache.path)
    }
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

impl Remote {
    /// Brings a cache to the state; cheap when it is there already. An app that does not exist has an empty one.
    ///
    /// Not to be dropped before its end, lest Git be killed in the midst of its work: run it in a task of its own.
    pub(super) async fn bring(
        &self,
        cache: &Arc<Cache>,
        state: Option<&RepositoryState>,
    ) -> Result<(), CacheError> {
        let mut held = cache.hold().await;
        self.bring_noted(cache, &mut held, state).await
    }

    /// The same with the lock held, by somebody who may be dropped: it is done in a task, which gives the lock back.
    pub(super) async fn bring_held(
        self: &Arc<Self>,
        cache: &Arc<Cache>,
        mut held: Held,
        state: Option<&RepositoryState>,
    ) -> Result<Held, CacheError> {
        if cache.is_at(&held, state) {
            return Ok(held);
        }
        let (remote, cache, state) = (Arc::clone(self), Arc::clone(cache), state.cloned());
        let task = tokio::spawn(async move {
            remote.bring_noted(&cache, &mut held, state.as_ref()).await?;
            Ok(held)
        });
        task.await.expect("bringing a cache to the state does not panic")
    }

    /// What cannot be brought to the state is made anew from the bundles, once, if nobody else uses it.
    async fn bring_noted(
        &self,
        cache: &Arc<Cache>,
        note: &mut Note,
        state: Option<&RepositoryState>,
    ) -> Result<(), CacheError> {
        if cache.is_at(note, state) {
            return Ok(());
        }
        *note = None;
        let none = RepositoryState::default();
        let wanted = state.unwrap_or(&none);
        let path = &cache.path;
        let alone = is_alone(cache);
        // An app that does not exist has nothing of one that had its name.
        if alone && (state.is_none() || packs(path) > PACKS) {
            remove(path).map_err(|source| write_error(path, source))?;
        }
        let followed = match self.follow(path, wanted, alone).await {
            Err(error) if alone && error.is_of_cache() => {
                let reason = service::chain(&error);
                tracing::warn!(path = %path.display(), reason, "git cache is made anew from its bundles");
                remove(path).map_err(|source| write_error(path, source))?;
                self.follow(path, wanted, alone).await
            }
            followed => followed,
        };
        followed?;
        *note = Some(wanted.refs.clone());
        Ok(())
    }

    async fn follow(&self, path: &Path, state: &RepositoryState, alone: bool) -> Result<(), CacheError> {
        make(path).map_err(|source| write_error(path, source))?;
        sweep::locks(path).map_err(|source| write_error(path, source))?;
        if alone {
            sweep::quarantines(path).map_err(|source| write_error(path, source))?;
        }
        let found = self.read_refs(path).await?;
        if found != state.refs {
            if self.lacks_objects(path, &state.refs).await? {
                self.fill(path, state).await?;
            }
            self.move_refs(path, &found, &state.refs).await?;
        }
        point_head(path, &state.refs).map_err(|source| write_error(path, source))
    }

    async fn read_refs(&self, path: &Path) -> Result<Refs, CacheError> {
        if !has_refs(path) {
            return Ok(Refs::new());
        }
        let command = self.git.command(path, &["for-each-ref", "--format=%(objectname) %(refname)"]);
        let output = program::run(command, "for-each-ref", Vec::new()).await?;
        let text = String::from_utf8_lossy(&output);
        let pair = |line: &str| {
            let (hash, name) = line.split_once(' ')?;
            Some((name.to_owned(), hash.parse().ok()?))
        };
        Ok(text.lines().filter_map(pair).collect())
    }

    /// Fetches all bundles and unpacks them. Each pack is there whole or not at all.
    pub(super) async fn fill(&self, path: &Path, state: &RepositoryState) -> Result<(), CacheError> {
        for digest in &state.bundles {
            let (spooled, file) = self.spool.file().map_err(|source| write_error(path, source))?;
            let mut writer = tokio::fs::File::from_std(file);
            let fetched = self.objects.get_to(digest, u64::MAX, &mut writer).await;
            fetched.map_err(|source| CacheError::Fetch { digest: *digest, source })?;
            let file = fs::File::open(spooled.path()).map_err(|source| write_error(path, source))?;
            let unpacked = bundle::unpack(&self.git, path, file).await;
            unpacked.map_err(|source| CacheError::Unpack { digest: *digest, source })?;
        }
        tracing::info!(path = %path.display(), bundles = state.bundles.len(), "cache filled from bundles");
        Ok(())
    }

    async fn lacks_objects(&self, path: &Path, refs: &Refs) -> Result<bool, CacheError> {
        if refs.is_empty() {
            return Ok(false);
        }
        let input: String = refs.values().map(|hash| format!("{hash}\n")).collect();
        let command = self.git.command(path, &["cat-file", "--batch-check"]);
        let output = program::run(command, "cat-file", input.into_bytes()).await?;
        Ok(String::from_utf8_lossy(&output).lines().any(|line| line.ends_with(" missing")))
    }

    /// Deletes first, since a folder may have to go before a reference of its name can come.
    async fn move_refs(&self, path: &Path, found: &Refs, wanted: &Refs) -> Result<(), CacheError> {
        let gone: String = found
            .keys()
            .filter(|name| !wanted.contains_key(*name))
            .map(|name| format!("delete {name}\n"))
            .collect();
        let moved: String = wanted
            .iter()
            .filter(|(name, hash)| found.get(*name) != Some(hash))
            .map(|(name, hash)| format!("update {name} {hash}\n"))
            .collect();
        for input in [gone, moved].into_iter().filter(|input| !input.is_empty()) {
            let command = self.git.command(path, &["update-ref", "--no-deref", "--stdin"]);
            program::run(command, "update-ref", input.into_bytes()).await?;
        }
        Ok(())
    }
}

/// Whether the caller is the only user: nobody else can be reading what goes away. Another who comes waits for the lock.
fn is_alone(cache: &Arc<Cache>) -> bool {
    // One is the caller's, one is in the map of caches.
    Arc::strong_count(cache) <= 2
}

fn write_error(path: &Path, source: io::Error) -> CacheError {
    CacheError::Write { path: path.to_owned(), source }
}

/// Makes an empty bare repository, as `git init --bare` does with an empty template.
fn make(path: &Path) -> io::Result<()> {
    if path.join("HEAD").is_file() {
        return Ok(());
    }
    for folder in ["objects/pack", "objects/info", "refs/heads", "refs/tags"] {
        fs::create_dir_all(path.join(folder))?;
    }
    fs::write(path.join("config"), CONFIG)?;
    fs::write(path.join("HEAD"), HEAD)
}

fn has_refs(path: &Path) -> bool {
    let filled =
        |folder: &str| fs::read_dir(path.join(folder)).is_ok_and(|mut entries| entries.next().is_some());
    path.join("packed-refs").is_file() || filled("refs/heads") || filled("refs/tags")
}

fn packs(path: &Path) -> usize {
    fs::read_dir(path.join("objects/pack")).map_or(0, |entries| entries.count() / 2)
}

/// Lets a clone check out `main`, else `master`, else the first branch.
fn point_head(path: &Path, refs: &Refs) -> io::Result<()> {
    let usual = ["refs/heads/main", "refs/heads/master"].into_iter().find(|name| refs.contains_key(*name));
    let first = || refs.keys().map(String::as_str).find(|name| name.starts_with("refs/heads/"));
    let head = usual.or_else(first).map_or_else(|| HEAD.to_owned(), |name| format!("ref: {name}\n"));
    let file = path.join("HEAD");
    if fs::read_to_string(&file)? == head {
        return Ok(());
    }
    let aside = path.join("HEAD.new");
    fs::write(&aside, head)?;
    fs::rename(aside, file)
}
