//! Views: projections under keys, each stamped with the place in the log that it reflects, written by
//! compare-and-set. A writer that meets a higher stamp has lost its place.

pub mod rule;

use crate::api::{self, ApiError};
use crate::connect::Bus;
use crate::log::{READ_PATIENCE, patiently};
use crate::retry::Backoff;
use crate::stream::{self, Stored};
use crate::tail::{Course, Holes, Tail, TailError};
use crate::{Source, headers};
use async_nats::jetstream::ErrorCode;
use bytes::Bytes;
use events::subject::VIEWS_BUCKET;
use events::view::Stamp;
use futures_util::StreamExt;
use rule::{Content, Seen, Standing, Step};
use std::time::Duration;
use tokio::time::{Instant, sleep_until, timeout};

/// The stream behind the bucket.
pub(crate) const VIEWS_STREAM: &str = "KV_KING_VIEWS";
/// How often a watch reads its key plainly, whatever its tail says.
pub const WATCH_CHECK: Duration = Duration::from_secs(3);
/// How long listing the keys may take.
const KEYS_PATIENCE: Duration = Duration::from_secs(10);
/// The header that fences a write by the last revision of its key.
pub(crate) const EXPECTED_REVISION: &str = "Nats-Expected-Last-Subject-Sequence";
/// The header that marks a deleted key, as key-value buckets have it (ADR-8 of the NATS architecture).
const OPERATION: &str = "KV-Operation";
/// Its value for a deleted key.
const DELETED: &str = "DEL";
/// Its value for a key deleted with its history.
const PURGED: &str = "PURGE";
/// The stamp of a deletion, which has no value to carry it.
const EPOCH: &str = "King-Epoch";
/// The other half of the stamp.
const EVENT: &str = "King-Event";

/// Why a view was not read or written.
#[derive(Debug, thiserror::Error)]
pub enum ViewError {
    /// The stored view reflects a later place: another King writes now.
    #[error(
        "view {key} is already at epoch {}, event {}; a newer King writes it and this one must stop", stored.epoch, stored.event
    )]
    Superseded { key: String, stored: Stamp },
    #[error("the view {key} (bucket {VIEWS_BUCKET}) cannot be {tried}")]
    Api {
        key: String,
        /// What was tried: read, written, deleted.
        tried: &'static str,
        #[source]
        source: ApiError,
    },
    #[error("the keys of bucket {VIEWS_BUCKET} cannot be listed")]
    Keys(#[source] Source),
}

/// The bucket of views.
#[derive(Clone, Debug)]
pub struct Views {
    bus: Bus,
}

/// What to write.
enum Write {
    Value(Bytes),
    Deletion,
}

impl Views {
    /// Opens the bucket that was provisioned.
    ///
    /// # Errors
    /// When the bucket is not there or does not answer.
    pub async fn open(bus: &Bus) -> Result<Self, ViewError> {
        patiently(|| stream::info(bus, VIEWS_STREAM)).await.map_err(at("*", "opened"))?;
        Ok(Self { bus: bus.clone() })
    }

    /// The stored view, from the leader; none when there is none.
    ///
    /// # Errors
    /// When the bucket does not answer.
    pub async fn get(&self, key: &str) -> Result<Option<Bytes>, ViewError> {
        let stored = self.stored(key).await.map_err(at(key, "read"))?;
        Ok(stored.and_then(value))
    }

    /// Writes a view (an encoded `Stamped`) unless the stored one has a higher stamp. The same bytes again are no write.
    ///
    /// # Errors
    /// [`ViewError::Superseded`] when a higher stamp is stored; else when the bucket does not answer.
    pub async fn put(&self, key: &str, bytes: impl Into<Bytes>, stamp: Stamp) -> Result<(), ViewError> {
        self.write(key, &Write::Value(bytes.into()), stamp).await
    }

    /// Deletes a view unless the stored one has a higher stamp.
    ///
    /// # Errors
    /// As [`Views::put`].
    pub async fn delete(&self, key: &str, stamp: Stamp) -> Result<(), ViewError> {
        self.write(key, &Write::Deletion, stamp).await
    }

