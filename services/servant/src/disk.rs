//! The disk of the data folder: looked at every few seconds, kept from filling by removing what nothing uses, and told of
//! when it is full. What runs is never touched: whoever knows what is in use has the last word on each removal.
//!
//! Read [`policy`] (what is removed and when; pure), then [`shelf`] (what there is) and [`hands`] (how it goes).

pub mod policy;
pub mod shelf;
mod hands;

use crate::reports::Reports;
use crate::spec::ReleaseKey;
use bus::outbox::OutboxError;
use events::disk::{Cleaned, DiskLevel, Removable, RemovalReason, Removed};
use events::limits::{REMOVED_NAME_BYTES, REMOVED_NAMED};
use events::report::{CleanDisk, MeasureDisk, ServantNews};
use events::{News, ServantId};
pub use hands::Hands;
use policy::{Settings, Usage};
use shelf::Thing;
use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, MissedTickBehavior, interval};

/// How often it is looked how full the disk is.
const LOOK: Duration = Duration::from_secs(2);
/// How often it is looked what there is, while the disk is not too full.
const LOOK_AT_THINGS: Duration = Duration::from_secs(60);
/// At most this often it is told what was removed.
const TELL: Duration = Duration::from_secs(60);

/// How full the disk of a folder is.
///
/// # Errors
/// When the file system does not say.
pub fn usage(folder: &Path) -> io::Result<Usage> {
    let stat = rustix::fs::statvfs(folder)?;
    let used = stat.f_blocks.saturating_sub(stat.f_bfree);
    Ok(Usage { used_bytes: used * stat.f_frsize, free_bytes: stat.f_bavail * stat.f_frsize })
}

/// Why something new cannot be put on a disk.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the disk of {folder} is full: {used_percent} % used, and with {needed_bytes} bytes more it would not stay below \
     {critical_percent} %; make room there, then deploy again", folder = .folder.display()
)]
pub struct NoRoom {
    folder: PathBuf,
    used_percent: u8,
    needed_bytes: u64,
    critical_percent: u8,
}

/// The room on the disk of a folder. Clones are the same.
#[derive(Clone, Debug)]
pub struct Room {
    pub folder: PathBuf,
    pub settings: Settings,
}

impl Room {
    /// Whether there is room for so many bytes more. When the disk does not say, it is tried.
    ///
    /// # Errors
    /// When there is not.
    pub fn check(&self, needed_bytes: u64) -> Result<(), NoRoom> {
        let Ok(usage) = usage(&self.folder) else { return Ok(()) };
        let critical_percent = self.settings.critical_percent;
        if usage.with(needed_bytes).reaches(critical_percent) || usage.free_bytes < needed_bytes {
            let folder = self.folder.clone();
            return Err(NoRoom { folder, used_percent: usage.percent(), needed_bytes, critical_percent });
        }
        Ok(())
    }
}

/// A wish to remove things; whoever knows what is in use moves out of the way what is not, and says which.
pub struct Removal {
    pub things: Vec<Thing>,
    pub moved: oneshot::Sender<Vec<Thing>>,
}

/// What looks after the disk.
pub struct Caretaker {
    servant: ServantId,
    room: Room,
    hands: Hands,
    /// Where the engine keeps its images, once it has said so.
    engine_root: Option<PathBuf>,
    reports: Reports,
    /// The releases that are in use, as far as was told.
    used: watch::Receiver<BTreeSet<ReleaseKey>>,
    removals: mpsc::Sender<Removal>,
    level: Option<DiskLevel>,
    looked_at: Option<Instant>,
    untold: Vec<Removed>,
    told_at: Option<Instant>,
}

impl Caretaker {
    pub fn new(
        servant: ServantId,
        room: Room,
        hands: Hands,
        reports: Reports,
        used: watch::Receiver<BTreeSet<ReleaseKey>>,
        removals: mpsc::Sender<Removal>,
    ) -> Self {
        Self {
            servant,
            room,
            hands,
            engine_root: None,
            reports,
            used,
            removals,
            level: None,
            looked_at: None,
            untold: Vec::new(),
            told_at: None,
        }
    }

