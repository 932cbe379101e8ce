//! What a pusher must not be able to do, and what they are told.

use super::kingdom::{Kingdom, Work, git};
use super::{PROCFILE, eventually, noise};
use king::git::GitOptions;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

#[tokio::test(flavor = "multi_thread")]
async fn a_push_that_is_too_large_is_refused() {
    let kingdom = Kingdom::start_with(|options| GitOptions { push_bytes: 1 << 20, ..options }).await;
    let url = kingdom.url("hello");
    let work = kingdom.work(&[PROCFILE, ("noise", &noise(8 << 20))]);
    let said = work.git(&["push", &url, "main"]).fails();
    assert!(said.contains("pack exceeds maximum allowed size"), "{said}");
    assert_eq!(kingdom.repository("hello"), None);
    eventually(|| !kingdom.cache("hello").exists()).await;
    let small = kingdom.work(&[PROCFILE]);
    small.git(&["push", &url, "main"]).ok();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_unfolds_too_far_is_refused() {
    let limits = |options| GitOptions { version_bytes: 1 << 20, version_files: 100, ..options };
    let kingdom = Kingdom::start_with(limits).await;
    let url = kingdom.url("hello");
    let large = kingdom.work(&[PROCFILE, ("zeros", &"0".repeat(2 << 20))]);
    large.git(&["tag", "v1.0.0"]).ok();
    let said = large.git(&["push", &url, "v1.0.0"]).fails();
    assert!(said.contains("has more than 1048576 bytes unpacked"), "{said}");
    // Ten folders that are one, in ten folders that are one, and so on: 10^7 files from a few objects.
    let many = kingdom.work(&[PROCFILE]);
    let blob = many.git(&["hash-object", "-w", "Procfile"]).ok();
    let (mut kind, mut object) = ("100644 blob", blob.trim().to_owned());
    for level in 0..7 {
        let tree: String = (0..10).map(|number| format!("{kind} {object}\tx{level}-{number}\n")).collect();
        object = make_tree(&many, &tree);
        kind = "040000 tree";
    }
    let root =
        make_tree(&many, &format!("100644 blob {}\tProcfile\n040000 tree {object}\tbomb\n", blob.trim()));
    let commit = many.git(&["commit-tree", "-m", "bomb", &root]).ok();
    many.git(&["tag", "v1.0.0", commit.trim()]).ok();
    let started = Instant::now();
    let said = many.git(&["push", &url, "v1.0.0"]).fails();
    assert!(said.contains("has more than 100 files"), "{said}");
    assert!(started.elapsed() < Duration::from_secs(10));
    assert_eq!(kingdom.repository("hello"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn links_out_of_the_root_are_refused_and_submodules_are_not_fetched() {
    let kingdom = Kingdom::start().await;
    let url = kingdom.url("hello");
    let work = kingdom.work(&[PROCFILE, ("in/side", "x")]);
    std::os::unix::fs::symlink("../in/side", work.path.join("in/good")).unwrap();
    std::os::unix::fs::symlink("../../etc/passwd", work.path.join("in/bad")).unwrap();
    work.commit(&[]);
    work.git(&["tag", "v1.0.0"]).ok();
    let said = work.git(&["push", &url, "main", "v1.0.0"]).fails();
    assert!(said.contains("has the link in/bad to ../../etc/passwd, which leaves the root"), "{said}");
    assert_eq!(kingdom.repository("hello"), None);
    std::fs::remove_file(work.path.join("in/bad")).unwrap();
    let canary = kingdom.folder.path().join("canary");
    let module = format!("[submodule \"x\"]\n\tpath = x\n\turl = ext::sh -c touch% {}\n", canary.display());
    work.commit(&[(".gitmodules", &module)]);
    let commit = work.git(&["rev-parse", "HEAD"]).ok();
    work.git(&["update-index", "--add", "--cacheinfo", &format!("160000,{},x", commit.trim())]).ok();
    work.git(&["commit", "-q", "-m", "module"]).ok();
    work.git(&["tag", "v1.0.1"]).ok();
    let said = work.git(&["push", &url, "main", "v1.0.1"]).ok();
    assert!(said.contains("has submodules; they are not fetched"), "{said}");
    assert!(!canary.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn references_that_are_no_branch_or_tag_are_refused() {
    let kingdom = Kingdom::start().await;
    let work = kingdom.work(&[PROCFILE]);
    let url = kingdom.url("hello");
    let said = work.git(&["push", &url, "main", "main:refs/notes/x"]).fails();
    assert!(said.contains("\"refs/notes/x\" is neither a branch nor a tag"), "{said}");
    let blob = work.git(&["hash-object", "-w", "Procfile"]).ok();
    work.git(&["tag", "v1.0.0", blob.trim()]).ok();
    let said = work.git(&["push", &url, "v1.0.0"]).fails();
    assert!(said.contains("refs/tags/v1.0.0 does not name a commit"), "{said}");
    assert_eq!(kingdom.repository("hello"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn names_and_paths_that_are_none_are_refused_in_words() {
    let kingdom = Kingdom::start().await;
    let work = kingdom.work(&[PROCFILE]);
    for name in ["He.llo", "-x", "a%20b", "%2e%2e", "a%3Eb", &"x".repeat(10_000), "%00", "a%0d%0ab"] {
        let said = work.git(&["push", &kingdom.url(name), "main"]).fails();
        assert!(
            said.contains("is not a name") || said.contains("url") || said.contains("URL"),
            "{name}: {said}"
        );
    }
    let said = work.git(&["clone", &kingdom.url("unknown")]).fails();
    assert!(said.contains("there is no app unknown"), "{said}");
    for path in ["/git/hello.git/HEAD", "/git/hello.git/info/refs", "/git/hello.git/../../etc/passwd"] {
        let answer = ask(&kingdom, &format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"));
        assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
        assert!(answer.contains("king: this is no address of Git's smart HTTP"), "{answer}");
    }
    let entries = std::fs::read_dir(kingdom.folder.path().join("git")).unwrap();
    let caches =
        entries.filter(|entry| entry.as_ref().unwrap().path().extension().is_some_and(|ext| ext == "git"));
    assert_eq!(caches.count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn packed_request_bodies_are_understood() {
    let kingdom = Kingdom::start().await;
    let url = kingdom.url("hello");
    let work = kingdom.work(&[PROCFILE]);
    // A client packs its request when it names many objects.
    for number in 0..40 {
        work.commit(&[("file", &number.to_string())]);
        work.git(&["tag", &format!("t{number}")]).ok();
    }
    work.git(&["push", "--tags", &url, "main"]).ok();
    git(kingdom.folder.path(), &["clone", "-q", "--branch", "t5", "--single-branch", &url, "old"]).ok();
    let output = std::process::Command::new("git")
        .args(["-c", "protocol.version=0", "fetch", "--tags", "origin"])
        .current_dir(kingdom.folder.path().join("old"))
        .env("GIT_TRACE_CURL", "1")
        .output();
    let said = String::from_utf8(tokio::task::block_in_place(|| output.unwrap()).stderr).unwrap();
    assert!(said.to_lowercase().contains("content-encoding: gzip"), "the request was packed");
    assert!(said.contains("t39"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_a_push_that_breaks_off_or_takes_too_long_stays() {
    let kingdom = Kingdom::start_with(|options| GitOptions { time: Duration::from_secs(3), ..options }).await;
    let head = "POST /git/hello.git/git-receive-pack HTTP/1.1\r\nHost: x\r\n\
                Content-Type: application/x-git-receive-pack-request\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n0090\r\n";
    let mut broken = TcpStream::connect(("127.0.0.1", kingdom.port)).unwrap();
    broken.write_all(head.as_bytes()).unwrap();
    eventually(|| backends(&kingdom) > 0).await;
    drop(broken);
    eventually(|| backends(&kingdom) == 0 && !kingdom.cache("hello").exists()).await;
    let mut slow = TcpStream::connect(("127.0.0.1", kingdom.port)).unwrap();
    slow.write_all(head.as_bytes()).unwrap();
    eventually(|| backends(&kingdom) > 0).await;
    eventually(|| backends(&kingdom) == 0 && !kingdom.cache("hello").exists()).await;
    let work = kingdom.work(&[PROCFILE]);
    work.git(&["push", &kingdom.url("hello"), "main"]).ok();
}

fn make_tree(work: &Work, lines: &str) -> String {
    let file = work.path.join("tree");
    std::fs::write(&file, lines).unwrap();
    let input = std::fs::File::open(&file).unwrap();
    let mut command = std::process::Command::new("git");
    let output = command.arg("mktree").stdin(input).current_dir(&work.path).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// How many Git processes of this kingdom's remote run.
fn backends(kingdom: &Kingdom) -> usize {
    let root = format!("GIT_PROJECT_ROOT={}", kingdom.folder.path().join("git").display());
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let environments = processes.filter_map(|entry| std::fs::read(entry.path().join("environ")).ok());
    environments
        .filter(|environment| environment.windows(root.len()).any(|part| part == root.as_bytes()))
        .count()
}

fn ask(kingdom: &Kingdom, request: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", kingdom.port)).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    tokio::task::block_in_place(|| stream.read_to_string(&mut answer)).unwrap();
    answer
}
