//! `kingctl exec`: runs a command on servants or beside an instance, and shows what became of runs.
//!
//! [`attach`] is the conversation with the servants, [`screen`] where output goes, [`keyboard`] where input comes from.

mod attach;
mod keyboard;
mod peer;
mod screen;

use crate::cli::Globals;
use crate::client::Client;
use crate::failure::Failure;
use crate::output::{self, Format, Item, Paint, visible};
use crate::table::Cell;
use crate::values::{parse_bytes, parse_duration};
use clap::{Args, Subcommand};
use events::command::{CancelExec, ExecCommand, RequestExec};
use events::exec::{Limits, Stdio, Terminal};
use events::query::{ExecItem, ExecRunItem, Question};
use events::{ExecId, InstanceId, Selector, ServantName};
use serde::Serialize;
use std::time::Duration;

/// What stands under `kingctl exec --help`.
pub const AFTER_HELP: &str = "\
Examples:
  kingctl exec s1 -- uptime
  kingctl exec s1 s2 -- df -h /                            # lines begin with the servant's name
  kingctl exec --selector role=web,zone!=east -- uname -r
  kingctl exec --selector role=web -- sh -c 'cat /etc/os-release | head -1'
  kingctl exec s1 --stdin -- tar x -C /srv < site.tar
  kingctl exec s1 -t -- bash                               # a terminal; Ctrl-] ends it
  kingctl exec 019a1c2e-6f0b-7c11-8f4e-3a5d1c9b7e10 -- env # beside an instance, or inside its container
  kingctl exec ls
  kingctl exec show 019a1c2e-6f0b-7c11-8f4e-3a5d1c9b7e10

The command runs as the user of the servant program, without a shell unless you name one, in /; beside an instance as its
user and within limits like its own. Who ran what, where and how it ended is in the log for ever: `kingctl event ls --noun exec`. The arguments are, too: pass secrets with --stdin.
The output is not.

Ctrl-C cancels the run everywhere; a second one leaves at once and lets it go on. When the command ends, what it has
started and left behind is ended too.

Exit code: that of the command when there is one servant (124 time is over, 125 too much output or the servant was lost,
126 not started, 128 + n for a signal, 130 cancelled); with several 0 when all succeeded, else 7.";

/// Runs a command on servants, or beside an instance.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct ExecArgs {
    #[command(subcommand)]
    look: Option<Look>,
    /// Servants by name, or one instance by its id.
    #[arg(
        value_name = "SERVANT|INSTANCE",
        required_unless_present = "selector",
        conflicts_with = "selector"
    )]
    targets: Vec<ServantName>,
    /// The servants with these labels: role=web, role!=db, zone, !zone; a comma means and.
    #[arg(short = 'l', long, value_name = "TERMS")]
    selector: Option<Selector>,
    /// End it when it takes longer; at most 24h.
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = parse_duration)]
    time_limit: Duration,
    /// End it when it has more output than this on a servant; at most 1g.
    #[arg(long, value_name = "BYTES", default_value = "64m", value_parser = parse_bytes)]
    max_output: u64,
    /// Pass standard input on, to all of them.
    #[arg(short = 'i', long)]
    stdin: bool,
    /// Give it a terminal: for programs that want one, on one servant.
    #[arg(short = 't', long, conflicts_with_all = ["stdin", "detach"])]
    tty: bool,
    /// Do not wait for it; its output is thrown away.
    #[arg(long, conflicts_with = "stdin")]
    detach: bool,
    /// What kind of terminal this is.
    #[arg(long, hide = true, env = "TERM", default_value = "dumb")]
    term: String,
    /// The program and its arguments.
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<String>,
}

/// What was run.
#[derive(Debug, Subcommand)]
enum Look {
    /// List the runs that go on, and the newest of those that have ended.
    #[command(
        after_help = "Examples:\n  kingctl exec ls\n  kingctl event ls --noun exec --since 30d   # older ones"
    )]
    Ls,
    /// Show a run: who asked for it, and how it goes on each servant.
    #[command(after_help = "Example:\n  kingctl exec show 019a1c2e-6f0b-7c11-8f4e-3a5d1c9b7e10")]
    Show { exec: ExecId },
    /// End a run wherever it goes on.
    #[command(after_help = "Example:\n  kingctl exec cancel 019a1c2e-6f0b-7c11-8f4e-3a5d1c9b7e10")]
    Cancel { exec: ExecId },
}

