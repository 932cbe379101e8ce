//! The King's numbers for Prometheus: one value each, in a registry of their own, bumped where things happen.
//!
//! Names are `king_*` with the unit last. Labels hold only values from closed sets, so that their number is bounded;
//! what telemetry tells of servants and instances is bounded by their number, in [`crate::telemetry`].

use axum::http::{Method, StatusCode};
use events::query::KingRole;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Metric, Registry, Unit};
use std::collections::BTreeSet;
use std::fmt;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, OnceLock};

/// A number that is set to what is.
pub type Level = Gauge<u64, AtomicU64>;

/// What became of commands: the values of the label `outcome`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct OutcomeLabel {
    outcome: &'static str,
}

/// What a King does.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RoleLabel {
    role: &'static str,
}

/// Where a command came from and what it was answered.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    method: &'static str,
    route: String,
    status: u16,
}

/// Every number of the King.
pub struct Metrics {
    /// Commands that were done.
    pub commands_accepted: Counter,
    /// Commands that were refused by the law.
    pub commands_refused: Counter,
    /// Messages that could not be read as a command.
    pub commands_unreadable: Counter,
    /// Commands that had been decided before and got the stored answer.
    pub commands_repeated: Counter,
    pub commits: Counter,
    pub events: Counter,
    /// Size of a commit in the log, in bytes.
    pub commit_bytes: Histogram,
    /// Events of a commit.
    pub commit_events: Histogram,
    /// From the sending of a commit to its acknowledgement, in seconds.
    pub append_seconds: Histogram,
    pub log_sequence: Level,
    pub inbox_sequence: Level,
    pub event_number: Level,
    pub published_event_number: Level,
    pub epoch: Level,
    /// Elections that this King won.
    pub elections: Counter,
    /// Reigns of this King that another King's writing ended.
    pub depositions: Counter,
    roles: Vec<(KingRole, Level)>,
    pub journal_sequence: Level,
    pub snapshot_event_number: Level,
    /// Parts of the journal that were damaged and set aside since the start.
    pub journal_set_aside: Counter,
    /// 1 while the log is not what the journal has seen of it.
    pub log_disaster: Level,
    /// Servers that have been without a whole copy of the log for a while.
    pub log_copies_behind: Level,
    pub views_written: Counter,
    pub sse_clients: Gauge,
    pub sse_events: Counter,
    published_lag: Level,
    requests: Family<RequestLabels, Counter>,
    beside: Beside,
    registry: Registry,
}

/// Numbers that are asked for when somebody looks, once there is who can tell them.
#[derive(Clone, Debug, Default)]
struct Beside(Arc<OnceLock<Box<dyn Collector>>>);

impl Collector for Beside {
    fn encode(&self, encoder: DescriptorEncoder) -> fmt::Result {
        self.0.get().map_or(Ok(()), |collector| collector.encode(encoder))
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// All numbers at zero.
    pub fn new() -> Self {
        let mut book = Book(Registry::with_prefix("king"));
        let outcomes: Family<OutcomeLabel, Counter> =
            book.keep("commands", "Commands by what became of them", Family::default());
        let outcome = |outcome| outcomes.get_or_create_owned(&OutcomeLabel { outcome });
        let by_role: Family<RoleLabel, Level> =
            book.keep("role", "1 for what this King does, 0 for the rest", Family::default());
        let role = |role: KingRole| (role, by_role.get_or_create_owned(&RoleLabel { role: role.as_str() }));
        let build = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        book.keep_once("build", "The build that runs", build);
        let beside = Beside::default();
        book.0.register_collector(Box::new(beside.clone()));
        Self {
            commands_accepted: outcome("accepted"),
            commands_refused: outcome("refused"),
            commands_unreadable: outcome("unreadable"),
            commands_repeated: outcome("repeated"),
            commits: book.keep("commits", "Commits appended to the log", Counter::default()),
            events: book.keep("events", "Events appended to the log", Counter::default()),
            commit_bytes: book.keep_in("commit", "Size of commits", Unit::Bytes, histogram(256.0, 4.0, 8)),
            commit_events: book.keep("commit_events", "Events of commits", histogram(1.0, 4.0, 7)),
            append_seconds: book.keep_in(
                "append",
                "Time from sending a commit to its acknowledgement",
                Unit::Seconds,
                histogram(0.000_125, 2.0, 16),
            ),
            log_sequence: book.keep("log_sequence", "Sequence of the newest commit", Level::default()),
            inbox_sequence: book.keep(
                "inbox_sequence",
                "Sequence up to which the inbox is worked off",
                Level::default(),
            ),
            event_number: book.keep("event_number", "Number of the newest event", Level::default()),
            published_event_number: book.keep(
                "published_event_number",
                "Number of the newest event on its own subject",
                Level::default(),
            ),
            elections: book.keep("elections", "Elections that this King won", Counter::default()),
            depositions: book.keep(
                "depositions",
                "Reigns of this King that another's writing ended",
                Counter::default(),
            ),
            roles: KingRole::ALL.map(role).into(),
            epoch: book.keep("epoch", "Epoch of the King that writes", Level::default()),
            journal_sequence: book.keep(
                "journal_sequence",
                "Sequence of the newest commit in the journal",
                Level::default(),
            ),
            snapshot_event_number: book.keep(
                "snapshot_event_number",
                "Number of the last event in the newest snapshot",
                Level::default(),
            ),
            journal_set_aside: book.keep(
                "journal_set_aside",
                "Parts of the journal that were damaged and set aside",
                Counter::default(),
            ),
            log_disaster: book.keep(
                "log_disaster",
                "1 while the log is not what the journal has seen of it",
                Level::default(),
            ),
            log_copies_behind: book.keep(
                "log_copies_behind",
                "Servers that have been without a whole copy of the log for a while",
                Level::default(),
            ),
            views_written: book.keep("views_written", "Values written to the views", Counter::default()),
            sse_clients: book.keep("sse_clients", "Event streams of the web that are open", Gauge::default()),
            sse_events: book.keep("sse_events", "Events sent on the web's streams", Counter::default()),
            published_lag: book.keep(
                "published_lag_events",
                "Events that are confirmed and not yet on their own subject",
                Level::default(),
            ),
            requests: book.keep("http_requests", "HTTP requests answered", Family::default()),
            beside,
            registry: book.0,
        }
    }

    /// From now on these are asked too. A second one is passed over.
    pub fn ask_too(&self, collector: impl Collector) {
        self.beside.0.get_or_init(|| Box::new(collector));
    }

    /// What this King does from now on.
    pub fn set_role(&self, now: KingRole) {
        self.roles.iter().for_each(|(role, level)| {
            level.set(u64::from(*role == now));
        });
    }

    /// All numbers of now as text.
    pub fn encode(&self, exposition: Exposition) -> String {
        self.published_lag.set(self.event_number.get().saturating_sub(self.published_event_number.get()));
        let mut text = String::new();
        encode(&mut text, &self.registry).expect("writing to a text cannot fail");
        match exposition {
            Exposition::OpenMetrics => text,
            Exposition::Text => classic(&text),
        }
    }

    pub(super) fn count_request(&self, method: &Method, route: &str, status: StatusCode) {
        let labels =
            RequestLabels { method: known(method), route: route.to_owned(), status: status.as_u16() };
        self.requests.get_or_create_owned(&labels).inc();
    }
}

/// Registers a number and hands it back.
struct Book(Registry);

impl Book {
    fn keep<M: Metric + Clone>(&mut self, name: &str, help: &str, metric: M) -> M {
        self.0.register(name, help, metric.clone());
        metric
    }

