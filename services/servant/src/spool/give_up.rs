//! Giving up the output of an instance that is gone: its segments make place for one that holds nothing but where the
//! output ended, so that whoever reads on finds a gap with exact counts.

use super::frame::{Frame, HEADER, Mark, Place};
use super::write::end_of_all;
use super::{Form, Segment, segment_path, segments};
use events::subject::Output;
use std::io;
use std::path::Path;

/// Begun and not finished; [`super::tidy`] removes it.
const BEGUN: &str = "log.new";

/// Gives up what is in the spool of an instance that writes no more.
///
/// # Errors
/// When a file cannot be read, written or removed. What was not removed yet can still be read.
pub fn give_up(folder: &Path) -> io::Result<()> {
    Output::ALL.into_iter().try_for_each(|output| give_up_one(folder, output))
}

fn give_up_one(folder: &Path, output: Output) -> io::Result<()> {
    let all = segments(folder, output)?;
    if all.iter().all(is_nothing) {
        return Ok(());
    }
    let place = end_of_all(&all)?.line_ended();
    let end = segment_path(folder, output, place.first());
    // Where the last line was left open, or nothing was written at all, the last segment may have this very name: what is
    // renamed takes its place at once.
    let begun = end.with_extension(BEGUN);
    std::fs::write(&begun, nothing(place))?;
    std::fs::rename(&begun, &end)?;
    all.iter().filter(|segment| segment.path != end).try_for_each(|segment| {
        match std::fs::remove_file(&segment.path) {
            // It was shipped meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        }
    })
}

/// How much would be gained.
///
/// # Errors
/// When the folder cannot be read.
pub fn waiting_bytes(folder: &Path) -> io::Result<u64> {
    let mut bytes = 0;
    for output in Output::ALL {
        let all = segments(folder, output)?;
        bytes += all.iter().filter(|segment| !is_nothing(segment)).map(length).sum::<u64>();
    }
    Ok(bytes)
}

fn length(segment: &Segment) -> u64 {
    segment.path.metadata().map_or(0, |meta| meta.len())
}

fn is_nothing(segment: &Segment) -> bool {
    segment.form == Form::Frames && length(segment) <= HEADER as u64
}

/// Nothing more comes after this place.
fn nothing(place: Place) -> [u8; HEADER] {
    let at = service::clock::now();
    Frame { place, at, length: 0, mark: Mark::LineEnds, is_after_failure: false }.encode()
}
