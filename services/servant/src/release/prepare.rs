//! From a digest to a tree that can run. Each release is prepared by one task at a time, which has the turn for as long as
//! anything is written; whoever else needs it waits for the same answer, which the reconciler sees to.

use super::build::{BUILD_LIMIT, BUILDER_VARIABLE, BuildError, base_environment, build};
use super::unpack::{UnpackError, UnpackLimits, unpack};
use super::{ReleaseFolder, absent_is_fine};
use crate::container::supply::{Supplied, Supplier, SupplyError};
use crate::disk::{NoRoom, Room};
use crate::spec::Spec;
use bus::Bus;
use bus::objects::{ObjectError, Objects};
use events::limits::TEXT_BYTES;
use events::report::Stage;
use events::{Digest, ServantId};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::OwnedMutexGuard;

/// Largest archive as it is stored.
const PACKED_BYTES: u64 = 1 << 30;
/// How much larger a tree is taken to be than its archive: text packs about so well.
const UNPACKED_TIMES: u64 = 3;
/// How often a missing or damaged artifact is looked for before it is given up.
const TRIES: u32 = 5;
const FIRST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// Why a release cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum PrepareError {
    #[error("{0}; deploy the version again, or push it again if the artifact is lost")]
    Fetch(#[source] ObjectError),
    #[error(transparent)]
    NoRoom(#[from] NoRoom),
    #[error(transparent)]
    Unpack(#[from] UnpackError),
    #[error(transparent)]
    Build(#[from] BuildError),
    #[error(transparent)]
    Supply(#[from] SupplyError),
    #[error("the folder of the release cannot be used: {0}")]
    Folder(#[source] io::Error),
}

impl PrepareError {
    /// Where it failed.
    pub fn stage(&self) -> Stage {
        match self {
            Self::Supply(SupplyError::Build { .. }) => Stage::Build,
            Self::Fetch(_) | Self::NoRoom(_) | Self::Supply(_) => Stage::Fetch,
            Self::Unpack(_) | Self::Folder(_) => Stage::Unpack,
            Self::Build(_) => Stage::Build,
        }
    }

    /// The reason in words, cut to what a report may hold.
    pub fn reason(&self) -> String {
        let text = service::chain::chain(self);
        let start = text.len().saturating_sub(TEXT_BYTES);
        let start = (start..text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or(text.len());
        text[start..].to_owned()
    }
}

/// The right to write in the folder of one release: what goes on after its task was broken off has it still.
pub type Turn = Arc<OwnedMutexGuard<()>>;

/// Prepares releases. Clones do the same.
#[derive(Clone)]
pub struct Preparer {
    pub supplier: Supplier,
    pub bus: Bus,
    pub servant: ServantId,
    pub releases: PathBuf,
    pub room: Room,
    pub boot: String,
    /// The PATH of builds and instances.
    pub path: String,
}

impl Preparer {
    /// Where the release of this instance lies.
    pub fn folder(&self, spec: &Spec) -> ReleaseFolder {
        ReleaseFolder::new(&self.releases, &spec.key)
    }

    /// Fetches, unpacks and builds a release that is not here yet.
    ///
    /// # Errors
    /// When it cannot be had, not even later: what may pass is waited for.
    pub async fn prepare(&self, spec: &Spec, turn: Turn) -> Result<Supplied, PrepareError> {
        if let Some(image) = &spec.key.image {
            return Ok(self.supplier.supply(image, &spec.key.archive).await?);
        }
        let folder = self.folder(spec);
        if folder.is_ready(&self.boot) {
            return Ok(Supplied::Ready);
        }
        let begun = tokio::time::Instant::now();
        let packed = folder.tree.with_extension("packed");
        blocking({
            let (folder, packed, turn) = (folder.clone(), packed.clone(), turn.clone());
            move || {
                let _turn = turn;
                folder.begin()?;
                absent_is_fine(std::fs::remove_file(&packed))
            }
        })
        .await
        .map_err(PrepareError::Folder)?;
        self.room.check(0)?;
        self.fetch(&spec.key.archive, &packed).await?;
        self.check_room(&packed)?;
        unpack_file(packed, folder.tree.clone(), turn.clone()).await?;
        if let Some(command) = &spec.build {
            self.build(command, spec, &folder).await?;
        }
        folder.mark_ready(&self.boot).map_err(PrepareError::Folder)?;
        let elapsed_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        tracing::info!(app = %spec.key.app, release = spec.key.release, elapsed_ms, "release is ready");
        tokio::task::spawn_blocking(move || {
            let _turn = turn;
            if let Err(error) = folder.sync() {
                // It is prepared anew after the next start of the host, that is all.
                tracing::warn!(tree = %folder.tree.display(), %error, "release could not be synced");
            }
        });
        Ok(Supplied::Ready)
    }

    async fn build(
        &self,
        command: &events::manifest::CommandLine,
        spec: &Spec,
        folder: &ReleaseFolder,
    ) -> Result<(), PrepareError> {
        let mut base = base_environment(&folder.tree, &self.path);
        base.insert(BUILDER_VARIABLE.to_owned(), self.servant.to_string());
        Ok(build(command, spec, &folder.tree, &folder.log, base, BUILD_LIMIT).await?)
    }

    /// An archive that is fetched must find room unpacked, too; where it does not it goes away again.
    fn check_room(&self, packed: &Path) -> Result<(), PrepareError> {
        let bytes = std::fs::metadata(packed).map_err(PrepareError::Folder)?.len();
        let checked = self.room.check(bytes.saturating_mul(UNPACKED_TIMES));
        if checked.is_err() {
            std::fs::remove_file(packed).map_err(PrepareError::Folder)?;
        }
        Ok(checked?)
    }

    /// Waits for a bus that is away for as long as it takes; a missing or damaged artifact is given up after a while.
    async fn fetch(&self, digest: &Digest, to: &Path) -> Result<(), PrepareError> {
        let mut wait = FIRST_WAIT;
        let mut missed = 0;
        loop {
            let error = match self.try_fetch(digest, to).await {
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
            match &error {
                ObjectError::Stalled { .. } | ObjectError::Store { .. } | ObjectError::Open(_) => {}
                ObjectError::TooLarge { .. } | ObjectError::File { .. } => {
                    return Err(PrepareError::Fetch(error));
                }
                ObjectError::Missing { .. }
                | ObjectError::WrongDigest { .. }
                | ObjectError::Corrupt { .. } => {
                    missed += 1;
                    if missed >= TRIES {
                        return Err(PrepareError::Fetch(error));
                    }
                }
            }
            tracing::warn!(%digest, %error, "archive could not be fetched; trying again");
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(LONGEST_WAIT);
        }
    }

    async fn try_fetch(&self, digest: &Digest, to: &Path) -> Result<(), ObjectError> {
        let objects = Objects::open(&self.bus).await?;
        objects.get_file(digest, PACKED_BYTES, to).await.map(|_| ())
    }
}

async fn unpack_file(packed: PathBuf, tree: PathBuf, turn: Turn) -> Result<(), PrepareError> {
    let done = tokio::task::spawn_blocking(move || {
        let _turn = turn;
        let file = File::open(&packed).map_err(PrepareError::Folder)?;
        // Into a folder aside: a tree under its own name is whole.
        let aside = tree.with_extension("unpacking");
        blocking_remove(&aside)?;
        unpack(io::BufReader::new(file), &aside, UnpackLimits::STANDARD).inspect_err(|_| {
            // What was refused should not stay; that it could not be removed says less than why it was refused.
            let _ = std::fs::remove_dir_all(&aside);
            let _ = std::fs::remove_file(&packed);
        })?;
        std::fs::rename(&aside, &tree).map_err(PrepareError::Folder)?;
        std::fs::remove_file(&packed).map_err(PrepareError::Folder)
    });
    done.await.map_err(|error| PrepareError::Folder(io::Error::other(error)))?
}

fn blocking_remove(path: &Path) -> Result<(), PrepareError> {
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(PrepareError::Folder(error)),
        _ => Ok(()),
    }
}

async fn blocking(work: impl FnOnce() -> io::Result<()> + Send + 'static) -> io::Result<()> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}
