//! Every limit on what users and hosts may send, in one place. The refusals quote these numbers.

/// Longest DNS label: names of apps, process types, servants, domains and ports (RFC 1035, 2.3.4).
pub const NAME_BYTES: usize = 63;
/// Longest command id, in printable ASCII characters.
pub const COMMAND_ID_BYTES: usize = 128;
/// Longest actor, in printable ASCII characters.
pub const ACTOR_BYTES: usize = 128;
/// Largest command, report batch or query that is looked at, in bytes.
pub const MESSAGE_BYTES: usize = 512 * 1024;
/// Most instances of one process type.
pub const INSTANCES_PER_PROCESS: u32 = 10_000;
/// Most apps in the kingdom.
pub const APPS: usize = 10_000;
/// Most versions of one app.
pub const VERSIONS_PER_APP: usize = 10_000;
/// Most process types in one manifest.
pub const PROCESSES_PER_APP: usize = 32;
/// Most ports of one process type.
pub const PORTS_PER_PROCESS: usize = 8;
/// Most workers of one instance.
pub const WORKERS: u16 = 64;
/// What workers may use of one CPU each before there are more: one that is never idle shows no more than 100.
pub const WORKER_CPU_PERCENT: std::ops::RangeInclusive<u16> = 20..=95;
/// Longest command line of a process type or a build, in bytes.
pub const COMMAND_LINE_BYTES: usize = 4096;
/// Longest name of an image, in bytes.
pub const IMAGE_NAME_BYTES: usize = 255;
/// Largest image that the kingdom holds, as `docker save` writes it, in bytes.
pub const IMAGE_BYTES: u64 = 4 << 30;
/// Most images that an app holds.
pub const IMAGES_PER_APP: usize = 1000;
/// Longest path in a version or in a container, in bytes.
pub const PATH_BYTES: usize = 1024;
/// Most volumes of one process type.
pub const VOLUMES_PER_PROCESS: usize = 16;
/// Longest name of a configuration key or environment variable, in bytes.
pub const KEY_BYTES: usize = 128;
/// Longest value of a configuration key or environment variable, in bytes.
pub const VALUE_BYTES: usize = 32 * 1024;
/// Most keys in one scope of configuration, or in one environment of a manifest.
pub const KEYS_PER_SCOPE: usize = 256;
/// Largest environment that one process type of a release may end up with, in bytes of keys and values.
pub const ENVIRONMENT_BYTES: usize = 64 * 1024;
/// Longest version string, in bytes.
pub const VERSION_BYTES: usize = 128;
/// Longest reference name in a Git push, in bytes.
pub const REF_BYTES: usize = 255;
/// Most references of one app, and so of one push.
pub const REFS_PER_APP: usize = 10_000;
/// Most semver tags that one push may publish.
pub const VERSIONS_PER_PUSH: usize = 100;
/// Most reports in one batch from a Foreman.
pub const REPORTS_PER_BATCH: usize = 1000;
/// Longest free text in a report or a mail subject (a reason, the last lines of a build), in bytes.
pub const TEXT_BYTES: usize = 8 * 1024;
/// Largest body of a planned mail, in bytes.
pub const MAIL_BYTES: usize = 64 * 1024;
/// Most tools that a servant may report.
pub const CAPABILITIES: usize = 64;
/// Most labels of a servant.
pub const LABELS: usize = 32;
/// Longest value of a label, in bytes.
pub const LABEL_VALUE_BYTES: usize = 63;
/// Most terms of a selector.
pub const SELECTOR_TERMS: usize = 16;
/// Longest time between a stop's SIGTERM and its SIGKILL, in milliseconds.
pub const STOP_GRACE_MS: u64 = 600_000;
/// Longest interval, time-out or grace of a health check, in milliseconds.
pub const HEALTH_MS: u64 = 3_600_000;
/// Most arguments of a run on servants, its program included.
pub const EXEC_ARGUMENTS: usize = 256;
/// Most bytes of them together.
pub const EXEC_ARGUMENT_BYTES: usize = 8 * 1024;
/// Longest time of a run, in milliseconds.
pub const EXEC_TIME_MS: u64 = 24 * 3_600_000;
/// Most output of a run on one servant, in bytes.
pub const EXEC_OUTPUT_BYTES: u64 = 1 << 30;
/// Most servants of one run.
pub const EXEC_SERVANTS: usize = 256;
/// Most runs that go on at once on one servant.
pub const EXECS_PER_SERVANT: usize = 16;
/// How many runs the state remembers: those that go on, and the newest of those that have ended. The log has all of them.
pub const EXECS: usize = 500;
/// Most removed things that one report names.
pub const REMOVED_NAMED: usize = 20;
/// Longest name of a removed thing, in bytes.
pub const REMOVED_NAME_BYTES: usize = 256;
/// Longest reason why a run did not start or was lost, in bytes.
pub const EXEC_REASON_BYTES: usize = 512;
/// Most rows and most columns of a terminal.
pub const TERMINAL_CELLS: u16 = 4096;
/// Longest value of `TERM`, in bytes.
pub const TERMINAL_BYTES: usize = 64;
/// Most patterns of errors, and as many of lines that are none, of an app or of a process type.
pub const ERROR_PATTERNS: usize = 16;
/// Longest pattern of errors, in bytes.
pub const ERROR_PATTERN_BYTES: usize = 512;
/// Most memory that one compiled pattern may take, in bytes.
pub const ERROR_PATTERN_SIZE: usize = 256 * 1024;
/// Most lines before or after an error that are told with it.
pub const ERROR_CONTEXT_LINES: u32 = 20;
/// Most lines that one report of an error tells, itself and a stack trace included.
pub const ERROR_LINES: usize = 80;
/// Most events that one input yields; what is more work continues on ticks.
pub const EVENTS_PER_INPUT: usize = 1000;
/// Most bytes of the events that one input yields, as MessagePack; what is more work continues on ticks.
pub const BYTES_PER_INPUT: usize = 400 * 1024;
/// Largest assignment that the scheduler gives a servant, in bytes as estimated from its releases and instances.
pub const ASSIGNMENT_BYTES: usize = 700 * 1024;
/// Most servants.
pub const SERVANTS: usize = 10_000;
/// Most scopes of configuration of one app: the app itself and its process types, also those to come.
pub const SCOPES_PER_APP: usize = 64;
/// Most events of one page of `event.ls`.
pub const EVENTS_PER_PAGE: usize = 1000;
/// Most events that the chain of one event shows.
pub const EVENTS_PER_CHAIN: usize = 500;
/// Most items of one reply to a query; the rest is asked for page by page.
pub const ITEMS_PER_REPLY: usize = 1000;
/// Most bytes of the items of one reply, as MessagePack; one item may be larger.
pub const REPLY_BYTES: usize = 300 * 1024;
/// Most servants that the explanation of an instance lists.
pub const CANDIDATES_SHOWN: usize = 100;
/// Most bytes of the events of a plan that a reply shows, as JSON; as many again of its differences.
pub const PLAN_LIST_BYTES: usize = 400 * 1024;
/// Longest token of a plan, in bytes.
pub const PLAN_TOKEN_BYTES: usize = 1024;
/// How many of the newest outcomes are remembered however old they are.
pub const OUTCOMES_ALWAYS_KEPT: usize = 10_000;
/// How long the outcome of a command is remembered, in milliseconds of the log's own time.
pub const OUTCOME_AGE_MS: u64 = 24 * 3_600_000;
/// Most outcomes remembered; the oldest are forgotten first.
pub const OUTCOMES: usize = 200_000;
/// How long the lease of the King that writes may last, in milliseconds: shorter ones are lost by a busy machine, longer
/// ones keep everybody waiting.
pub const LEASE_MS: std::ops::RangeInclusive<u64> = 50..=60_000;
/// How long after an election no servant is declared lost, in milliseconds of the log's own time: what was said while no
/// King listened may be overtaken, and whoever lives has said so by then.
pub const ELECTION_GRACE_MS: u64 = 5_000;
/// Most instances in one telemetry frame.
pub const INSTANCES_PER_FRAME: usize = 5_000;
/// Most network interfaces that a telemetry frame tells of one by one.
pub const INTERFACES: usize = 16;
/// Most processors that a telemetry frame tells of one by one.
pub const CORES: usize = 1024;
/// Most processes in each list of those that take the most.
pub const TOP_PROCESSES: usize = 10;
/// Most gauges and counters that one instance may keep.
pub const SERIES_PER_INSTANCE: usize = 64;
/// Most gauges and counters in one telemetry frame.
pub const SERIES_PER_FRAME: usize = 2_000;
/// Longest line by which an app tells of something, in bytes.
pub const APP_LINE_BYTES: usize = 8 * 1024;
/// Most fields of an event of an app, at its top level.
pub const FIELDS: usize = 32;
/// Longest name of a field, in bytes.
pub const FIELD_NAME_BYTES: usize = 64;
/// Most bytes of the fields of an event of an app, as JSON.
pub const FIELDS_BYTES: usize = 4 * 1024;
/// How deep fields may be nested.
pub const FIELDS_DEPTH: usize = 4;
/// Most tags of a gauge or counter.
pub const TAGS: usize = 8;
/// Longest value of a tag, in bytes.
pub const TAG_BYTES: usize = 64;
/// Events that one instance may tell of: each second for long, and at once. Each stands in the log for ever.
pub const APP_EVENTS: (u64, u64) = (10, 100);
/// The same for all instances of a servant together.
pub const APP_EVENTS_OF_SERVANT: (u64, u64) = (100, 1_000);
/// Lines of any kind that are looked at of one instance: each second for long, and at once.
pub const APP_LINES: (u64, u64) = (2_000, 4_000);
/// Most connections of one instance by which lines come.
pub const APP_CONNECTIONS: usize = 16;
/// What an instance may be limited to: its memory in bytes.
pub const LIMIT_MEMORY_BYTES: std::ops::RangeInclusive<u64> = (1 << 20)..=(1 << 46);
/// Its time on processors, in thousandths of one.
pub const CPU_MILLI: std::ops::RangeInclusive<u64> = 10..=1_024_000;
/// Its processes and threads.
pub const PIDS: std::ops::RangeInclusive<u64> = 1..=4_194_304;
/// Its open files, of each process.
pub const OPEN_FILES: std::ops::RangeInclusive<u64> = 8..=1_048_576;
/// Longest name of a user of a host, in bytes.
pub const USER_BYTES: usize = 32;
