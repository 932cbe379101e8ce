//! The patches of the planted bugs fit the code as it is. Whether the simulation finds them: `make mutants`.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::path::Path;
use std::process::Command;

#[test]
fn every_planted_bug_can_be_planted() {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut patches: Vec<_> =
        std::fs::read_dir(own.join("mutants")).unwrap().map(|file| file.unwrap().path()).collect();
    patches.sort();
    assert!(patches.len() >= 20, "{patches:?}");
    for patch in patches {
        let checked = Command::new("patch")
            .args(["--dry-run", "--force", "--strip=1", "--input"])
            .arg(&patch)
            .current_dir(own.join("../.."))
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&checked.stdout);
        assert!(checked.status.success(), "{} does not apply: {said}", patch.display());
    }
}
