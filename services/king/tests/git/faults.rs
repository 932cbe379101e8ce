//! What is pushed stays, whatever becomes of clients, of Git's processes and of the caches.

use super::kingdom::{Kingdom, Work, git};
use super::{PROCFILE, eventually, noise};
use king::git::GitOptions;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;

const MAIN: &str = "refs/heads/main";
const NOTHING: &str = "0000000000000000000000000000000000000000";

async fn kingdom_with_chain(chain: usize) -> Kingdom {
    Kingdom::start_with(|options| GitOptions { chain, ..options }).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_leaving_client_has_pushed_stays() {
    let kingdom = kingdom_with_chain(3).await;
    let url = kingdom.url("hello");
    let work = kingdom.work(&[PROCFILE]);
    work.git(&["push", &url, "main"]).ok();
    let other = kingdom.work(&[PROCFILE, ("other", "x")]);
    let head = other.git(&["rev-parse", "HEAD"]).ok().trim().to_owned();
    let mut staying = HandPush::new(&other, &[(NOTHING, &head, "refs/heads/b")], &head);
    staying.begin(&kingdom);
    eventually(|| processes(&kingdom, "git") > 0).await;
    work.commit(&[("more", &noise(1000))]);
    kingdom.taken.lock().unwrap().silent = 1;
    let leaving = work.start(&["push", &url, "main:a"]);
    eventually(|| kingdom.taken.lock().unwrap().pushes.len() == 2).await;
    staying.send_pack();
    eventually(|| processes(&kingdom, "pre-receive") == 2).await;
    leaving.kill();
    let said = staying.answer();
    assert!(said.contains("ok refs/heads/b"), "{said}");
    let bundles = kingdom.repository("hello").unwrap().bundles;
    assert_eq!(bundles.len(), 1, "the third bundle holds everything");
    let refs = work.git(&["ls-remote", &url]).ok();
    assert!(refs.contains(work.git(&["rev-parse", "HEAD"]).ok().trim()), "{refs}");
    let again = clone_from_bundles(&kingdom);
    assert_eq!(git(&again, &["rev-parse", "origin/a"]).ok(), work.git(&["rev-parse", "HEAD"]).ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_cache_replaces_no_bundle() {
    let kingdom = kingdom_with_chain(3).await;
    let url = kingdom.url("hello");
    let work = kingdom.work(&[("noise", &noise(1000))]);
    work.git(&["push", &url, "main"]).ok();
    let first = packs(&kingdom);
    // What Git has a look at when it receives a pack is there: the lost file is in the history alone.
    work.commit(&[("noise", &noise(1000))]);
    work.git(&["push", &url, "main"]).ok();
    work.git(&["ls-remote", &url]).ok();
    first.iter().for_each(|file| std::fs::remove_file(file).unwrap());
    work.commit(&[("most", &noise(1000))]);
    work.git(&["push", &url, "main"]).ok();
    let bundles = kingdom.repository("hello").unwrap().bundles;
    assert_eq!(bundles.len(), 1, "the cache was filled again, then packed");
    clone_from_bundles(&kingdom);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bundle_that_was_overtaken_replaces_nothing() {
    let kingdom = kingdom_with_chain(2).await;
    let url = kingdom.url("hello");
    let work = kingdom.work(&[PROCFILE]);
    work.git(&["push", &url, "main"]).ok();
    let first = kingdom.repository("hello").unwrap().bundles[0];
    kingdom.taken.lock().unwrap().overtaking = Some(first);
    work.commit(&[("more", "x")]);
    work.git(&["tag", "v1.0.0"]).ok();
    let said = work.git(&["push", &url, "main", "v1.0.0"]).ok();
    assert!(said.contains("version 1.0.0 published"), "{said}");
    assert_eq!(kingdom.taken.lock().unwrap().pushes[1].bundle.clone().unwrap().replaces, []);
    assert_eq!(kingdom.repository("hello").unwrap().bundles.len(), 3);
    clone_from_bundles(&kingdom);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reference_to_what_only_the_cache_has_brings_it() {
    let kingdom = Kingdom::start().await;
    let url = kingdom.url("hello");
    let work = kingdom.work(&[PROCFILE]);
    let first = work.git(&["rev-parse", "HEAD"]).ok().trim().to_owned();
    work.git(&["push", &url, "main"]).ok();
    work.commit(&[("lone", &noise(1000))]);
    let lone = work.git(&["rev-parse", "HEAD"]).ok().trim().to_owned();
    work.git(&["push", &url, "main:a"]).ok();
    work.git(&["push", &url, ":a"]).ok();
    // As if another King had packed everything from a cache of its own, which did not have the branch.
    kingdom.taken.lock().unwrap().repositories.values_mut().for_each(|state| state.bundles.truncate(1));
    work.git(&["reset", "-q", "--hard", &first]).ok();
    work.commit(&[("more", "x")]);
    let next = work.git(&["rev-parse", "HEAD"]).ok().trim().to_owned();
    let changes = [(first.as_str(), next.as_str(), MAIN), (NOTHING, &lone, "refs/heads/b")];
    let mut push = HandPush::new(&work, &changes, &format!("{next}\n^{first}\n"));
    push.begin(&kingdom);
    push.send_pack();
    let said = push.answer();
    assert!(said.contains("ok refs/heads/b"), "{said}");
    let again = clone_from_bundles(&kingdom);
    git(&again, &["cat-file", "-e", "origin/b:lone"]).ok();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_that_a_killed_git_left_is_no_obstacle() {
    let kingdom = Kingdom::start().await;
    let url = kingdom.url("hello");
    let work = kingdom.work(&[PROCFILE]);
    work.git(&["push", &url, "main"]).ok();
    work.git(&["ls-remote", &url]).ok();
    std::fs::create_dir_all(kingdom.cache("hello").join("refs/heads/deep")).unwrap();
    for lock in ["refs/heads/other.lock", "refs/heads/deep/x.lock", "packed-refs.lock", "HEAD.lock"] {
        std::fs::write(kingdom.cache("hello").join(lock), "").unwrap();
    }
    add_branches(&kingdom, &["refs/heads/other", "refs/heads/deep/x"]);
    let refs = work.git(&["ls-remote", &url]).ok();
    assert!(refs.contains("refs/heads/other") && refs.contains("refs/heads/deep/x"), "{refs}");
    work.git(&["push", &url, ":other", ":deep/x"]).ok();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cache_that_cannot_be_repaired_is_made_anew() {
    let mut kingdom = Kingdom::start().await;
    let url = kingdom.url("hello");
    let work = kingdom.work(&[PROCFILE]);
    work.git(&["push", &url, "main"]).ok();
    work.git(&["ls-remote", &url]).ok();
    let cache = kingdom.cache("hello");
    std::fs::write(cache.join("packed-refs"), "this is no line of Git's\n").unwrap();
    std::fs::create_dir(cache.join("objects/tmp_objdir-incoming-abc")).unwrap();
    kingdom.start_again().await;
    git(kingdom.folder.path(), &["clone", "-q", &kingdom.url("hello"), "again"]).ok();
    assert!(!cache.join("objects/tmp_objdir-incoming-abc").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cache_follows_the_state_though_its_client_leaves() {
    let kingdom = Kingdom::start().await;
    let url = kingdom.url("hello");
    let work = kingdom.work(&[PROCFILE]);
    work.git(&["push", &url, "main"]).ok();
    work.git(&["ls-remote", &url]).ok();
    let gate = kingdom.folder.path().join("gate");
    std::fs::write(&gate, "").unwrap();
    let hook = kingdom.folder.path().join("git/.hooks/reference-transaction");
    let waits = format!("#!/bin/sh\nwhile [ -e {} ]; do sleep 0.01; done\n", gate.display());
    std::fs::write(&hook, waits).unwrap();
    std::fs::set_permissions(&hook, std::fs::Permissions::from_mode(0o755)).unwrap();
    add_branches(&kingdom, &["refs/heads/other"]);
    let mut client = TcpStream::connect(("127.0.0.1", kingdom.port)).unwrap();
    let request = "GET /git/hello.git/info/refs?service=git-upload-pack HTTP/1.1\r\nHost: x\r\n\r\n";
    client.write_all(request.as_bytes()).unwrap();
    let other = kingdom.cache("hello").join("refs/heads/other");
    eventually(|| other.with_extension("lock").exists()).await;
    drop(client);
    std::fs::remove_file(gate).unwrap();
    eventually(|| other.exists() && !other.with_extension("lock").exists()).await;
}

/// Lets the state have more branches than the cache, at the commit of `main`.
fn add_branches(kingdom: &Kingdom, names: &[&str]) {
    let mut taken = kingdom.taken.lock().unwrap();
    let state = taken.repositories.values_mut().next().unwrap();
    let main = state.refs[MAIN];
    state.refs.extend(names.iter().map(|name| ((*name).to_owned(), main)));
}

/// Clones after the loss of the cache: all that is there comes from the bundles.
fn clone_from_bundles(kingdom: &Kingdom) -> PathBuf {
    kingdom.lose_cache("hello");
    let again = kingdom.folder.path().join("again");
    git(kingdom.folder.path(), &["clone", "-q", "--no-checkout", &kingdom.url("hello"), "again"]).ok();
    git(&again, &["fsck", "--strict"]).ok();
    again
}

/// The files of the packs in the cache.
fn packs(kingdom: &Kingdom) -> Vec<PathBuf> {
    let files = std::fs::read_dir(kingdom.cache("hello").join("objects/pack")).unwrap();
    files.map(|file| file.unwrap().path()).collect()
}

/// How many processes of this name run for this kingdom's remote.
fn processes(kingdom: &Kingdom, name: &str) -> usize {
    let root = format!("GIT_PROJECT_ROOT={}", kingdom.folder.path().join("git").display());
    let processes = std::fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path());
    let named = processes.filter(|process| {
        std::fs::read_to_string(process.join("comm")).is_ok_and(|comm| comm.trim() == name)
    });
    let environments = named.filter_map(|process| std::fs::read(process.join("environ")).ok());
    environments
        .filter(|environment| environment.windows(root.len()).any(|part| part == root.as_bytes()))
        .count()
}

/// A push as a client of one's own would make it, step by step.
struct HandPush {
    lines: Vec<u8>,
    pack: Vec<u8>,
    stream: Option<TcpStream>,
}

impl HandPush {
    /// These changes, with a pack of these revisions.
    fn new(work: &Work, changes: &[(&str, &str, &str)], revisions: &str) -> Self {
        let mut lines = Vec::new();
        for (old, new, name) in changes {
            let features = if lines.is_empty() { "\0report-status" } else { "" };
            let line = format!("{old} {new} {name}{features}\n");
            lines.extend(format!("{:04x}{line}", line.len() + 4).into_bytes());
        }
        lines.extend(b"0000");
        let list = work.path.join("revisions");
        std::fs::write(&list, format!("{revisions}\n")).unwrap();
        let mut git = Command::new("git");
        git.args(["pack-objects", "-q", "--stdout", "--revs"]).current_dir(&work.path);
        let pack = git.stdin(std::fs::File::open(list).unwrap()).output().unwrap().stdout;
        Self { lines, pack, stream: None }
    }

    fn begin(&mut self, kingdom: &Kingdom) {
        let mut stream = TcpStream::connect(("127.0.0.1", kingdom.port)).unwrap();
        let head = format!(
            "POST /git/hello.git/git-receive-pack HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\
             Content-Type: application/x-git-receive-pack-request\r\nContent-Length: {}\r\n\r\n",
            self.lines.len() + self.pack.len()
        );
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(&self.lines).unwrap();
        self.stream = Some(stream);
    }

    fn send_pack(&mut self) {
        self.stream.as_mut().unwrap().write_all(&self.pack).unwrap();
    }

    fn answer(self) -> String {
        let mut answer = Vec::new();
        tokio::task::block_in_place(|| self.stream.unwrap().read_to_end(&mut answer)).unwrap();
        String::from_utf8_lossy(&answer).into_owned()
    }
}