impl ExecArgs {
    /// Does it.
    ///
    /// # Errors
    /// When it is refused or did not succeed everywhere, or no King answers.
    pub async fn run(self, globals: &Globals) -> Result<(), Failure> {
        let client = Client::connect(globals).await?;
        match self.look {
            Some(Look::Ls) => {
                output::list(globals, &client.query::<ExecItem>("exec.ls", &Question::default()).await?)
            }
            Some(Look::Show { exec }) => show(globals, &client, exec).await,
            Some(Look::Cancel { exec }) => {
                client.command(ExecCommand::from(CancelExec { exec }).into(), None).await?;
                output::print(&format!("run {exec} is cancelled\n"))
            }
            None => {
                let request = self.request()?;
                if self.detach {
                    return detached(globals, &client, request).await;
                }
                attach::run(globals, client, request).await
            }
        }
    }

    fn request(&self) -> Result<RequestExec, Failure> {
        let instance = match self.targets.as_slice() {
            [only] => only.as_str().parse::<InstanceId>().ok(),
            [] | [_, ..] => None,
        };
        let limits = Limits {
            time_ms: u64::try_from(self.time_limit.as_millis()).unwrap_or(u64::MAX),
            output_bytes: self.max_output,
        };
        Ok(RequestExec {
            exec: ExecId(service::clock::fresh_id()),
            servants: if instance.is_some() { Vec::new() } else { self.targets.clone() },
            selector: self.selector.clone(),
            instance,
            command: self.command.clone(),
            stdio: self.stdio()?,
            limits,
        })
    }

    fn stdio(&self) -> Result<Stdio, Failure> {
        match (self.tty, self.stdin, self.detach) {
            (true, _, _) if self.targets.len() != 1 => {
                Err(Failure::Usage("a terminal belongs to one servant or instance: name one".to_owned()))
            }
            (true, _, _) => match keyboard::terminal_size() {
                Some(size) => {
                    let term = if self.term.is_empty() { "dumb" } else { &self.term }.to_owned();
                    Ok(Stdio::Terminal(Terminal { size, term }))
                }
                None => Err(Failure::Usage(
                    "-t needs a terminal here, and standard input is none; use --stdin for a pipe".to_owned(),
                )),
            },
            (false, true, _) => Ok(Stdio::Input),
            (false, false, true) => Ok(Stdio::Discard),
            (false, false, false) => Ok(Stdio::Output),
        }
    }
}

async fn detached(globals: &Globals, client: &Client, request: RequestExec) -> Result<(), Failure> {
    let exec = request.exec;
    client.command(ExecCommand::from(request).into(), None).await?;
    match globals.output {
        Format::Name => output::print(&format!("{exec}\n")),
        Format::Json => output::print(&output::json(&[serde_json::json!({ "exec": exec })])),
        Format::Table => output::print(&format!("run {exec} goes on; see `kingctl exec show {exec}`\n")),
    }
}

async fn show(globals: &Globals, client: &Client, exec: ExecId) -> Result<(), Failure> {
    let question = Question { exec: Some(exec), ..Question::default() };
    let found: ExecItem = client.query_one("exec.show", &question).await?;
    match globals.output {
        Format::Json => output::print(&output::json(&[found])),
        Format::Name => output::print(&format!("{exec}\n")),
        Format::Table => {
            let mut head = format!("run {exec} by {} at {}\n", found.actor, found.requested_at);
            head.push_str(&format!("  {}\n", command_line(&found.command)));
            if let Some(actor) = &found.cancelled_by {
                head.push_str(&format!("  cancelled by {actor}\n"));
            }
            for left in &found.left_out {
                head.push_str(&format!("  not on {}: it {}\n", left.servant, visible(&left.reason)));
            }
            output::print(&head)?;
            output::list(globals, &rows(&found.runs))
        }
    }
}

/// A run on one servant, as a row.
#[derive(Debug, Serialize)]
pub struct Row {
    servant: ServantName,
    #[serde(flatten)]
    run: ExecRunItem,
}

fn rows(runs: &[ExecRunItem]) -> Vec<Row> {
    runs.iter().map(|run| Row { servant: run.servant.clone(), run: run.clone() }).collect()
}

impl Item for Row {
    const COLUMNS: &'static [&'static str] = &["SERVANT", "END", "TOOK", "OUTPUT", "NOT KEPT"];

    fn cells(&self) -> Vec<Cell> {
        let (paint, end) = match &self.run.outcome {
            Some(outcome) if outcome.end.is_success() => (Paint::Good, outcome.end.to_string()),
            Some(outcome) => (Paint::Bad, visible(&outcome.end.to_string())),
            None if self.run.lost => (Paint::Bad, "not known: the servant is lost".to_owned()),
            None => (Paint::Busy, "goes on".to_owned()),
        };
        let outcome = self.run.outcome.as_ref();
        vec![
            Cell::new(&self.servant),
            Cell::painted(paint, end),
            Cell::optional(outcome.map(|outcome| format!("{:.1} s", outcome.duration_ms as f64 / 1000.0))),
            Cell::optional(outcome.map(|outcome| format!("{} B", outcome.output_bytes))),
            Cell::optional(
                outcome.filter(|it| it.discarded_bytes > 0).map(|it| format!("{} B", it.discarded_bytes)),
            ),
        ]
    }

    fn name(&self) -> String {
        self.servant.to_string()
    }
}

