//! Files on the disks of a test.

use std::path::{Path, PathBuf};

/// Every file below a folder.
///
/// # Panics
/// When it cannot be read: it is the test's own.
pub fn below(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).expect("a folder of the test");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    paths.flat_map(|path| if path.is_dir() { below(&path) } else { vec![path] }).collect()
}
