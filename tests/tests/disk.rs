//! A servant on a small disk: what nobody uses goes before it is full, nothing new comes when it is full, and what runs
//! does not notice. The disk is a file system in memory, or an ext4 in a file, which takes root.

use events::disk::{Removable, RemovalReason};
use events::event::ServantEvent;
use events::{Event, Fact, subject};
use kingdom_tests::engine::{Engine, capable};
use kingdom_tests::kingdom::servant_flags;
use kingdom_tests::process::Process;
use kingdom_tests::{Kingdom, output, wait};
use rustix::fs::{FallocateFlags, fallocate, statvfs};
use rustix::process::getuid;
use serde_json::{Value, json};
use std::ffi::OsString;
use std::fs::File;
use std::io::Read;
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

    /// An ext4 in a file.
    fn ext4(folder: &Path, file: &Path, megabytes: u64) -> Self {
        std::fs::create_dir_all(folder).expect("the test's folder can be written");
        File::create(file).and_then(|file| file.set_len(megabytes << 20)).expect("the file can be made");
        let made = Command::new("mkfs.ext4").args(["-q", "-m", "0"]).arg(file).status();
        assert!(made.expect("mkfs.ext4 is there").success(), "{} holds an ext4", file.display());
        let mounted = Command::new("mount").args(["-o", "loop"]).arg(file).arg(folder).status();
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

/// A kingdom whose only servant is `small`, with its data on this disk.
async fn small_servant(kingdom: &mut Kingdom, data: &Path, more: &[OsString]) -> Process {
    // The other one makes place.
    kingdom.kill9("s1");
    wait::until("the other servant is lost", async || {
        let servants = kingdom.client.ask("servant.ls", json!({})).await?;
        wait::holds(servants[0]["lost"] == true, || format!("{servants:?}"))
    })
    .await;
    kingdom.kingctl(&["servant", "remove", "s1", "--yes"]).await.success();
    let mut flags = servant_flags("small", kingdom.servant_ports());
    flags.extend(more.iter().cloned());
    let mut small = kingdom.service_process("small", "servant", data, flags);
    small.start();
    servant(kingdom, "it has joined", |small| small["lost"] == false).await;
    small
}

/// The things that the log says were removed from disks: what, its name and why.
async fn removed(kingdom: &Kingdom) -> Vec<(Removable, String, RemovalReason)> {
    let of_disk = |event: Event| match event.fact {
        Fact::Servant(ServantEvent::DiskCleaned(event)) => event.cleaned.removed,
        _ => Vec::new(),
    };
    let removed = kingdom.client.events().await.into_iter().flat_map(of_disk);
    removed.map(|removed| (removed.what, removed.name, removed.why)).collect()
}

/// 30,000 lines of 100 bytes, then nothing.
const NOISY: &str = r#"
processes:
  noisy:
    command: "i=0; while [ $i -lt 30000 ]; do i=$((i+1)); printf 'line %094d\\n' $i; done; exec sleep 100000"
    stop_grace: 1s
"#;
const NOISY_LINES: u64 = 30_000;

/// What lies in a folder; nothing when it is none.
fn inside(folder: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path())
}

/// What the instances of before have in their spools, in bytes, by the time at which they were gone.
fn spools(instances: &Path) -> Vec<u64> {
    let length = |path: PathBuf| path.metadata().map_or(0, |metadata| metadata.len());
    let mut spools = Vec::new();
    for folder in inside(instances).flat_map(|drawer| inside(&drawer)) {
        let Ok(stopped) = folder.join("stopped").metadata() else { continue };
        let is_spool = |path: &PathBuf| path.display().to_string().contains("/stdout-");
        let bytes = inside(&folder).filter(is_spool).map(length).sum();
        spools.push((stopped.modified().expect("a time"), bytes));
    }
    spools.sort();
    spools.into_iter().map(|(_, bytes)| bytes).collect()
}

