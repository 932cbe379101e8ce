//! Images: the engine has one, loads one that the kingdom holds, or pulls it. A step of its own, done before the instances
//! that need it are started, so that nothing is stopped for an image that cannot be had. How one is built is told by
//! [`build`].

mod build;

pub use build::Built;

use super::engine::{Engine, EngineError};
use bus::Bus;
use bus::objects::{ObjectError, Objects};
use events::limits::IMAGE_BYTES;
use events::view::AssignedImage;
use events::{Digest, ImageName};
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
            patience.after(error.into()).await.map_err(|error| match error {
                SupplyError::Engine(source) => SupplyError::Pull { name: name.clone(), source },
                other => other,
            })?;
        }
        Ok(())
    }

    async fn try_named(&self, name: &ImageName) -> Result<(), EngineError> {
        if self.engine.image(name.as_str()).await?.is_some() {
            return Ok(());
        }
        tracing::info!(%name, "pulling");
        self.engine.pull(name.as_str(), IMAGE).await
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
        let aside = Aside::new(&self.folder);
        Objects::open(&self.bus).await?.get_file(digest, IMAGE_BYTES, &aside.0).await?;
        let images = self.engine.load(&aside.0, IMAGE).await?;
        let [image] = images.as_slice() else {
            return Err(SupplyError::Images(images.len()));
        };
        tracing::info!(%digest, image, "loaded");
        Ok(self.engine.tag(image, HELD, &digest.to_string()).await?)
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
