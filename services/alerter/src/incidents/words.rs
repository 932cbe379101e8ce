//! The words of a mail: subject and plain text. A text is made of blocks with a blank line between them; lines that
//! start with two spaces are fields (`Name: value`), with four they are typed or printed by a machine.

use super::errors::OpenError;
use super::names::Names;
use super::open::{Closing, Open};
use events::event::{
    InstanceCrashLooped, InstanceCrashed, InstanceErred, InstanceFailed, ServantDiskChanged, ServantLost,
};
use events::report::Stage;
use events::{Event, EventNumber, InstanceId, Timestamp};
use std::fmt::Write;

/// So much of what an app printed stands in a subject.
const HEADLINE_CHARACTERS: usize = 120;

/// Makes subjects and texts for one kingdom.
#[derive(Debug)]
pub struct Words {
    tag: String,
}

/// Subject without its tag, and text.
type Text = (String, String);

impl Words {
    pub(super) fn new(kingdom: &str) -> Self {
        Self { tag: if kingdom == "king" { "[King]".to_owned() } else { format!("[King {kingdom}]") } }
    }

    pub(super) fn firing(&self, headline: &str) -> String {
        format!("{} FIRING {headline}", self.tag)
    }

    pub(super) fn crashed(&self, names: &Names, event: &Event, crashed: &InstanceCrashed) -> Text {
        let who = Who::of(names, crashed.instance);
        let mut text = Body::new(format!(
            "The process of {} ended without being told to: {}, after {}.",
            who.sentence(),
            crashed.how(),
            Span(crashed.uptime_ms)
        ));
        who.fields(&mut text);
        text.field("Exit", crashed.how());
        text.field("Uptime", Span(crashed.uptime_ms));
        text.field("Process id", crashed.pid);
        text.field("Crashes", format_args!("{} since it was placed", who.crashes.max(1)));
        match crashed.restart_in_ms {
            Some(0) => text.field("Restart", "at once"),
            Some(ms) => text.field("Restart", format_args!("in {}", Span(ms))),
            None => text.field("Restart", "none: its restart policy leaves it so"),
        }
        text.event(event.id, event.at);
        text.next(&who.commands(&["event tail"]));
        text.line("Further crashes are counted here and not mailed until it stays healthy.");
        (format!("{} crashed on {}", who.short(), who.servant), text.done())
    }

    pub(super) fn crash_looped(&self, names: &Names, event: &Event, looped: &InstanceCrashLooped) -> Text {
        let who = Who::of(names, looped.instance);
        let mut text = Body::new(format!(
            "{} crashes again and again: {} times within {}. It is restarted with growing pauses; it will hardly \
             recover by itself.",
            who.sentence(),
            looped.crashes,
            Span(looped.window_ms)
        ));
        who.fields(&mut text);
        text.field("Crashes", looped.crashes);
        text.field("Window", Span(looped.window_ms));
        text.event(event.id, event.at);
        text.next(&who.commands(&["release ls {app}", "app deploy {app}@<earlier version>"]));
        (format!("{} crash-loops on {}", who.short(), who.servant), text.done())
    }

    pub(super) fn failed(&self, names: &Names, event: &Event, failed: &InstanceFailed) -> Text {
        let who = Who::of(names, failed.instance);
        let stage = match failed.stage {
            Stage::Fetch => "its archive could not be fetched",
            Stage::Unpack => "its archive could not be unpacked",
            Stage::Build => "its build failed",
            Stage::Start => "its process could not be started",
        };
        let mut text = Body::new(format!("{} cannot be started: {stage}.", who.sentence()));
        who.fields(&mut text);
        text.event(event.id, event.at);
        text.line("The reason:");
        text.machine(&failed.reason);
        text.next(&who.commands(&["app deploy {app}@<another version>"]));
        (format!("{} cannot be started on {}", who.short(), who.servant), text.done())
    }

    pub(super) fn erred(&self, names: &Names, event: &Event, erred: &InstanceErred) -> Text {
        let who = Who::of(names, erred.instance);
        let mut text = Body::new(format!("{} prints that something went wrong:", who.sentence()));
        text.machine(&erred.headline);
        who.fields(&mut text);
        text.field("Stream", erred.output);
        text.field("Line", erred.number);
        text.field("Read at", erred.read_at);
        text.field("Known by", &erred.pattern);
        if erred.repeats > 0 {
            text.field("Before", format_args!("{} more of it that were not reported", erred.repeats));
        }
        if erred.others > 0 {
            text.field("Others", format_args!("{} errors that were not reported", erred.others));
        }
        text.event(event.id, event.at);
        text.line("The lines around it:");
        text.machine(&erred.lines.join("\n"));
        text.next(&who.commands(&["logs {app} --since 10m --stderr"]));
        text.line(
            "Further ones like it are counted and not mailed until they stop; which lines count is said under \
             `errors` in king.yaml.",
        );
        let short: String = erred.headline.chars().take(HEADLINE_CHARACTERS).collect();
        (format!("{} on {}: {short}", who.short(), who.servant), text.done())
    }

    pub(super) fn errors_over(&self, open: &OpenError, quiet_ms: u64) -> Text {
        let mut text = Body::new(format!("Over: {}: none came for {}.", open.headline, Span(quiet_ms)));
        text.field("First", open.since);
        text.field("Last", open.last_at);
        text.field("Errors", open.count);
        if open.others > 0 {
            text.field("Others", format_args!("{} of other kinds that got no mail", open.others));
        }
        text.field("Began by event", open.event);
        text.field("Ended by event", open.last_event);
        (format!("{} RESOLVED {}", self.tag, open.headline), text.done())
    }