#[tokio::test]
async fn output_of_instances_that_are_gone_waits_up_to_its_cap_and_what_is_given_up_is_counted() {
    assert!(getuid().is_root(), "this test makes a disk of its own: run it as root");
    let mut kingdom = Kingdom::start().await;
    let data = kingdom.path().join("small");
    let _disk = Disk::ext4(&data, &kingdom.path().join("small.img"), 160);
    let _small = small_servant(&mut kingdom, &data, &["--keep-output", "8"].map(OsString::from)).await;
    let repository = kingdom.repository("noisy", &[("king.yaml", NOISY)]).await;
    repository.publish("v1.0.0").await;
    // Nothing can be stored any more.
    kingdom.client.jetstream.delete_stream(subject::LOGS_STREAM).await.expect("it is there");
    let instances = data.join("servant-small/instances");
    let mut ids = Vec::new();
    for _ in 0..4 {
        kingdom.kingctl(&["app", "deploy", "noisy@1.0.0", "--count", "1", "--wait"]).await.success();
        let id = kingdom.instances("noisy").await[0]["instance"].as_str().expect("it has an id").to_owned();
        let folder = instances.join(&id[id.len() - 2..]).join(&id);
        wait::until("it has said everything", async || {
            let said: u64 = inside(&folder).map(|file| file.metadata().map_or(0, |data| data.len())).sum();
            wait::holds(said > NOISY_LINES * 100, || said.to_string())
        })
        .await;
        kingdom.kingctl(&["app", "scale", "noisy", "0", "--wait"]).await.success();
        ids.push(id);
    }
    wait::until("the oldest are given up", async || {
        let left = spools(&instances);
        let is_so = left.len() == 4
            && left[..2].iter().all(|bytes| *bytes < 100)
            && left[2..].iter().all(|bytes| *bytes > 3_000_000);
        wait::holds(is_so, || format!("{left:?}"))
    })
    .await;
    // What is removed is told together, once a minute.
    wait::within(2 * wait::PATIENCE, "the log says what and why", async || {
        let removed: Vec<_> =
            removed(&kingdom).await.into_iter().filter(|(what, _, _)| *what == Removable::Output).collect();
        let told = |id: &String| removed.contains(&(Removable::Output, id.clone(), RemovalReason::Cap));
        wait::holds(removed.len() == 2 && ids[..2].iter().all(told), || format!("{removed:?} of {ids:?}"))
    })
    .await;

    // A King that starts makes the stream anew.
    kingdom.kill9("king");
    kingdom.restart("king").await;
    for (place, id) in ids.iter().enumerate() {
        let is_given_up = place < 2;
        wait::until("what became of its output is told", async || {
            let stored = output::batches(&kingdom.client, id).await;
            let gap: u64 = stored.values().filter_map(|batch| batch.gap.as_ref()).map(|gap| gap.lines).sum();
            let lines: u64 = stored.values().map(|batch| batch.lines.len() as u64).sum();
            let wanted = if is_given_up { (NOISY_LINES, 0) } else { (0, NOISY_LINES) };
            wait::holds((gap, lines) == wanted, || format!("{gap} are missing, {lines} are there"))
        })
        .await;
    }
    let last = kingdom.kingctl(&["logs", &ids[3], "-n", "1"]).await.success();
    assert!(last.contains("30000"), "output of an instance that is gone can be read: {last}");
    wait::until("nothing of them is left on the disk", async || {
        let left = spools(&instances);
        wait::holds(left.is_empty(), || format!("{left:?}"))
    })
    .await;
}

#[tokio::test]
async fn a_disk_that_fills_loses_what_nobody_uses_and_then_takes_nothing_new() {
    assert!(getuid().is_root(), "this test makes a disk of its own: run it as root");
    let mut kingdom = Kingdom::start().await;
    let data = kingdom.path().join("small");
    let disk = Disk::at(&data.join("servant-small"), 128);
    let levels = ["--disk-high", "60", "--disk-critical", "80"].map(OsString::from);
    let _small = small_servant(&mut kingdom, &data, &levels).await;

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

/// An image with some megabytes of its own, and where `docker save` has put it.
async fn saved(engine: &Engine, folder: &Path, name: &str, megabytes: usize) -> String {
    let blob = folder.join("blob");
    let mut random = vec![0; megabytes << 20];
    File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut random)).expect("it has enough");
    std::fs::write(&blob, random).expect("the test's folder can be written");
    engine.import_more(name, &[], &[(&blob, "blob")]).await;
    let tar = folder.join(name.replace(['/', ':'], "-")).display().to_string();
    engine.docker(&["save", "-o", &tar, name]).await;
    tar
}

async fn images(engine: &Engine, filter: &str) -> Vec<String> {
    let listed = engine.docker(&["images", "--format", "{{.Repository}}:{{.Tag}}", filter]).await;
    listed.lines().map(str::to_owned).collect()
}