impl Item for ExecItem {
    const COLUMNS: &'static [&'static str] = &["EXEC", "AT", "ACTOR", "SERVANTS", "STATE", "COMMAND"];

    fn cells(&self) -> Vec<Cell> {
        let servants: Vec<&str> = self.runs.iter().take(3).map(|run| run.servant.as_str()).collect();
        let more = self.runs.len().saturating_sub(servants.len());
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let (paint, state) = self.state();
        vec![
            Cell::new(self.exec),
            Cell::new(self.requested_at),
            Cell::new(&self.actor),
            Cell::new(format!("{}{more}", servants.join(", "))),
            Cell::painted(paint, state),
            Cell::new(command_line(&self.command)),
        ]
    }

    fn name(&self) -> String {
        self.exec.to_string()
    }
}

trait HasState {
    fn state(&self) -> (Paint, String);
}

impl HasState for ExecItem {
    fn state(&self) -> (Paint, String) {
        let ended: Vec<_> = self.runs.iter().filter_map(|run| run.outcome.as_ref()).collect();
        let good = ended.iter().filter(|outcome| outcome.end.is_success()).count();
        match (ended.as_slice(), self.runs.len()) {
            ([only], 1) if good == 0 => (Paint::Bad, visible(&only.end.to_string())),
            (_, all) if ended.len() < all => {
                (Paint::Busy, format!("goes on, {} of {all} ended", ended.len()))
            }
            (_, all) if good == all => (Paint::Good, "succeeded".to_owned()),
            (_, all) => (Paint::Bad, format!("failed on {} of {all}", all - good)),
        }
    }
}

/// The arguments as one line, as a shell would need them.
fn command_line(command: &[String]) -> String {
    let plain = |argument: &str| {
        !argument.is_empty()
            && argument.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_./=:,@%+".contains(&byte))
    };
    let quote = |argument: &String| match plain(argument) {
        true => argument.clone(),
        false => format!("'{}'", visible(argument).replace('\'', "'\\''")),
    };
    command.iter().map(quote).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Cli, Noun};
    use clap::Parser;

    fn parse(words: &[&str]) -> Result<ExecArgs, clap::Error> {
        match Cli::try_parse_from([&["kingctl", "exec"], words].concat())?.noun {
            Noun::Exec(args) => Ok(args),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_follows_two_dashes_is_the_command_and_nothing_else() {
        let args = parse(&["s1", "s2", "--", "ls", "-l", "--", "--stdin"]).expect("it is sound");
        assert_eq!(args.targets.len(), 2);
        assert_eq!(args.command, ["ls", "-l", "--", "--stdin"]);
        assert!(!args.stdin);
        for bad in [&["s1", "ls"][..], &["s1", "--"], &["--", "ls"], &["s1", "-l", "role=web", "--", "ls"]] {
            assert!(parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_run_is_looked_at_by_a_word_in_the_place_of_a_servant() {
        assert!(matches!(parse(&["ls"]).expect("sound").look, Some(Look::Ls)));
        let id = "019a1c2e-6f0b-7c11-8f4e-3a5d1c9b7e10";
        assert!(matches!(parse(&["show", id]).expect("sound").look, Some(Look::Show { .. })));
        assert!(parse(&["show", "x"]).is_err());
    }

    #[test]
    fn an_id_means_an_instance() {
        let id = "019a1c2e-6f0b-7c11-8f4e-3a5d1c9b7e10";
        let request = parse(&[id, "--", "env"]).expect("sound").request().expect("sound");
        assert_eq!(request.instance.map(|id| id.to_string()).as_deref(), Some(id));
        assert!(request.servants.is_empty());
        let request =
            parse(&["s1", "--time-limit", "3s", "--", "env"]).expect("sound").request().expect("sound");
        assert_eq!((request.servants.len(), request.limits.time_ms, request.stdio), (1, 3000, Stdio::Output));
    }

    #[test]
    fn command_lines_are_shown_as_a_shell_would_take_them() {
        let line = command_line(&["sh".into(), "-c".into(), "echo it's\n".into(), String::new()]);
        assert_eq!(line, "sh -c 'echo it'\\''s\\n' ''");
    }
}