    pub(super) fn servant_lost(&self, names: &Names, event: &Event, lost: &ServantLost) -> Text {
        let name = &lost.name;
        let mut text = Body::new(format!(
            "Nothing is heard of servant {name} for {}. What it ran is unknown; the King gives its instances places \
             elsewhere where it can.",
            Span(lost.silent_ms)
        ));
        text.field("Servant", name);
        text.field("Servant id", lost.servant);
        text.field("Domain", &event.domain);
        text.field("Silent for", Span(lost.silent_ms));
        text.field("Instances", names.instances_on(lost.servant));
        text.event(event.id, event.at);
        text.line("Look at the host: is it up, does the servant run, does it reach NATS?");
        let remove = format!("kingctl servant remove {name}");
        text.next(&["kingctl servant ls".to_owned(), "kingctl instance ls".to_owned(), remove]);
        text.line("Remove it only if it will not come back.");
        (format!("servant {name} is lost"), text.done())
    }

    pub(super) fn disk_full(&self, names: &Names, event: &Event, changed: &ServantDiskChanged) -> Text {
        let (name, disk) = (&changed.name, changed.disk);
        let mut text = Body::new(format!(
            "The disk of servant {name} is {} % full. What runs there goes on; nothing new is placed there until there \
             is room. Old releases and the like are removed already.",
            disk.used_percent
        ));
        text.field("Servant", name);
        text.field("Servant id", changed.servant);
        text.field("Used", format_args!("{} %", disk.used_percent));
        text.field("Free", format_args!("{} MiB", disk.free_bytes >> 20));
        text.field("Instances", names.instances_on(changed.servant));
        text.event(event.id, event.at);
        text.line("Make room on the disk that holds the servant's data folder, or give it a larger one.");
        let look = format!("kingctl exec {name} -- df -h");
        text.next(&[look, "kingctl servant ls".to_owned(), format!("kingctl why-not <app> {name}")]);
        (format!("disk of servant {name} is full"), text.done())
    }

    pub(super) fn resolved(&self, open: &Open, event: EventNumber, at: Timestamp, closing: Closing) -> Text {
        let mut text = Body::new(format!("Resolved: {}: {closing}.", open.headline));
        text.field("Began", open.since);
        text.field("Ended", at);
        text.field("Lasted", Span(at.since(open.since)));
        if open.crashes > 0 {
            text.field("Crashes", open.crashes);
        }
        text.field("Began by event", open.event);
        text.field("Ended by event", event);
        (format!("{} RESOLVED {}", self.tag, open.headline), text.done())
    }
}

/// An instance in words.
struct Who {
    instance: InstanceId,
    app: Option<String>,
    process: String,
    release: u32,
    servant: String,
    crashes: u32,
}

impl Who {
    fn of(names: &Names, instance: InstanceId) -> Self {
        match names.place(instance) {
            Some(place) => Self {
                instance,
                app: Some(place.app.to_string()),
                process: place.process.to_string(),
                release: place.release,
                servant: names.servant(place.servant),
                crashes: place.crashes,
            },
            None => {
                let servant = "unknown".to_owned();
                Self { instance, app: None, process: String::new(), release: 0, servant, crashes: 0 }
            }
        }
    }

    fn short(&self) -> String {
        match &self.app {
            Some(app) => format!("{app}/{}", self.process),
            None => format!("instance {}", self.instance),
        }
    }

    fn sentence(&self) -> String {
        format!("{} on servant {}", self.short(), self.servant)
    }

    fn fields(&self, text: &mut Body) {
        if let Some(app) = &self.app {
            text.field("App", app);
            text.field("Process", &self.process);
            text.field("Release", self.release);
        }
        text.field("Instance", self.instance);
        text.field("Servant", &self.servant);
    }

    fn commands(&self, more: &[&str]) -> Vec<String> {
        let app = self.app.as_deref().unwrap_or("<app>");
        let common = ["logs {app}", "instance ls"];
        common
            .iter()
            .chain(more)
            .map(|command| format!("kingctl {}", command.replace("{app}", app)))
            .collect()
    }
}

/// A text in the making.
struct Body {
    text: String,
    in_fields: bool,
}

impl Body {
    fn new(first: String) -> Self {
        Self { text: format!("{first}\n"), in_fields: false }
    }

    fn field(&mut self, name: &str, value: impl std::fmt::Display) {
        if !std::mem::replace(&mut self.in_fields, true) {
            self.text.push('\n');
        }
        writeln!(self.text, "  {:<15} {value}", format!("{name}:")).expect("a String takes everything");
    }

    fn event(&mut self, event: EventNumber, at: Timestamp) {
        self.field("Time", at);
        self.field("Event", event);
    }

    fn line(&mut self, line: &str) {
        self.in_fields = false;
        self.text.push_str(&format!("\n{line}\n"));
    }

    fn machine(&mut self, lines: &str) {
        self.in_fields = false;
        self.text.push('\n');
        for line in lines.lines() {
            self.text.push_str(&format!("    {line}\n"));
        }
    }

    fn next(&mut self, commands: &[String]) {
        self.line("What to do next:");
        self.machine(&commands.join("\n"));
    }

    fn done(self) -> String {
        self.text
    }
}

/// A span of time for people.
pub struct Span(pub u64);

impl std::fmt::Display for Span {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let seconds = self.0 / 1000;
        match self.0 {
            0..1000 => write!(formatter, "{} ms", self.0),
            1000..60_000 => write!(formatter, "{}.{} s", seconds, self.0 % 1000 / 100),
            60_000..3_600_000 => write!(formatter, "{} min {} s", seconds / 60, seconds % 60),
            3_600_000.. => write!(formatter, "{} h {} min", seconds / 3600, seconds / 60 % 60),
        }
    }
}