async fn id(engine: &Engine, image: &str) -> String {
    engine.docker(&["image", "inspect", "--format", "{{.Id}}", image]).await
}

#[tokio::test]
async fn images_that_nothing_runs_of_go_before_the_disk_is_full_and_those_of_others_stay() {
    assert!(getuid().is_root(), "this test makes a disk of its own: run it as root");
    let mut kingdom = Kingdom::start().await;
    let data = kingdom.path().join("small");
    let disk = Disk::ext4(&data, &kingdom.path().join("small.img"), 320);
    let engine = Engine::with(&["--data-root", &data.join("docker").display().to_string()]).await;
    let socket = engine.socket().display().to_string();
    let flags = ["--docker-socket", &socket, "--disk-high", "60", "--disk-critical", "80"];
    let small = small_servant(&mut kingdom, &data, &flags.map(OsString::from)).await;
    capable(&kingdom, 1).await;

    let yaml = |number: u32| -> &'static str {
        format!(
            "processes:\n  web:\n    image: shop/page:{number}\n    command: exec httpd -f -p 8080 -h /www\n    ports: [http: 8080]\n    stop_grace: 1s\n"
        ).leak()
    };
    let repository = kingdom.repository("shop", &[("king.yaml", yaml(1))]).await;
    repository.publish("v1.0.0").await;
    for number in [1, 2] {
        let name = format!("shop/page:{number}");
        let tar = saved(&engine, kingdom.path(), &name, 24).await;
        engine.docker(&["rmi", &name]).await;
        kingdom.kingctl(&["image", "add", "shop", &name, &tar]).await.success();
    }
    saved(&engine, kingdom.path(), "stranger:1", 8).await;
    // Somebody's image has a name that is in an archive of the kingdom's.
    engine.docker(&["tag", "stranger:1", "shop/page:2"]).await;
    kingdom.kingctl(&["app", "deploy", "shop@1.0.0", "--count", "1", "--wait"]).await.success();
    repository.commit(&[("king.yaml", yaml(2))]).await;
    repository.publish("v1.0.1").await;
    kingdom.kingctl(&["app", "deploy", "shop@1.0.1", "--wait"]).await.success();
    assert_eq!(images(&engine, "kingdom.local/held").await.len(), 2);
    assert_eq!(images(&engine, "shop/page").await, ["shop/page:2"], "an archive leaves no name behind");
    assert_eq!(
        id(&engine, "shop/page:2").await,
        id(&engine, "stranger:1").await,
        "and takes none from anybody"
    );
    let runs = engine.running().await;

    disk.fill_to(66);
    let left = wait::until("the one that nothing runs of goes", async || {
        let left = images(&engine, "kingdom.local/held").await;
        wait::holds(left.len() == 1, || format!("{left:?} at {} %", disk.percent()))?;
        Ok::<_, String>(left)
    })
    .await;
    wait::until("the log says what and why", async || {
        let removed = removed(&kingdom).await;
        let told = removed.iter().any(|(what, name, why)| {
            (*what, *why) == (Removable::Image, RemovalReason::Room)
                && name.starts_with("kingdom.local/held:")
        });
        wait::holds(told, || format!("{removed:?}"))
    })
    .await;
    assert_eq!(engine.running().await, runs, "what runs does not notice");

    // Now nothing of the kingdom runs of the other one, but somebody does.
    engine.docker(&["create", "--name", "theirs", &left[0], "true"]).await;
    kingdom.kingctl(&["app", "scale", "shop", "0", "--wait"]).await.success();
    disk.fill_to(66);
    wait::until("it is spared", async || {
        wait::holds(small.output().contains("somebody uses it; it stays"), || "not yet".into())
    })
    .await;
    assert_eq!(images(&engine, "kingdom.local/held").await, left);
    engine.docker(&["rm", "theirs"]).await;
    wait::until("it goes, too", async || {
        let left = images(&engine, "kingdom.local/held").await;
        wait::holds(left.is_empty(), || format!("{left:?} at {} %", disk.percent()))
    })
    .await;
    let mut others = [
        images(&engine, "stranger").await,
        images(&engine, "shop/page").await,
        images(&engine, "tiny").await,
    ]
    .concat();
    others.sort();
    assert_eq!(others, ["shop/page:2", "stranger:1", "tiny:1"]);
}
