//! Manifests as people write them: `king.yaml` or a `Procfile`, parsed into [`events::Manifest`].
//!
//! Every problem has a file, a line and a column, also where the rule that is broken is the kingdom's own. It reads
//! no file and decides nothing: Git hands the text in. The format is described for people in `docs/manifest.md`.

mod tree;
mod duration;
mod amount;
mod yaml;
mod container;
mod procfile;

pub use procfile::parse_procfile;
pub use yaml::parse_king_yaml;

use std::fmt;

/// The name of the YAML manifest in the root of a repository. It wins over [`PROCFILE`].
pub const KING_YAML: &str = "king.yaml";
/// The name of the plain manifest.
pub const PROCFILE: &str = "Procfile";
/// Largest manifest, in bytes.
pub const MANIFEST_BYTES: usize = 64 * 1024;

/// What is wrong with a manifest, and where: `king.yaml:3:5: count is -1; from 0 to 10000`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{place}: {reason}")]
pub struct ManifestProblem {
    pub file: &'static str,
    pub place: Place,
    pub reason: String,
}

/// A place in a text: line and column, both from 1, columns in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub line: u64,
    pub column: u64,
}

impl Place {
    /// The first character.
    pub const START: Self = Self { line: 1, column: 1 };
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}", self.line, self.column)
    }
}

/// Parses the bytes of a manifest as they stand in a repository.
///
/// # Errors
/// When they are too many or no UTF-8, and what the parser of the file finds.
pub fn parse(file: &'static str, bytes: &[u8]) -> Result<events::Manifest, ManifestProblem> {
    let text = text_of(file, bytes)?;
    if file == KING_YAML { parse_king_yaml(text) } else { parse_procfile(text) }
}

fn text_of<'a>(file: &'static str, bytes: &'a [u8]) -> Result<&'a str, ManifestProblem> {
    if bytes.len() > MANIFEST_BYTES {
        return Err(too_large(file, bytes.len()));
    }
    std::str::from_utf8(bytes).map_err(|error| {
        let valid = String::from_utf8_lossy(&bytes[..error.valid_up_to()]);
        let line = valid.rsplit('\n').next().unwrap_or_default();
        let place =
            Place { line: valid.matches('\n').count() as u64 + 1, column: line.chars().count() as u64 + 1 };
        ManifestProblem { file, place, reason: "is not UTF-8; save it as UTF-8".into() }
    })
}

/// The problem of a manifest that is too large to be looked at.
pub fn too_large(file: &'static str, bytes: usize) -> ManifestProblem {
    let reason = format!("has {bytes} bytes; at most {MANIFEST_BYTES}");
    ManifestProblem { file, place: Place::START, reason }
}
