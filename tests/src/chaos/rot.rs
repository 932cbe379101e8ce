//! Rot on the disk of one server: a bit that flips, or a file that is cut, in what it keeps of the log. The server does not
//! run meanwhile: one that runs has in memory what it reads. What must come of it stands in [`super::mend`].

use super::dice::Dice;
use crate::client::Client;
use crate::{files, wait};
use events::subject::LOG_STREAM;
use futures_util::StreamExt;
use serde_json::{Value, json};
use std::fmt;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

/// A log of so many bytes lies in several files, of which a server that starts reads only the last.
const LOG_BYTES: u64 = 10 * 1024 * 1024;
/// Bytes of a value that makes the log grow, and how many such are under way at once.
const VALUE_BYTES: usize = 32 * 1024;
const WRITES: usize = 4;
/// Most files that rot at once.
const MOST_AT_ONCE: usize = 3;

/// One thing that was done to a file.
#[derive(Debug)]
pub struct Rot {
    path: PathBuf,
    at: u64,
    kind: Kind,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Flip,
    Cut,
}

impl fmt::Display for Rot {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let done = match self.kind {
            Kind::Flip => "a bit flipped at",
            Kind::Cut => "cut at",
        };
        write!(formatter, "{done} {} in {}", self.at, self.path.display())
    }
}

/// Lets one to three files rot that a server keeps of the log, below its store. `group` is the folder of the vote of the
/// log's servers.
///
/// # Panics
/// When there are none, or they cannot be written.
pub fn set_in(store: &Path, group: &str, dice: &mut Dice) -> Vec<Rot> {
    let kinds = [
        files_in(store, LOG_STREAM, |path| path.extension().is_some_and(|extension| extension == "blk")),
        files_in(store, LOG_STREAM, |path| path.file_name().is_some_and(|name| name == "index.db")),
        files_in(store, group, |_| true),
    ];
    let kinds: Vec<_> = kinds.into_iter().filter(|files| !files.is_empty()).collect();
    assert!(!kinds.is_empty(), "there is nothing of the log below {}", store.display());
    let count = 1 + dice.below(MOST_AT_ONCE);
    (0..count).map(|_| rot(&kinds[dice.below(kinds.len())], dice)).collect()
}

fn rot(files: &[PathBuf], dice: &mut Dice) -> Rot {
    let path = files[dice.below(files.len())].clone();
    let length = fs::metadata(&path).expect("the disk is the test's").len();
    let at = dice.below(usize::try_from(length).expect("a file of a test is small")) as u64;
    let kind = dice.one(&[Kind::Flip, Kind::Flip, Kind::Cut]);
    match kind {
        Kind::Flip if at < length => flip(&path, at, dice.below(8)),
        Kind::Flip | Kind::Cut => {
            let file = File::options().write(true).open(&path).expect("the disk is the test's");
            file.set_len(at).expect("the disk is the test's");
        }
    }
    Rot { path, at, kind }
}

fn flip(path: &Path, at: u64, bit: usize) {
    let mut bytes = fs::read(path).expect("the disk is the test's");
    bytes[usize::try_from(at).expect("a file of a test is small")] ^= 1 << bit;
    fs::write(path, bytes).expect("the disk is the test's");
}

/// The files below a folder of a name, wherever that is, in an order that a seed repeats.
fn files_in(store: &Path, folder: &str, wanted: impl Fn(&Path) -> bool) -> Vec<PathBuf> {
    let within = |path: &PathBuf| path.components().any(|part| part.as_os_str() == folder);
    let mut found: Vec<_> =
        files::below(store).into_iter().filter(within).filter(|path| wanted(path)).collect();
    found.sort();
    found
}

/// The folder in which a server keeps what the servers of the log have agreed on.
///
/// # Panics
/// When the servers do not tell.
pub async fn group(client: &Client) -> String {
    wait::until("the servers name the group of the log", async || {
        let subject = format!("$JS.API.STREAM.INFO.{LOG_STREAM}");
        let answer = client.request(&subject, None, Vec::new()).await?;
        let info: Value = serde_json::from_slice(&answer).map_err(|error| error.to_string())?;
        let group = info["cluster"]["raft_group"].as_str().map(str::to_owned);
        group.ok_or_else(|| format!("{info}"))
    })
    .await
}

/// Lets the log grow until it lies in several files.
///
/// # Panics
/// When a command is not answered.
pub async fn grow(client: &Client, dice: &mut Dice) {
    loop {
        let bytes = client.stream(LOG_STREAM).await.cached_info().state.bytes;
        if bytes >= LOG_BYTES {
            return;
        }
        let missing = usize::try_from(LOG_BYTES - bytes).expect("small").div_ceil(VALUE_BYTES);
        let orders = (0..missing)
            .map(|index| (format!("large-{bytes}-{index}"), json!({ "values": { "LARGE": noise(dice) } })));
        let write = |(id, body): (String, Value)| async move {
            client.command_until_answered(&id, "config.set", &body).await;
        };
        futures_util::stream::iter(orders).for_each_concurrent(WRITES, write).await;
    }
}

/// A value that cannot be packed well.
fn noise(dice: &mut Dice) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    (0..VALUE_BYTES).map(|_| char::from(LETTERS[dice.below(LETTERS.len())])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_rots_as_it_is_told() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("streams").join(LOG_STREAM).join("msgs/1.blk");
        fs::create_dir_all(path.parent().expect("it has one")).expect("a temporary folder");
        for seed in 0..50 {
            let before = vec![7; 1000];
            fs::write(&path, &before).expect("a temporary folder");
            let done = set_in(folder.path(), "S-R3F-none", &mut Dice::new(seed));
            assert!((1..=MOST_AT_ONCE).contains(&done.len()) && done.iter().all(|rot| rot.path == path));
            assert_ne!(fs::read(&path).expect("it is there"), before, "{done:?}");
        }
    }
}
