//! The Git remote with a real Git client, a real nats-server and the real hook.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod kingdom;
mod hostile;
mod faults;

use kingdom::{Kingdom, git};

const PROCFILE: (&str, &str) = ("Procfile", "web: node server.js\nworker: node worker.js\n");

#[tokio::test(flavor = "multi_thread")]
async fn a_push_with_a_tag_publishes_a_version() {
    let kingdom = Kingdom::start().await;
    let work = kingdom.work(&[PROCFILE, ("server.js", "1"), ("lib/a.js", "2")]);
    work.git(&["tag", "v1.0.0"]).ok();
    let said = work.git(&["push", &kingdom.url("hello"), "main", "v1.0.0"]).ok();
    let line =
        "remote: king: version 1.0.0 published (web, worker); deploy it with: kingctl app deploy hello@1.0.0";
    assert!(said.contains(line), "{said}");
    let push = kingdom.taken.lock().unwrap().pushes[0].clone();
    assert_eq!(push.refs.len(), 2);
    assert_eq!(push.versions[0].version.to_string(), "1.0.0");
    assert!(push.bundle.is_some_and(|bundle| bundle.replaces.is_empty()));
    let archive = kingdom.objects.get(&push.versions[0].archive, 1 << 20).await.unwrap();
    assert_eq!(files(&archive), ["Procfile", "lib/", "lib/a.js", "server.js"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn later_pushes_bring_what_is_new_alone() {
    let kingdom = Kingdom::start().await;
    let work = kingdom.work(&[PROCFILE, ("big", &noise(200_000))]);
    work.git(&["push", &kingdom.url("hello"), "main"]).ok();
    assert!(kingdom.taken.lock().unwrap().pushes[0].versions.is_empty(), "a branch publishes nothing");
    work.commit(&[("small", "x")]);
    work.git(&["tag", "-a", "-m", "annotated", "1.0.1"]).ok();
    work.git(&["push", &kingdom.url("hello"), "main", "1.0.1"]).ok();
    let push = kingdom.taken.lock().unwrap().pushes[1].clone();
    let commit = work.git(&["rev-parse", "HEAD"]).ok();
    assert_eq!(push.versions[0].commit.to_string(), commit.trim(), "an annotated tag is peeled");
    let bundle = kingdom.objects.get(&push.bundle.unwrap().digest, 1 << 20).await.unwrap();
    assert!(bundle.len() < 10_000, "{} bytes for a small change", bundle.len());
    work.git(&["tag", "v1.0.2"]).ok();
    let said = work.git(&["push", &kingdom.url("hello"), "v1.0.2"]).ok();
    assert!(said.contains("version 1.0.2 published"), "{said}");
    let push = kingdom.taken.lock().unwrap().pushes[2].clone();
    assert_eq!(push.bundle, None, "a tag on what is there brings no object");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_never_changes() {
    let kingdom = Kingdom::start().await;
    let work = kingdom.work(&[PROCFILE]);
    work.git(&["tag", "v1.0.0"]).ok();
    work.git(&["push", &kingdom.url("hello"), "main", "v1.0.0"]).ok();
    let before = kingdom.repository("hello");
    work.commit(&[("more", "x")]);
    work.git(&["tag", "-f", "v1.0.0"]).ok();
    work.git(&["tag", "1.0.0"]).ok();
    let url = kingdom.url("hello");
    for arguments in [["-f", "main", "v1.0.0"], ["-f", "main", "1.0.0"]] {
        let said = work.git(&[&["push", &url], &arguments[..]].concat()).fails();
        assert!(said.contains("versions never change; publish 1.0.1"), "{said}");
        assert!(said.contains("remote: king: version 1.0.0 is commit "), "{said}");
        assert!(said.contains("remote: king: nothing was changed"), "{said}");
    }
    let said = work.git(&["push", &url, ":v1.0.0"]).fails();
    assert!(said.contains("cannot be deleted"), "{said}");
    assert_eq!(kingdom.repository("hello"), before);
    let refs = work.git(&["ls-remote", &url]).ok();
    assert_eq!(refs.lines().count(), 3, "{refs}");
    work.git(&["tag", "1.0.1"]).ok();
    work.git(&["push", &url, "main", "1.0.1"]).ok();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_manifest_is_refused_where_it_is_bad() {
    let kingdom = Kingdom::start().await;
    let url = kingdom.url("hello");
    let yaml = "processes:\n  web:\n    comand: node server.js\n";
    let work = kingdom.work(&[PROCFILE, ("king.yaml", yaml)]);
    work.git(&["tag", "v1.0.0"]).ok();
    let said = work.git(&["push", &url, "main", "v1.0.0"]).fails();
    assert!(said.contains("remote: king: king.yaml:3:5: unknown field \"comand\""), "{said}");
    assert_eq!(kingdom.repository("hello"), None);
    let none = kingdom.work(&[("server.js", "x")]);
    none.git(&["tag", "v1.0.0"]).ok();
    let said = none.git(&["push", &url, "main", "v1.0.0"]).fails();
    assert!(said.contains("has neither a king.yaml nor a Procfile in its root"), "{said}");
    eventually(|| !kingdom.cache("hello").exists()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_cache_is_made_again_from_the_bundles() {
    let kingdom = Kingdom::start_with(|options| king::git::GitOptions { chain: 4, ..options }).await;
    let url = kingdom.url("hello");
    let work = kingdom.work(&[PROCFILE]);
    let mut wholes = 0;
    for number in 0..6 {
        work.commit(&[("file", &noise(1000 + number))]);
        work.git(&["tag", &format!("v1.0.{number}")]).ok();
        work.git(&["push", &url, "main", &format!("v1.0.{number}")]).ok();
        let push = kingdom.taken.lock().unwrap().pushes[number].clone();
        wholes += usize::from(!push.bundle.unwrap().replaces.is_empty());
    }
    assert_eq!(wholes, 1, "the fourth bundle holds everything");
    assert_eq!(kingdom.repository("hello").unwrap().bundles.len(), 3);
    kingdom.lose_cache("hello");
    git(kingdom.folder.path(), &["clone", "-q", &url, "again"]).ok();
    let again = kingdom.folder.path().join("again");
    let same = |arguments: &[&str]| assert_eq!(git(&again, arguments).ok(), work.git(arguments).ok());
    same(&["rev-parse", "HEAD", "v1.0.0", "v1.0.5"]);
    same(&["ls-tree", "-r", "v1.0.2"]);
    git(&again, &["fsck", "--strict"]).ok();
    work.commit(&[("more", "x")]);
    work.git(&["push", &url, "main"]).ok();
    git(&again, &["pull", "-q"]).ok();
    same(&["rev-parse", "HEAD"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cache_that_is_behind_follows_the_state() {
    let mut kingdom = Kingdom::start().await;
    let url = kingdom.url("hello");
    let work = kingdom.work(&[PROCFILE]);
    work.git(&["push", &url, "main"]).ok();
    let behind = kingdom.folder.path().join("behind.git");
    eventually(|| kingdom.cache("hello").join("HEAD").is_file()).await;
    std::process::Command::new("cp").args(["-r"]).arg(kingdom.cache("hello")).arg(&behind).status().unwrap();
    work.commit(&[("more", "x")]);
    work.git(&["push", &url, "main", "main:refs/heads/other/deep"]).ok();
    // As if the King had died between its commit and Git's own move of the references.
    kingdom.lose_cache("hello");
    std::fs::rename(&behind, kingdom.cache("hello")).unwrap();
    kingdom.start_again().await;
    let refs = git(kingdom.folder.path(), &["ls-remote", &kingdom.url("hello")]).ok();
    assert_eq!(refs.matches(work.git(&["rev-parse", "HEAD"]).ok().trim()).count(), 3, "{refs}");
}

#[tokio::test(flavor = "multi_thread")]
async fn branches_may_be_forced_and_deleted() {
    let kingdom = Kingdom::start().await;
    let url = kingdom.url("hello");
    let work = kingdom.work(&[PROCFILE]);
    work.git(&["push", &url, "main", "main:a/b"]).ok();
    work.git(&["commit", "-q", "--amend", "-m", "other"]).ok();
    let said = work.git(&["push", &url, "main"]).fails();
    assert!(said.contains("rejected"), "{said}");
    work.git(&["push", "-f", &url, "main"]).ok();
    work.git(&["push", &url, ":a/b", ":main"]).ok();
    assert!(kingdom.repository("hello").unwrap().refs.is_empty());
    work.git(&["push", &url, "main:a"]).ok();
    let refs = work.git(&["ls-remote", &url]).ok();
    assert!(refs.contains("refs/heads/a\n"), "{refs}");
    git(kingdom.folder.path(), &["clone", "-q", &url, "cloned"]).ok();
    assert!(kingdom.folder.path().join("cloned/Procfile").is_file(), "the one branch is checked out");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_that_compares_wrong_is_refused_by_the_writer() {
    let kingdom = Kingdom::start().await;
    let url = kingdom.url("hello");
    let work = kingdom.work(&[PROCFILE]);
    work.git(&["push", &url, "main"]).ok();
    let (one, two) = (work.git(&["rev-parse", "HEAD"]).ok(), kingdom.work(&[PROCFILE, ("x", "y")]));
    two.git(&["fetch", "-q", &url, "main"]).ok();
    work.commit(&[("more", "x")]);
    two.git(&["reset", "-q", "--hard", "FETCH_HEAD"]).ok();
    two.commit(&[("other", "x")]);
    work.git(&["push", &url, "main"]).ok();
    let lease = format!("--force-with-lease=main:{}", one.trim());
    two.git(&["push", &lease, &url, "main"]).fails();
    let head = work.git(&["rev-parse", "HEAD"]).ok();
    let state = kingdom.repository("hello").unwrap();
    assert_eq!(state.refs["refs/heads/main"].to_string(), head.trim());
}

#[tokio::test(flavor = "multi_thread")]
async fn many_pushes_at_once_to_many_apps() {
    let kingdom = Kingdom::start().await;
    let works: Vec<_> = (0..6).map(|_| kingdom.work(&[PROCFILE, ("noise", &noise(5000))])).collect();
    std::thread::scope(|scope| {
        for (number, work) in works.iter().enumerate() {
            let url = kingdom.url(&format!("app-{}", number % 4));
            scope.spawn(move || {
                let tag = format!("v1.{number}.0");
                plain_git(&work.path, &["tag", &tag]);
                plain_git(&work.path, &["push", "-q", &url, &format!("main:refs/heads/b{number}"), &tag]);
            });
        }
    });
    let taken = kingdom.taken.lock().unwrap();
    assert_eq!(taken.pushes.len(), 6);
    assert_eq!(taken.repositories.len(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_path_of_the_data_folder_is_no_obstacle() {
    let longer = |options: king::git::GitOptions| {
        let folder = options.folder.join("a \"quoted\" folder").join("x".repeat(150));
        king::git::GitOptions { folder, ..options }
    };
    let kingdom = Kingdom::start_with(longer).await;
    let work = kingdom.work(&[PROCFILE]);
    work.git(&["tag", "v1.0.0"]).ok();
    work.git(&["push", &kingdom.url("hello"), "main", "v1.0.0"]).ok();
    assert_eq!(kingdom.repository("hello").unwrap().versions.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_that_was_removed_begins_anew() {
    let kingdom = Kingdom::start().await;
    let url = kingdom.url("hello");
    let work = kingdom.work(&[PROCFILE]);
    work.git(&["push", &url, "main"]).ok();
    kingdom.taken.lock().unwrap().repositories.clear();
    let said = work.git(&["ls-remote", &url]).fails();
    assert!(said.contains("there is no app hello"), "{said}");
    let other = kingdom.work(&[PROCFILE, ("other", "x")]);
    other.git(&["push", &url, "main"]).ok();
    assert_eq!(other.git(&["ls-remote", &url]).ok().lines().count(), 2);
    kingdom.lose_cache("hello");
    git(kingdom.folder.path(), &["clone", "-q", &url, "again"]).ok();
}

fn plain_git(folder: &std::path::Path, arguments: &[&str]) {
    let output = std::process::Command::new("git").args(arguments).current_dir(folder).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Text that does not shrink.
fn noise(bytes: usize) -> String {
    let mut seed = blake3::hash(service::clock::fresh_id().as_bytes());
    let mut text = String::new();
    while text.len() < bytes {
        seed = blake3::hash(seed.as_bytes());
        text.push_str(&seed.to_hex());
    }
    text
}

fn files(archive: &[u8]) -> Vec<String> {
    let tar = zstd::decode_all(archive).unwrap();
    let mut archive = tar::Archive::new(tar.as_slice());
    let entries = archive.entries().unwrap().map(Result::unwrap);
    let entries = entries.filter(|entry| !entry.header().entry_type().is_pax_global_extensions());
    entries.map(|entry| entry.path().unwrap().display().to_string()).collect()
}

/// Waits until something holds that a task brings about by itself.
async fn eventually(holds: impl Fn() -> bool) {
    let end = tokio::time::Instant::now() + std::time::Duration::from_secs(10);
    while !holds() {
        assert!(tokio::time::Instant::now() < end, "it never came to hold");
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}
