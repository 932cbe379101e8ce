//! Artifacts: bundles and archives, each under its BLAKE3 digest, in chunks of [`CHUNK_BYTES`].
//!
//! The name is the content: so what is there complete is never written again, and what is read is always verified.

use crate::Source;
use crate::connect::Bus;
use crate::store;
use async_nats::jetstream::object_store::{
    GetErrorKind, InfoErrorKind, ObjectInfo, ObjectMetadata, ObjectStore,
};
use bytes::Bytes;
use events::Digest;
use events::subject::ARTIFACTS_BUCKET;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::time::timeout;

/// Size of a chunk.
pub const CHUNK_BYTES: usize = 512 * 1024;
/// How long nothing may move before a transfer is given up.
pub const STALL: Duration = Duration::from_secs(10);
/// How much is read at a time.
const READ_BYTES: usize = 128 * 1024;

/// Why an artifact was not stored or fetched.
#[derive(Debug, thiserror::Error)]
pub enum ObjectError {
    #[error("artifact {digest} is not in the store (bucket {ARTIFACTS_BUCKET})")]
    Missing { digest: Digest },
    #[error("artifact {digest} has {bytes} bytes; at most {limit} are wanted")]
    TooLarge { digest: Digest, bytes: u64, limit: u64 },
    #[error(
        "what was to be stored as artifact {digest} has the digest {found}; it changed while it was read"
    )]
    WrongDigest { digest: Digest, found: Digest },
    #[error(
        "artifact {digest} is damaged in the store (bucket {ARTIFACTS_BUCKET}): {reason}; store it again with `replace`"
    )]
    Corrupt { digest: Digest, reason: String },
    #[error("the transfer of artifact {digest} stood still for {waited:?}; try again", waited = STALL)]
    Stalled { digest: Digest },
    #[error("artifact {digest} cannot be {tried}")]
    Store {
        digest: Digest,
        /// What was tried: stored, fetched, looked up, deleted.
        tried: &'static str,
        #[source]
        source: Source,
    },
    #[error("{path} cannot be {tried}", path = path.display())]
    File {
        path: PathBuf,
        /// What was tried: read, written.
        tried: &'static str,
        #[source]
        source: io::Error,
    },
    #[error("the artifact store (bucket {ARTIFACTS_BUCKET}) cannot be opened; is it provisioned?")]
    Open(#[source] Source),
}

/// The artifact store.
#[derive(Clone)]
pub struct Objects {
    store: ObjectStore,
}

impl std::fmt::Debug for Objects {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Objects")
    }
}

impl Objects {
    /// Opens the bucket that was provisioned.
    ///
    /// # Errors
    /// When it is not there or does not answer.
    pub async fn open(bus: &Bus) -> Result<Self, ObjectError> {
        let store = bus.context().get_object_store(ARTIFACTS_BUCKET).await;
        Ok(Self { store: store.map_err(|error| ObjectError::Open(error.into()))? })
    }

    /// Stores bytes under their digest; passes over what is there complete.
    ///
    /// # Errors
    /// When they have another digest, or the store does not take them.
    pub async fn put(&self, digest: &Digest, bytes: impl Into<Bytes>) -> Result<(), ObjectError> {
        let bytes = bytes.into();
        self.put_reader(digest, bytes.len() as u64, io::Cursor::new(bytes)).await
    }

    /// Stores a file under its digest; passes over what is there complete.
    ///
    /// # Errors
    /// As [`Objects::put`], and when the file cannot be read.
    pub async fn put_file(&self, digest: &Digest, path: &Path) -> Result<(), ObjectError> {
        let failed = |source| ObjectError::File { path: path.to_owned(), tried: "read", source };
        let file = tokio::fs::File::open(path).await.map_err(failed)?;
        let length = file.metadata().await.map_err(failed)?.len();
        self.put_reader(digest, length, file).await
    }

    /// Stores what a reader gives, `length` bytes, under its digest; passes over what is there complete.
    ///
    /// # Errors
    /// As [`Objects::put`].
    pub async fn put_reader(
        &self,
        digest: &Digest,
        length: u64,
        reader: impl AsyncRead + Unpin,
    ) -> Result<(), ObjectError> {
        if self.find(digest).await?.is_some_and(|info| info.size as u64 == length) {
            return Ok(());
        }
        self.replace(digest, reader).await
    }

    /// Stores what a reader gives under its digest, also when something is there: repairs a damaged artifact.
    ///
    /// # Errors
    /// As [`Objects::put`].
    pub async fn replace(&self, digest: &Digest, reader: impl AsyncRead + Unpin) -> Result<(), ObjectError> {
        let mut hashing = Hashing { reader, hasher: blake3::Hasher::new() };
        let metadata = ObjectMetadata {
            name: digest.to_string(),
            chunk_size: Some(CHUNK_BYTES),
            ..ObjectMetadata::default()
        };
        let stored = self.store.put(metadata, &mut hashing).await;
        stored.map_err(|error| failed(digest, "stored", error))?;
        let found = Digest::from_bytes(*hashing.hasher.finalize().as_bytes());
        if found == *digest {
            return Ok(());
        }
        self.delete(digest).await?;
        Err(ObjectError::WrongDigest { digest: *digest, found })
    }

