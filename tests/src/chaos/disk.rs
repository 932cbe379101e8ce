//! Disks that can be filled and whose power can be cut: file systems of a size in files of their own, one for each part of
//! the kingdom that shall lose something. They need root and a mount namespace of this process's own, in which they end
//! with it.

use crate::wait;
use rustix::process::getuid;
use std::ffi::OsStr;
use std::fs::{File, create_dir_all, remove_file};
use std::io::{ErrorKind, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Set in the namespace.
const INSIDE: &str = "KING_CHAOS_NAMESPACE";
const CHUNK: usize = 64 * 1024;
/// Shuts the file system below a path down at once: whatever it holds in memory never reaches the disk. This is
/// `FS_IOC_SHUTDOWN` with the flag that not even the journal is written.
const SHUT_DOWN: &str = "
import fcntl, os, struct, sys
fcntl.ioctl(os.open(sys.argv[1], os.O_RDONLY), 0x8004587D, struct.pack('I', 2))
";

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
    println!("no mount namespace, so no disk is filled or loses its power: unshare: {error}");
}

/// Whether disks can be made.
pub fn may_mount() -> bool {
    getuid().is_root() && std::env::var_os(INSIDE).is_some()
}

/// A disk: an ext4 in a file.
#[derive(Debug)]
pub struct Disk {
    folder: PathBuf,
    image: PathBuf,
}

impl Disk {
    /// Makes one of so many megabytes in a folder; none where none can be made.
    ///
    /// # Panics
    /// When the system refuses it.
    pub fn at(folder: &Path, megabytes: u64) -> Option<Self> {
        if !may_mount() {
            return None;
        }
        create_dir_all(folder).expect("the test's folder can be written");
        let image = folder.with_extension("img");
        let file = File::create(&image).expect("the test's folder can be written");
        file.set_len(megabytes * 1024 * 1024).expect("it takes no room before it is written");
        run("mkfs.ext4", ["-q".as_ref(), "-m".as_ref(), "0".as_ref(), image.as_os_str()]);
        let disk = Self { folder: folder.to_owned(), image };
        disk.plug();
        Some(disk)
    }

    /// Cuts its power: from now on nothing is written, and what was not yet is lost.
    ///
    /// # Panics
    /// When the system refuses it.
    pub fn cut_power(&self) {
        run("python3", ["-c".as_ref(), SHUT_DOWN.as_ref(), self.folder.as_os_str()]);
    }

    /// Takes it out, when nobody uses it any more.
    ///
    /// # Panics
    /// When it stays in use.
    pub async fn unplug(&self) {
        wait::until("the disk is not in use", async || {
            let ended = Command::new("umount").arg(&self.folder).output().expect("umount is there");
            wait::holds(ended.status.success(), || String::from_utf8_lossy(&ended.stderr).into_owned())
        })
        .await;
    }

    /// Puts it in, with what it holds.
    ///
    /// # Panics
    /// When the system refuses it.
    pub fn plug(&self) {
        let [image, folder] = [self.image.as_os_str(), self.folder.as_os_str()];
        run("mount", ["-o".as_ref(), "loop".as_ref(), image, folder]);
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
        // What still uses it keeps it; the namespace ends with the program. One that has lost its power is out already.
        let _ = Command::new("umount").args(["--lazy", "--quiet"]).arg(&self.folder).output();
    }
}

fn run<'a>(program: &str, arguments: impl IntoIterator<Item = &'a OsStr>) {
    let mut command = Command::new(program);
    let ended = command.args(arguments).output().unwrap_or_else(|error| panic!("{program}: {error}"));
    assert!(
        ended.status.success(),
        "{program} ended with {}: {}",
        ended.status,
        String::from_utf8_lossy(&ended.stderr)
    );
}
