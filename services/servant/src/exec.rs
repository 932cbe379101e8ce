//! Arbitrary commands: runs that the King has recorded and this servant's view names, each once. They are no instances:
//! they end with the Servant, and nothing starts them again.
//!
//! Read [`run`] (one run from start to end), [`child`] and [`runner`] (the processes), [`inside`] (in containers),
//! [`watcher`] (the link to whoever watches), [`records`] (what outlives the Servant). Nothing runs that the view does not
//! name, and nothing twice.

pub mod words;
pub mod runner;
pub mod inside;
pub(crate) mod session;
mod child;
mod watcher;
mod run;
pub mod records;
mod place;

use crate::holder::groups::Groups;
use crate::keeper;
use crate::reports::{Reports, Sender};
use crate::view::Followed;
use bus::Bus;
use events::exec::{ExecEnd, ExecOutcome, FromRun};
use events::report::{EndedExec, ExecNews};
use events::view::{AssignedExec, ExecWish, Execs, Stamp, Stamped};
use events::{ExecId, News, subject};
use records::{Record, Records};
use run::Wish;
use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinSet;
use watcher::Watcher;
use words::Reach;

pub use place::Places;

/// The variable by which what a run left is found when its Servant and its runner were killed.
pub const EXEC_VARIABLE: &str = "KING_EXEC";
/// How often a disk that takes no record is tried again.
const RECORD_AGAIN: Duration = Duration::from_secs(1);

/// What runs need of the servant.
#[derive(Clone)]
pub struct Host {
    pub bus: Bus,
    pub sender: Sender,
    pub reports: Reports,
    pub records: Records,
    pub places: Places,
    /// This same program, which can be a runner.
    pub program: PathBuf,
}

/// The runs of this servant.
pub struct Executor {
    host: Host,
    known: BTreeMap<ExecId, Known>,
    tasks: JoinSet<ExecId>,
    stamp: Stamp,
}

/// A run that was begun here.
enum Known {
    Runs(watch::Sender<Wish>),
    /// Its end is told.
    Ended,
}

impl Executor {
    /// Runs what the view names, until the future is dropped or `ending` says so; then it ends all that runs.
    pub async fn serve(host: Host, mut ending: watch::Receiver<bool>) {
        let mut executor =
            Self { host, known: BTreeMap::new(), tasks: JoinSet::new(), stamp: Stamp::default() };
        executor.find().await;
        let key = subject::execs_key(executor.host.sender.servant);
        let mut views = Followed::new(executor.host.bus.clone(), key);
        loop {
            tokio::select! {
                view = views.next() => executor.assigned(view).await,
                Some(ended) = executor.tasks.join_next() => executor.ended(ended),
                _ = ending.changed() => break,
            }
        }
        executor.end().await;
    }

    /// What was under way when the Servant died is ended, if anything of it is left, and told to be lost.
    async fn find(&mut self) {
        let records = loop {
            match self.host.records.all() {
                Ok(records) => break records,
                // Nothing is begun that may have been before.
                Err(error) => tracing::error!(%error, "the records of runs cannot be read; trying again"),
            }
            tokio::time::sleep(RECORD_AGAIN).await;
        };
        for (exec, record) in records {
            if record == Record::Begun {
                sweep(exec).await;
                let end = ExecEnd::Lost("its servant was killed or started anew".to_owned());
                self.host.tell(exec, outcome(end)).await;
            }
            self.known.insert(exec, Known::Ended);
        }
    }

    /// A whole view: what is new in it begins, what shall end does, what is not in it is over.
    async fn assigned(&mut self, view: Stamped<Execs>) {
        if view.stamp < self.stamp {
            return;
        }
        self.stamp = view.stamp;
        let named: BTreeMap<ExecId, AssignedExec> =
            view.view.runs.into_iter().map(|assigned| (assigned.exec, assigned)).collect();
        self.known.retain(|exec, known| match known {
            _ if named.contains_key(exec) => true,
            Known::Runs(wish) => {
                // The King takes it for ended, for example because this servant was removed and came back.
                wish.send_replace(Wish::Cancel);
                true
            }
            Known::Ended => forget(&self.host.records, *exec),
        });
        for (exec, assigned) in named {
            match (self.known.get(&exec), assigned.wish) {
                (None, _) => self.begin(assigned).await,
                (Some(Known::Runs(wish)), ExecWish::Cancel) => drop(wish.send_replace(Wish::Cancel)),
                (Some(Known::Runs(_)), ExecWish::Run) | (Some(Known::Ended), _) => {}
            }
        }
    }

