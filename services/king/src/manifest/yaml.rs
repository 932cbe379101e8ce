//! `king.yaml`: from the tree of values to the manifest, field by field, each problem at its place.

use super::tree::{self, Entry, Node, Value};
use super::{KING_YAML, ManifestProblem, Place, amount, container, duration};
use events::manifest::{
    CommandLine, Errors, HealthCheck, Limits, Listen, ManifestError, Process, Restart, StopSignal, Workers,
    check_key, signal_name,
};
use events::{Manifest, PortName, ProcessName};
use semver::VersionReq;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::str::FromStr;

const PROCESS_KEYS: [&str; 16] = [
    "command",
    "image",
    "count",
    "workers",
    "env",
    "ports",
    "volumes",
    "health",
    "restart",
    "stop_grace",
    "stop_signal",
    "needs",
    "errors",
    "limits",
    "user",
    "after",
];

pub(super) type Found<T> = Result<T, ManifestProblem>;

/// Parses a `king.yaml`.
///
/// # Errors
/// The first problem in the order of the file, or the first rule that is broken, with its place.
pub fn parse_king_yaml(text: &str) -> Result<Manifest, ManifestProblem> {
    let root = tree::parse(text)?;
    let manifest = manifest(&root)?;
    manifest.check().map_err(|error| located(&error, &root))?;
    Ok(manifest)
}

fn manifest(root: &Node) -> Found<Manifest> {
    let mut manifest =
        Manifest { build: None, needs: BTreeMap::new(), processes: BTreeMap::new(), errors: None };
    let mut named = false;
    for Entry { key, place, node } in map(root, "the manifest")? {
        match key.as_str() {
            "build" => manifest.build = Some(command(node, "build")?),
            "needs" => manifest.needs = needs(node)?,
            "errors" => manifest.errors = Some(errors(node)?),
            "processes" => {
                named = true;
                manifest.processes = processes(node)?;
            }
            _ => return Err(unknown(key, *place, "build, needs, processes, errors")),
        }
    }
    if named {
        Ok(manifest)
    } else {
        Err(wrong(root.place, "has no `processes`; name at least one, such as `web: node server.js`"))
    }
}

fn processes(node: &Node) -> Found<BTreeMap<ProcessName, Process>> {
    let mut processes = BTreeMap::new();
    for Entry { key, place, node } in map(node, "`processes`")? {
        let name: ProcessName = parse(key, *place)?;
        let process = process(&name, node)?;
        processes.insert(name, process);
    }
    Ok(processes)
}

fn process(name: &ProcessName, node: &Node) -> Found<Process> {
    match &node.value {
        Value::Map(entries) => full_process(name, node, entries),
        Value::Nothing | Value::Text(_) | Value::Plain(_) | Value::List(_) => {
            Ok(Process::from_command(name, command(node, "a process type")?))
        }
    }
}

fn full_process(name: &ProcessName, whole: &Node, entries: &[Entry]) -> Found<Process> {
    if let Some(Entry { key, place, .. }) = entries.iter().find(|entry| !PROCESS_KEYS.contains(&&*entry.key))
    {
        return Err(match container::forbidden(key) {
            Some(rule) => wrong(*place, rule),
            None => unknown(key, *place, &PROCESS_KEYS.join(", ")),
        });
    }
    if !entries.iter().any(|entry| entry.key == "command" || entry.key == "image") {
        return Err(wrong(whole.place, format!("the process type {name} has no `command` and no `image`")));
    }
    let mut process = Process::named(name);
    for Entry { key, node, .. } in entries {
        match key.as_str() {
            "count" => process.count = count(node)?,
            "workers" => process.workers = Some(workers(node)?),
            "env" => process.env = environment(node)?,
            "command" => process.command = Some(command(node, "`command`")?),
            "image" => process.image = Some(container::image(node)?),
            "ports" => (process.ports, process.container_ports) = container::ports(node)?,
            "volumes" => process.volumes = container::volumes(node)?,
            "health" => process.health = Some(health(node)?),
            "restart" => process.restart = restart(node)?,
            "stop_grace" => process.stop_grace_ms = milliseconds(node)?,
            "needs" => process.needs = needs(node)?,
            "errors" => process.errors = Some(errors(node)?),
            "limits" => process.supervision.limits = limits(node)?,
            "user" => process.supervision.user = Some(text(node, "`user`")?.to_owned()),
            "stop_signal" => process.supervision.stop_signal = Some(stop_signal(node)?),
            "after" => process.supervision.after = after(node)?,
            // What is unknown was refused before.
            _ => {}
        }
    }
    Ok(process)
}

