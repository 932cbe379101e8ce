//! Packing closed segments while they wait: by the Servant, so that the holder is never slow. The packed file shows
//! under its name only when it is whole; a plain one that is there too says the same.

use super::{Form, Segment};
use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::path::Path;

/// Fast, and still about a tenth of the size for usual output.
const LEVEL: i32 = 1;
/// No segment is larger: a damaged one must not fill the memory.
const SEGMENT_BYTES: u64 = 64 << 20;
/// Begun and not finished.
const BEGUN: &str = "new";

/// Packs a closed segment in place.
///
/// # Errors
/// When it cannot be read or written; then it stays as it is.
pub fn pack(segment: &Segment) -> io::Result<()> {
    if segment.form != Form::Frames {
        return Ok(());
    }
    let packed = segment.path.with_extension("log.zst");
    let begun = packed.with_extension(BEGUN);
    let written = write(&segment.path, &begun).and_then(|()| std::fs::rename(&begun, packed));
    if let Err(error) = written {
        remove(&begun)?;
        return if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) };
    }
    remove(&segment.path)
}

fn write(from: &Path, to: &Path) -> io::Result<()> {
    let from = File::open(from)?;
    let mut to = BufWriter::new(File::create(to)?);
    zstd::stream::copy_encode(from, &mut to, LEVEL)?;
    to.flush()
}

/// The bytes of a packed segment.
pub fn unpack(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut decoder = zstd::stream::Decoder::new(File::open(path)?)?.take(SEGMENT_BYTES);
    decoder.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Removes what a killed Servant had begun to pack.
///
/// # Errors
/// When the folder cannot be read, or a file not be removed.
pub fn tidy(folder: &Path) -> io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if name.ends_with(".log.new") {
            remove(&path)?;
        }
    }
    Ok(())
}

fn remove(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