    async fn write(&self, key: &str, write: &Write, stamp: Stamp) -> Result<(), ViewError> {
        let tried = match write {
            Write::Value(_) => "written",
            Write::Deletion => "deleted",
        };
        let deadline = Instant::now() + READ_PATIENCE;
        let mut backoff = Backoff::default();
        loop {
            let stored = self.stored(key).await.map_err(at(key, tried))?;
            let standing = stored.as_ref().map(|stored| standing(stored, write));
            let revision = match rule::step(standing.as_ref(), stamp) {
                Step::Done => return Ok(()),
                Step::Superseded(stored) => {
                    return Err(ViewError::Superseded { key: key.to_owned(), stored });
                }
                Step::Write { revision } => revision,
            };
            match self.attempt(key, write, stamp, revision).await {
                Ok(_) => return Ok(()),
                Err(error) if may_repeat(&error) && Instant::now() < deadline => {
                    tracing::debug!(key, %error, "view is written again");
                }
                Err(error) => return Err(at(key, tried)(error)),
            }
            backoff.wait().await;
        }
    }

    async fn attempt(
        &self,
        key: &str,
        write: &Write,
        stamp: Stamp,
        revision: u64,
    ) -> Result<api::Stored, ApiError> {
        let revision = revision.to_string();
        let expected = (EXPECTED_REVISION, revision.as_str());
        let subject = subject(key);
        match write {
            Write::Value(bytes) => api::publish(&self.bus, &subject, &[expected], bytes.clone()).await,
            Write::Deletion => {
                let (epoch, event) = (stamp.epoch.to_string(), stamp.event.to_string());
                let marks = [expected, (OPERATION, DELETED), (EPOCH, &epoch), (EVENT, &event)];
                api::publish(&self.bus, &subject, &marks, Bytes::new()).await
            }
        }
    }

    async fn stored(&self, key: &str) -> Result<Option<Stored>, ApiError> {
        let subject = subject(key);
        patiently(|| stream::read_last(&self.bus, VIEWS_STREAM, &subject)).await
    }

    /// All keys that hold a view.
    ///
    /// # Errors
    /// When the bucket does not answer.
    pub async fn keys(&self) -> Result<Vec<String>, ViewError> {
        let listing = async {
            let bucket = self.bus.context().get_key_value(VIEWS_BUCKET).await?;
            let mut listed = bucket.keys().await?;
            let mut keys = Vec::new();
            while let Some(key) = listed.next().await {
                keys.push(key?);
            }
            Ok::<_, Source>(keys)
        };
        match timeout(KEYS_PATIENCE, listing).await {
            Ok(listed) => listed.map_err(ViewError::Keys),
            Err(elapsed) => Err(ViewError::Keys(elapsed.into())),
        }
    }

    /// Follows one key.
    pub fn watch(&self, key: &str) -> Watch {
        Watch {
            views: self.clone(),
            key: key.to_owned(),
            tail: None,
            seen: Seen::default(),
            check: Instant::now(),
        }
    }
}

/// Follows one key: by a tail, and by a plain read every [`WATCH_CHECK`].
#[derive(Debug)]
pub struct Watch {
    views: Views,
    key: String,
    tail: Option<Tail>,
    /// What was delivered last.
    seen: Seen,
    check: Instant,
}

/// One thing that a watch woke up for.
enum Woken {
    Entry(Result<crate::tail::Entry, TailError>),
    Check,
}