/// `auto`, a number, or a map.
fn workers(node: &Node) -> Found<Workers> {
    match &node.value {
        Value::Text(text) if text == "auto" => Ok(Workers::AUTO),
        Value::Plain(_) => Ok(Workers::fixed(small(node)?)),
        Value::Map(entries) => scaled_workers(entries),
        Value::Text(_) | Value::Nothing | Value::List(_) => {
            let rule = "write auto, a number, or a map such as {min: 2, max: 8, cpu: 70}";
            Err(wrong(node.place, format!("`workers` is {}; {rule}", kind(node))))
        }
    }
}

fn scaled_workers(entries: &[Entry]) -> Found<Workers> {
    let mut workers = Workers { min: Some(1), ..Workers::AUTO };
    for Entry { key, place, node } in entries {
        match key.as_str() {
            "min" => workers.min = small_or_auto(node)?,
            "max" => workers.max = small_or_auto(node)?,
            "cpu" => workers.cpu = small(node)?,
            "listen" => workers.listen = listen(node)?,
            "address" => workers.address = Some(parse(scalar(node, "`address`")?, node.place)?),
            _ => return Err(unknown(key, *place, "min, max, cpu, listen, address")),
        }
    }
    Ok(workers)
}

fn listen(node: &Node) -> Found<Listen> {
    match scalar(node, "`listen`")? {
        "shared" => Ok(Listen::Shared),
        "own" => Ok(Listen::Own),
        other => Err(wrong(node.place, format!("{other:?} is unknown; known: shared, own"))),
    }
}

fn small_or_auto(node: &Node) -> Found<Option<u16>> {
    match &node.value {
        Value::Text(text) if text == "auto" => Ok(None),
        Value::Text(_) | Value::Plain(_) | Value::Nothing | Value::List(_) | Value::Map(_) => {
            small(node).map(Some)
        }
    }
}

fn small(node: &Node) -> Found<u16> {
    let number = count(node)?;
    u16::try_from(number).map_err(|_| wrong(node.place, format!("{number} is too many")))
}

fn health(node: &Node) -> Found<HealthCheck> {
    let mut health = HealthCheck::default();
    for Entry { key, place, node } in map(node, "`health`")? {
        match key.as_str() {
            "command" => health.command = Some(command(node, "`command`")?),
            "path" => health.path = Some(text(node, "`path`")?.to_owned()),
            "port" => health.port = Some(port(node)?),
            "interval" => health.interval_ms = milliseconds(node)?,
            "timeout" => health.timeout_ms = milliseconds(node)?,
            "grace" => health.grace_ms = milliseconds(node)?,
            "failures" => health.failures = count(node)?,
            _ => return Err(unknown(key, *place, "command, path, port, interval, timeout, grace, failures")),
        }
    }
    Ok(health)
}

/// Which lines of the output are errors: `{ patterns: […], ignore: […], off: true, before: 5, after: 5 }`.
fn errors(node: &Node) -> Found<Errors> {
    let mut errors = Errors::default();
    for Entry { key, place, node } in map(node, "`errors`")? {
        match key.as_str() {
            "patterns" => errors.patterns = patterns(node, "`patterns`")?,
            "ignore" => errors.ignore = patterns(node, "`ignore`")?,
            "off" => errors.off = Some(truth(node)?),
            "before" => errors.before = Some(count(node)?),
            "after" => errors.after = Some(count(node)?),
            _ => return Err(unknown(key, *place, "patterns, ignore, off, before, after")),
        }
    }
    Ok(errors)
}

