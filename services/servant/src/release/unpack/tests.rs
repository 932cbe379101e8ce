//! Archives, hostile and good.

use super::*;
use std::os::unix::fs::PermissionsExt;
use tar::{Builder, Header};

const SMALL: UnpackLimits = UnpackLimits { unpacked_bytes: 1 << 20, entries: 10 };

enum Item {
    File(&'static str, &'static [u8], u32),
    Link(EntryType, &'static str, &'static str),
    Other(EntryType, &'static str),
}

/// Writes names as they are, which the builder of the tar crate would refuse to.
fn raw(header: &mut Header, name: &str, link: Option<&str>) {
    let old = header.as_old_mut();
    old.name[..name.len()].copy_from_slice(name.as_bytes());
    if let Some(link) = link {
        old.linkname[..link.len()].copy_from_slice(link.as_bytes());
    }
    header.set_cksum();
}

fn archive(items: &[Item]) -> Vec<u8> {
    let mut builder = Builder::new(Vec::new());
    for item in items {
        let mut header = Header::new_gnu();
        let mut content: &[u8] = b"";
        match item {
            Item::File(name, bytes, mode) => {
                content = bytes;
                header.set_size(bytes.len() as u64);
                header.set_mode(*mode);
                raw(&mut header, name, None);
            }
            Item::Link(kind, name, target) => {
                header.set_entry_type(*kind);
                header.set_size(0);
                raw(&mut header, name, Some(target));
            }
            Item::Other(kind, name) => {
                header.set_entry_type(*kind);
                header.set_size(0);
                header.set_mode(0o777);
                raw(&mut header, name, None);
            }
        }
        builder.append(&header, content).unwrap();
    }
    zstd::encode_all(&builder.into_inner().unwrap()[..], 1).unwrap()
}

fn try_unpack(items: &[Item]) -> (tempfile::TempDir, Result<(), UnpackError>) {
    let folder = tempfile::tempdir().unwrap();
    let result = unpack(&archive(items)[..], &folder.path().join("root"), SMALL);
    (folder, result)
}

use Item::{File, Link, Other};
const SYM: EntryType = EntryType::Symlink;
const HARD: EntryType = EntryType::Link;

#[test]
fn hostile_entries_are_refused_by_name_and_write_nothing_outside() {
    let cases: &[(&str, &[Item])] = &[
        ("'..'", &[File("../evil", b"x", 0o644)]),
        ("'..'", &[File("a/../../evil", b"x", 0o644)]),
        ("absolute", &[File("/tmp/evil", b"x", 0o644)]),
        ("absolute", &[Link(SYM, "evil", "/etc/passwd")]),
        ("outside", &[Link(SYM, "evil", "../outside")]),
        ("outside", &[Link(SYM, "a/evil", "../../outside")]),
        // Each link alone seems to stay inside; together they do not.
        ("outside", &[Link(SYM, "a/b/c/y", "../../../r"), Link(SYM, "a/b/c/evil", "y/../..")]),
        ("outside", &[Link(SYM, "r/evil", "../../r/x")]),
        ("too many", &[Link(SYM, "evil", "evil")]),
        ("outside", &[Link(HARD, "evil", "../outside")]),
        ("outside", &[Link(HARD, "evil", "/etc/passwd")]),
        ("no file", &[Link(SYM, "s", "x"), Link(HARD, "evil", "s")]),
        ("no directory", &[File("d", b"x", 0o644), File("d/evil", b"x", 0o644)]),
        ("twice", &[File("evil", b"x", 0o644), File("evil", b"y", 0o644)]),
        ("twice", &[File("evil", b"x", 0o644), Link(SYM, "evil", "other")]),
        ("neither", &[Other(EntryType::Fifo, "evil")]),
        ("neither", &[Other(EntryType::Char, "evil")]),
        ("neither", &[Other(EntryType::Block, "evil")]),
    ];
    for (rule, items) in cases {
        let (folder, result) = try_unpack(items);
        let message = result.expect_err(rule).to_string();
        assert!(message.contains(rule) && message.contains("evil"), "{rule}: {message}");
        let names: Vec<_> =
            fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["root"], "{rule}");
    }
}

