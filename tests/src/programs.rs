//! Where the programs under test are: beside the folder of the test's own executable, and in `.tools`.

use std::path::{Path, PathBuf};

/// A program of the kingdom, built for the same profile as the test.
///
/// # Panics
/// When it is not built; the message names the command.
pub fn kingdom(name: &str) -> PathBuf {
    let own = std::env::current_exe().expect("a test knows its own path");
    let folder = own.parent().expect("a program lies in target/<profile>, a test in deps below it");
    let folder = if folder.ends_with("deps") { folder.parent().unwrap_or(folder) } else { folder };
    let path = folder.join(name);
    assert!(
        path.is_file(),
        "the program {} is not built; run `cargo build --workspace --bins` first (`make test` does)",
        path.display()
    );
    path
}

/// The nats-server of `scripts/bootstrap`.
///
/// # Panics
/// When it is not there; the message names the command.
pub fn nats_server() -> PathBuf {
    tool("bin/nats-server")
}

/// The Python with the test tools: nats-py and aiosmtpd.
///
/// # Panics
/// When it is not there; the message names the command.
pub fn python() -> PathBuf {
    tool("venv/bin/python3")
}

fn tool(place: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the tests lie in the workspace");
    let path = root.join(".tools").join(place);
    assert!(path.exists(), "{} is missing; run `scripts/bootstrap --for test` first", path.display());
    path
}
