//! What strangers do: archives that want out, a name that another holds, a port that is taken.

use bus::objects::Objects;
use events::Digest;
use kingdom_tests::apps::C_APP;
use kingdom_tests::kingdom::servant_flags;
use kingdom_tests::{Kingdom, http, wait};
use serde_json::{Value, json};
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use tar::{EntryType, Header};

/// An entry of an archive: its kind, its path, and what it links to or holds.
type Entry<'a> = (EntryType, &'a str, &'a str);

/// An archive that no honest tool makes.
fn archive(entries: &[Entry<'_>]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (kind, path, text) in entries {
        let mut header = Header::new_gnu();
        let name = &mut header.as_old_mut().name;
        name[..path.len()].copy_from_slice(path.as_bytes());
        header.set_entry_type(*kind);
        header.set_mode(0o644);
        let body = if *kind == EntryType::Regular { text.as_bytes() } else { b"" };
        if *kind != EntryType::Regular {
            header.as_old_mut().linkname[..text.len()].copy_from_slice(text.as_bytes());
        }
        header.set_size(body.len() as u64);
        header.set_cksum();
        builder.append(&header, body).expect("memory can be written");
    }
    let plain = builder.into_inner().expect("memory can be written");
    zstd::encode_all(plain.as_slice(), 3).expect("memory can be packed")
}

async fn store(kingdom: &Kingdom, bytes: Vec<u8>) -> Digest {
    let options =
        bus::connect::Options { url: kingdom.nats_url(), name: "stranger".into(), credentials: None };
    let bus = bus::connect::connect(&options).await.expect("the server is there");
    let digest = Digest::of(&bytes);
    let objects = Objects::open(&bus).await.expect("the bucket is there");
    objects.put(&digest, bytes).await.expect("it is stored");
    digest
}

/// Whether there is anything of this name below a folder, links included.
fn exists_below(folder: &Path, name: &str) -> bool {
    let Ok(entries) = std::fs::read_dir(folder) else { return false };
    entries.filter_map(Result::ok).any(|entry| {
        let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
        entry.file_name() == name || is_folder && exists_below(&entry.path(), name)
    })
}

#[tokio::test]
async fn an_archive_that_wants_out_is_refused_with_its_entry() {
    let kingdom = Kingdom::start().await;
    let outside = kingdom.path().join("outside");
    std::fs::create_dir(&outside).expect("the test's folder can be written");
    let target = outside.to_str().expect("a plain path").to_owned();
    let absolute = format!("{target}/escaped");
    let cases: Vec<(&str, Vec<Entry<'_>>)> = vec![
        ("../escaped", vec![(EntryType::Regular, "../escaped", "x")]),
        ("a/../../../escaped", vec![(EntryType::Regular, "a/../../../escaped", "x")]),
        (&absolute, vec![(EntryType::Regular, &absolute, "x")]),
        ("way", vec![(EntryType::Symlink, "way", &target), (EntryType::Regular, "way/escaped", "x")]),
        ("way", vec![(EntryType::Symlink, "way", "../../../..")]),
        ("passwords", vec![(EntryType::Symlink, "passwords", "/etc/passwd")]),
        ("hard", vec![(EntryType::Link, "hard", "/etc/hostname")]),
        ("pipe", vec![(EntryType::Fifo, "pipe", "")]),
    ];
    kingdom.client.accepted("app.create", json!({ "app": "hostile" })).await;
    for (number, (entry, entries)) in cases.into_iter().enumerate() {
        let version = format!("1.0.{number}");
        let digest = store(&kingdom, archive(&entries)).await;
        let manifest = json!({ "processes": { "web": { "command": "sleep 1000" } } });
        let publish =
            json!({ "app": "hostile", "version": version, "archive": digest, "manifest": manifest });
        kingdom.client.accepted("version.publish", publish).await;
        let target = format!("hostile@{version}");
        let said = kingdom.kingctl(&["app", "deploy", &target, "--count", "1", "--wait"]).await.failure(1);
        assert!(said.contains(entry), "the reason names {entry:?}: {said}");
        let instances = kingdom.instances("hostile").await;
        assert!(instances.iter().any(|item| item["phase"] == "failed"), "{instances:?}");
    }
    assert!(!exists_below(kingdom.path(), "escaped"), "nothing was written anywhere");
    assert!(kingdom.runs().is_empty(), "nothing was started: {:?}", kingdom.runs());

    let honest = archive(&[(EntryType::Regular, "README", "hello"), (EntryType::Symlink, "link", "README")]);
    let digest = store(&kingdom, honest).await;
    let manifest = json!({ "processes": { "web": { "command": "cat link; sleep 1000" } } });
    let publish = json!({ "app": "hostile", "version": "2.0.0", "archive": digest, "manifest": manifest });
    kingdom.client.accepted("version.publish", publish).await;
    kingdom.kingctl(&["app", "deploy", "hostile@2.0.0", "--wait"]).await.success();
}

