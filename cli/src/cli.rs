//! The command line as a whole: global flags and the nouns. What a noun can do stands in its own file.

use crate::failure::Failure;
use crate::values::parse_duration;
use crate::{
    alert, app, audit_log, backup, command, config, event, exec, image, instance, king, logs, output,
    release, replay, servant, state, up, version, why,
};
use clap::{Args, Parser, Subcommand};
use std::time::Duration;

const AFTER_HELP: &str = "\
Examples:
  kingctl app deploy shop@1.4.0 --count 2
  kingctl app ls
  kingctl logs shop --follow
  kingctl event tail --app shop

Exit codes:
  0  done
  1  failed
  2  the command line, or a value in it, is not understood
  3  what it names does not exist
  4  conflict: what it would make exists, or what it rests on has changed
  6  --wait ran out of time; what was asked for goes on
  7  partly done: exec succeeded on some servants only";

/// The command line of the kingdom.
#[derive(Debug, Parser)]
#[command(name = "kingctl", version, about, after_help = AFTER_HELP, max_term_width = 110)]
pub struct Cli {
    #[command(flatten)]
    pub globals: Globals,
    #[command(subcommand)]
    pub noun: Noun,
}

/// Flags that every noun takes.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Global options")]
pub struct Globals {
    /// The NATS server; of a cluster all servers, separated by commas. Only loopback addresses are taken.
    #[arg(long, global = true, env = "KING_NATS", value_name = "URL", default_value = "nats://127.0.0.1:4222", value_parser = service::loopback::parse_url)]
    pub nats: String,
    /// How results are printed.
    #[arg(short, long, global = true, value_enum, default_value_t = output::Format::Table, value_name = "FORMAT")]
    pub output: output::Format,
    /// When to use colour. NO_COLOR is heeded.
    #[arg(long, global = true, value_enum, default_value_t = output::Color::Auto, value_name = "WHEN")]
    pub color: output::Color,
    /// How long to try to reach a King.
    #[arg(long, global = true, value_name = "TIME", default_value = "10s", value_parser = parse_duration)]
    pub timeout: Duration,
    /// Who sends commands.
    #[arg(long, global = true, hide = true, env = "USER", default_value_t = nobody_said())]
    pub user: String,
    /// Set to anything: no colour (https://no-color.org).
    #[arg(long = "no-color", global = true, hide = true, env = "NO_COLOR", num_args = 0..=1, default_missing_value = "1")]
    pub no_color: Option<String>,
}

/// Who runs this, where no name is told.
fn nobody_said() -> String {
    format!("uid-{}", rustix::process::getuid().as_raw())
}

/// What can be done, noun first.
#[derive(Debug, Subcommand)]
pub enum Noun {
    /// Apps: deploy, scale, stop, remove.
    #[command(subcommand)]
    App(app::AppCommand),
    /// Versions of an app.
    #[command(subcommand)]
    Version(version::VersionCommand),
    /// Releases of an app.
    #[command(subcommand)]
    Release(release::ReleaseCommand),
    /// Instances: the running copies of process types.
    #[command(subcommand)]
    Instance(instance::InstanceCommand),
    /// Images that the kingdom holds for containers.
    #[command(subcommand)]
    Image(image::ImageCommand),
    /// Servants: the hosts that run instances.
    #[command(subcommand)]
    Servant(servant::ServantCommand),
    /// Run a command on servants, or beside an instance.
    #[command(after_help = exec::AFTER_HELP)]
    Exec(exec::ExecArgs),
    /// Shared configuration.
    #[command(subcommand)]
    Config(config::ConfigCommand),
    /// Events: all that has happened.
    #[command(subcommand)]
    Event(event::EventCommand),
    /// What was true at a moment, and what changed between two.
    #[command(subcommand)]
    State(state::StateCommand),
    /// Play the events of the past again, in their own pace or faster.
    #[command(
        after_help = "Examples:\n  kingctl replay --from '10m ago' --speed 10\n  kingctl replay --from 1 --to 5000 --speed max > events.jsonl\n  kingctl replay --speed max --to-subject audit.replay\n  kingctl replay --file monday.backup --speed max"
    )]
    Replay(replay::ReplayArgs),
    /// Prove the log, export it, and sign what it is.
    #[command(subcommand)]
    Audit(audit_log::AuditCommand),
    /// Keep the whole kingdom in one file, and bring it back.
    #[command(subcommand)]
    Backup(backup::BackupCommand),
    /// The output of an app's instances, or of one.
    Logs(logs::LogsArgs),
    /// Commands and what became of them.
    #[command(subcommand)]
    Command(command::CommandCommand),
    /// Mails that are planned and not yet sent.
    #[command(subcommand)]
    Alert(alert::AlertCommand),
    /// Kings: which of them writes, and how another takes its turn.
    #[command(subcommand)]
    King(king::KingCommand),
    /// Why something is as it is.
    #[command(subcommand)]
    Why(why::WhyCommand),
    /// Why an app is not on a servant, with every reason.
    WhyNot(why::WhyNotArgs),
    /// Start a whole kingdom on this machine, in the foreground.
    Up(up::UpArgs),
}

impl Cli {
    /// Does what was asked.
    ///
    /// # Errors
    /// When it was not done; the failure knows its exit code.
    pub async fn run(self) -> Result<(), Failure> {
        let globals = &self.globals;
        match self.noun {
            Noun::App(command) => command.run(globals).await,
            Noun::Version(command) => command.run(globals).await,
            Noun::Release(command) => command.run(globals).await,
            Noun::Instance(command) => command.run(globals).await,
            Noun::Image(command) => command.run(globals).await,
            Noun::Servant(command) => command.run(globals).await,
            Noun::Exec(args) => args.run(globals).await,
            Noun::Config(command) => command.run(globals).await,
            Noun::Event(command) => command.run(globals).await,
            Noun::State(command) => command.run(globals).await,
            Noun::Replay(args) => args.run(globals).await,
            Noun::Audit(command) => command.run(globals).await,
            Noun::Backup(command) => command.run(globals).await,
            Noun::Logs(args) => args.run(globals).await,
            Noun::Command(command) => command.run(globals).await,
            Noun::Alert(command) => command.run(globals).await,
            Noun::King(command) => command.run(globals).await,
            Noun::Why(command) => command.run(globals).await,
            Noun::WhyNot(args) => args.run(globals).await,
            Noun::Up(args) => args.run(globals).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn names_are_checked_before_anything_is_sent() {
        for name in ["Shop", "a.b", "a*", "a>b", "a b", "..", "", &"x".repeat(10_000)] {
            let parsed = Cli::try_parse_from(["kingctl", "app", "create", name]);
            assert_eq!(parsed.expect_err(name).exit_code(), 2, "{name:?}");
        }
    }

    #[test]
    fn the_readme_shows_commands_that_exist() {
        let lines = include_str!("../../README.md").lines().filter_map(|line| line.strip_prefix("    "));
        let shown: Vec<&str> = lines.filter(|line| line.starts_with("kingctl ")).collect();
        assert!(shown.len() >= 5, "{shown:?}");
        for line in shown {
            let words = line.split_whitespace().take_while(|word| *word != "#");
            Cli::try_parse_from(words).unwrap_or_else(|error| panic!("{line}: {error}"));
        }
    }

    #[test]
    fn other_machines_are_refused() {
        let parsed = Cli::try_parse_from(["kingctl", "--nats", "nats://10.0.0.1:4222", "app", "ls"]);
        assert!(parsed.expect_err("not loopback").to_string().contains("does not lead to this machine"));
    }
}
