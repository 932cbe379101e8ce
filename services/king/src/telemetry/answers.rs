//! Answers to `servant.metrics` and `instance.metrics`.

use super::Telemetry;
use super::book::{Book, InstanceRecord, ServantRecord};
use super::history::History;
use events::limits::{ITEMS_PER_REPLY, REPLY_BYTES};
use events::metric::{Network, ProcessFigures};
use events::query::metrics::{
    InstanceMetrics, MetricsQuestion, NetworkItem, ProcessItem, SeriesItem, ServantMetrics, UsagePoint,
};
use events::wire::{self, Format};
use events::{EventNumber, InstanceId, Refusal, RefusalCode, Timestamp};
use realm::State;
use serde::Serialize;
use std::time::Instant;

/// How far back a question may ask.
const HISTORY_S: u32 = 600;

/// The items of a reply; each kind of query has one kind of item.
#[derive(Serialize)]
#[serde(untagged)]
pub enum MetricsItems {
    Servants(Vec<ServantMetrics>),
    Instances(Vec<InstanceMetrics>),
}

/// The items, what to ask for to get the next page, and the event that names rest on.
pub type MetricsPage = (MetricsItems, Option<String>, EventNumber);

impl Telemetry {
    /// Whether a kind of query is about telemetry.
    pub fn knows(kind: &str) -> bool {
        matches!(kind, "servant.metrics" | "instance.metrics")
    }

    /// Answers a question about telemetry.
    ///
    /// # Errors
    /// The refusal, when the question cannot be read or names nothing that is.
    pub fn answer(&self, kind: &str, format: Format, payload: &[u8]) -> Result<MetricsPage, Refusal> {
        let question = read(format, payload)?;
        let book = self.read();
        self.kingdom.read(|state| {
            check(state, &question)?;
            let now = Instant::now();
            let asked = Asked { book: &book, state, question: &question, now };
            let (items, next) = if kind == "servant.metrics" {
                let (items, next) = asked.servants();
                (MetricsItems::Servants(items), next)
            } else {
                let (items, next) = asked.instances()?;
                (MetricsItems::Instances(items), next)
            };
            Ok((items, next, state.last))
        })
    }
}

fn read(format: Format, payload: &[u8]) -> Result<MetricsQuestion, Refusal> {
    if payload.is_empty() {
        return Ok(MetricsQuestion::default());
    }
    format.decode(payload).map_err(|error| {
        let fix = "send nothing, or fields of a question: servant, app, instance, history_s, after";
        refusal(RefusalCode::Unreadable, "query", error.reason(), fix)
    })
}

fn check(state: &State, question: &MetricsQuestion) -> Result<(), Refusal> {
    if let Some(name) = question.servant.as_ref().filter(|name| state.servant_named(name).is_none()) {
        let rule = format!("no servant is called {name}");
        return Err(refusal(RefusalCode::Unknown, "servant", rule, "see `kingctl servant ls`"));
    }
    if let Some(name) = question.app.as_ref().filter(|name| !state.apps.contains_key(*name)) {
        let rule = format!("there is no app {name}");
        return Err(refusal(RefusalCode::Unknown, "app", rule, "see `kingctl app ls`"));
    }
    if let Some(id) = question.instance.filter(|id| !state.instances.contains_key(id)) {
        let rule = format!("there is no instance {id}");
        return Err(refusal(RefusalCode::Unknown, "instance", rule, "see `kingctl instance ls`"));
    }
    if let Some(seconds) = question.history_s.filter(|seconds| *seconds > HISTORY_S) {
        let rule = format!("is {seconds}; at most {HISTORY_S}");
        return Err(refusal(
            RefusalCode::Invalid,
            "history_s",
            rule,
            "ask for less; older figures are not kept",
        ));
    }
    Ok(())
}

fn refusal(code: RefusalCode, field: &str, rule: String, fix: &str) -> Refusal {
    Refusal { code, field: field.into(), rule, fix: fix.into() }
}

/// A question, and what it is answered from.
struct Asked<'a> {
    book: &'a Book,
    state: &'a State,
    question: &'a MetricsQuestion,
    now: Instant,
}

