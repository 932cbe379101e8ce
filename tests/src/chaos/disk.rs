//! Disks that can be filled: file systems in memory, of a size, one for each part of the kingdom that shall run out of
//! room. They need root and a mount namespace of this process's own, in which they end with it.

use rustix::process::getuid;
use std::fs::{File, create_dir_all, remove_file};
use std::io::{ErrorKind, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Set in the namespace.
const INSIDE: &str = "KING_CHAOS_NAMESPACE";
const CHUNK: usize = 64 * 1024;

/// Starts this program again in a mount namespace of its own, where root may have one. Returns when it is there, or
/// cannot be.
pub fn enter_namespace() {
    if may_mount() || !getuid().is_root() {
        return;
    }
    let own = std::env::current_exe().expect("a program knows its own path");
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private"]).arg(own).args(std::env::args_os().skip(1));
    let error = command.env(INSIDE, "1").exec();
    println!("no mount namespace, so no disk is filled: unshare: {error}");
}

/// Whether disks can be made.
pub fn may_mount() -> bool {
    getuid().is_root() && std::env::var_os(INSIDE).is_some()
}

/// A disk in memory.
#[derive(Debug)]
pub struct Disk {
    folder: PathBuf,
}

impl Disk {
    /// Makes one of so many megabytes in a folder; none where none can be made.
    ///
    /// # Panics
    /// When the system refuses it.
    pub fn at(folder: &Path, megabytes: u32) -> Option<Self> {
        if !may_mount() {
            return None;
        }
        create_dir_all(folder).expect("the test's folder can be written");
        let size = format!("size={megabytes}m");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &size, "chaos"]).arg(folder);
        let status = mount.status().expect("mount is there");
        assert!(status.success(), "mount {} ended with {status}", folder.display());
        Some(Self { folder: folder.to_owned() })
    }

    fn ballast(&self) -> PathBuf {
        self.folder.join("ballast")
    }

    /// Takes all the room there is.
    ///
    /// # Panics
    /// When writing fails for any other reason than the room.
    pub fn fill(&self) {
        let mut ballast = File::create(self.ballast()).expect("a full disk still takes a name");
        let chunk = vec![0; CHUNK];
        loop {
            match ballast.write_all(&chunk) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::StorageFull => return,
                Err(error) => panic!("{}: {error}", self.ballast().display()),
            }
        }
    }

    /// Copies what it holds to `<folder>-kept`, since it ends with this program.
    pub fn keep(&self) {
        let mut to = self.folder.clone().into_os_string();
        to.push("-kept");
        let copied = Command::new("cp").arg("--archive").arg(&self.folder).arg(to).status();
        if !copied.as_ref().is_ok_and(std::process::ExitStatus::success) {
            println!("chaos: {} is not kept: {copied:?}", self.folder.display());
        }
    }

    /// Gives the room back.
    ///
    /// # Panics
    /// When it was not taken.
    pub fn free(&self) {
        remove_file(self.ballast()).expect("the disk was filled");
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // What still uses it keeps it; the namespace ends with the program.
        let _ = Command::new("umount").arg("--lazy").arg(&self.folder).status();
    }
}