    async fn begin(&mut self, assigned: AssignedExec) {
        let exec = assigned.exec;
        if let Err(error) = self.host.records.put(exec, Record::Begun) {
            // Nothing runs that could run twice.
            tracing::error!(%exec, %error, "a run cannot be recorded, so it is not begun");
            let end = run::not_started(format!("it could not be recorded: {error}"));
            self.known.insert(exec, Known::Ended);
            return self.host.tell(exec, outcome(end)).await;
        }
        let (wish, wished) = watch::channel(Wish::Run);
        self.known.insert(exec, Known::Runs(wish));
        let host = self.host.clone();
        self.tasks.spawn(async move {
            host.run(assigned, wished).await;
            exec
        });
    }

    fn ended(&mut self, ended: Result<ExecId, tokio::task::JoinError>) {
        match ended {
            Ok(exec) => drop(self.known.insert(exec, Known::Ended)),
            Err(error) => tracing::error!(%error, "a run broke off"),
        }
    }

    /// Ends all that runs, and tells how it ended.
    async fn end(&mut self) {
        for known in self.known.values() {
            match known {
                Known::Runs(wish) => drop(wish.send_replace(Wish::Leave)),
                Known::Ended => {}
            }
        }
        while self.tasks.join_next().await.is_some() {}
    }
}

impl Host {
    async fn run(&self, assigned: AssignedExec, wished: watch::Receiver<Wish>) {
        let (exec, sender) = (assigned.exec, &self.sender);
        let opened = Watcher::open(&self.bus, &sender.domain, exec, &sender.name, &assigned.stdio).await;
        let mut watcher = match opened {
            Ok(watcher) => watcher,
            Err(error) => {
                return self.tell(exec, outcome(run::not_started(error.to_string()))).await;
            }
        };
        tracing::info!(%exec, command = ?assigned.command, "run begins");
        let outcome = match (self.places.order(&assigned), assigned.wish) {
            (_, ExecWish::Cancel) => outcome(ExecEnd::Cancelled),
            (Err(reason), ExecWish::Run) => outcome(run::not_started(reason)),
            (Ok(order), ExecWish::Run) => {
                let outcome = run::run(&self.program, &assigned, &order, &mut watcher, wished).await;
                let groups = Groups::new(&order.groups);
                // Mostly nobody is left in them.
                groups.kill();
                groups.remove();
                if order.reach == Reach::Container {
                    sweep(exec).await;
                }
                outcome
            }
        };
        tracing::info!(%exec, end = %outcome.end, "run ended");
        self.tell(exec, outcome.clone()).await;
        watcher.farewell(FromRun::Ended(outcome)).await;
    }

    /// Tells the King how a run ended, and remembers that it was told.
    async fn tell(&self, exec: ExecId, outcome: ExecOutcome) {
        let news = News::Exec(ExecNews::Ended(EndedExec { exec, outcome }));
        let told = async {
            let number = self.reports.push(news)?;
            let stored = self.reports.barrier().await;
            // Even if it is not: what is held holds back all that comes after it.
            self.reports.release(&[number]);
            stored
        };
        if let Err(error) = told.await {
            tracing::error!(%exec, %error, "the end of a run could not be kept; it is told to be lost at the next start");
            return;
        }
        while let Err(error) = self.records.put(exec, Record::Told) {
            tracing::error!(%exec, %error, "that the end of a run was told could not be recorded; trying again");
            tokio::time::sleep(RECORD_AGAIN).await;
        }
    }
}

fn outcome(end: ExecEnd) -> ExecOutcome {
    ExecOutcome { end, duration_ms: 0, output_bytes: 0, discarded_bytes: 0 }
}

/// Ends whatever a run left in a container, wherever it is.
pub(crate) async fn sweep(exec: ExecId) {
    let mark = format!("{EXEC_VARIABLE}={exec}");
    let swept = tokio::task::spawn_blocking(move || keeper::sweep(&mark, Vec::new())).await;
    if let Err(error) = swept.map_err(io::Error::other).flatten() {
        tracing::error!(%exec, %error, "what a run left could not be ended");
    }
}

/// Says whether it must still be known.
fn forget(records: &Records, exec: ExecId) -> bool {
    records.remove(exec).inspect_err(|error| tracing::warn!(%exec, %error, "a record stays")).is_err()
}
