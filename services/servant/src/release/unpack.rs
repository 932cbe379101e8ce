//! Unpacking an archive that may be hostile: nothing outside the root is ever written, and nothing in the tree leads
//! outside. What is refused is named.
//!
//! Regular files and directories are made first, each below real directories only; links come last, so that nothing is
//! written through one; then every symbolic link is followed by hand and must stay inside.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Component, Path, PathBuf};
use std::rc::Rc;
use tar::{Archive, Entry, EntryType};

/// Most that is taken.
#[derive(Clone, Copy, Debug)]
pub struct UnpackLimits {
    pub unpacked_bytes: u64,
    pub entries: u64,
}

impl UnpackLimits {
    /// What a servant takes.
    pub const STANDARD: Self = Self { unpacked_bytes: 4 << 30, entries: 200_000 };
}

/// Most links on one path, as the kernel has it (path_resolution(7)).
const LINKS_ON_A_PATH: usize = 40;
/// Most bytes from one entry to the next: its header, long names and attributes.
const HEADER_BYTES: u64 = 64 * 1024;
/// Largest window of the packer that is followed, as a power of two: 128 MB.
const WINDOW_LOG: u32 = 27;

/// Why an archive was not unpacked.
#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    #[error("the archive's entry {entry:?} is refused: {rule}")]
    Refused { entry: String, rule: &'static str },
    #[error("the archive has more than {0} entries")]
    TooMany(u64),
    #[error("the archive is larger than {0} bytes when unpacked")]
    TooLarge(u64),
    #[error("the archive cannot be read as tar packed with zstd: {0}")]
    Unreadable(#[source] io::Error),
    #[error("{} cannot be written: {source}", path.display())]
    Write {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

/// Unpacks into a folder that is made by this.
///
/// # Errors
/// At the first entry that is refused; what was written until then stays, for the caller to remove.
pub fn unpack(archive: impl Read, root: &Path, limits: UnpackLimits) -> Result<(), UnpackError> {
    let mut packed = zstd::Decoder::new(archive).map_err(UnpackError::Unreadable)?;
    packed.window_log_max(WINDOW_LOG).map_err(UnpackError::Unreadable)?;
    make_directory(root)?;
    let mut unpacking =
        Unpacking { root, limits, bytes: 0, entries: 0, links: BTreeMap::new(), copies: Vec::new() };
    // Longer than any archive within the limits can be: a bomb of empty space ends here too.
    let most = limits.unpacked_bytes.saturating_add(limits.entries.saturating_mul(2048));
    let allowance = Allowance::default();
    let mut archive = Archive::new(Allowed { reader: packed.take(most), allowance: allowance.clone() });
    allowance.set(HEADER_BYTES);
    for entry in archive.entries().map_err(UnpackError::Unreadable)? {
        let entry = entry.map_err(UnpackError::Unreadable)?;
        let unread = entry.size();
        allowance.set(u64::MAX);
        unpacking.entry(entry)?;
        // What was not read of this one is skipped by reading, which costs no memory.
        allowance.set(unread.saturating_add(HEADER_BYTES));
    }
    unpacking.finish()
}

/// How much may be read now, shared with who reads.
type Allowance = Rc<Cell<u64>>;

/// Reads no more than is allowed: names are held in memory, and an archive may claim to have endless ones.
struct Allowed<R> {
    reader: R,
    allowance: Allowance,
}

impl<R: Read> Read for Allowed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.reader.read(buffer)?;
        let left = self.allowance.get().checked_sub(length as u64);
        self.allowance.set(left.ok_or_else(|| io::Error::other("the name of an entry is too long"))?);
        Ok(length)
    }
}

struct Unpacking<'a> {
    root: &'a Path,
    limits: UnpackLimits,
    bytes: u64,
    entries: u64,
    /// Symbolic links, by their place: made last.
    links: BTreeMap<PathBuf, PathBuf>,
    /// Hard links and the files that they name: made when all files are there.
    copies: Vec<(PathBuf, PathBuf)>,
}