    /// Looks after the disk for ever.
    pub async fn run(mut self) {
        let mut looks = interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            looks.tick().await;
            if let Err(error) = self.look().await {
                tracing::warn!(%error, "the disk could not be looked after; trying again");
            }
        }
    }

    async fn look(&mut self) -> io::Result<()> {
        let mut usage = usage(&self.room.folder)?;
        let is_full = usage.reaches(self.room.settings.high_percent);
        if is_full
            || self.looked_at.is_none_or(|at| at.elapsed() >= LOOK_AT_THINGS)
            || self.used.has_changed().unwrap_or(false)
        {
            self.looked_at = Some(Instant::now());
            self.clean(usage).await?;
            usage = self::usage(&self.room.folder)?;
        }
        self.measure(usage).await;
        self.tell().await;
        Ok(())
    }

    async fn clean(&mut self, usage: Usage) -> io::Result<()> {
        let (shelf, used) = (self.hands.shelf.clone(), self.used.borrow_and_update().clone());
        let things = blocking(move || shelf.unused(&used)).await?;
        let (here, elsewhere) = self.by_disk(things).await;
        let mut chosen = self.chosen(usage, here);
        if let Some((usage, images)) = elsewhere {
            chosen.extend(self.chosen(usage, images));
        }
        let moved = self.moved(chosen.iter().map(|(thing, _)| thing.clone()).collect()).await;
        let gone = self.hands.remove(moved).await?;
        for (thing, why) in chosen.into_iter().filter(|(thing, _)| gone.contains(thing)) {
            let candidate = thing.candidate;
            tracing::info!(what = ?candidate.what, name = candidate.name, bytes = candidate.bytes, ?why, "removed");
            let mut name = candidate.name;
            name.truncate(name.floor_char_boundary(REMOVED_NAME_BYTES));
            self.untold.push(Removed { what: candidate.what, name, bytes: candidate.bytes, why });
        }
        Ok(())
    }

    /// What lies on the disk of the data folder; and the images, where the engine keeps them on another one.
    async fn by_disk(&mut self, things: Vec<Thing>) -> (Vec<Thing>, Option<(Usage, Vec<Thing>)>) {
        let is_image = |thing: &Thing| thing.candidate.what == Removable::Image;
        if !things.iter().any(is_image) {
            return (things, None);
        }
        if self.engine_root.is_none() {
            self.engine_root = self.hands.engine.root().await.ok();
        }
        let (images, here): (Vec<_>, Vec<_>) = things.into_iter().partition(is_image);
        let device = |folder: &Path| folder.metadata().map(|metadata| metadata.dev()).ok();
        match self.engine_root.as_deref() {
            // An engine that does not answer removes nothing.
            None => (here, None),
            Some(root) if device(root) == device(&self.room.folder) => ([here, images].concat(), None),
            Some(root) => (here, self::usage(root).ok().map(|usage| (usage, images))),
        }
    }

    fn chosen(&self, usage: Usage, things: Vec<Thing>) -> Vec<(Thing, RemovalReason)> {
        let candidates: Vec<_> = things.iter().map(|thing| thing.candidate.clone()).collect();
        let chosen = policy::removals(&self.room.settings, service::clock::now(), usage, &candidates);
        chosen.into_iter().map(|(place, why)| (things[place].clone(), why)).collect()
    }

    /// Which of these could be moved out of the way, or may be removed: none when the servant ends.
    async fn moved(&self, things: Vec<Thing>) -> Vec<Thing> {
        let (moved, answer) = oneshot::channel();
        if things.is_empty() || self.removals.send(Removal { things, moved }).await.is_err() {
            return Vec::new();
        }
        answer.await.unwrap_or_default()
    }

    /// Another level is told at once.
    async fn measure(&mut self, usage: Usage) {
        let disk = self.room.settings.disk(usage, self.level.unwrap_or_default());
        if self.level == Some(disk.level) {
            return;
        }
        tracing::info!(level = %disk.level, used_percent = disk.used_percent, free_bytes = disk.free_bytes, "disk");
        if self.say(ServantNews::MeasureDisk(MeasureDisk { servant: self.servant, disk })).await {
            self.level = Some(disk.level);
        }
    }

    /// What was removed is told together.
    async fn tell(&mut self) {
        if self.untold.is_empty() || self.told_at.is_some_and(|at| at.elapsed() < TELL) {
            return;
        }
        let cleaned = grouped(self.untold.clone());
        if self.say(ServantNews::CleanDisk(CleanDisk { servant: self.servant, cleaned })).await {
            self.told_at = Some(Instant::now());
            self.untold.clear();
        }
    }

    async fn say(&self, news: ServantNews) -> bool {
        let said: Result<(), OutboxError> = async {
            let number = self.reports.push(News::Servant(news))?;
            let stored = self.reports.barrier().await;
            // Even if it is not: what is held holds back all that comes after it.
            self.reports.release(&[number]);
            stored
        }
        .await;
        said.inspect_err(
            |error| tracing::error!(%error, "a report of the disk could not be stored; trying again"),
        )
        .is_ok()
    }
}

/// The largest by name, the rest as a number.
fn grouped(mut removed: Vec<Removed>) -> Cleaned {
    let bytes = removed.iter().map(|removed| removed.bytes).sum();
    removed.sort_by_key(|removed| Reverse(removed.bytes));
    let more = removed.len().saturating_sub(REMOVED_NAMED) as u64;
    removed.truncate(REMOVED_NAMED);
    Cleaned { removed, more, bytes }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}