fn patterns(node: &Node, what: &str) -> Found<Vec<String>> {
    list(node, what)?.iter().map(|item| Ok(scalar(item, "a pattern")?.to_owned())).collect()
}

fn truth(node: &Node) -> Found<bool> {
    match scalar(node, "a boolean")? {
        "true" => Ok(true),
        "false" => Ok(false),
        other => Err(wrong(node.place, format!("{other:?} is no boolean; write true or false"))),
    }
}

fn limits(node: &Node) -> Found<Limits> {
    let mut limits = Limits::default();
    for Entry { key, place, node } in map(node, "`limits`")? {
        match key.as_str() {
            "memory" => {
                limits.memory_bytes = Some(amount::bytes(scalar(node, "`memory`")?).map_err(at(node))?)
            }
            "cpu" => limits.cpu_milli = Some(amount::milli(scalar(node, "`cpu`")?).map_err(at(node))?),
            "pids" => limits.pids = Some(count(node)?),
            "open_files" => limits.open_files = Some(count(node)?),
            "nice" => limits.nice = Some(amount::nice(scalar(node, "`nice`")?).map_err(at(node))?),
            _ => return Err(unknown(key, *place, "memory, cpu, pids, open_files, nice")),
        }
    }
    Ok(limits)
}

fn at(node: &Node) -> impl FnOnce(String) -> ManifestProblem {
    let place = node.place;
    move |reason| wrong(place, reason)
}

fn command(node: &Node, what: &str) -> Found<CommandLine> {
    match &node.value {
        Value::Text(line) => Ok(CommandLine::Shell(line.clone())),
        Value::Plain(line) => Ok(CommandLine::Shell(line.clone())),
        Value::List(items) => {
            let arguments = items.iter().map(|item| Ok(scalar(item, "an argument")?.to_owned()));
            Ok(CommandLine::Exec(arguments.collect::<Found<_>>()?))
        }
        Value::Nothing | Value::Map(_) => Err(wrong(
            node.place,
            format!("{what} is {}; write a text for the shell or a list of arguments", kind(node)),
        )),
    }
}

fn needs(node: &Node) -> Found<BTreeMap<String, VersionReq>> {
    let mut needs = BTreeMap::new();
    for Entry { key, node, .. } in map(node, "`needs`")? {
        let range = scalar(node, "a version range")?;
        let range = VersionReq::parse(range).map_err(|error| {
            wrong(
                node.place,
                format!("{range:?} is no version range: {error}; write one such as \">= 18\" or \"*\""),
            )
        })?;
        needs.insert(key.clone(), range);
    }
    Ok(needs)
}

fn environment(node: &Node) -> Found<BTreeMap<String, String>> {
    map(node, "`env`")?
        .iter()
        .map(|Entry { key, place, node }| {
            check_key("env", key).map_err(|error| wrong(*place, error.to_string()))?;
            Ok((key.clone(), scalar(node, "a value")?.to_owned()))
        })
        .collect()
}

pub(super) fn port(node: &Node) -> Found<PortName> {
    parse(scalar(node, "the name of a port")?, node.place)
}

fn restart(node: &Node) -> Found<Restart> {
    match scalar(node, "`restart`")? {
        "always" => Ok(Restart::Always),
        "on-failure" => Ok(Restart::OnFailure),
        "never" => Ok(Restart::Never),
        other => Err(wrong(node.place, format!("{other:?} is unknown; known: always, on-failure, never"))),
    }
}

fn stop_signal(node: &Node) -> Found<StopSignal> {
    let name = scalar(node, "`stop_signal`")?;
    StopSignal::ALL.into_iter().find(|signal| signal_name(signal.number()) == name).ok_or_else(|| {
        let known = StopSignal::ALL.map(|signal| signal_name(signal.number())).join(", ");
        wrong(node.place, format!("{name:?} is unknown; known: {known}"))
    })
}

fn after(node: &Node) -> Found<BTreeSet<ProcessName>> {
    let name = |node: &Node| parse(scalar(node, "the name of a process type")?, node.place);
    list(node, "`after`")?.iter().map(name).collect()
}

