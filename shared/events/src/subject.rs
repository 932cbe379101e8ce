//! Every subject, stream and bucket of the kingdom, built and parsed here and nowhere else.

use crate::{AppName, DomainName, ExecId, InstanceId, KingId, ServantId, ServantName};
use std::fmt;

/// The stream of commits: the truth.
pub const LOG_STREAM: &str = "KING_LOG";
/// The one subject of [`LOG_STREAM`].
pub const LOG_SUBJECT: &str = "king.commit";
/// The stream of public events, one message each.
pub const EVENTS_STREAM: &str = "KING_EVENTS";
/// The subjects of [`EVENTS_STREAM`].
pub const EVENTS_SUBJECTS: &str = "king.event.>";
/// The stream of commands left to be done.
pub const INBOX_STREAM: &str = "KING_INBOX";
/// The subjects of [`INBOX_STREAM`].
pub const INBOX_SUBJECTS: &str = "king.queue.>";
/// The stream of the output of instances.
pub const LOGS_STREAM: &str = "KING_LOGS";
/// The subjects of [`LOGS_STREAM`].
pub const LOGS_SUBJECTS: &str = "king.log.>";
/// The stream of telemetry frames.
pub const METRICS_STREAM: &str = "KING_METRICS";
/// The subjects of [`METRICS_STREAM`].
pub const METRICS_SUBJECTS: &str = "king.metric.*";
/// The key-value bucket of projections.
pub const VIEWS_BUCKET: &str = "KING_VIEWS";
/// The key-value bucket that says which King writes, or tries first to.
pub const LEASE_BUCKET: &str = "KING_LEASE";
/// The object store of bundles and archives, by digest.
pub const ARTIFACTS_BUCKET: &str = "KING_ARTIFACTS";

/// Commands that want an answer, as the King subscribes to them.
pub const COMMANDS: &str = "king.cmd.>";
/// Queries, as every King subscribes to them; one of the group answers each.
pub const QUERIES: &str = "king.query.>";
/// The queue group in which Kings answer queries.
pub const QUERIES_GROUP: &str = "kings";
/// The query that every King answers for itself: whoever asks gathers the replies.
pub const KINGS: &str = "king.query.king.ls";
/// The query that the King that writes answers alone: only a signature of a King that was elected proves anything.
pub const SIGNATURES: &str = "king.query.audit.checkpoint";
/// Where the King that writes is asked to hand over.
pub const TRANSFERS: &str = "king.peer.transfer";
/// Batches of reports, as the King subscribes to them.
pub const REPORTS: &str = "king.report.*";

/// Where Kings tell that something is wrong with the log, as core messages.
pub const NOTICES: &str = "king.notice.log";

/// Header: the id of a command, or of a stored message for deduplication between hops.
pub const HEADER_ID: &str = "Nats-Msg-Id";
/// Header: who sends a command.
pub const HEADER_ACTOR: &str = "King-Actor";
/// Header: the version of the shape of a command; 1 when absent.
pub const HEADER_SCHEMA: &str = "King-Schema";
/// Header: the token of the plan that a command shall keep to; it is refused when it would lead to anything else.
pub const HEADER_PLAN: &str = "King-Plan";
/// Header: the media type; `application/json` makes a command or query JSON.
pub const HEADER_CONTENT_TYPE: &str = "Content-Type";

/// Where a command that wants an answer goes: `king.cmd.<noun>.<verb>`.
pub fn command(kind: &str) -> String {
    format!("king.cmd.{kind}")
}

/// Where a command that may wait goes: `king.queue.<noun>.<verb>`.
pub fn queue(kind: &str) -> String {
    format!("king.queue.{kind}")
}

/// Where a query goes: `king.query.<noun>.<verb>`.
pub fn query(kind: &str) -> String {
    format!("king.query.{kind}")
}

/// Where a question goes what a command would lead to: `king.query.plan.<noun>.<verb>`, with the command's own payload.
pub fn plan(kind: &str) -> String {
    format!("king.query.plan.{kind}")
}

/// The `<noun>.<verb>` of a command's, queued command's or query's subject.
pub fn kind_of(subject: &str) -> Option<&str> {
    ["king.cmd.", "king.queue.", "king.query."].iter().find_map(|prefix| subject.strip_prefix(prefix))
}

/// Where a King hears other Kings: `king.peer.<id>`.
pub fn peer(king: KingId) -> String {
    format!("king.peer.{king}")
}

/// Where a servant's reports go: `king.up.<domain>.<servant>`.
pub fn up(domain: &DomainName, servant: &ServantName) -> String {
    format!("king.up.{domain}.{servant}")
}

/// All reports of a domain's servants, as its Foreman subscribes to them.
pub fn ups(domain: &DomainName) -> String {
    format!("king.up.{domain}.*")
}

/// Where a servant's heartbeats go: `king.beat.<domain>.<servant>`.
pub fn beat(domain: &DomainName, servant: &ServantName) -> String {
    format!("king.beat.{domain}.{servant}")
}

/// All heartbeats of a domain, as its Foreman subscribes to them.
pub fn beats(domain: &DomainName) -> String {
    format!("king.beat.{domain}.*")
}

