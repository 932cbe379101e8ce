//! The newest figures for Prometheus: so many servants, instances and series at most.

use super::Telemetry;
use super::book::{Book, InstanceRecord};
use events::metric::SeriesKind;
use events::{InstanceId, ServantName};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, NoLabelSet};
use prometheus_client::metrics::MetricType;
use realm::State;
use std::fmt;

/// Most servants that are told of one by one.
const SERVANTS: usize = 1_000;
/// Most instances that are told of one by one.
const INSTANCES: usize = 5_000;
/// Most series of apps.
const SERIES: usize = 10_000;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ServantLabel {
    servant: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct InstanceLabels {
    app: String,
    process: String,
    instance: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SeriesLabels {
    app: String,
    instance: String,
    name: String,
    tags: String,
}

/// A figure of a servant: its name, its help, and how it is told.
type ServantFigure = (&'static str, &'static str, fn(&super::book::ServantRecord) -> f64);
type InstanceFigure = (&'static str, &'static str, fn(&InstanceRecord) -> f64);

const OF_SERVANTS: &[ServantFigure] = &[
    ("servant_cpu_ratio", "Busy part of all processors of a servant's host", |record| {
        f64::from(record.frame.host.cpu) / 1000.0
    }),
    ("servant_memory_bytes", "Memory of a servant's host", |record| bytes(record.frame.host.memory_kib)),
    ("servant_memory_available_bytes", "Memory of a servant's host that can be had", |record| {
        bytes(record.frame.host.available_kib)
    }),
    ("servant_disk_free_bytes", "Room of the file system of a servant's data", |record| {
        bytes(record.frame.host.disk_free_kib)
    }),
    ("servant_load", "Load of a servant's host over a minute", |record| {
        f64::from(record.frame.host.load[0]) / 100.0
    }),
    ("servant_frames_missed", "Frames of telemetry that never came", |record| record.missed as f64),
];

const OF_INSTANCES: &[InstanceFigure] = &[
    ("instance_cpu_ratio", "Processors that an instance uses", |record| {
        f64::from(record.figures.cpu) / 1000.0
    }),
    ("instance_memory_bytes", "Memory that an instance uses", |record| {
        bytes(u64::from(record.figures.memory_kib))
    }),
    ("instance_descriptors", "Descriptors that an instance has open", |record| {
        f64::from(record.figures.descriptors)
    }),
    ("instance_app_lines_lost", "Lines of app events that were dropped or could not be read", |record| {
        record.figures.lost as f64
    }),
];

fn bytes(kib: u64) -> f64 {
    kib.saturating_mul(1024) as f64
}

/// What Prometheus is told of telemetry.
pub struct Exposed(pub Telemetry);

impl fmt::Debug for Exposed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Exposed")
    }
}

impl Collector for Exposed {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let book = self.0.read();
        servants(&book, &mut encoder)?;
        self.0.kingdom.read(|state| {
            let known = known(&book, state);
            instances(&known, &mut encoder)?;
            series(&known, SeriesKind::Gauge, "app_gauge", &mut encoder)?;
            series(&known, SeriesKind::Counter, "app_counter", &mut encoder)
        })
    }
}

fn servants(book: &Book, encoder: &mut DescriptorEncoder) -> fmt::Result {
    for (name, help, tell) in OF_SERVANTS {
        let mut gauges = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for record in book.servants().take(SERVANTS) {
            let labels = ServantLabel { servant: label(&record.frame.name) };
            gauges.encode_family(&labels)?.encode_gauge(&tell(record))?;
        }
    }
    Ok(())
}

fn label(name: &ServantName) -> String {
    name.to_string()
}

/// The instances that are placed and measured, by id.
fn known<'a>(book: &'a Book, state: &'a State) -> Vec<(InstanceLabels, InstanceId, &'a InstanceRecord)> {
    let told = state.instances.iter().filter_map(|(id, instance)| {
        let labels = InstanceLabels {
            app: instance.app.to_string(),
            process: instance.process.to_string(),
            instance: id.to_string(),
        };
        Some((labels, *id, book.instance(*id)?))
    });
    told.take(INSTANCES).collect()
}

fn instances(
    known: &[(InstanceLabels, InstanceId, &InstanceRecord)],
    encoder: &mut DescriptorEncoder,
) -> fmt::Result {
    for (name, help, tell) in OF_INSTANCES {
        let mut gauges = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (labels, _, record) in known {
            gauges.encode_family(labels)?.encode_gauge(&tell(record))?;
        }
    }
    Ok(())
}

fn series(
    known: &[(InstanceLabels, InstanceId, &InstanceRecord)],
    kind: SeriesKind,
    name: &str,
    encoder: &mut DescriptorEncoder,
) -> fmt::Result {
    let (help, metric) = match kind {
        SeriesKind::Gauge => ("Gauges that apps keep", MetricType::Gauge),
        SeriesKind::Counter => ("Counters that apps keep, by instance", MetricType::Counter),
    };
    let mut encoded = encoder.encode_descriptor(name, help, None, metric)?;
    let all = known.iter().flat_map(|(labels, _, record)| {
        record.series.iter().filter(|(key, _)| key.kind == kind).map(move |(key, value)| (labels, key, value))
    });
    for (of, key, value) in all.take(SERIES) {
        let tags: Vec<String> = key.tags.iter().map(|(tag, value)| format!("{tag}={value}")).collect();
        let labels = SeriesLabels {
            app: of.app.clone(),
            instance: of.instance.clone(),
            name: key.name.to_string(),
            tags: tags.join(","),
        };
        let mut one = encoded.encode_family(&labels)?;
        match kind {
            SeriesKind::Gauge => one.encode_gauge(value)?,
            SeriesKind::Counter => one.encode_counter::<NoLabelSet, f64, f64>(value, None)?,
        }
    }
    Ok(())
}
