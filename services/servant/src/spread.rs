//! Where folders lie on the disk.

use rustix::fs::{IFlags, ioctl_getflags, ioctl_setflags};
use std::fs::File;
use std::io;
use std::path::Path;

/// Tells the file system that the folders in this one have nothing to do with each other. That it cannot be told is no
/// error: it costs time alone.
///
/// ext4 puts a new folder, and all files in it, near its parent, and looks there for a free number from the first one on.
/// Without a journal it leaves numbers alone that became free within the last minutes: where much was deleted, each file that is
/// made passes over all of them, and hundreds of instances that start together need thousands. With the mark `T` of
/// chattr(1) it gives each folder a place of its own. Other file systems know no such mark, or need none.
pub fn spread(folder: &Path) {
    if let Err(error) = mark(folder) {
        tracing::debug!(folder = %folder.display(), %error, "its folders lie together");
    }
}

fn mark(folder: &Path) -> io::Result<()> {
    let folder = File::open(folder)?;
    let flags = ioctl_getflags(&folder)?;
    if !flags.contains(IFlags::TOPDIR) {
        ioctl_setflags(&folder, flags | IFlags::TOPDIR)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_marked_where_the_file_system_can_and_stays_usable_where_not() {
        let folder = tempfile::tempdir().unwrap();
        spread(folder.path());
        spread(folder.path());
        let before = ioctl_getflags(File::open(folder.path()).unwrap());
        if mark(folder.path()).is_ok() {
            assert!(before.unwrap().contains(IFlags::TOPDIR));
        }
        std::fs::create_dir(folder.path().join("within")).unwrap();
    }
}