/// Where a Foreman asks whether it can hear at all: nobody listens there, and the server itself says so.
pub fn pulse(domain: &DomainName) -> String {
    format!("king.pulse.{domain}")
}

/// Where a Foreman's batches of reports go: `king.report.<domain>`.
pub fn report(domain: &DomainName) -> String {
    format!("king.report.{domain}")
}

/// Where a public event goes: `king.event.<domain>.<noun>.<id>.<past-tense>`. Ids that are no single token
/// (a command id is free text) are escaped as `~xx`.
pub fn event(domain: &DomainName, noun: &str, id: &str, verb: &str) -> String {
    let mut token = String::with_capacity(id.len());
    for byte in id.bytes() {
        match byte {
            b'.' | b'*' | b'>' | b'~' | 0..=b' ' | 127.. => token.push_str(&format!("~{byte:02x}")),
            _ => token.push(char::from(byte)),
        }
    }
    format!("king.event.{domain}.{noun}.{token}.{verb}")
}

/// All public events about a noun, as a reader filters them.
pub fn events_about(noun: &str) -> String {
    format!("king.event.*.{noun}.>")
}

/// One of the two output streams of an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Output {
    Stdout,
    Stderr,
}

impl Output {
    /// Both, in the order of their file descriptors.
    pub const ALL: [Self; 2] = [Self::Stdout, Self::Stderr];
}

impl fmt::Display for Output {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        })
    }
}

/// Where the output of an instance goes: `king.log.<domain>.<app>.<instance>.<stdout or stderr>`.
pub fn log(domain: &DomainName, app: &AppName, instance: InstanceId, output: Output) -> String {
    format!("king.log.{domain}.{app}.{instance}.{output}")
}

/// The output of an app's instances, of both streams or of one, as a reader filters it.
pub fn app_logs(app: &AppName, output: Option<Output>) -> String {
    format!("king.log.*.{app}.*.{}", Stream(output))
}

/// The output of one instance, whatever its app is, as a reader filters it.
pub fn instance_logs(instance: InstanceId, output: Option<Output>) -> String {
    format!("king.log.*.*.{instance}.{}", Stream(output))
}

/// The last token of a filter of output.
struct Stream(Option<Output>);

impl fmt::Display for Stream {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(output) => output.fmt(formatter),
            None => formatter.write_str("*"),
        }
    }
}

/// The domain, app, instance and stream of a log subject.
pub fn parse_log(subject: &str) -> Option<(DomainName, AppName, InstanceId, Output)> {
    let mut tokens = subject.strip_prefix("king.log.")?.split('.');
    let domain = tokens.next()?.parse().ok()?;
    let app = tokens.next()?.parse().ok()?;
    let instance = tokens.next()?.parse().ok()?;
    let output = match tokens.next()? {
        "stdout" => Output::Stdout,
        "stderr" => Output::Stderr,
        _ => return None,
    };
    tokens.next().is_none().then_some((domain, app, instance, output))
}

/// Where the telemetry frames of a domain's servants go: `king.metric.<domain>`.
pub fn metric(domain: &DomainName) -> String {
    format!("king.metric.{domain}")
}

/// The last token of a servant's own subject (`king.up.…`, `king.beat.…`), if it is a name.
pub fn servant_of(subject: &str) -> Option<ServantName> {
    subject.rsplit('.').next()?.parse().ok()
}

/// The domain of a batch of reports' subject.
pub fn domain_of_report(subject: &str) -> Option<DomainName> {
    subject.strip_prefix("king.report.")?.parse().ok()
}

/// The key of a servant's assignment in [`VIEWS_BUCKET`].
pub fn assignment_key(servant: ServantId) -> String {
    format!("assignment.{servant}")
}

/// The key of a servant's runs in [`VIEWS_BUCKET`].
pub fn execs_key(servant: ServantId) -> String {
    format!("exec.{servant}")
}

/// Where a servant sends what a run says: `king.exec.<domain>.<run>.<servant>.out`.
pub fn exec_out(domain: &DomainName, exec: ExecId, servant: &ServantName) -> String {
    format!("king.exec.{domain}.{exec}.{servant}.out")
}

/// Where a servant hears what is said to a run: `king.exec.<domain>.<run>.<servant>.in`.
pub fn exec_in(domain: &DomainName, exec: ExecId, servant: &ServantName) -> String {
    format!("king.exec.{domain}.{exec}.{servant}.in")
}

/// All that a run says on all its servants, as whoever watches subscribes to it.
pub fn exec_outs(exec: ExecId) -> String {
    format!("king.exec.*.{exec}.*.out")
}

/// The domain, run and servant of what a run says.
pub fn parse_exec_out(subject: &str) -> Option<(DomainName, ExecId, ServantName)> {
    let mut tokens = subject.strip_prefix("king.exec.")?.split('.');
    let domain = tokens.next()?.parse().ok()?;
    let exec = tokens.next()?.parse().ok()?;
    let servant = tokens.next()?.parse().ok()?;
    (tokens.next()? == "out" && tokens.next().is_none()).then_some((domain, exec, servant))
}

/// The key of a domain's list of servants in [`VIEWS_BUCKET`].
pub fn domain_key(domain: &DomainName) -> String {
    format!("domain.{domain}")
}