fn milliseconds(node: &Node) -> Found<u64> {
    duration::parse(scalar(node, "a duration")?).map_err(|reason| wrong(node.place, reason))
}

fn count(node: &Node) -> Found<u32> {
    match &node.value {
        Value::Plain(number) => number.parse().map_err(|_| {
            wrong(node.place, format!("{number} is no count; write a whole number from 0 upward"))
        }),
        Value::Nothing | Value::Text(_) | Value::List(_) | Value::Map(_) => {
            Err(wrong(node.place, format!("the count is {}; write a whole number", kind(node))))
        }
    }
}

pub(super) fn map<'a>(node: &'a Node, what: &str) -> Found<&'a [Entry]> {
    match &node.value {
        Value::Map(entries) => Ok(entries),
        Value::Nothing => Ok(&[]),
        Value::Text(_) | Value::Plain(_) | Value::List(_) => {
            Err(wrong(node.place, format!("{what} is {}; it must be a map of `key: value`", kind(node))))
        }
    }
}

pub(super) fn list<'a>(node: &'a Node, what: &str) -> Found<&'a [Node]> {
    match &node.value {
        Value::List(items) => Ok(items),
        Value::Nothing => Ok(&[]),
        Value::Text(_) | Value::Plain(_) | Value::Map(_) => {
            Err(wrong(node.place, format!("{what} is {}; it must be a list: [a, b]", kind(node))))
        }
    }
}

/// A text that is not also a number or a boolean.
pub(super) fn text<'a>(node: &'a Node, what: &str) -> Found<&'a str> {
    match &node.value {
        Value::Text(text) => Ok(text),
        Value::Nothing | Value::Plain(_) | Value::List(_) | Value::Map(_) => {
            Err(wrong(node.place, format!("{what} is {}; it must be a text", kind(node))))
        }
    }
}

/// A text, or what YAML takes for a number or a boolean, as it was written.
pub(super) fn scalar<'a>(node: &'a Node, what: &str) -> Found<&'a str> {
    match &node.value {
        Value::Text(text) | Value::Plain(text) => Ok(text),
        Value::Nothing | Value::List(_) | Value::Map(_) => {
            Err(wrong(node.place, format!("{what} is {}; it must be a text", kind(node))))
        }
    }
}

fn kind(node: &Node) -> &'static str {
    match &node.value {
        Value::Nothing => "empty",
        Value::Text(_) => "a text",
        Value::Plain(_) => "a number or a boolean",
        Value::List(_) => "a list",
        Value::Map(_) => "a map",
    }
}

pub(super) fn parse<T: FromStr>(text: &str, place: Place) -> Found<T>
where
    T::Err: Display,
{
    text.parse().map_err(|error: T::Err| wrong(place, error.to_string()))
}

pub(super) fn unknown(key: &str, place: Place, known: &str) -> ManifestProblem {
    let key: String = key.chars().take(64).collect();
    wrong(place, format!("unknown field {key:?}; known here: {known}"))
}

pub(super) fn wrong(place: Place, reason: impl Into<String>) -> ManifestProblem {
    ManifestProblem { file: KING_YAML, place, reason: reason.into() }
}

/// Finds the place of a rule of the kingdom: the deepest value on the path of its field.
fn located(error: &ManifestError, root: &Node) -> ManifestProblem {
    let mut node = root;
    for part in error.field.split('.') {
        let part = part.strip_suffix("_ms").unwrap_or(part);
        match child(node, part) {
            Some(next) => node = next,
            None => break,
        }
    }
    match error.field.strip_suffix("_ms") {
        Some(field) => wrong(node.place, format!("{field} {} milliseconds", error.rule)),
        None => wrong(node.place, error.to_string()),
    }
}

fn child<'a>(node: &'a Node, key: &str) -> Option<&'a Node> {
    match &node.value {
        Value::Map(entries) => entries.iter().find(|entry| entry.key == key).map(|entry| &entry.node),
        Value::List(items) => items.get(key.parse::<usize>().ok()?),
        Value::Nothing | Value::Text(_) | Value::Plain(_) => None,
    }
}
