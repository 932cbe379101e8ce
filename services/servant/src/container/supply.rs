//! Images: the engine has one, loads one that the kingdom holds, or pulls it. A step of its own, done before the instances
//! that need it are started, so that nothing is stopped for an image that cannot be had. How one is built is told by
//! [`build`].

mod build;
pub mod ledger;
mod names;

pub use build::Built;

use super::engine::{Engine, EngineError};
use crate::disk::{NoRoom, Room};
use crate::spec::ReleaseKey;
use bus::Bus;
use bus::objects::{ObjectError, Objects};
use events::limits::IMAGE_BYTES;
use events::view::AssignedImage;
use events::{Digest, ImageName};
use ledger::{Brought, Ledger};
use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How long an image may take to be pulled, loaded or saved, all in all.
const IMAGE: Duration = Duration::from_secs(900);
/// How often an engine, a registry or a store that is away is tried again.
const FIRST_WAIT: Duration = Duration::from_millis(200);
const LONGEST_WAIT: Duration = Duration::from_secs(10);
/// How often a registry, an engine or a store may refuse before the image is given up.
const TRIES: u32 = 3;

/// Why an image cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum SupplyError {
    #[error(
        "the image {name} is not in the engine and cannot be pulled; is the name right? One that no registry gives can be \
         added to the kingdom: kingctl image add"
    )]
    Pull { name: ImageName, source: EngineError },
    #[error("the image {digest} that the kingdom holds cannot be had")]
    Held { digest: Digest, source: Box<SupplyError> },
    #[error(transparent)]
    Object(#[from] ObjectError),
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error("the archive holds {0} images; one is wanted: docker save NAME")]
    Images(usize),
    #[error("the archive of the image could not be kept aside: {0}")]
    File(#[from] io::Error),
    #[error(transparent)]
    NoRoom(#[from] NoRoom),
    #[error("{reason}; the last lines:\n{last}")]
    Build { reason: String, last: String },
}

impl SupplyError {
    /// Whether it is the image's or the archive's own fault: the engine or the store did answer.
    fn is_refusal(&self) -> bool {
        match self {
            Self::Engine(error) => error.status().is_some(),
            Self::Object(ObjectError::Stalled { .. } | ObjectError::Store { .. } | ObjectError::Open(_)) => {
                false
            }
            Self::Pull { .. }
            | Self::Held { .. }
            | Self::Object(_)
            | Self::Images(_)
            | Self::File(_)
            | Self::NoRoom(_)
            | Self::Build { .. } => true,
        }
    }
}

/// The repository in the engine of the images that the kingdom holds.
const HELD: &str = "kingdom.local/held";

/// What the engine calls an image that the kingdom holds.
pub fn held_name(digest: &Digest) -> String {
    format!("{HELD}:{digest}")
}

/// What the engine calls the images that these releases need.
pub fn names(used: &BTreeSet<ReleaseKey>) -> BTreeSet<String> {
    let name = |key: &ReleaseKey| match key.image.as_ref()? {
        AssignedImage::Named(name) => Some(name.to_string()),
        AssignedImage::Held(digest) => Some(held_name(digest)),
        AssignedImage::Build(_) => Some(build::name(&key.archive)),
        AssignedImage::Awaited => None,
    };
    used.iter().filter_map(name).collect()
}

/// What became of an image.
#[derive(Clone, Debug, PartialEq)]
pub enum Supplied {
    /// The engine has it.
    Ready,
    /// It was built and is held by the kingdom from now on; the next assignment names it.
    Built(Built),
}

/// Gets images. Clones do the same.
#[derive(Clone)]
pub struct Supplier {
    pub engine: Engine,
    pub bus: Bus,
    /// Where archives are put for a moment.
    pub folder: PathBuf,
    pub ledger: Ledger,
    /// The room where these are put.
    pub room: Room,
}

impl Supplier {
    /// Until the engine has the image, or it is built. Waits for an engine or a store that is away for as long as it takes.
    ///
    /// # Errors
    /// When it cannot be had.
    pub async fn supply(&self, image: &AssignedImage, archive: &Digest) -> Result<Supplied, SupplyError> {
        match image {
            AssignedImage::Named(name) => self.named(name).await.map(|()| Supplied::Ready),
            AssignedImage::Held(digest) => self.held(digest).await.map(|()| Supplied::Ready),
            AssignedImage::Build(dockerfile) => self.build(archive, dockerfile).await.map(Supplied::Built),
            // The next assignment says what has become of it, and breaks this off.
            AssignedImage::Awaited => std::future::pending().await,
        }
    }

    async fn named(&self, name: &ImageName) -> Result<(), SupplyError> {
        let mut patience = Patience::default();
        while let Err(error) = self.try_named(name).await {
            patience.after(error).await.map_err(|error| match error {
                SupplyError::Engine(source) => SupplyError::Pull { name: name.clone(), source },
                other => other,
            })?;
        }
        Ok(())
    }

    async fn try_named(&self, name: &ImageName) -> Result<(), SupplyError> {
        if self.engine.image(name.as_str()).await?.is_some() {
            return Ok(());
        }
        self.check_room().await?;
        tracing::info!(%name, "pulling");
        self.engine.pull(name.as_str(), IMAGE).await?;
        self.note(name.as_str()).await
    }

    /// Whether there is room for an image: here, and where the engine keeps it.
    async fn check_room(&self) -> Result<(), SupplyError> {
        self.room.check(0)?;
        let root = self.engine.root().await?;
        Ok(Room { folder: root, settings: self.room.settings }.check(0)?)
    }

    /// Keeps in mind that the engine has this image because it was asked for here.
    async fn note(&self, name: &str) -> Result<(), SupplyError> {
        let Some(image) = self.engine.image(name).await? else { return Ok(()) };
        let brought = Brought { name: name.to_owned(), id: image.id, bytes: image.bytes };
        let ledger = self.ledger.clone();
        Ok(tokio::task::spawn_blocking(move || ledger.note(&brought)).await.map_err(io::Error::other)??)
    }

    async fn held(&self, digest: &Digest) -> Result<(), SupplyError> {
        let mut patience = Patience::default();
        while let Err(error) = self.try_held(digest).await {
            let held = |error| SupplyError::Held { digest: *digest, source: Box::new(error) };
            patience.after(error).await.map_err(held)?;
        }
        Ok(())
    }

    async fn try_held(&self, digest: &Digest) -> Result<(), SupplyError> {
        if self.engine.image(&held_name(digest)).await?.is_some() {
            return Ok(());
        }
        self.check_room().await?;
        let aside = Aside::new(&self.folder);
        Objects::open(&self.bus).await?.get_file(digest, IMAGE_BYTES, &aside.0).await?;
        let path = aside.0.clone();
        let given =
            tokio::task::spawn_blocking(move || names::of(&path)).await.map_err(io::Error::other)??;
        let mut before = Vec::new();
        for name in given {
            before.push((self.engine.image(&name).await?.map(|image| image.id), name));
        }
        let images = self.engine.load(&aside.0, IMAGE).await?;
        let loaded = match images.as_slice() {
            [image] => self.engine.tag(image, HELD, &digest.to_string()).await.map_err(SupplyError::from),
            _ => Err(SupplyError::Images(images.len())),
        };
        self.give_back(before).await?;
        loaded?;
        tracing::info!(%digest, image = images[0], "loaded");
        self.note(&held_name(digest)).await
    }

    /// The names that an archive took are given back to the images that had them, or to none.
    async fn give_back(&self, before: Vec<(Option<String>, String)>) -> Result<(), EngineError> {
        for (id, name) in before {
            match id {
                Some(id) => {
                    let (repository, tag) = name.rsplit_once(':').unwrap_or((&name, "latest"));
                    self.engine.tag(&id, repository, tag).await?;
                }
                None => drop(self.engine.remove_image(&name).await?),
            }
        }
        Ok(())
    }
}

/// Tries until it is done, or was refused too often: what is away is waited for.
struct Patience {
    wait: Duration,
    refusals: u32,
}

impl Default for Patience {
    fn default() -> Self {
        Self { wait: FIRST_WAIT, refusals: 0 }
    }
}

impl Patience {
    /// Waits for the next try.
    ///
    /// # Errors
    /// The same error, when there shall be none.
    async fn after(&mut self, error: SupplyError) -> Result<(), SupplyError> {
        self.refusals += u32::from(error.is_refusal());
        if self.refusals >= TRIES {
            return Err(error);
        }
        tracing::warn!(error = service::chain::chain(&error), "an image cannot be had yet; trying again");
        tokio::time::sleep(self.wait).await;
        self.wait = (self.wait * 2).min(LONGEST_WAIT);
        Ok(())
    }
}

/// A file that is removed when nobody needs it any more, however that comes.
struct Aside(PathBuf);

impl Aside {
    fn new(folder: &Path) -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        Self(folder.join(format!(".image-{}.tar", COUNT.fetch_add(1, Ordering::Relaxed))))
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        // It may never have been written.
        let _ = std::fs::remove_file(&self.0);
    }
}
