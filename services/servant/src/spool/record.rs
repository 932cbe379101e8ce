//! What spools held before frames: one record per line, its length (4 bytes), when it was read (8 bytes, milliseconds),
//! its bytes; little-endian. Only read: an upgrade loses nothing that waits.

use super::Segment;
use events::Timestamp;
use std::fs::OpenOptions;
use std::io;

const HEADER: usize = 12;

/// The first record, and how many bytes it takes; none while it is not whole.
pub fn decode(bytes: &[u8]) -> Option<(Timestamp, &[u8], usize)> {
    let length = u32::from_le_bytes(bytes.get(..4)?.try_into().ok()?) as usize;
    let at = u64::from_le_bytes(bytes.get(4..HEADER)?.try_into().ok()?);
    let end = HEADER.checked_add(length)?;
    Some((Timestamp(at), bytes.get(HEADER..end)?, end))
}

/// Cuts a torn record off a segment; gives the number of the line after the last whole one.
pub fn mend(segment: &Segment) -> io::Result<u64> {
    let bytes = std::fs::read(&segment.path)?;
    let (mut offset, mut next) = (0, segment.first);
    while let Some((_, _, length)) = decode(&bytes[offset..]) {
        offset += length;
        next += 1;
    }
    if offset < bytes.len() {
        OpenOptions::new().write(true).open(&segment.path)?.set_len(offset as u64)?;
    }
    Ok(next)
}
