//! Watching a run: output in, input out, Ctrl-C, and what became of it in the end.

use super::keyboard::{self, Raw};
use super::peer::{End, Peer};
use super::screen::{self, Piece, Shape, Written};
use super::{Row, rows};
use crate::cli::Globals;
use crate::client::Client;
use crate::failure::Failure;
use crate::output::{self, Format, Style, visible};
use anyhow::Context;
use bus::Subscription;
use bus::flow::{Moment, WINDOW_ITEMS};
use events::command::{CancelExec, ExecCommand, RequestExec};
use events::event::LeftOut;
use events::exec::{Bytes, ExecEnd, FromRun, Stdio, ToRun};
use events::query::{ExecItem, ExecRunItem, Question};
use events::{ExecId, subject};
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval};

/// How often is looked at what is due.
const TICK: Duration = Duration::from_millis(100);
/// How often the King is asked about servants that are silent.
const ASK_AGAIN_MS: Moment = 1_000;
/// Most messages that are taken before they are acknowledged.
const AT_ONCE: usize = 16;
/// Ctrl-]: the key that ends a terminal from this side.
const ESCAPE: u8 = 0x1d;

/// Asks for a run and watches it to its end.
///
/// # Errors
/// When it is refused, or did not succeed everywhere.
pub async fn run(globals: &Globals, client: Client, request: RequestExec) -> Result<(), Failure> {
    let (exec, stdio) = (request.exec, request.stdio.clone());
    // Nothing is said before somebody listens.
    let subscription = client.bus.subscribe(&subject::exec_outs(exec)).await.context("cannot listen")?;
    let accepted = client.command(ExecCommand::from(request).into(), None).await?;
    let question = Question { exec: Some(exec), min_event: Some(accepted.event), ..Question::default() };
    let item: ExecItem = client.query_one("exec.show", &question).await?;
    for left in &item.left_out {
        eprintln!("{}: left out: it {}", left.servant, visible(&left.reason));
    }
    let mut watching = Watching::begin(globals, client, subscription, exec, &stdio, &item)?;
    let leave = watching.until_the_end().await?;
    watching.finish(globals, leave, &item.left_out).await
}

/// Why watching ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Leave {
    /// It has ended everywhere, as far as can be known.
    Ended,
    /// It goes on without us.
    Detached,
    /// Nobody reads what it says.
    Closed,
}

struct Watching {
    client: Arc<Client>,
    exec: ExecId,
    subscription: Subscription,
    peers: Vec<Peer>,
    began: Instant,
    asked_at: Moment,
    pieces: mpsc::Sender<Piece>,
    written: mpsc::Receiver<Written>,
    unwritten: usize,
    input: Option<mpsc::Receiver<Vec<u8>>>,
    resized: Option<Signal>,
    interrupts: [Signal; 3],
    cancels: u32,
    /// Put back when this is dropped.
    raw: Option<Raw>,
}

enum Woken {
    Message(Option<bus::Message>),
    Written(Option<Written>),
    Input(Option<Vec<u8>>),
    Resized,
    Interrupt,
    Tick,
}

