//! The containers of one instance, from start to end, in a task of its own: an engine that hangs holds up nobody else.
//! Whatever it does may have been done before by a Servant that was killed, or by a call whose answer was lost: so the name
//! of a container is the instance with the number of the run, and what is there is looked at before anything is made.

use super::Heard;
use super::engine::{End, Engine, EngineError, Listed, Named, Own, Status};
use super::output::Follower;
use super::record::Record;
use super::shape::{Labels, Shape, Start};
use super::watch::Snapshot;
use crate::holder::words::{Exit, Told};
use crate::keeper::InstanceFolder;
use crate::probe;
use crate::reconcile::{Input, StartTrouble};
use crate::ship::Shipping;
use crate::spec::Spec;
use events::ServantId;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

mod trouble;

/// How often an engine that is away is asked for what it had of this instance.
const ASK_AGAIN: Duration = Duration::from_millis(500);
/// How long the last lines of a container that has ended may take.
const LAST_LINES: Duration = Duration::from_secs(10);

/// What can be ordered.
pub enum Order {
    /// Start it, unless it runs.
    Start(Box<Start>),
    Signal(Told),
    /// End: remove what is left of it.
    Leave,
}

/// The one who looks after the containers of an instance.
pub struct Life {
    engine: Engine,
    servant: ServantId,
    boot: String,
    folder: InstanceFolder,
    labels: Labels,
    /// The last run whose end the King knows.
    reported_run: u64,
    shipping: Shipping,
    heard: mpsc::Sender<Heard>,
    record: Record,
    /// The container that runs.
    current: Option<Own>,
    output: Option<JoinHandle<()>>,
    /// A signal that the engine did not take.
    untold: Option<Told>,
    is_leaving: bool,
    /// The engine does not bind the folder of its sockets.
    is_mute: bool,
}

impl Life {
    pub fn new(
        engine: Engine,
        servant: ServantId,
        boot: String,
        folder: InstanceFolder,
        reported_run: u64,
        shipping: Shipping,
        heard: mpsc::Sender<Heard>,
    ) -> Self {
        let labels = Labels { servant, instance: Some(folder.instance) };
        let record = Record::read(&folder);
        Self {
            engine,
            servant,
            boot,
            folder,
            labels,
            reported_run,
            shipping,
            heard,
            record,
            current: None,
            output: None,
            untold: None,
            is_leaving: false,
            is_mute: false,
        }
    }

