//! `kingctl image`: images that the kingdom holds, for servants that no registry reaches.

use crate::cli::Globals;
use crate::client::Client;
use crate::failure::Failure;
use crate::output;
use crate::plan::PlanArgs;
use crate::progress::Progress;
use anyhow::Context;
use bus::objects::Objects;
use clap::Subcommand;
use events::command::{AddImage, AppCommand};
use events::query::{AppItem, Question};
use events::{AppName, Digest, ImageName};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// Where a tar file says that it is one, and what it says.
const MAGIC_AT: u64 = 257;
const MAGIC: &[u8; 5] = b"ustar";

/// Images.
#[derive(Debug, Subcommand)]
pub enum ImageCommand {
    /// Hold an image for an app: the next deploy of a version that names it gets it from here, on any servant.
    ///
    /// What is named so never changes: another image needs another tag.
    #[command(
        after_help = "Examples:\n  docker save shop/web:1 -o web.tar\n  kingctl image add shop shop/web:1 web.tar"
    )]
    Add {
        app: AppName,
        /// What its manifests call it.
        image: ImageName,
        /// One image, as `docker save` writes it.
        file: PathBuf,
        #[command(flatten)]
        plan: PlanArgs,
    },
    /// List the images that the kingdom holds for an app.
    #[command(after_help = "Example:\n  kingctl image ls shop")]
    Ls { app: AppName },
}

impl ImageCommand {
    /// Does it.
    ///
    /// # Errors
    /// When the file cannot be read or stored, it is refused, or no King answers.
    pub async fn run(self, globals: &Globals) -> Result<(), Failure> {
        match self {
            Self::Add { app, image, file, plan } => add(globals, app, image, &file, &plan).await,
            Self::Ls { app } => {
                let client = Client::connect(globals).await?;
                let question = Question { app: Some(app), ..Question::default() };
                let item: AppItem = client.query_one("app.show", &question).await?;
                let text = match globals.output {
                    output::Format::Json => format!("{}\n", serde_json::json!(item.images)),
                    output::Format::Table | output::Format::Name => {
                        item.images.iter().map(|image| format!("{image}\n")).collect()
                    }
                };
                output::print(&text)
            }
        }
    }
}

/// Stored first, then named: what is named is there.
async fn add(
    globals: &Globals,
    app: AppName,
    image: ImageName,
    file: &Path,
    plan: &PlanArgs,
) -> Result<(), Failure> {
    let (archive, bytes) = digest(file).with_context(|| format!("could not read {}", file.display()))?;
    let client = Client::connect(globals).await?;
    if !plan.is_plan() {
        let mut progress = Progress::new(globals);
        progress.show(&format!("storing {bytes} bytes as {archive}"));
        let objects = Objects::open(&client.bus).await.context("could not open the artifacts")?;
        objects.put_file(&archive, file).await.context("could not store the image")?;
        progress.clear();
    }
    let said =
        format!("the kingdom holds {image} for {app}; the next deploy of what names it gets it from here\n");
    let order = AddImage { app, image, archive, bytes };
    plan.send_and_say(globals, AppCommand::from(order).into(), &said).await
}

fn digest(path: &Path) -> io::Result<(Digest, u64)> {
    let mut file = File::open(path)?;
    let mut magic = [0; MAGIC.len()];
    file.seek(SeekFrom::Start(MAGIC_AT))?;
    if file.read_exact(&mut magic).is_err() || magic != *MAGIC {
        return Err(io::Error::other("it is no tar file; write it with: docker save NAME -o FILE"));
    }
    file.rewind()?;
    let mut hasher = blake3::Hasher::new();
    let bytes = io::copy(&mut file, &mut hasher)?;
    Ok((Digest::from_bytes(*hasher.finalize().as_bytes()), bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_tar_files_are_taken_for_images() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("image.tar");
        for other in [&b""[..], &[0; 1024], b"\x1f\x8b\x08"] {
            std::fs::write(&path, other).unwrap();
            assert!(digest(&path).unwrap_err().to_string().contains("docker save"));
        }
        let mut tar = [0; 1024];
        tar[257..262].copy_from_slice(MAGIC);
        std::fs::write(&path, tar).unwrap();
        assert_eq!(digest(&path).unwrap(), (Digest::of(&tar), 1024));
    }
}
