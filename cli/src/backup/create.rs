//! Making a backup: the place is fixed first, then everything up to it is read, checked and written aside.

use super::CreateArgs;
use crate::cli::Globals;
use crate::client::Client;
use crate::failure::Failure;
use crate::past::Commits;
use crate::progress::Progress;
use anyhow::{Context, anyhow};
use audit::backup::{Manifest, Writer};
use bus::objects::Objects;
use events::query::Question;
use events::{Checkpoint, Digest};
use service::clock;
use std::fs::File;
use std::io::{BufWriter, Seek, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::time::timeout;

/// How long a King may take to sign; without one the backup is made all the same.
const SIGNING: Duration = Duration::from_secs(3);

type Out = Writer<BufWriter<File>>;

/// Does it.
///
/// # Errors
/// When the log or an artifact cannot be read, or the file cannot be written.
pub async fn run(globals: &Globals, args: CreateArgs) -> Result<Manifest, Failure> {
    if args.file.exists() && !args.force {
        return Err(Failure::Conflict(format!(
            "{} is there already; name another file, or replace it with --force",
            args.file.display()
        )));
    }
    let client = Client::connect(globals).await?;
    let aside = Aside::beside(&args.file);
    let file = File::create(&aside.0);
    let file = file.with_context(|| format!("could not write {}", aside.0.display()))?;
    let mut writer = Writer::new(BufWriter::new(file), clock::now(), env!("CARGO_PKG_VERSION"));
    let checkpoint = sign(&client).await;
    let mut progress = Progress::new(globals);
    let needed = write_commits(&client, checkpoint.as_ref(), &mut writer, &mut progress).await?;
    let objects = Objects::open(&client.bus).await.context("could not open the artifacts")?;
    for (index, digest) in needed.iter().enumerate() {
        progress.show(&format!("artifact {} of {}", index + 1, needed.len()));
        write_artifact(&objects, digest, &aside, &mut writer).await?;
    }
    progress.clear();
    let (manifest, out) = writer.finish(checkpoint).context("could not write the backup")?;
    aside.become_real(out, &args.file)?;
    Ok(manifest)
}

/// What a King signs of now, if one answers.
async fn sign(client: &Client) -> Option<Checkpoint> {
    let question = Question::default();
    let asked = client.query_one::<Checkpoint>("audit.checkpoint", &question);
    match timeout(SIGNING, asked).await {
        Ok(Ok(checkpoint)) => Some(checkpoint),
        Ok(Err(_)) | Err(_) => {
            eprintln!("no King signs the backup: it is made without a checkpoint of its own");
            None
        }
    }
}

async fn write_commits(
    client: &Client,
    checkpoint: Option<&Checkpoint>,
    writer: &mut Out,
    progress: &mut Progress,
) -> Result<Vec<Digest>, Failure> {
    let mut commits = Commits::of_log(client).await?;
    let end = checkpoint.map_or(commits.end(), |checkpoint| checkpoint.mark.sequence);
    let mut reached = 0;
    while reached < end {
        let some = commits.next().await?;
        if some.is_empty() {
            return Err(Failure::Failed(anyhow!("the log ends at commit {reached}, but {end} was signed")));
        }
        for stored in some {
            reached = stored.sequence;
            writer.commit(&stored).with_context(|| format!("commit {reached} cannot be taken"))?;
        }
        if reached % 1000 == 0 {
            progress.show(&format!("commit {reached} of {end}"));
        }
    }
    Ok(writer.commits_end().context("could not write the backup")?.into_iter().collect())
}

/// Fetches an artifact into a file of its own first, where it is verified.
async fn write_artifact(
    objects: &Objects,
    digest: &Digest,
    aside: &Aside,
    writer: &mut Out,
) -> Result<(), Failure> {
    let part = Aside(aside.0.with_extension("artifact"));
    let bytes = objects.get_file(digest, u64::MAX, &part.0).await;
    let bytes = bytes.with_context(|| format!("artifact {digest} is needed and cannot be fetched"))?;
    let content = File::open(&part.0).with_context(|| format!("could not read {}", part.0.display()))?;
    Ok(writer.artifact(*digest, bytes, content).context("could not write the backup")?)
}

/// A file beside the one that is wanted; removed unless it became that.
struct Aside(PathBuf);

impl Aside {
    fn beside(file: &Path) -> Self {
        let mut name = file.file_name().unwrap_or_default().to_owned();
        name.push(format!(".{}.part", std::process::id()));
        Self(file.with_file_name(name))
    }

    fn become_real(self, out: BufWriter<File>, path: &Path) -> Result<(), Failure> {
        let written = || format!("could not write {}", path.display());
        let mut file = out.into_inner().map_err(|error| anyhow!(error.into_error())).with_context(written)?;
        file.flush().and_then(|()| file.rewind()).and_then(|()| file.sync_all()).with_context(written)?;
        std::fs::rename(&self.0, path).with_context(written)?;
        let folder = match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            Some(_) | None => Path::new("."),
        };
        Ok(File::open(folder).and_then(|folder| folder.sync_all()).with_context(written)?)
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        // Renamed away or never made: either way nothing is left to be removed.
        let _ = std::fs::remove_file(&self.0);
    }
}
