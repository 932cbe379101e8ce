//! What a process type of `king.yaml` says when it runs as a container: image, ports and volumes.

use super::tree::{Entry, Node, Value};
use super::yaml::{Found, list, map, parse, port, scalar, text, unknown, wrong};
use events::{Image, PortName, Volume};
use std::collections::BTreeMap;

/// What people know from elsewhere and what no container here may have.
const FORBIDDEN: [&str; 10] = [
    "privileged",
    "network",
    "network_mode",
    "pid",
    "ipc",
    "userns_mode",
    "devices",
    "cap_add",
    "security_opt",
    "binds",
];

/// Why a field is refused that would let a container out.
pub(super) fn forbidden(key: &str) -> Option<String> {
    FORBIDDEN.contains(&key).then(|| {
        format!(
            "{key} is refused: a container is never privileged and shares no namespace, device or folder with its host"
        )
    })
}

/// `nginx:1.27` or `{ build: Dockerfile }`.
pub(super) fn image(node: &Node) -> Found<Image> {
    let Value::Map(entries) = &node.value else {
        return Ok(Image::Named(parse(scalar(node, "`image`")?, node.place)?));
    };
    let mut build = None;
    for Entry { key, place, node } in entries {
        match key.as_str() {
            "build" => build = Some(text(node, "`build`")?.to_owned()),
            _ => return Err(unknown(key, *place, "build")),
        }
    }
    let none = || wrong(node.place, "`image` is an empty map; write a name or `build: Dockerfile`");
    build.map(|build| Image::Built { build }).ok_or_else(none)
}

/// The names of ports in order, and those of them that say where the container listens: `[http: 80, admin]`.
pub(super) fn ports(node: &Node) -> Found<(Vec<PortName>, BTreeMap<PortName, u16>)> {
    let (mut names, mut numbers) = (Vec::new(), BTreeMap::new());
    for item in list(node, "`ports`")? {
        if !matches!(item.value, Value::Map(_)) {
            names.push(port(item)?);
            continue;
        }
        for Entry { key, place, node } in map(item, "a port")? {
            let name: PortName = parse(key, *place)?;
            let text = scalar(node, "the port of the container")?;
            let number = text.parse().ok().filter(|number| *number > 0);
            let number = number.ok_or_else(|| {
                wrong(node.place, format!("{text:?} is no port; write one from 1 to 65535"))
            })?;
            names.push(name.clone());
            numbers.insert(name, number);
        }
    }
    Ok((names, numbers))
}

/// `[data:/var/lib/data, cache:/cache:ro]`, each checked where it stands.
pub(super) fn volumes(node: &Node) -> Found<Vec<Volume>> {
    let volume = |item: &Node| {
        let volume: Volume = parse(scalar(item, "a volume")?, item.place)?;
        match volume.rule_broken() {
            Some(rule) => Err(wrong(item.place, rule)),
            None => Ok(volume),
        }
    };
    list(node, "`volumes`")?.iter().map(volume).collect()
}
