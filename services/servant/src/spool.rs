//! The spool: what an instance wrote, on disk until it has been shipped. One series of append-only segment files per
//! output stream; the holder writes them ([`write`]), the Servant reads, packs, ships and deletes them. It is not synced:
//! a killed process loses nothing of it, because the page cache stays.
//!
//! A segment holds frames ([`frame`]): the bytes as they came, under headers that say where in the output they stand.
//! Lines are cut out of them by the reader, so that taking output is hardly more than copying it.

mod frame;
mod record;
mod write;
mod pack;
mod give_up;
mod read;

pub use give_up::{give_up, waiting_bytes};
pub use pack::{pack, tidy};
pub use read::{Batch, BatchLimits, Bookmark, SpoolReader};
pub use write::{SpoolLimits, SpoolWriter};

use events::subject::Output;
use std::io;
use std::path::{Path, PathBuf};

/// Longest line; what is longer becomes pieces of this length, each with a number of its own.
pub const LINE_BYTES: usize = 64 * 1024;

/// A segment file and the number of the first line, or piece of one, that begins in it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Segment {
    pub first: u64,
    pub form: Form,
    pub path: PathBuf,
}

/// How a segment holds the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Form {
    /// One record per line, as older versions wrote it.
    Records,
    Frames,
    /// Frames, packed with zstd.
    Packed,
}

impl Form {
    const ENDINGS: [(Self, &'static str); 3] =
        [(Self::Records, ".spool"), (Self::Packed, ".log.zst"), (Self::Frames, ".log")];
}

fn segment_path(folder: &Path, output: Output, first: u64) -> PathBuf {
    folder.join(format!("{output}-{first:020}.log"))
}

/// The segments of a stream, oldest first; each once, plain where it is packed too.
///
/// # Errors
/// When the folder cannot be read.
pub fn segments(folder: &Path, output: Output) -> io::Result<Vec<Segment>> {
    let prefix = format!("{output}-");
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let Some(rest) = name.to_str().and_then(|name| name.strip_prefix(&prefix)) else { continue };
        let known = |(form, ending): (Form, &str)| Some((rest.strip_suffix(ending)?.parse().ok()?, form));
        if let Some((first, form)) = Form::ENDINGS.into_iter().find_map(known) {
            found.push(Segment { first, form, path: entry.path() });
        }
    }
    found.sort();
    found.dedup_by_key(|segment| segment.first);
    Ok(found)
}

#[cfg(test)]
mod tests;
