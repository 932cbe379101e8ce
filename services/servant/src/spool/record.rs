//! One line on disk: its length (4 bytes), when it was read (8 bytes, milliseconds), its bytes. Little-endian.

use events::Timestamp;

const HEADER: usize = 12;

/// Appends a record.
pub fn encode(buffer: &mut Vec<u8>, at: Timestamp, text: &[u8]) {
    let length = u32::try_from(text.len()).expect("lines are cut to 64 KB");
    buffer.extend_from_slice(&length.to_le_bytes());
    buffer.extend_from_slice(&at.0.to_le_bytes());
    buffer.extend_from_slice(text);
}

/// The first record, and how many bytes it takes; none while it is not whole.
pub fn decode(bytes: &[u8]) -> Option<(Timestamp, &[u8], usize)> {
    let length = u32::from_le_bytes(bytes.get(..4)?.try_into().ok()?) as usize;
    let at = u64::from_le_bytes(bytes.get(4..HEADER)?.try_into().ok()?);
    let end = HEADER.checked_add(length)?;
    Some((Timestamp(at), bytes.get(HEADER..end)?, end))
}
