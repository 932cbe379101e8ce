//! Building an image from the Dockerfile of a version, for the whole kingdom: once, within bounds, and kept in the
//! artifact store, from where every other servant loads it.

use super::{Aside, HELD, IMAGE, Patience, Supplier, SupplyError, held_name};
use bus::objects::Objects;
use events::Digest;
use events::limits::IMAGE_BYTES;
use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long a build may take.
const BUILD: Duration = Duration::from_secs(1800);
/// Largest version that is built from, packed and unpacked.
const PACKED_BYTES: u64 = 1 << 30;
const CONTEXT_BYTES: u64 = 2 << 30;
/// How much of what a build says last stands in its failure.
const LAST_LINES: usize = 30;
const LAST_BYTES: usize = 4096;
/// The repository in the engine of what is being built.
const BUILDING: &str = "kingdom.local/building";

/// What the engine calls the image of a version while it is built.
pub fn name(archive: &Digest) -> String {
    format!("{BUILDING}:{archive}")
}

/// An image that was built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Built {
    /// Its archive in the artifact store.
    pub image: Digest,
    pub bytes: u64,
}

impl Supplier {
    /// Builds the image of this Dockerfile in the archive of a version, and stores it.
    ///
    /// # Errors
    /// When the build fails or takes too long, or the image is too large.
    pub(super) async fn build(&self, archive: &Digest, dockerfile: &str) -> Result<Built, SupplyError> {
        self.check_room().await?;
        let context = self.context(archive).await?;
        let name = name(archive);
        tracing::info!(%archive, dockerfile, "building an image");
        let mut last = Last::default();
        let built = self.engine.build(&context.0, dockerfile, &name, BUILD, |said| last.hear(said)).await;
        if let Err(error) = built {
            return Err(SupplyError::Build { reason: error.to_string(), last: last.text() });
        }
        drop(context);
        // If it comes no further, it goes with what else nobody uses.
        self.note(&name).await?;
        self.store(&name).await
    }

    /// The unpacked archive, as the engine takes it.
    async fn context(&self, archive: &Digest) -> Result<Aside, SupplyError> {
        let mut patience = Patience::default();
        loop {
            match self.try_context(archive).await {
                Ok(context) => return Ok(context),
                Err(error) => patience.after(error).await?,
            }
        }
    }

    async fn try_context(&self, archive: &Digest) -> Result<Aside, SupplyError> {
        let (packed, context) = (Aside::new(&self.folder), Aside::new(&self.folder));
        Objects::open(&self.bus).await?.get_file(archive, PACKED_BYTES, &packed.0).await?;
        let (from, to) = (packed.0.clone(), context.0.clone());
        aside(move || unpack(&from, &to)).await?;
        Ok(context)
    }

    async fn store(&self, name: &str) -> Result<Built, SupplyError> {
        let mut patience = Patience::default();
        loop {
            match self.try_store(name).await {
                Ok(built) => return Ok(built),
                Err(error) => patience.after(error).await?,
            }
        }
    }

    async fn try_store(&self, name: &str) -> Result<Built, SupplyError> {
        let saved = Aside::new(&self.folder);
        // By its id: the archive brings no name with it.
        let image = self.engine.image(name).await?.map_or_else(|| name.to_owned(), |image| image.id);
        self.engine.save(&image, &saved.0, IMAGE).await?;
        let path = saved.0.clone();
        let built = aside(move || digest(path)).await?;
        if built.bytes > IMAGE_BYTES {
            let reason = format!("the image has {} bytes; at most {IMAGE_BYTES}", built.bytes);
            return Err(SupplyError::Build { reason, last: String::new() });
        }
        Objects::open(&self.bus).await?.put_file(&built.image, &saved.0).await?;
        // Here it need not be loaded any more.
        self.engine.tag(name, HELD, &built.image.to_string()).await?;
        self.note(&held_name(&built.image)).await?;
        tracing::info!(image = held_name(&built.image), bytes = built.bytes, "built and stored");
        Ok(built)
    }
}

async fn aside<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}

/// From zstd to plain tar, within bounds: a small archive must not unfold into a large one.
fn unpack(from: &Path, to: &Path) -> io::Result<()> {
    let mut tar =
        zstd::stream::read::Decoder::new(BufReader::new(File::open(from)?))?.take(CONTEXT_BYTES + 1);
    let mut file = BufWriter::new(File::create(to)?);
    let bytes = io::copy(&mut tar, &mut file)?;
    file.flush()?;
    if bytes > CONTEXT_BYTES {
        return Err(io::Error::other(format!("the version unpacks to more than {CONTEXT_BYTES} bytes")));
    }
    Ok(())
}

fn digest(path: PathBuf) -> io::Result<Built> {
    let mut hasher = blake3::Hasher::new();
    let bytes = io::copy(&mut File::open(path)?, &mut hasher)?;
    Ok(Built { image: Digest::from_bytes(*hasher.finalize().as_bytes()), bytes })
}

/// The last lines that a build says.
#[derive(Default)]
struct Last {
    lines: VecDeque<String>,
    partial: String,
}

impl Last {
    fn hear(&mut self, said: &str) {
        for piece in said.split_inclusive('\n') {
            self.partial.push_str(piece);
            if piece.ends_with('\n') || self.partial.len() > LAST_BYTES {
                let line = std::mem::take(&mut self.partial);
                self.keep(line.trim_end());
            }
        }
    }

    fn keep(&mut self, line: &str) {
        if line.is_empty() {
            return;
        }
        self.lines.push_back(line.to_owned());
        while self.lines.len() > LAST_LINES || self.lines.iter().map(String::len).sum::<usize>() > LAST_BYTES
        {
            self.lines.pop_front();
        }
    }

    fn text(&mut self) -> String {
        let rest = std::mem::take(&mut self.partial);
        self.keep(rest.trim_end());
        self.lines.iter().map(String::as_str).collect::<Vec<_>>().join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_of_a_build_are_kept_within_bounds() {
        let mut last = Last::default();
        for number in 0..100 {
            last.hear(&format!("Step {number}\n"));
        }
        last.hear("half");
        last.hear(" a line");
        let text = last.text();
        assert_eq!(text.lines().count(), LAST_LINES);
        assert!(text.starts_with("Step 71\n") && text.ends_with("Step 99\nhalf a line"), "{text}");
        last.hear(&"x".repeat(3 * LAST_BYTES));
        assert!(last.text().len() <= LAST_BYTES);
    }
}