impl Unpacking<'_> {
    fn entry(&mut self, mut entry: Entry<'_, impl Read>) -> Result<(), UnpackError> {
        let kind = entry.header().entry_type();
        if kind == EntryType::XGlobalHeader {
            return Ok(());
        }
        self.count(&entry)?;
        let shown = String::from_utf8_lossy(&entry.path_bytes()).chars().take(200).collect::<String>();
        let refuse = |rule| UnpackError::Refused { entry: shown.clone(), rule };
        let name = entry.path().map_err(UnpackError::Unreadable)?.into_owned();
        let place = inside(&name).map_err(refuse)?;
        match kind {
            EntryType::Directory => self.directories(&place).map_err(|error| error.named(refuse)),
            EntryType::Regular | EntryType::Continuous => {
                self.file(&place, &mut entry).map_err(|error| error.named(refuse))
            }
            EntryType::Symlink => {
                let target = link_target(&entry)?.ok_or_else(|| refuse("a link without a target"))?;
                self.links.insert(place, target).map_or(Ok(()), |_| Err(refuse("it is there twice")))
            }
            EntryType::Link => {
                let target = link_target(&entry)?.ok_or_else(|| refuse("a link without a target"))?;
                let target = inside(&target).map_err(|_| refuse("a hard link to outside the archive"))?;
                self.copies.push((place, target));
                Ok(())
            }
            _ => Err(refuse("neither a file, a directory nor a link")),
        }
    }

    fn count(&mut self, entry: &Entry<'_, impl Read>) -> Result<(), UnpackError> {
        self.entries += 1;
        if self.entries > self.limits.entries {
            return Err(UnpackError::TooMany(self.limits.entries));
        }
        self.bytes = self.bytes.saturating_add(entry.size());
        if self.bytes > self.limits.unpacked_bytes {
            return Err(UnpackError::TooLarge(self.limits.unpacked_bytes));
        }
        Ok(())
    }

    /// Makes the directories down to this place. None of them may be anything else.
    fn directories(&self, place: &Path) -> Result<(), Trouble> {
        let mut path = self.root.to_owned();
        for part in place.components() {
            path.push(part);
            match fs::symlink_metadata(&path) {
                Ok(meta) if meta.is_dir() => {}
                Ok(_) => return Err(Trouble::Rule("it lies below what is no directory")),
                Err(error) if error.kind() == io::ErrorKind::NotFound => make_directory(&path)?,
                Err(source) => return Err(UnpackError::Write { path, source }.into()),
            }
        }
        Ok(())
    }

    fn parents(&self, place: &Path) -> Result<(), Trouble> {
        self.directories(place.parent().unwrap_or(Path::new("")))
    }

    fn file(&self, place: &Path, entry: &mut Entry<'_, impl Read>) -> Result<(), Trouble> {
        self.parents(place)?;
        let path = self.root.join(place);
        // Of the mode only "executable" is taken: no set-user-id, no open write rights.
        let is_executable = entry.header().mode().is_ok_and(|mode| mode & 0o111 != 0);
        let mode = if is_executable { 0o755 } else { 0o644 };
        let mut file = match OpenOptions::new().write(true).create_new(true).mode(mode).open(&path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                return Err(Trouble::Rule("it is there twice"));
            }
            other => other.map_err(|source| UnpackError::Write { path: path.clone(), source })?,
        };
        let mut buffer = vec![0; 64 * 1024];
        loop {
            match entry.read(&mut buffer).map_err(UnpackError::Unreadable)? {
                0 => return Ok(()),
                length => io::Write::write_all(&mut file, &buffer[..length])
                    .map_err(|source| UnpackError::Write { path: path.clone(), source })?,
            }
        }
    }

    fn finish(self) -> Result<(), UnpackError> {
        for (place, target) in &self.copies {
            let refuse = |rule| UnpackError::Refused { entry: place.display().to_string(), rule };
            self.parents(place).map_err(|error| error.named(refuse))?;
            self.hard_link(place, target, refuse)?;
        }
        for (place, target) in &self.links {
            let refuse = |rule| UnpackError::Refused { entry: place.display().to_string(), rule };
            self.stays_inside(place).map_err(refuse)?;
            self.parents(place).map_err(|error| error.named(refuse))?;
            let path = self.root.join(place);
            match std::os::unix::fs::symlink(target, &path) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    return Err(refuse("it is there twice"));
                }
                other => other.map_err(|source| UnpackError::Write { path, source })?,
            }
        }
        Ok(())
    }

    /// Made while there is no symbolic link yet, so every path is what it seems.
    fn hard_link(
        &self,
        place: &Path,
        target: &Path,
        refuse: impl Fn(&'static str) -> UnpackError,
    ) -> Result<(), UnpackError> {
        let source = self.root.join(target);
        if !fs::symlink_metadata(&source).is_ok_and(|meta| meta.is_file()) {
            return Err(refuse("a hard link to what is no file of the archive"));
        }
        let path = self.root.join(place);
        fs::hard_link(source, &path).map_err(|source| UnpackError::Write { path, source })
    }

    /// Follows a link through all other links of the archive, step by step, and says whether it ever leaves the root.
    fn stays_inside(&self, link: &Path) -> Result<(), &'static str> {
        let mut done = PathBuf::new();
        let mut todo: Vec<PathBuf> = link.components().rev().map(|part| part.as_os_str().into()).collect();
        let mut followed = 0;
        while let Some(part) = todo.pop() {
            match part.components().next() {
                None | Some(Component::CurDir) => {}
                Some(Component::RootDir | Component::Prefix(_)) => return Err("a link to an absolute path"),
                Some(Component::ParentDir) => {
                    if !done.pop() {
                        return Err("a link to outside the archive");
                    }
                }
                Some(Component::Normal(name)) => {
                    done.push(name);
                    if let Some(target) = self.links.get(&done) {
                        followed += 1;
                        if followed > LINKS_ON_A_PATH {
                            return Err("too many links in a row");
                        }
                        done.pop();
                        todo.extend(target.components().rev().map(|part| PathBuf::from(part.as_os_str())));
                    }
                }
            }
        }
        Ok(())
    }
}