    /// Until nothing of it is left, or the Servant ends.
    pub async fn run(
        mut self,
        mut orders: mpsc::Receiver<Order>,
        mut seen: watch::Receiver<Option<Snapshot>>,
    ) {
        if !self.find().await {
            return;
        }
        loop {
            tokio::select! {
                order = orders.recv() => match order {
                    Some(Order::Start(start)) => self.start(*start).await,
                    Some(Order::Signal(told)) => self.signal(told).await,
                    Some(Order::Leave) => self.is_leaving = true,
                    None => return,
                },
                changed = seen.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    let snapshot = seen.borrow_and_update().clone();
                    self.look(snapshot.as_ref()).await;
                }
            }
            if self.is_leaving && self.leave().await {
                return self.say(Heard::Left(self.folder.instance)).await;
            }
        }
    }

    /// What the engine has of this instance, whatever is recorded; waits for the engine. False when the Servant ends.
    async fn find(&mut self) -> bool {
        let mut listed = loop {
            match self.engine.list(&self.labels).await {
                Ok(listed) => break listed,
                Err(error) => {
                    tracing::debug!(instance = %self.folder.instance, %error, "its containers are not known yet")
                }
            }
            if self.heard.is_closed() {
                return false;
            }
            tokio::time::sleep(ASK_AGAIN).await;
        };
        listed.sort_by_key(|container| container.run);
        let last = listed.pop();
        for old in listed {
            self.put_away(&old).await;
        }
        let is_found = match last {
            Some(last) => self.take_over(&last).await,
            None => false,
        };
        if !is_found && self.record.is_open(&self.boot) {
            self.vanished().await;
        }
        true
    }

    /// The last container of before; says whether it is the last run that is recorded, or a later one.
    async fn take_over(&mut self, last: &Listed) -> bool {
        let Ok(Named::Own(own)) = self.engine.find(&last.id, &self.labels).await else {
            return false;
        };
        let is_recorded = self.record.run == own.run && self.record.pid.is_some();
        if !own.is_shut_in || own.status == Status::Created || own.run < self.record.run {
            self.put_away(last).await;
            return false;
        }
        match &own.status {
            Status::Created => false,
            Status::Running { pid, since } => {
                if !is_recorded {
                    let at = since.map_or_else(service::clock::now, |since| since.timestamp());
                    self.record.begin(own.run, *pid, at, &self.boot);
                    self.keep();
                }
                tracing::info!(instance = %self.folder.instance, pid, run = own.run, "its container goes on");
                self.runs(*own.clone(), *pid).await;
                true
            }
            Status::Ended(end) => {
                self.follow(&own.id);
                if is_recorded && (self.record.exit.is_some() || self.record.boot != self.boot) {
                    // It was told, or the host was started anew: nobody is to blame.
                    self.remove(&own).await;
                } else {
                    if !is_recorded {
                        let at = end.since.map_or_else(service::clock::now, |since| since.timestamp());
                        self.record.begin(own.run, 0, at, &self.boot);
                        self.tell(Input::Started { instance: self.folder.instance, slot: 0, pid: 0 }).await;
                    }
                    self.ended(&own, end).await;
                }
                true
            }
        }
    }

    async fn start(&mut self, mut start: Start) {
        if self.current.is_some() {
            return;
        }
        start.events = start.events.filter(|_| !self.is_mute);
        if let Err(trouble) = self.try_start(&start).await {
            tracing::warn!(instance = %self.folder.instance, ?trouble, "could not be started");
            self.tell(Input::StartFailed { instance: self.folder.instance, slot: 0, trouble }).await;
        }
    }

    async fn try_start(&mut self, start: &Start) -> Result<(), StartTrouble> {
        let run = self.record.run + 1;
        let shape =
            Shape::of(start, self.servant, run).map_err(|error| StartTrouble::Hopeless(error.to_string()))?;
        let mut own = self.make(start, &shape).await?;
        if own.status == Status::Created {
            if let Err(error) = self.engine.start(&own).await {
                self.remove(&own).await;
                return Err(self.refused(start, error));
            }
            own = self.made(&shape).await?;
        }
        let (pid, since) = match &own.status {
            Status::Created => return Err(StartTrouble::Passing("its container does not start".to_owned())),
            Status::Running { pid, since } => (*pid, *since),
            // So soon that its number was not seen.
            Status::Ended(end) => (0, end.since),
        };
        let at = since.map_or_else(service::clock::now, |since| since.timestamp());
        self.record.begin(run, pid, at, &self.boot);
        self.keep();
        self.runs(own.clone(), pid).await;
        if let Status::Ended(end) = &own.status {
            self.ended(&own, end).await;
        }
        Ok(())
    }

    /// A container for this run, which is there already when the answer to its making was lost.
    async fn make(&mut self, start: &Start, shape: &Shape) -> Result<Own, StartTrouble> {
        let spec = &start.spec;
        if let Named::Own(own) = self.named(spec, shape).await? {
            return Ok(*own);
        }
        match probe::taken(spec.ports.values().copied()) {
            Ok(None) => {}
            Ok(Some(port)) => return Err(StartTrouble::PortTaken(port)),
            Err(error) => return Err(StartTrouble::Hopeless(format!("its ports cannot be probed: {error}"))),
        }
        match self.engine.create(shape).await {
            Ok(()) => {}
            Err(error) if trouble::is_name_taken(&error) => {}
            Err(error) => return Err(self.refused(start, error)),
        }
        self.made(shape).await
    }

    /// Why it did not start. An instance that can tell of nothing is better than none: where the engine cannot bind the folder
    /// of its sockets, perhaps because it sees other folders than the Servant does, the next try goes without.
    fn refused(&mut self, start: &Start, error: EngineError) -> StartTrouble {
        match &start.events {
            Some(events) if trouble::is_of_events(&error, &events.folder) => {
                self.is_mute = true;
                tracing::error!(instance = %self.folder.instance, %error, "it cannot tell of app events");
                StartTrouble::Passing(error.to_string())
            }
            Some(_) | None => trouble::of(&start.spec, error),
        }
    }

    async fn named(&mut self, spec: &Spec, shape: &Shape) -> Result<Named, StartTrouble> {
        match self.engine.find(&shape.name, &self.labels).await.map_err(|error| trouble::of(spec, error))? {
            Named::Own(own) if !own.is_shut_in => {
                tracing::error!(
                    container = shape.name,
                    "a container that is not shut in carries its labels; removing it"
                );
                self.remove(&own).await;
                Ok(Named::Nothing)
            }
            named => Ok(named),
        }
    }

    async fn made(&self, shape: &Shape) -> Result<Own, StartTrouble> {
        match self.engine.find(&shape.name, &self.labels).await {
            Ok(Named::Own(own)) => Ok(*own),
            Ok(Named::Foreign) => Err(StartTrouble::Passing(format!(
                "{0} is the name of a container that is not this servant's; it is left alone: docker rm {0}",
                shape.name
            ))),
            Ok(Named::Nothing) => Err(StartTrouble::Passing("its container was removed at once".to_owned())),
            Err(error) => Err(StartTrouble::Passing(error.to_string())),
        }
    }

    /// From here on it is watched.
    async fn runs(&mut self, own: Own, pid: u32) {
        self.follow(&own.id);
        self.current = Some(own);
        self.untold = None;
        self.tell(Input::Started { instance: self.folder.instance, slot: 0, pid }).await;
    }

    async fn signal(&mut self, told: Told) {
        let Some(own) = self.current.clone() else {
            return;
        };
        let signal = match told {
            Told::Nothing => return,
            Told::Terminate => own.stop_signal.as_str(),
            Told::Kill => "SIGKILL",
        };
        if self.record.told < Some(told) {
            self.record.told = Some(told);
            self.keep();
        }
        match self.engine.signal(&own, signal).await {
            Ok(true) => self.untold = None,
            Ok(false) => self.look_closely().await,
            Err(error) => {
                tracing::warn!(instance = %self.folder.instance, %error, "a signal is told again when the engine answers");
                self.untold = Some(told);
            }
        }
    }

    /// The engine was asked for all containers.
    async fn look(&mut self, snapshot: Option<&Snapshot>) {
        let (Some(snapshot), Some(own)) = (snapshot, &self.current) else {
            return;
        };
        if snapshot.get(&own.id) != Some(&true) {
            // The list may be older than the container.
            return self.look_closely().await;
        }
        if let Some(told) = self.untold {
            self.signal(told).await;
        }
    }

    async fn look_closely(&mut self) {
        let Some(own) = self.current.clone() else {
            return;
        };
        match self.engine.find(&own.id, &self.labels).await {
            Ok(Named::Own(now)) => match &now.status {
                Status::Created | Status::Running { .. } => {}
                Status::Ended(end) => self.ended(&now, end).await,
            },
            Ok(Named::Nothing | Named::Foreign) => self.vanished().await,
            // Nothing is concluded from what cannot be seen.
            Err(error) => {
                tracing::debug!(instance = %self.folder.instance, %error, "how it stands is not known")
            }
        }
    }

    async fn ended(&mut self, own: &Own, end: &End) {
        let at = end.at.map_or_else(service::clock::now, |at| at.timestamp());
        tracing::info!(
            instance = %self.folder.instance, run = own.run, code = end.code, oom = end.is_out_of_memory, "exited"
        );
        let exit = self.record.end(Some(end.code), at, end.is_out_of_memory);
        self.over(exit).await;
        self.remove(own).await;
    }

    /// Somebody has removed it.
    async fn vanished(&mut self) {
        tracing::warn!(instance = %self.folder.instance, run = self.record.run, "its container was removed by somebody");
        let exit = self.record.end(None, service::clock::now(), false);
        self.over(exit).await;
        self.last_lines().await;
    }

    async fn over(&mut self, exit: Exit) {
        self.keep();
        self.current = None;
        self.untold = None;
        if exit.run > self.reported_run {
            self.tell(Input::Exited { instance: self.folder.instance, exit }).await;
        }
    }

    /// Removes what is left; says whether nothing is any more, or nothing that runs.
    async fn leave(&mut self) -> bool {
        let listed = match self.engine.list(&self.labels).await {
            Ok(listed) => listed,
            // What has ended is swept away later.
            Err(_) => return self.current.is_none(),
        };
        for container in &listed {
            self.put_away(container).await;
        }
        self.last_lines().await;
        true
    }

    /// Reads the last lines of a container, then removes it, whatever it does.
    async fn put_away(&mut self, container: &Listed) {
        let found = self.engine.find(&container.id, &self.labels).await;
        if let Ok(Named::Own(own)) = found {
            if matches!(own.status, Status::Ended(_)) {
                self.follow(&own.id);
            }
            self.remove(&own).await;
        }
    }

    async fn remove(&mut self, own: &Own) {
        self.last_lines().await;
        if let Err(error) = self.engine.remove(own).await {
            tracing::warn!(instance = %self.folder.instance, %error, "its container is removed later");
        }
    }

    fn follow(&mut self, container: &str) {
        if self.output.is_some() {
            return;
        }
        let follower = Follower {
            engine: self.engine.clone(),
            labels: self.labels.clone(),
            folder: self.folder.clone(),
            container: container.to_owned(),
            shipping: self.shipping.clone(),
        };
        self.output = Some(tokio::spawn(follower.run()));
    }

    /// Waits for the last lines of a container that has ended, before it is removed or another one writes.
    async fn last_lines(&mut self) {
        let Some(mut output) = self.output.take() else {
            return;
        };
        if tokio::time::timeout(LAST_LINES, &mut output).await.is_err() {
            output.abort();
            tracing::error!(instance = %self.folder.instance, "the engine does not give the last lines of its container");
        }
    }

    /// Not to be noted is bad after a kill only, and says so.
    fn keep(&self) {
        if let Err(error) = self.record.keep(&self.folder) {
            tracing::error!(instance = %self.folder.instance, %error, "its run could not be recorded");
        }
    }

    async fn tell(&self, input: Input) {
        self.say(Heard::Input(input)).await;
    }

    async fn say(&self, heard: Heard) {
        // The shell is gone when the Servant ends: then nobody needs to know.
        let _ = self.heard.send(heard).await;
    }
}