#[test]
fn files_are_never_written_through_a_link() {
    let (folder, result) =
        try_unpack(&[Link(SYM, "d", "e"), Other(EntryType::Directory, "e"), File("d/f", b"x", 0o644)]);
    assert!(result.unwrap_err().to_string().contains("twice"));
    assert!(!folder.path().join("root/e/f").exists());
}

#[test]
fn a_good_archive_comes_out_whole() {
    let (folder, result) = try_unpack(&[
        Other(EntryType::Directory, "./"),
        File("./bin/run", b"#!/bin/sh\n", 0o4775),
        File("data", b"text", 0o600),
        Link(SYM, "bin/again", "run"),
        Link(SYM, "up/deep/data", "../../data"),
        Link(SYM, "missing", "not/there"),
        Link(HARD, "same", "data"),
    ]);
    result.unwrap();
    let root = folder.path().join("root");
    assert_eq!(fs::metadata(root.join("bin/run")).unwrap().permissions().mode() & 0o7777, 0o755);
    assert_eq!(fs::read(root.join("up/deep/data")).unwrap(), b"text");
    assert_eq!(fs::read(root.join("same")).unwrap(), b"text");
    assert_eq!(fs::read(root.join("bin/again")).unwrap(), b"#!/bin/sh\n");
}

#[test]
fn what_git_archive_makes_is_taken() {
    let folder = tempfile::tempdir().unwrap();
    let shell = "git init -q . && mkdir sub && echo hi > sub/file && ln -s sub/file link && git add -A && \
        git -c user.name=a -c user.email=a@b commit -qm x && git archive --format=tar HEAD";
    let tar =
        std::process::Command::new("sh").args(["-c", shell]).current_dir(folder.path()).output().unwrap();
    assert!(tar.status.success(), "{tar:?}");
    let packed = zstd::encode_all(&tar.stdout[..], 3).unwrap();
    let root = folder.path().join("root");
    unpack(&packed[..], &root, SMALL).unwrap();
    assert_eq!(fs::read(root.join("link")).unwrap(), b"hi\n");
}

#[test]
fn bombs_end_at_the_limits() {
    let large = archive(&[File("large", &[0; 2 << 20], 0o644)]);
    let folder = tempfile::tempdir().unwrap();
    let error = unpack(&large[..], &folder.path().join("a"), SMALL).unwrap_err();
    assert!(matches!(error, UnpackError::TooLarge(_)), "{error}");
    let names = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10"];
    let many: Vec<Item> = names.iter().map(|name| File(name, b"", 0o644)).collect();
    let error = unpack(&archive(&many)[..], &folder.path().join("b"), SMALL).unwrap_err();
    assert!(matches!(error, UnpackError::TooMany(10)), "{error}");
    let error = unpack(&b"no archive"[..], &folder.path().join("c"), SMALL).unwrap_err();
    assert!(matches!(error, UnpackError::Unreadable(_)), "{error}");
    let cut = archive(&[File("file", b"some text", 0o644)]);
    let error = unpack(&cut[..cut.len() / 2], &folder.path().join("d"), SMALL).unwrap_err();
    assert!(matches!(error, UnpackError::Unreadable(_)), "{error}");
}

#[test]
fn endless_names_are_refused_and_long_ones_taken() {
    let unpack_named = |length: usize, kind: EntryType| {
        let mut builder = Builder::new(Vec::new());
        let mut long = Header::new_gnu();
        long.set_entry_type(kind);
        long.set_size(length as u64);
        raw(&mut long, "././@LongLink", None);
        builder.append(&long, &vec![b'x'; length][..]).unwrap();
        let mut file = Header::new_gnu();
        file.set_size(0);
        raw(&mut file, "short", None);
        builder.append(&file, &b""[..]).unwrap();
        let packed = zstd::encode_all(&builder.into_inner().unwrap()[..], 1).unwrap();
        let folder = tempfile::tempdir().unwrap();
        unpack(&packed[..], &folder.path().join("root"), SMALL)
    };
    unpack_named(200, EntryType::GNULongName).unwrap();
    for kind in [EntryType::GNULongName, EntryType::GNULongLink, EntryType::XHeader] {
        let error = unpack_named(4 << 20, kind).unwrap_err();
        assert!(error.to_string().contains("too long"), "{kind:?}: {error}");
    }
}