impl Watching {
    fn begin(
        globals: &Globals,
        client: Client,
        subscription: Subscription,
        exec: ExecId,
        stdio: &Stdio,
        item: &ExecItem,
    ) -> Result<Self, Failure> {
        let servants: Vec<_> = item.runs.iter().map(|run| run.servant.clone()).collect();
        let most = servants.len() * WINDOW_ITEMS as usize;
        let peers: Vec<Peer> = servants.iter().map(|servant| Peer::new(servant.clone(), 0)).collect();
        let shape = match (peers.len(), globals.output) {
            (1, Format::Table | Format::Name) => Shape::Plain,
            (_, format) => Shape::Lines { servants, format, styles: Style::of_both(globals) },
        };
        let (pieces, written) = screen::begin(shape, most);
        let interrupts = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()];
        let [interrupt, terminate, hangup] = interrupts.map(signal);
        let (resized, raw) = match stdio {
            Stdio::Terminal(_) => (Some(signal(SignalKind::window_change())?), Some(Raw::enter()?)),
            Stdio::Discard | Stdio::Output | Stdio::Input => (None, None),
        };
        Ok(Self {
            client: Arc::new(client),
            exec,
            subscription,
            peers,
            began: Instant::now(),
            asked_at: 0,
            pieces,
            written,
            unwritten: 0,
            input: stdio.has_input().then(keyboard::read),
            resized,
            interrupts: [interrupt?, terminate?, hangup?],
            cancels: 0,
            raw,
        })
    }

    async fn until_the_end(&mut self) -> Result<Leave, Failure> {
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while self.unwritten > 0 || self.peers.iter().any(Peer::is_open) {
            let left = match self.wait(&mut ticks).await {
                Woken::Message(Some(message)) => self.messages(message).await,
                Woken::Message(None) => return Err(anyhow::anyhow!("the connection is closed").into()),
                Woken::Written(Some(Written::Piece(peer))) => {
                    self.unwritten -= 1;
                    if self.peers[peer].taken() {
                        self.say_what_is_due().await;
                    }
                    None
                }
                Woken::Written(Some(Written::Closed) | None) => Some(Leave::Closed),
                Woken::Input(piece) => self.input(piece).await,
                Woken::Resized => self.resize().await,
                Woken::Interrupt => self.interrupt(),
                Woken::Tick => self.tick().await,
            };
            if let Some(leave) = left {
                return Ok(leave);
            }
        }
        // The last word is acknowledged, so that nobody says it again.
        self.say_what_is_due().await;
        Ok(Leave::Ended)
    }

    async fn wait(&mut self, ticks: &mut tokio::time::Interval) -> Woken {
        let has_room =
            self.peers.iter().all(|peer| peer.has_room() && (peer.domain.is_some() || !peer.is_open()));
        let [interrupt, terminate, hangup] = &mut self.interrupts;
        tokio::select! {
            message = self.subscription.next() => Woken::Message(message),
            written = self.written.recv() => Woken::Written(written),
            piece = next(&mut self.input), if has_room => Woken::Input(piece),
            Some(()) = changed(&mut self.resized) => Woken::Resized,
            _ = interrupt.recv() => Woken::Interrupt,
            _ = terminate.recv() => Woken::Interrupt,
            _ = hangup.recv() => Woken::Interrupt,
            _ = ticks.tick() => Woken::Tick,
        }
    }

    /// A message and those that are there already, then what is due for all of them.
    async fn messages(&mut self, first: bus::Message) -> Option<Leave> {
        self.message(&first);
        for _ in 1..AT_ONCE {
            let more = tokio::time::timeout(Duration::ZERO, self.subscription.next()).await;
            let Ok(Some(message)) = more else { break };
            self.message(&message);
        }
        self.say_what_is_due().await;
        None
    }

    fn message(&mut self, message: &bus::Message) {
        let now = self.now();
        let Some((domain, _, servant)) = subject::parse_exec_out(&message.subject) else { return };
        let Some(place) = self.peers.iter().position(|peer| peer.servant == servant) else { return };
        let peer = &mut self.peers[place];
        peer.domain = Some(domain);
        match peer.hear(now, &message.payload) {
            Some(FromRun::Output(output, Bytes(bytes))) => {
                let piece = Piece { peer: place, output, bytes };
                // There is room for a window of each; a screen that is closed says so.
                if self.pieces.try_send(piece).is_ok() {
                    self.unwritten += 1;
                }
            }
            Some(FromRun::Ended(outcome)) => {
                peer.taken();
                peer.end = End::Known(outcome);
            }
            None => {}
        }
    }

    async fn input(&mut self, piece: Option<Vec<u8>>) -> Option<Leave> {
        match piece {
            Some(piece) if self.raw.is_some() && piece.contains(&ESCAPE) => return Some(Leave::Detached),
            Some(piece) => self.say(&ToRun::Input(Bytes(piece))).await,
            None => {
                self.input = None;
                self.say(&ToRun::EndOfInput).await;
            }
        }
        None
    }

    async fn resize(&mut self) -> Option<Leave> {
        if let Some(size) = keyboard::terminal_size() {
            self.say(&ToRun::Resize(size)).await;
        }
        None
    }

    /// The first one cancels, the second one leaves.
    fn interrupt(&mut self) -> Option<Leave> {
        self.cancels += 1;
        if self.cancels > 1 {
            return Some(Leave::Detached);
        }
        eprintln!("cancelling {}; press Ctrl-C again to leave it to itself", self.exec);
        self.cancel();
        None
    }

    /// Goes on beside the conversation.
    fn cancel(&self) {
        let (client, exec) = (self.client.clone(), self.exec);
        tokio::spawn(async move {
            match client.command(ExecCommand::from(CancelExec { exec }).into(), None).await {
                Ok(_) | Err(Failure::Conflict(_)) => {}
                Err(failure) => drop(failure.report(Format::Table)),
            }
        });
    }

    async fn tick(&mut self) -> Option<Leave> {
        let now = self.now();
        if now >= self.asked_at + ASK_AGAIN_MS && self.peers.iter().any(|peer| peer.is_silent(now)) {
            self.asked_at = now;
            self.ask().await;
        }
        self.say_what_is_due().await;
        None
    }

    /// What the King knows of runs whose servants are silent. When it does not answer, it is asked again.
    async fn ask(&mut self) {
        let question = Question { exec: Some(self.exec), ..Question::default() };
        let asked = self.client.query_one::<ExecItem>("exec.show", &question);
        let Ok(Ok(item)) = tokio::time::timeout(Duration::from_millis(ASK_AGAIN_MS), asked).await else {
            return;
        };
        let now = self.now();
        for run in &item.runs {
            let silent =
                self.peers.iter_mut().filter(|peer| peer.is_silent(now) && peer.servant == run.servant);
            silent.for_each(|peer| peer.is_told(run));
        }
    }

    async fn say_what_is_due(&mut self) {
        let now = self.now();
        for peer in &mut self.peers {
            let Some(domain) = peer.domain.clone() else { continue };
            let subject = subject::exec_in(&domain, self.exec, &peer.servant);
            for packet in peer.due(now) {
                // What is lost is sent again.
                let _ = self.client.bus.publish(&subject, &[], packet).await;
            }
        }
    }

    async fn say(&mut self, content: &ToRun) {
        let now = self.now();
        for peer in self.peers.iter_mut().filter(|peer| peer.is_open()) {
            let Some(domain) = peer.domain.clone() else { continue };
            let subject = subject::exec_in(&domain, self.exec, &peer.servant);
            let packet = peer.say(now, content.clone());
            let _ = self.client.bus.publish(&subject, &[], packet).await;
        }
    }

    fn now(&self) -> Moment {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(Moment::MAX)
    }

    /// Says what became of it.
    async fn finish(mut self, globals: &Globals, leave: Leave, left_out: &[LeftOut]) -> Result<(), Failure> {
        match leave {
            Leave::Closed => self.cancel_and_wait().await,
            Leave::Detached => self.say(&ToRun::Detach).await,
            Leave::Ended => {}
        }
        let _ = self.client.bus.flush().await;
        // The terminal is put back before anything is said there.
        drop(self.raw.take());
        drop(self.pieces);
        // What had no end of line is written now.
        while self.written.recv().await.is_some() {}
        match leave {
            Leave::Closed => Err(Failure::OutputClosed),
            Leave::Detached => {
                eprintln!("run {} is left to itself; see `kingctl exec show {}`", self.exec, self.exec);
                Err(Failure::Exit(ExecEnd::Cancelled.exit_code()))
            }
            Leave::Ended => conclude(globals, &self.peers, left_out),
        }
    }

    async fn cancel_and_wait(&self) {
        let cancelled =
            self.client.command(ExecCommand::from(CancelExec { exec: self.exec }).into(), None).await;
        if let Err(failure) = cancelled {
            failure.report(Format::Table);
        }
    }
}

