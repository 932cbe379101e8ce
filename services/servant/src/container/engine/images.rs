//! Images and volumes: what the engine has, and how it gets what it has not. What takes long says that it goes on.

use super::{Asked, CHANGE, Engine, EngineError, LOOK};
use crate::container::shape::VolumeShape;
use bollard::errors::Error;
use bollard::models::VolumeCreateRequest;
use bollard::query_parameters::{
    BuildImageOptions, CreateImageOptions, ImportImageOptions, RemoveImageOptions, TagImageOptions,
};
use bollard::{Docker, body_try_stream};
use futures_util::{Stream, StreamExt};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::time::{Instant, timeout};

/// How long nothing may come while an image is pulled, loaded or saved.
const STALL: Duration = Duration::from_secs(60);
/// How long a volume may take to be made.
const VOLUME: Duration = Duration::from_secs(30);
/// How much of a file is sent at once.
const CHUNK_BYTES: usize = 256 * 1024;

/// An image that the engine has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    pub id: String,
    /// With what it shares with others.
    pub bytes: u64,
}

/// What became of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unnamed {
    /// It is gone, and the image with it if it had no other.
    Gone,
    /// A container needs the image.
    Needed,
}

impl Engine {
    /// An image; none when the engine has none of this name.
    ///
    /// # Errors
    /// When the engine does not answer.
    pub async fn image(&self, name: &str) -> Asked<Option<Image>> {
        let docker = self.docker().await?;
        match self.ask("look at an image", LOOK, docker.inspect_image(name)).await {
            Ok(found) => {
                let bytes = found.size.and_then(|size| u64::try_from(size).ok()).unwrap_or_default();
                Ok(found.id.map(|id| Image { id, bytes }))
            }
            Err(error) if error.status() == Some(404) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Takes a name from an image, and removes the image with its last one; never while any container needs it.
    ///
    /// # Errors
    /// When the engine does not answer.
    pub async fn remove_image(&self, name: &str) -> Asked<Unnamed> {
        let docker = self.docker().await?;
        let options = RemoveImageOptions { force: false, noprune: false, ..RemoveImageOptions::default() };
        match self.ask("remove an image", CHANGE, docker.remove_image(name, Some(options), None)).await {
            Ok(_) => Ok(Unnamed::Gone),
            Err(error) if error.status() == Some(404) => Ok(Unnamed::Gone),
            Err(error) if error.status() == Some(409) => Ok(Unnamed::Needed),
            Err(error) => Err(error),
        }
    }

    /// The folder of the host that it keeps everything in.
    ///
    /// # Errors
    /// When the engine does not answer.
    pub async fn root(&self) -> Asked<PathBuf> {
        let docker = self.docker().await?;
        let info = self.ask("say where it keeps its images", LOOK, docker.info()).await?;
        Ok(info.docker_root_dir.unwrap_or_default().into())
    }

    /// Pulls an image from its registry.
    ///
    /// # Errors
    /// When the registry or the engine refuses, or nothing comes for a while.
    pub async fn pull(&self, name: &str, limit: Duration) -> Asked<()> {
        let options =
            CreateImageOptions { from_image: Some(with_tag(name)), ..CreateImageOptions::default() };
        let docker = self.patient(limit).await?;
        let mut pulling = docker.create_image(Some(options), None, None).boxed();
        self.drain("pull the image", limit, &mut pulling, |_| {}).await
    }

    /// Loads the image of an archive as `docker save` writes it; gives the names or ids of what it held.
    ///
    /// # Errors
    /// When the engine refuses it, or nothing moves for a while.
    pub async fn load(&self, archive: &Path, limit: Duration) -> Asked<Vec<String>> {
        let docker = self.patient(limit).await?;
        let body = body_try_stream(self.file(archive).await?);
        let options = ImportImageOptions { quiet: false, platform: None };
        let mut loading = docker.import_image(options, body, None).boxed();
        let mut loaded = Vec::new();
        self.drain("load the image", limit, &mut loading, |said| {
            loaded.extend(said.stream.iter().flat_map(|text| text.lines()).filter_map(loaded_image));
        })
        .await?;
        Ok(loaded)
    }

    /// Gives an image another name.
    ///
    /// # Errors
    /// When there is none, or the engine does not answer.
    pub async fn tag(&self, image: &str, repository: &str, tag: &str) -> Asked<()> {
        let docker = self.docker().await?;
        let options = TagImageOptions { repo: Some(repository.to_owned()), tag: Some(tag.to_owned()) };
        self.ask("name the image", LOOK, docker.tag_image(image, Some(options))).await
    }

    /// Writes an image to a file, as `docker save` does.
    ///
    /// # Errors
    /// When there is none, nothing comes for a while, or the file cannot be written.
    pub async fn save(&self, image: &str, to: &Path, limit: Duration) -> Asked<()> {
        let docker = self.patient(limit).await?;
        let mut file = tokio::fs::File::create(to).await.map_err(|error| self.io("save the image", error))?;
        let mut saving = docker.export_image(image).boxed();
        while let Some(chunk) = self.next("save the image", Instant::now() + limit, &mut saving).await? {
            file.write_all(&chunk).await.map_err(|error| self.io("save the image", error))?;
        }
        file.sync_all().await.map_err(|error| self.io("save the image", error))
    }

    /// Builds the image of a Dockerfile in a tar archive, under this name, with no network of its host's and within
    /// this time. `said` hears what the build says.
    ///
    /// # Errors
    /// When the build fails, takes too long, or the engine does not answer.
    pub async fn build(
        &self,
        context: &Path,
        dockerfile: &str,
        name: &str,
        limit: Duration,
        mut said: impl FnMut(&str) + Send,
    ) -> Asked<()> {
        let options = BuildImageOptions {
            dockerfile: dockerfile.to_owned(),
            t: Some(name.to_owned()),
            rm: true,
            forcerm: true,
            ..BuildImageOptions::default()
        };
        let docker = self.patient(limit).await?;
        let body = body_try_stream(self.file(context).await?);
        let mut building = docker.build_image(options, None, Some(body)).boxed();
        let deadline = Instant::now() + limit;
        // A step of a build may be silent for as long as it likes.
        while let Some(info) = self.next_within("build the image", limit, deadline, &mut building).await? {
            said(info.stream.as_deref().or(info.status.as_deref()).unwrap_or_default());
            if let Some(error) = info.error_detail.and_then(|detail| detail.message) {
                return Err(EngineError::Refused { tried: "build the image", status: 500, message: error });
            }
        }
        Ok(())
    }

    /// Makes a volume, or sees that the one of this name is what it shall be.
    ///
    /// # Errors
    /// When it is somebody else's, or the engine does not answer.
    pub async fn provide(&self, volume: &VolumeShape) -> Asked<()> {
        let docker = self.docker().await?;
        let wanted = VolumeCreateRequest {
            name: Some(volume.name.clone()),
            labels: Some(volume.labels.clone()),
            ..VolumeCreateRequest::default()
        };
        // One that is there is given as it is.
        let found = self.ask("make the volume", VOLUME, docker.create_volume(wanted)).await?;
        if volume.labels.iter().all(|(key, value)| found.labels.get(key) == Some(value)) {
            return Ok(());
        }
        let message = format!(
            "the volume {} is there and is not this servant's; remove or rename it: docker volume rm {0}",
            volume.name
        );
        Err(EngineError::Refused { tried: "make the volume", status: 409, message })
    }

    /// A connection whose calls may take this long to begin their answer.
    async fn patient(&self, limit: Duration) -> Asked<Docker> {
        Ok(self.docker().await?.with_timeout(limit))
    }

    async fn file(
        &self,
        path: &Path,
    ) -> Asked<impl Stream<Item = std::io::Result<bytes::Bytes>> + Send + 'static> {
        let file = tokio::fs::File::open(path).await.map_err(|error| self.io("send the archive", error))?;
        Ok(tokio_util::io::ReaderStream::with_capacity(file, CHUNK_BYTES))
    }

    fn io(&self, tried: &'static str, error: std::io::Error) -> EngineError {
        self.failed(tried, Error::IOError { err: error })
    }

    /// Reads an answer to its end.
    async fn drain<T>(
        &self,
        tried: &'static str,
        limit: Duration,
        answer: &mut (impl Stream<Item = Result<T, Error>> + Unpin),
        mut hear: impl FnMut(T),
    ) -> Asked<()> {
        let deadline = Instant::now() + limit;
        while let Some(said) = self.next(tried, deadline, answer).await? {
            hear(said);
        }
        Ok(())
    }

    async fn next<T>(
        &self,
        tried: &'static str,
        deadline: Instant,
        answer: &mut (impl Stream<Item = Result<T, Error>> + Unpin),
    ) -> Asked<Option<T>> {
        self.next_within(tried, STALL, deadline, answer).await
    }

    async fn next_within<T>(
        &self,
        tried: &'static str,
        stall: Duration,
        deadline: Instant,
        answer: &mut (impl Stream<Item = Result<T, Error>> + Unpin),
    ) -> Asked<Option<T>> {
        let limit = stall.min(deadline.saturating_duration_since(Instant::now()));
        match timeout(limit, answer.next()).await {
            Ok(next) => next.transpose().map_err(|error| self.failed(tried, error)),
            Err(_) => Err(EngineError::Slow { socket: self.socket.as_ref().clone(), tried, limit: stall }),
        }
    }
}

/// Without a tag the engine would pull all of them.
fn with_tag(name: &str) -> String {
    let last = name.rsplit('/').next().unwrap_or(name);
    if last.contains([':', '@']) { name.to_owned() } else { format!("{name}:latest") }
}

/// The name or id in `Loaded image: shop:1` and `Loaded image ID: sha256:…`.
fn loaded_image(line: &str) -> Option<String> {
    let said = line.strip_prefix("Loaded image")?;
    let (_, image) = said.split_once(": ")?;
    Some(image.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_completed_and_answers_understood() {
        assert_eq!(with_tag("nginx"), "nginx:latest");
        assert_eq!(with_tag("r.example:5000/nginx"), "r.example:5000/nginx:latest");
        assert_eq!(with_tag("nginx:1"), "nginx:1");
        assert_eq!(loaded_image("Loaded image: shop:1").as_deref(), Some("shop:1"));
        assert_eq!(loaded_image("Loaded image ID: sha256:aa").as_deref(), Some("sha256:aa"));
        assert_eq!(loaded_image("The image shop:1 already exists"), None);
    }
}