impl Watch {
    /// The newest view, when it is another than the last one delivered; at first the stored one, as soon as there is
    /// one. None means that the key was deleted; call again to wait for a new view. Can be cancelled safely.
    pub async fn next(&mut self) -> Option<Bytes> {
        loop {
            let woken = match &mut self.tail {
                Some(tail) => tokio::select! {
                    biased;
                    entry = tail.next() => Woken::Entry(entry),
                    () = sleep_until(self.check) => Woken::Check,
                },
                None => {
                    sleep_until(self.check).await;
                    Woken::Check
                }
            };
            let news = match woken {
                Woken::Entry(Ok(entry)) => self.entry(entry),
                Woken::Entry(Err(error)) => {
                    tracing::warn!(key = self.key, %error, "watch is made anew");
                    self.tail = None;
                    None
                }
                Woken::Check => self.read().await,
            };
            if let Some(view) = news {
                return view;
            }
        }
    }

    fn entry(&mut self, entry: crate::tail::Entry) -> Option<Option<Bytes>> {
        if self.seen.is_ahead_of(entry.sequence) {
            return None;
        }
        let is_marker =
            entry.header(OPERATION).is_some_and(|operation| operation == DELETED || operation == PURGED);
        self.deliver(entry.sequence, (!is_marker).then_some(entry.payload))
    }

    /// The key as it is stored now, when that is news.
    async fn read(&mut self) -> Option<Option<Bytes>> {
        let subject = subject(&self.key);
        let stored = match stream::read_last(&self.views.bus, VIEWS_STREAM, &subject).await {
            Ok(stored) => stored,
            Err(error) => {
                tracing::debug!(key = self.key, %error, "view cannot be read now");
                self.check = Instant::now() + crate::tail::HEARTBEAT;
                return None;
            }
        };
        self.check = Instant::now() + WATCH_CHECK;
        let revision = stored.as_ref().map_or(0, |stored| stored.sequence);
        // A revision below the last one means that the bucket was replaced: its tail would wait for ever.
        if self.tail.is_none() || self.seen.is_cut_by(revision) {
            let course = Course { stream: VIEWS_STREAM, filters: vec![subject], holes: Holes::Natural };
            self.tail = Some(Tail::new(&self.views.bus, course, revision));
        }
        if self.seen.is_at(revision) {
            return None;
        }
        self.deliver(revision, stored.and_then(value))
    }

    /// Delivers a view, or a deletion of what was delivered before.
    fn deliver(&mut self, revision: u64, view: Option<Bytes>) -> Option<Option<Bytes>> {
        let content = if view.is_some() { Content::View } else { Content::Nothing };
        self.seen.deliver(revision, content).then_some(view)
    }
}

fn subject(key: &str) -> String {
    format!("$KV.{VIEWS_BUCKET}.{key}")
}

/// The value of a stored message; none when it marks a deletion.
fn value(stored: Stored) -> Option<Bytes> {
    (!is_deletion(&stored)).then_some(stored.payload)
}

fn is_deletion(stored: &Stored) -> bool {
    headers::get(Some(&stored.headers), OPERATION)
        .is_some_and(|operation| operation == DELETED || operation == PURGED)
}

fn is_same(stored: &Stored, write: &Write) -> bool {
    match write {
        Write::Value(bytes) => !is_deletion(stored) && stored.payload == *bytes,
        Write::Deletion => is_deletion(stored),
    }
}

fn standing(stored: &Stored, write: &Write) -> Standing {
    Standing { revision: stored.sequence, stamp: stamp_of(stored), is_same: is_same(stored, write) }
}

/// The stamp of what is stored; none when it cannot be read, and then it may be overwritten.
fn stamp_of(stored: &Stored) -> Option<Stamp> {
    if !is_deletion(stored) {
        return events::wire::decode(&stored.payload).ok();
    }
    let number = |name| headers::get(Some(&stored.headers), name)?.parse().ok();
    Some(Stamp { epoch: number(EPOCH)?, event: number(EVENT)? })
}

fn may_repeat(error: &ApiError) -> bool {
    error.is_passing() || error.is_ambiguous() || error.has_code(ErrorCode::STREAM_WRONG_LAST_SEQUENCE)
}

fn at<'a>(key: &'a str, tried: &'static str) -> impl Fn(ApiError) -> ViewError + 'a {
    move |source| ViewError::Api { key: key.to_owned(), tried, source }
}