#[tokio::test]
async fn an_archive_that_is_not_there_or_no_archive_is_said() {
    let kingdom = Kingdom::start().await;
    kingdom.client.accepted("app.create", json!({ "app": "hollow" })).await;
    let noise = store(&kingdom, b"this is no archive".to_vec()).await;
    for (version, digest, words) in [
        ("1.0.0", Digest::of(b"nobody has stored this"), "not in the store"),
        ("1.0.1", noise, "cannot be read"),
    ] {
        let manifest = json!({ "processes": { "web": { "command": "sleep 1000" } } });
        let publish = json!({ "app": "hollow", "version": version, "archive": digest, "manifest": manifest });
        kingdom.client.accepted("version.publish", publish).await;
        let target = format!("hollow@{version}");
        let said = kingdom.kingctl(&["app", "deploy", &target, "--count", "1", "--wait"]).await.failure(1);
        assert!(said.contains(words), "{said}");
    }
}

#[tokio::test]
async fn the_name_of_a_servant_belongs_to_its_first_holder() {
    let kingdom = Kingdom::start().await;
    kingdom.deploy("metal", C_APP, 1).await;
    let servants = kingdom.client.query("servant.ls", json!({})).await;
    let (first, last) = kingdom.servant_ports();

    let data = kingdom.path().join("imposter");
    let flags = servant_flags("s1", (first, last));
    let mut imposter = kingdom.service_process("imposter", "servant", &data, flags);
    imposter.start();
    let status = imposter.ended(wait::PATIENCE).await;
    assert!(!status.success(), "{status}");
    let said = imposter.output();
    let holder = servants[0]["servant"].as_str().expect("it has an id");
    assert!(said.contains("is held by") && said.contains(holder) && said.contains("--name"), "{said}");

    let mut after = kingdom.client.query("servant.ls", json!({})).await;
    assert_eq!(after[0]["instances"], 1, "{after:?}");
    after[0]["since"] = servants[0]["since"].clone();
    after[0]["instances"] = servants[0]["instances"].clone();
    assert_eq!(after, servants);
    assert_eq!(kingdom.runs().len(), 1);
}

#[tokio::test]
async fn a_taken_port_is_passed_over() {
    let kingdom = Kingdom::start().await;
    let (first, _) = kingdom.servant_ports();
    let strangers: Vec<TcpListener> = [first, first + 1]
        .into_iter()
        .map(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).expect("the block is ours"))
        .collect();
    kingdom.deploy("metal", C_APP, 2).await;
    let instances = kingdom.instances("metal").await;
    let ports: Vec<u64> = instances.iter().filter_map(|item| item["ports"]["http"].as_u64()).collect();
    assert_eq!(ports.len(), 2, "{instances:?}");
    for port in ports {
        let port = u16::try_from(port).expect("a port");
        assert!(port > first + 1, "{port} is a stranger's");
        assert_eq!(http::page(port).await.expect("it serves"), "c 1.0.0 none\n");
    }
    let events = kingdom.client.events().await;
    let replaced = |event: &&events::Event| event.fact.kind() == "instance.ports-replaced";
    assert!(events.iter().filter(replaced).count() >= 2, "each taken port is an event");
    let crashed = events.iter().filter(|event| event.fact.kind() == "instance.crashed").count();
    assert_eq!(crashed, 0, "it was seen before the start");
    drop(strangers);
}

#[tokio::test]
async fn when_no_port_is_free_the_reason_is_said() {
    let kingdom = Kingdom::start().await;
    let (first, last) = kingdom.servant_ports();
    let strangers: Vec<TcpListener> = (first..=last)
        .map(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).expect("the block is ours"))
        .collect();
    let repository = kingdom.repository("metal", C_APP).await;
    repository.publish("v1.0.0").await;
    let said = kingdom.kingctl(&["app", "deploy", "metal@1.0.0", "--wait"]).await.failure(1);
    assert!(said.contains("is free") || said.contains("no free port"), "{said}");
    let instances: Vec<Value> = kingdom.instances("metal").await;
    assert!(instances.iter().all(|item| item["phase"] == "failed"), "{instances:?}");
    drop(strangers);
}
