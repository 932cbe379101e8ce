//! `kingctl servant show`: what a servant is, and what it uses now.

use crate::cli::Globals;
use crate::client::Client;
use crate::failure::Failure;
use crate::output::{self, Format, Style};
use crate::table::{Cell, Table};
use crate::top::{age, all, percent, size};
use events::ServantName;
use events::query::metrics::{NetworkItem, ProcessItem};
use events::query::{MetricsQuestion, Question, ServantItem, ServantMetrics};
use serde::Serialize;
use std::fmt::Write;

/// A servant with its newest figures; none when none came within the last minutes.
#[derive(Serialize)]
struct Shown {
    #[serde(flatten)]
    servant: ServantItem,
    metrics: Option<ServantMetrics>,
}

/// Shows a servant.
///
/// # Errors
/// When it does not exist, or no King answers.
pub async fn show(globals: &Globals, name: ServantName) -> Result<(), Failure> {
    let client = Client::connect(globals).await?;
    let question = Question { servant: Some(name.clone()), ..Question::default() };
    let servant = client.query_one::<ServantItem>("servant.ls", &question).await?;
    let question = MetricsQuestion { servant: Some(name), ..MetricsQuestion::default() };
    let metrics = all::<ServantMetrics>(&client, "servant.metrics", question).await?.into_iter().next();
    let shown = Shown { servant, metrics };
    match globals.output {
        Format::Json => output::print(&output::json(&[shown])),
        Format::Name => output::print(&format!("{}\n", shown.servant.name)),
        Format::Table => output::print(&text(&shown, Style::of_stdout(globals))),
    }
}

fn text(shown: &Shown, style: Style) -> String {
    let servant = &shown.servant;
    let state = if servant.lost { "lost" } else { "alive" };
    let mut lines = vec![
        ("servant", servant.name.to_string()),
        ("id", servant.servant.to_string()),
        ("domain", servant.domain.to_string()),
        ("state", format!("{state} since {}", servant.since)),
        ("instances", servant.instances.to_string()),
        ("tools", super::capabilities(servant)),
    ];
    match &shown.metrics {
        None => lines.push(("figures", "none within the last ten minutes".to_owned())),
        Some(metrics) => lines.extend(figures(metrics)),
    }
    let mut text = String::new();
    for (label, value) in lines {
        writeln!(text, "{label:<10} {}", output::visible(&value)).expect("writing to a text cannot fail");
    }
    if let Some(metrics) = &shown.metrics {
        text.push_str(&networks(&metrics.networks, style));
        text.push_str(&processes("busiest", &metrics.top_by_cpu, style));
        text.push_str(&processes("largest", &metrics.top_by_memory, style));
    }
    text
}

fn figures(metrics: &ServantMetrics) -> Vec<(&'static str, String)> {
    let cores: Vec<String> = metrics.cores_percent.iter().map(|share| format!("{share:.0}")).collect();
    let of = |used: u64, all: u64| format!("{} of {}", size(used), size(all));
    vec![
        (
            "figures",
            format!("{} old, frame {}, {} missed", age(metrics.age_ms), metrics.frame, metrics.missed),
        ),
        (
            "cpu",
            format!(
                "{} (each: {}), waiting {}, stolen {}",
                percent(metrics.cpu_percent),
                cores.join(" "),
                percent(metrics.iowait_percent),
                percent(metrics.steal_percent)
            ),
        ),
        ("load", format!("{:.2} {:.2} {:.2}", metrics.load[0], metrics.load[1], metrics.load[2])),
        ("memory", of(metrics.memory_used_bytes, metrics.memory_bytes)),
        ("swap", of(metrics.swap_used_bytes, metrics.swap_bytes)),
        ("disk", format!("{} free of {}", size(metrics.disk_free_bytes), size(metrics.disk_bytes))),
        (
            "disk i/o",
            format!(
                "{}/s read, {}/s written",
                size(metrics.read_bytes_per_s),
                size(metrics.written_bytes_per_s)
            ),
        ),
        ("processes", metrics.processes.to_string()),
        ("up for", format!("{} s", metrics.uptime_s)),
        ("measuring", format!("{} µs of processor time each second", metrics.cost_us)),
    ]
}

fn networks(networks: &[NetworkItem], style: Style) -> String {
    let mut table = Table::new(&["INTERFACE", "IN", "OUT", "FAULTS"]);
    for network in networks {
        table.push(vec![
            Cell::new(&network.name),
            Cell::new(format!("{}/s", size(network.received_bytes_per_s))),
            Cell::new(format!("{}/s", size(network.sent_bytes_per_s))),
            Cell::new(network.faults),
        ]);
    }
    format!("\n{}", table.render(style))
}

fn processes(title: &str, processes: &[ProcessItem], style: Style) -> String {
    let mut table = Table::new(&["PID", "PROGRAM", "CPU", "MEMORY", "INSTANCE"]);
    for process in processes {
        table.push(vec![
            Cell::new(process.pid),
            Cell::new(&process.name),
            Cell::new(percent(process.cpu_percent)),
            Cell::new(size(process.memory_bytes)),
            Cell::optional(process.instance),
        ]);
    }
    format!("\n{title}\n{}", table.render(style))
}