impl Asked<'_> {
    fn servants(&self) -> (Vec<ServantMetrics>, Option<String>) {
        let after = self.question.after.as_deref().unwrap_or_default();
        let records = self.book.servants().filter(|record| {
            let name = &record.frame.name;
            self.question.servant.as_ref().is_none_or(|wanted| wanted == name)
                // What was removed still may send until it notices.
                && self.state.servants.contains_key(&record.frame.servant)
        });
        let mut records: Vec<&ServantRecord> = records.collect();
        records.sort_by(|one, other| one.frame.name.cmp(&other.frame.name));
        let left = records.into_iter().filter(|record| record.frame.name.as_str() > after);
        page(left, |record| self.servant(record), |item| item.name.to_string())
    }

    fn instances(&self) -> Result<(Vec<InstanceMetrics>, Option<String>), Refusal> {
        let after = self.question.after.as_deref().map(str::parse::<InstanceId>).transpose();
        let after = after.map_err(|error| {
            let fix = "ask for the list from its beginning";
            refusal(RefusalCode::Invalid, "after", error.to_string(), fix)
        })?;
        let servant = self.question.servant.as_ref().and_then(|name| self.state.servant_named(name));
        let found = self.state.instances.iter().filter(|(id, instance)| {
            after.is_none_or(|after| **id > after)
                && self.question.instance.is_none_or(|wanted| **id == wanted)
                && self.question.app.as_ref().is_none_or(|app| instance.app == *app)
                && servant.is_none_or(|(servant, _)| instance.servant == servant)
        });
        let told = found.filter_map(|(id, known)| {
            let record = self.book.instance(*id)?;
            Some((known, self.book.servant(record.servant)?, record))
        });
        let tell = |(known, servant, record)| self.instance(known, servant, record);
        Ok(page(told, tell, |item| item.instance.to_string()))
    }

    fn servant(&self, record: &ServantRecord) -> ServantMetrics {
        let (frame, host, top) = (&record.frame, &record.frame.host, record.top());
        let interval_ms = u64::from(frame.interval_ms.max(1));
        let per_s = |bytes: u64| bytes.saturating_mul(1000) / interval_ms;
        let sum = |part: fn(&Network) -> u64| per_s(host.networks.iter().map(part).sum());
        ServantMetrics {
            servant: frame.servant,
            name: frame.name.clone(),
            domain: frame.domain.clone(),
            age_ms: self.age_ms(record.heard),
            frame: frame.number,
            missed: record.missed,
            dropped: frame.dropped,
            cost_us: frame.cost_us,
            cpu_percent: percent(host.cpu),
            iowait_percent: percent(host.iowait),
            steal_percent: percent(host.steal),
            cores_percent: host.cores.iter().copied().map(percent).collect(),
            memory_bytes: bytes(host.memory_kib),
            memory_used_bytes: bytes(host.memory_kib.saturating_sub(host.available_kib)),
            swap_bytes: bytes(host.swap_kib),
            swap_used_bytes: bytes(host.swap_kib.saturating_sub(host.swap_free_kib)),
            disk_bytes: bytes(host.disk_kib),
            disk_free_bytes: bytes(host.disk_free_kib),
            read_bytes_per_s: per_s(host.read),
            written_bytes_per_s: per_s(host.written),
            received_bytes_per_s: sum(|network| network.received),
            sent_bytes_per_s: sum(|network| network.sent),
            networks: host.networks.iter().map(|network| network_item(network, per_s)).collect(),
            load: host.load.map(|load| f64::from(load) / 100.0),
            processes: host.processes,
            uptime_s: host.uptime_s,
            instances: u32::try_from(frame.instances.ids.len()).unwrap_or(u32::MAX) + frame.left_out,
            top_by_cpu: top.by_cpu.iter().map(process_item).collect(),
            top_by_memory: top.by_memory.iter().map(process_item).collect(),
            history: self.history(&record.history, frame.at),
        }
    }

    fn instance(
        &self,
        known: &realm::state::Instance,
        servant: &ServantRecord,
        record: &InstanceRecord,
    ) -> InstanceMetrics {
        let figures = &record.figures;
        let series = record.series.iter().map(|(key, value)| SeriesItem {
            name: key.name.clone(),
            tags: key.tags.clone(),
            kind: key.kind,
            value: *value,
        });
        InstanceMetrics {
            instance: figures.instance,
            app: known.app.clone(),
            process: known.process.clone(),
            servant: servant.frame.name.clone(),
            age_ms: self.age_ms(record.heard),
            cpu_percent: f64::from(figures.cpu) / 10.0,
            memory_bytes: bytes(u64::from(figures.memory_kib)),
            descriptors: figures.descriptors,
            processes: figures.processes,
            threads: figures.threads,
            restarts: figures.restarts,
            lost: figures.lost,
            series: series.collect(),
            history: self.history(&record.history, servant.frame.at),
        }
    }

    fn age_ms(&self, heard: Instant) -> u64 {
        u64::try_from(self.now.saturating_duration_since(heard).as_millis()).unwrap_or(u64::MAX)
    }

    fn history(&self, history: &History, newest: Timestamp) -> Vec<UsagePoint> {
        let Some(seconds) = self.question.history_s else { return Vec::new() };
        history.since(Timestamp(newest.0.saturating_sub(u64::from(seconds) * 1000)))
    }
}

/// As many items as one reply may hold, and where the next page begins.
fn page<R, T: Serialize>(
    records: impl Iterator<Item = R>,
    tell: impl Fn(R) -> T,
    name: impl Fn(&T) -> String,
) -> (Vec<T>, Option<String>) {
    let (mut items, mut size) = (Vec::new(), 0);
    for record in records {
        let item = tell(record);
        size += wire::encode(&item).len();
        if !items.is_empty() && (items.len() == ITEMS_PER_REPLY || size > REPLY_BYTES) {
            let next = items.last().map(name);
            return (items, next);
        }
        items.push(item);
    }
    (items, None)
}

fn percent(permille: u16) -> f64 {
    f64::from(permille) / 10.0
}

fn bytes(kib: u64) -> u64 {
    kib.saturating_mul(1024)
}

fn network_item(network: &Network, per_s: impl Fn(u64) -> u64) -> NetworkItem {
    NetworkItem {
        name: network.name.clone(),
        received_bytes_per_s: per_s(network.received),
        sent_bytes_per_s: per_s(network.sent),
        faults: network.faults,
    }
}

fn process_item(process: &ProcessFigures) -> ProcessItem {
    ProcessItem {
        pid: process.pid,
        name: process.name.clone(),
        cpu_percent: f64::from(process.cpu) / 10.0,
        memory_bytes: bytes(process.memory_kib),
        instance: process.instance,
    }
}