/// Something wrong with an entry, whose name the caller knows.
enum Trouble {
    Rule(&'static str),
    Error(UnpackError),
}

impl Trouble {
    fn named(self, refuse: impl Fn(&'static str) -> UnpackError) -> UnpackError {
        match self {
            Self::Rule(rule) => refuse(rule),
            Self::Error(error) => error,
        }
    }
}

impl From<UnpackError> for Trouble {
    fn from(error: UnpackError) -> Self {
        Self::Error(error)
    }
}

fn make_directory(path: &Path) -> Result<(), UnpackError> {
    DirBuilder::new()
        .mode(0o755)
        .create(path)
        .map_err(|source| UnpackError::Write { path: path.to_owned(), source })
}

fn link_target(entry: &Entry<'_, impl Read>) -> Result<Option<PathBuf>, UnpackError> {
    Ok(entry.link_name().map_err(UnpackError::Unreadable)?.map(|name| name.into_owned()))
}

/// A path below the root, without `.`.
fn inside(name: &Path) -> Result<PathBuf, &'static str> {
    let mut place = PathBuf::new();
    for part in name.components() {
        match part {
            Component::Normal(part) => place.push(part),
            Component::CurDir => {}
            Component::ParentDir => return Err("its path holds '..'"),
            Component::RootDir | Component::Prefix(_) => return Err("its path is absolute"),
        }
    }
    Ok(place)
}

#[cfg(test)]
mod tests;
