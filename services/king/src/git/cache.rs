//! The repositories on disk: caches of the state, made and repaired before they are used.

use super::bundle::{self, BundleError};
use super::program::{self, ProgramError};
use super::{Remote, RepositoryState};
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
    pub(super) async fn bring(
        &self,
        cache: &Arc<Cache>,
        state: Option<&RepositoryState>,
    ) -> Result<(), CacheError> {
        let mut note = cache.hold().await;
        self.bring_held(cache, &mut note, state).await
    }

    /// The same, with the lock held.
    pub(super) async fn bring_held(
        &self,
        cache: &Arc<Cache>,
        note: &mut Note,
        state: Option<&RepositoryState>,
    ) -> Result<(), CacheError> {
        let none = RepositoryState::default();
        let wanted = &state.unwrap_or(&none).refs;
        let there = cache.path.join("HEAD").is_file();
        if there && note.as_ref() == Some(wanted) {
            return Ok(());
        }
        // Two users: this one and the map of caches. Nobody else can be reading what goes away.
        let alone = Arc::strong_count(cache) <= 2;
        let stale = note.is_none() && state.is_none();
        *note = None;
        if alone && (stale || packs(&cache.path) > PACKS) {
            remove(&cache.path).map_err(|source| write_error(&cache.path, source))?;
        }
        make(&cache.path).map_err(|source| write_error(&cache.path, source))?;
        let found = self.read_refs(&cache.path).await?;
        if found != *wanted {
            self.fill(&cache.path, state.unwrap_or(&none)).await?;
            self.move_refs(&cache.path, &found, wanted).await?;
        }
        point_head(&cache.path, wanted).map_err(|source| write_error(&cache.path, source))?;
        *note = Some(wanted.clone());
        Ok(())
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

    /// Fetches the bundles if an object that a reference names is missing. Each pack is there whole or not at all.
    async fn fill(&self, path: &Path, state: &RepositoryState) -> Result<(), CacheError> {
        if !self.lacks_objects(path, &state.refs).await? {
            return Ok(());
        }
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