    /// The bytes of an artifact, verified; at most `limit`.
    ///
    /// # Errors
    /// When it is missing, larger, or damaged, or the store does not answer.
    pub async fn get(&self, digest: &Digest, limit: u64) -> Result<Vec<u8>, ObjectError> {
        let mut bytes = Vec::new();
        self.get_to(digest, limit, &mut bytes).await?;
        Ok(bytes)
    }

    /// Writes an artifact, at most `limit` bytes. Only when it returns well is what was written verified: write aside.
    ///
    /// # Errors
    /// As [`Objects::get`], and when the writer fails.
    pub async fn get_to(
        &self,
        digest: &Digest,
        limit: u64,
        writer: &mut (impl AsyncWrite + Unpin),
    ) -> Result<u64, ObjectError> {
        let info = self.find(digest).await?.ok_or(ObjectError::Missing { digest: *digest })?;
        let size = info.size as u64;
        if size > limit {
            return Err(ObjectError::TooLarge { digest: *digest, bytes: size, limit });
        }
        let mut object = match timeout(STALL, self.store.get(digest.to_string())).await {
            Ok(Ok(object)) => object,
            Ok(Err(error)) if error.kind() == GetErrorKind::NotFound => {
                return Err(ObjectError::Missing { digest: *digest });
            }
            Ok(Err(error)) => return Err(failed(digest, "fetched", error)),
            Err(_) => return Err(ObjectError::Stalled { digest: *digest }),
        };
        let (mut hasher, mut buffer, mut total) = (blake3::Hasher::new(), vec![0; READ_BYTES], 0);
        loop {
            let read = match timeout(STALL, object.read(&mut buffer)).await {
                Ok(Ok(0)) => break,
                Ok(Ok(read)) => read,
                Ok(Err(error)) if error.kind() == io::ErrorKind::InvalidData => {
                    return Err(ObjectError::Corrupt { digest: *digest, reason: error.to_string() });
                }
                Ok(Err(error)) => return Err(failed(digest, "fetched", error)),
                Err(_) => return Err(ObjectError::Stalled { digest: *digest }),
            };
            hasher.update(&buffer[..read]);
            total += read as u64;
            writer.write_all(&buffer[..read]).await.map_err(|error| failed(digest, "written out", error))?;
        }
        verify(digest, size, total, &hasher)?;
        writer.flush().await.map_err(|error| failed(digest, "written out", error))?;
        Ok(total)
    }

    /// Fetches an artifact, at most `limit` bytes, into a file: written aside, synced, then renamed, so that the path
    /// never holds a part of it.
    ///
    /// # Errors
    /// As [`Objects::get`], and when the file cannot be written.
    pub async fn get_file(&self, digest: &Digest, limit: u64, path: &Path) -> Result<u64, ObjectError> {
        let failed = |source| ObjectError::File { path: path.to_owned(), tried: "written", source };
        let aside = store::beside(path, ".part");
        let mut file = tokio::fs::File::create(&aside).await.map_err(failed)?;
        let total = self.get_to(digest, limit, &mut file).await?;
        file.sync_all().await.map_err(failed)?;
        tokio::fs::rename(&aside, path).await.map_err(failed)?;
        Ok(total)
    }

    /// Whether an artifact is stored.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn exists(&self, digest: &Digest) -> Result<bool, ObjectError> {
        Ok(self.find(digest).await?.is_some())
    }

    /// Deletes an artifact, if it is there.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn delete(&self, digest: &Digest) -> Result<(), ObjectError> {
        if self.find(digest).await?.is_none() {
            return Ok(());
        }
        self.store.delete(digest.to_string()).await.map_err(|error| failed(digest, "deleted", error))
    }

    async fn find(&self, digest: &Digest) -> Result<Option<ObjectInfo>, ObjectError> {
        match self.store.info(digest.to_string()).await {
            Ok(info) => Ok((!info.deleted).then_some(info)),
            Err(error) if error.kind() == InfoErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed(digest, "looked up", error)),
        }
    }
}

fn verify(digest: &Digest, size: u64, total: u64, hasher: &blake3::Hasher) -> Result<(), ObjectError> {
    let corrupt = |reason| Err(ObjectError::Corrupt { digest: *digest, reason });
    if total != size {
        return corrupt(format!("{total} of {size} bytes came"));
    }
    let found = Digest::from_bytes(*hasher.finalize().as_bytes());
    if found != *digest {
        return corrupt(format!("its content has the digest {found}"));
    }
    Ok(())
}

fn failed(digest: &Digest, tried: &'static str, source: impl Into<Source>) -> ObjectError {
    ObjectError::Store { digest: *digest, tried, source: source.into() }
}

/// Hashes what passes through.
struct Hashing<R> {
    reader: R,
    hasher: blake3::Hasher,
}

impl<R: AsyncRead + Unpin> AsyncRead for Hashing<R> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.reader).poll_read(context, buffer);
        self.hasher.update(&buffer.filled()[before..]);
        polled
    }
}
