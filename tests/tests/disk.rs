//! A servant on a small disk: what nobody uses goes before it is full, nothing new comes when it is full, and what runs
//! does not notice. The disk is a file system in memory, which takes root.

use kingdom_tests::kingdom::servant_flags;
use kingdom_tests::{Kingdom, wait};
use rustix::fs::{FallocateFlags, fallocate, statvfs};
use rustix::process::getuid;
use serde_json::{Value, json};
use std::ffi::OsString;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Its worker lives for ever; each build makes a tree of 12 MB.
const APP: &str = "build: head -c 12000000 /dev/urandom > blob
processes:
  worker:
    command: [sleep, \"100000\"]
    stop_grace: 1s
";

/// A file system of so many megabytes.
struct Disk {
    folder: PathBuf,
}

impl Disk {
    fn at(folder: &Path, megabytes: u32) -> Self {
        std::fs::create_dir_all(folder).expect("the test's folder can be written");
        let size = format!("size={megabytes}m");
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", &size, "king-test"]).arg(folder).status();
        assert!(mounted.expect("mount is there").success(), "{} is a disk of its own", folder.display());
        Self { folder: folder.to_owned() }
    }

    fn percent(&self) -> u64 {
        let stat = statvfs(&self.folder).expect("it is a file system");
        let used = stat.f_blocks - stat.f_bfree;
        (used * 100).div_ceil(used + stat.f_bavail)
    }

    /// Takes room until so much is used, at one go: what is removed meanwhile must not be made up for.
    fn fill_to(&self, percent: u64) {
        let stat = statvfs(&self.folder).expect("it is a file system");
        let used = stat.f_blocks - stat.f_bfree;
        let missing = ((used + stat.f_bavail) * percent / 100).saturating_sub(used) * stat.f_frsize;
        let ballast = self.folder.join("ballast");
        let ballast =
            File::options().create(true).append(true).open(ballast).expect("there is room for a name");
        let length = ballast.metadata().expect("it is open").len();
        fallocate(&ballast, FallocateFlags::empty(), length, missing).expect("there is room");
    }

    fn free(&self) {
        std::fs::remove_file(self.folder.join("ballast")).expect("it was filled");
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // What still uses it keeps it until it ends.
        let _ = Command::new("umount").arg("--lazy").arg(&self.folder).status();
    }
}

fn trees(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder.join("releases/big")).into_iter().flatten().flatten();
    let names =
        entries.filter_map(|entry| entry.file_name().into_string().ok()).filter(|name| !name.contains('.'));
    let mut numbers: Vec<String> =
        names.filter_map(|name| Some(name.split_once('-')?.0.to_owned())).collect();
    numbers.sort();
    numbers
}

async fn servant(kingdom: &Kingdom, what: &str, holds: impl Fn(&Value) -> bool) {
    wait::until(what, async || {
        let servants = kingdom.client.ask("servant.ls", json!({})).await?;
        let small = servants.iter().find(|servant| servant["name"] == "small").ok_or("it has not joined")?;
        wait::holds(holds(small), || small.to_string())
    })
    .await;
}

#[tokio::test]
async fn a_disk_that_fills_loses_what_nobody_uses_and_then_takes_nothing_new() {
    assert!(getuid().is_root(), "this test makes a disk of its own: run it as root");
    let mut kingdom = Kingdom::start().await;
    let data = kingdom.path().join("small");
    let disk = Disk::at(&data.join("servant-small"), 128);
    // The other one makes place.
    kingdom.kill9("s1");
    wait::until("the other servant is lost", async || {
        let servants = kingdom.client.ask("servant.ls", json!({})).await?;
        wait::holds(servants[0]["lost"] == true, || format!("{servants:?}"))
    })
    .await;
    kingdom.kingctl(&["servant", "remove", "s1", "--yes"]).await.success();
    let mut flags = servant_flags("small", kingdom.servant_ports());
    flags.extend(["--disk-high", "60", "--disk-critical", "80"].map(OsString::from));
    let mut small = kingdom.service_process("small", "servant", &data, flags);
    small.start();
    servant(&kingdom, "it has joined", |small| small["lost"] == false).await;

    let repository = kingdom.deploy("big", &[("king.yaml", APP)], 1).await;
    for version in ["1.0.1", "1.0.2"] {
        repository.commit(&[("version", version)]).await;
        repository.publish(&format!("v{version}")).await;
        kingdom.kingctl(&["app", "deploy", &format!("big@{version}")]).await.success();
    }
    assert_eq!(trees(&disk.folder), ["1", "2", "3"], "the way back is short while there is room");
    let runs = kingdom.runs();

    disk.fill_to(65);
    wait::until("the oldest goes", async || {
        let left = trees(&disk.folder);
        wait::holds(left == ["2", "3"] || left == ["3"], || format!("{left:?} at {} %", disk.percent()))
    })
    .await;
    wait::until("there is room again", async || {
        wait::holds(disk.percent() < 65, || format!("{} %", disk.percent()))
    })
    .await;
    wait::until("the log says what and why", async || {
        let events = kingdom.kingctl(&["event", "ls", "--noun", "servant", "-o", "json"]).await.stdout;
        let told = ["servant.disk-cleaned", "big release 1", "room"].iter().all(|word| events.contains(word));
        wait::holds(told, || events)
    })
    .await;

    // More than what the last unused release takes.
    disk.fill_to(95);
    servant(&kingdom, "the disk is full", |small| small["disk"]["level"] == "critical").await;
    kingdom.mail_about(&["FIRING", "disk of servant small is full"]).await;
    let why = kingdom.kingctl(&["why-not", "big", "small"]).await.success();
    assert!(why.contains("has a full disk"), "{why}");
    repository.commit(&[("version", "1.0.3")]).await;
    repository.publish("v1.0.3").await;
    kingdom.kingctl(&["app", "deploy", "big@1.0.3", "--detach"]).await.success();
    wait::until("the deploy says why it waits", async || {
        let app = kingdom.client.ask("app.show", json!({ "app": "big" })).await?.remove(0);
        wait::holds(app["obstacles"].to_string().contains("has a full disk"), || app.to_string())
    })
    .await;
    assert_eq!(kingdom.runs(), runs, "what runs does not notice");

    disk.free();
    servant(&kingdom, "there is room again", |small| small["disk"]["level"] == "normal").await;
    kingdom.mail_about(&["RESOLVED", "disk of servant small is full"]).await;
    kingdom.settled("big").await;
    let app = kingdom.client.ask("app.show", json!({ "app": "big" })).await.expect("it answers").remove(0);
    assert_eq!(app["version"], "1.0.3", "the deploy goes on by itself");
}
