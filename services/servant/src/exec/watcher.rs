//! The link of a run to whoever watches it: output there, input back, both within a window. A watcher that falls behind
//! holds up the command; one that is silent for long counts as gone, and then output is thrown away, and counted.

use bus::Bus;
use bus::connect::SubscribeError;
use bus::flow::{ITEM_BYTES, Moment, Receiving, Sending, WINDOW_ITEMS};
use bus::message::Subscription;
use events::exec::{Bytes, FromRun, Item, Packet, Stdio, TerminalSize, ToRun};
use events::subject::{self, Output};
use events::{DomainName, ExecId, ServantName, wire};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

/// How long a watcher may be silent: it says something every few seconds.
const SILENCE: Duration = Duration::from_secs(15);
/// How often something is said when there is nothing to say.
const SAY_AGAIN: Duration = Duration::from_secs(2);
/// Most packets that wait to go out; what does not fit is sent again later.
const OUTGOING: usize = 2 * WINDOW_ITEMS as usize;
/// How long the end of a run is offered to a watcher.
const FAREWELL: Duration = Duration::from_secs(10);

/// Whether anybody watches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    There,
    Gone,
}

/// What a watcher said.
#[derive(Debug)]
pub enum Word {
    Input(Vec<u8>),
    EndOfInput,
    Resize(TerminalSize),
    /// How far it is: there may be room for more output now.
    Progress,
    /// It went away, by its own word or by its silence.
    Gone,
}

/// The link.
pub struct Watcher {
    presence: Presence,
    heard_at: Instant,
    said_at: Instant,
    sending: Sending<FromRun>,
    receiving: Receiving,
    subscription: Option<Subscription>,
    outgoing: mpsc::Sender<Vec<u8>>,
    began: Instant,
    /// Bytes of output that nobody got.
    pub discarded: u64,
}

impl Watcher {
    /// Listens to whoever watches a run on this servant, and says that it begins.
    ///
    /// # Errors
    /// When the connection is closed for good.
    pub async fn open(
        bus: &Bus,
        domain: &DomainName,
        exec: ExecId,
        servant: &ServantName,
        stdio: &Stdio,
    ) -> Result<Self, SubscribeError> {
        let watched = stdio.is_watched();
        let subscription = match watched {
            true => Some(bus.subscribe(&subject::exec_in(domain, exec, servant)).await?),
            false => None,
        };
        let (outgoing, waiting) = mpsc::channel(OUTGOING);
        tokio::spawn(pump(bus.clone(), subject::exec_out(domain, exec, servant), waiting));
        let now = Instant::now();
        let mut watcher = Self {
            presence: if watched { Presence::There } else { Presence::Gone },
            heard_at: now,
            said_at: now,
            sending: Sending::default(),
            receiving: Receiving::default(),
            subscription,
            outgoing,
            began: now,
            discarded: 0,
        };
        watcher.say_item(None);
        Ok(watcher)
    }

    /// Whether output can be had: there is room for it, or nobody wants it.
    pub fn has_room(&self) -> bool {
        self.presence == Presence::Gone || self.sending.has_room()
    }

    /// Passes output on, or counts it where nobody wants it.
    pub fn output(&mut self, output: Output, bytes: Vec<u8>) {
        match self.presence {
            Presence::There => self.say(FromRun::Output(output, Bytes(bytes))),
            Presence::Gone => self.discarded += bytes.len() as u64,
        }
    }

    /// What it says next. Can be cancelled safely; for ever silent once it is gone.
    pub async fn next(&mut self) -> Word {
        loop {
            if self.presence == Presence::Gone {
                return std::future::pending().await;
            }
            let due = [Some(self.heard_at + SILENCE), Some(self.said_at + SAY_AGAIN), self.again_at()];
            let due = due.into_iter().flatten().min().expect("two of them are there");
            let Some(subscription) = &mut self.subscription else {
                return self.gone();
            };
            tokio::select! {
                message = subscription.next() => {
                    let Some(message) = message else { return self.gone() };
                    return self.hear(&message.payload);
                }
                () = sleep_until(due) => {
                    if self.heard_at.elapsed() >= SILENCE {
                        return self.gone();
                    }
                    self.say_again();
                }
            }
        }
    }

    /// The oldest input that was heard is used up.
    pub fn taken(&mut self) {
        self.receiving.take();
        if self.receiving.is_news() {
            self.say_item(None);
        }
    }

    /// Tells the end of the run, and waits a while until that is heard.
    pub async fn farewell(mut self, ended: FromRun) {
        if self.presence == Presence::Gone {
            return;
        }
        self.say(ended);
        let heard = async {
            while self.presence == Presence::There && !self.sending.is_heard() {
                match self.next().await {
                    // Nothing reads input any more.
                    Word::Input(_) | Word::EndOfInput | Word::Resize(_) => self.taken(),
                    Word::Progress | Word::Gone => {}
                }
            }
        };
        if tokio::time::timeout(FAREWELL, heard).await.is_err() {
            tracing::debug!("nobody heard the end of a run");
        }
    }

    fn hear(&mut self, payload: &[u8]) -> Word {
        let Ok(packet) = wire::decode::<Packet<ToRun>>(payload) else { return Word::Progress };
        self.heard_at = Instant::now();
        self.sending.acknowledged(self.now(), packet.heard, packet.taken);
        let is_small = |item: &Item<ToRun>| match &item.content {
            ToRun::Input(bytes) => bytes.0.len() <= ITEM_BYTES,
            ToRun::EndOfInput | ToRun::Resize(_) | ToRun::Detach => true,
        };
        let content = packet.item.filter(is_small).and_then(|item| self.receiving.hear(item));
        if self.receiving.is_news() {
            self.say_item(None);
        }
        match content {
            Some(ToRun::Input(bytes)) => Word::Input(bytes.0),
            Some(ToRun::EndOfInput) => Word::EndOfInput,
            Some(ToRun::Resize(size)) => Word::Resize(size),
            Some(ToRun::Detach) => self.gone(),
            None => Word::Progress,
        }
    }

    fn gone(&mut self) -> Word {
        self.presence = Presence::Gone;
        self.subscription = None;
        Word::Gone
    }

    fn say(&mut self, content: FromRun) {
        let item = self.sending.push(self.now(), content);
        self.say_item(Some(item));
    }

    fn say_again(&mut self) {
        let again = self.sending.again(self.now());
        if again.is_empty() && self.said_at.elapsed() >= SAY_AGAIN {
            self.say_item(None);
        }
        again.into_iter().for_each(|item| self.say_item(Some(item)));
    }

    fn say_item(&mut self, item: Option<Item<FromRun>>) {
        self.said_at = Instant::now();
        let packet = self.receiving.packet(item);
        // What finds no room is lost, as in the network: it is said again.
        let _ = self.outgoing.try_send(wire::encode(&packet));
    }

    fn again_at(&self) -> Option<Instant> {
        self.sending.again_at().map(|at| self.began + Duration::from_millis(at))
    }

    fn now(&self) -> Moment {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(Moment::MAX)
    }
}

/// Sends what waits, for as long as the link is held. A connection that is cut keeps only this waiting.
async fn pump(bus: Bus, subject: String, mut waiting: mpsc::Receiver<Vec<u8>>) {
    while let Some(packet) = waiting.recv().await {
        if let Err(error) = bus.publish(&subject, &[], packet).await {
            tracing::debug!(%error, "a packet of a run is lost; it is sent again");
        }
    }
}