async fn next(input: &mut Option<mpsc::Receiver<Vec<u8>>>) -> Option<Vec<u8>> {
    match input {
        Some(input) => input.recv().await,
        None => std::future::pending().await,
    }
}

async fn changed(signal: &mut Option<Signal>) -> Option<()> {
    match signal {
        Some(signal) => signal.recv().await,
        None => std::future::pending().await,
    }
}

/// The exit code of one servant is the command's; of several there is a table.
fn conclude(globals: &Globals, peers: &[Peer], left_out: &[LeftOut]) -> Result<(), Failure> {
    let runs: Vec<ExecRunItem> = peers.iter().map(run_item).collect();
    match (globals.output, peers) {
        (Format::Json, _) => {
            for row in rows(&runs) {
                let line = serde_json::to_string(&row).expect("rows have text keys");
                output::print(&format!("{line}\n"))?;
            }
        }
        (Format::Table | Format::Name, [_]) => {}
        (Format::Table | Format::Name, _) => {
            let rows: Vec<Row> = rows(&runs);
            eprint!("{}", output::table(Style::of_both(globals)[1], &rows));
        }
    }
    let succeeded = |run: &ExecRunItem| run.outcome.as_ref().is_some_and(|outcome| outcome.end.is_success());
    let good = runs.iter().filter(|run| succeeded(run)).count();
    match (runs.as_slice(), left_out) {
        (_, []) if good == runs.len() => Ok(()),
        ([only], []) => Err(one(only)),
        (_, _) => {
            let all = runs.len() + left_out.len();
            Err(Failure::PartlyDone(format!("it succeeded on {good} of {all} servants")))
        }
    }
}

fn run_item(peer: &Peer) -> ExecRunItem {
    let (outcome, lost) = match &peer.end {
        End::Known(outcome) => (Some(outcome.clone()), false),
        End::GoesOn => (None, false),
        End::Unknown => (None, true),
    };
    ExecRunItem { servant: peer.servant.clone(), lost, outcome, ended_at: None }
}

/// What a command says of itself by its exit code needs no more words.
fn one(run: &ExecRunItem) -> Failure {
    let Some(outcome) = &run.outcome else {
        eprintln!("{}: it is not known how it ended: the servant is lost", run.servant);
        return Failure::Exit(ExecEnd::Lost(String::new()).exit_code());
    };
    match &outcome.end {
        ExecEnd::Code(_) => {}
        end @ (ExecEnd::Signal(_)
        | ExecEnd::NotStarted(_)
        | ExecEnd::TimedOut
        | ExecEnd::Cancelled
        | ExecEnd::OutputExceeded
        | ExecEnd::HungUp
        | ExecEnd::Lost(_)) => eprintln!("{}: {}", run.servant, visible(&end.to_string())),
    }
    Failure::Exit(outcome.end.exit_code())
}