    fn keep_once(&mut self, name: &str, help: &str, metric: impl Metric) {
        self.0.register(name, help, metric);
    }

    fn keep_in<M: Metric + Clone>(&mut self, name: &str, help: &str, unit: Unit, metric: M) -> M {
        self.0.register_with_unit(name, help, unit, metric.clone());
        metric
    }
}

fn histogram(first: f64, factor: f64, buckets: u16) -> Histogram {
    Histogram::new(exponential_buckets(first, factor, buckets))
}

fn known(method: &Method) -> &'static str {
    let methods = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
    methods.into_iter().find(|known| *known == method.as_str()).unwrap_or("other")
}

/// In which format the numbers are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exposition {
    OpenMetrics,
    /// The format of Prometheus before OpenMetrics, 0.0.4.
    Text,
}

impl Exposition {
    /// OpenMetrics for who accepts it, else text.
    pub fn wanted(accept: Option<&str>) -> Self {
        let named = accept.is_some_and(|accept| accept.contains("application/openmetrics-text"));
        if named { Self::OpenMetrics } else { Self::Text }
    }

    /// The media type.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

/// OpenMetrics as text 0.0.4: there a counter's and an info's family carries the suffix of its samples, and units and
/// the end mark do not exist.
fn classic(open: &str) -> String {
    let types: BTreeSet<(&str, &str)> = open.lines().filter_map(type_line).collect();
    let suffix = |name: &str| match () {
        () if types.contains(&(name, "counter")) => "_total",
        () if types.contains(&(name, "info")) => "_info",
        () => "",
    };
    let mut text = String::with_capacity(open.len());
    for line in open.lines().filter(|line| *line != "# EOF" && !line.starts_with("# UNIT ")) {
        let mut words = line.splitn(4, ' ');
        match (words.next(), words.next(), words.next(), words.next()) {
            (Some("#"), Some(what), Some(name), Some(rest)) => {
                let rest = if rest == "info" && what == "TYPE" { "gauge" } else { rest };
                text.push_str(&format!("# {what} {name}{} {rest}\n", suffix(name)));
            }
            _ => {
                text.push_str(line);
                text.push('\n');
            }
        }
    }
    text
}

fn type_line(line: &str) -> Option<(&str, &str)> {
    line.strip_prefix("# TYPE ")?.split_once(' ')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classic_families_carry_the_suffix_of_their_samples() {
        let metrics = Metrics::new();
        metrics.commands_accepted.inc();
        metrics.event_number.set(7);
        metrics.published_event_number.set(5);
        let text = metrics.encode(Exposition::Text);
        assert!(text.contains("# TYPE king_commands_total counter\n"), "{text}");
        assert!(text.contains("king_commands_total{outcome=\"accepted\"} 1\n"), "{text}");
        assert!(text.contains("# TYPE king_build_info gauge\n"), "{text}");
        assert!(text.contains("# TYPE king_append_seconds histogram\n"), "{text}");
        assert!(text.contains("king_published_lag_events 2\n"), "{text}");
        assert!(!text.contains("# EOF") && !text.contains("# UNIT"), "{text}");
        let open = metrics.encode(Exposition::OpenMetrics);
        assert!(open.ends_with("# EOF\n") && open.contains("# TYPE king_commands counter\n"), "{open}");
    }
}
