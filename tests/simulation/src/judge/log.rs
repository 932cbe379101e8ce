//! The log: one writer, no gap, one chain, every input once and whole.

use super::Judge;
use crate::jetstream::Message;
use crate::world::packet::Node;
use events::event::{CommandEvent, InstanceEvent, KingEvent};
use events::{Cause, CommandId, Commit, Digest, Event, EventNumber, Fact, KingId, Outcome, ReportId, wire};
use king::effects;
use realm::State;
use realm::project::ViewKey;
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;

/// The judge's own fold of the log.
pub struct LogJudge {
    pub state: State,
    pub sequence: u64,
    is_cut: bool,
    hash: Digest,
    payloads: Vec<bytes::Bytes>,
    events: Vec<Event>,
    /// The state after each commit, by its last event.
    states: BTreeMap<EventNumber, State>,
    pub(super) outcomes: BTreeMap<CommandId, Outcome>,
    commands: BTreeSet<CommandId>,
    reports: BTreeSet<ReportId>,
    senders: BTreeMap<Uuid, (u64, u64)>,
    /// Every King that a host ever was: what one sent may arrive when the next one runs there.
    kings: BTreeSet<(Node, KingId)>,
    /// Every mail that was ever planned.
    pub(super) mails: BTreeSet<Uuid>,
}

impl Default for LogJudge {
    fn default() -> Self {
        Self {
            state: State::default(),
            sequence: 0,
            is_cut: false,
            hash: Digest::ZERO,
            payloads: Vec::new(),
            events: Vec::new(),
            states: BTreeMap::from([(0, State::default())]),
            outcomes: BTreeMap::new(),
            commands: BTreeSet::new(),
            reports: BTreeSet::new(),
            senders: BTreeMap::new(),
            kings: BTreeSet::new(),
            mails: BTreeSet::new(),
        }
    }
}

impl LogJudge {
    /// A stored event.
    pub fn event(&self, number: EventNumber) -> Option<&Event> {
        self.events.get(usize::try_from(number.checked_sub(1)?).ok()?)
    }

    /// What became of a command.
    pub fn outcome(&self, id: &CommandId) -> Option<&Outcome> {
        self.outcomes.get(id)
    }

    /// A view as it is at a place of the log that a commit ends with.
    pub fn view(&self, key: &str, event: EventNumber) -> Option<Vec<u8>> {
        let state = self.states.get(&event)?;
        let (kind, name) = key.split_once('.')?;
        let key = match kind {
            "assignment" => name.parse().ok().map(ViewKey::Assignment),
            "exec" => name.parse().ok().map(ViewKey::Execs),
            "domain" => name.parse().ok().map(ViewKey::Domain),
            _ => None,
        }?;
        Some(effects::view(state, &key).1)
    }

    pub(super) fn has_report(&self, id: ReportId) -> bool {
        self.reports.contains(&id)
    }
}

impl Judge {
    /// Whether these are the bytes of a commit.
    pub fn has_stored(&self, sequence: u64, payload: &bytes::Bytes) -> bool {
        let index = sequence.checked_sub(1).and_then(|index| usize::try_from(index).ok());
        index.and_then(|index| self.log.payloads.get(index)) == Some(payload)
    }

    /// Which King a process is, from its start on.
    pub fn is_king(&mut self, node: Node, king: KingId) {
        self.log.kings.insert((node, king));
    }

    pub(super) fn committed(&mut self, by: Node, message: &Message, sequence: u64) {
        if self.log.is_cut {
            return self
                .blame("nothing is appended to a log that lost commits", || format!("commit {sequence}"));
        }
        let Ok(commit) = wire::decode::<Commit>(&message.payload) else {
            return self.blame("the log holds commits", || format!("message {sequence} is none"));
        };
        self.follows(&commit, sequence);
        self.is_of_its_writer(by, &commit);
        for event in &commit.events {
            self.happened(event);
        }
        self.inputs_are_whole(&commit);
        self.log.state.inbox = self.log.state.inbox.max(commit.inbox);
        self.log.sequence = sequence;
        self.log.hash = Digest::of(&message.payload);
        self.log.payloads.push(message.payload.clone());
        self.log.states.insert(self.log.state.last, self.log.state.clone());
        self.ports_are_unique();
    }

    fn follows(&mut self, commit: &Commit, sequence: u64) {
        let (next, last, hash) = (self.log.sequence + 1, self.log.state.last, self.log.hash);
        self.require(sequence == next, "the log has no gap", || format!("commit {sequence}, not {next}"));
        self.require(commit.first == last + 1, "events are numbered without gaps", || {
            format!("commit {sequence} begins with event {} after {last}", commit.first)
        });
        self.require(commit.previous == hash, "the log is one chain", || {
            format!("commit {sequence} does not name the one before it")
        });
        self.require(!commit.events.is_empty(), "a commit holds events", || format!("{sequence} holds none"));
        let misplaced = (commit.first..).zip(&commit.events).find(|(number, event)| event.id != *number);
        self.require(misplaced.is_none(), "events are numbered without gaps", || format!("{misplaced:?}"));
    }

    /// Only the King that was elected last writes, and only under its own epoch.
    fn is_of_its_writer(&mut self, by: Node, commit: &Commit) {
        let election = match commit.events.first().map(|event| &event.fact) {
            Some(Fact::King(KingEvent::Elected(elected))) => Some((elected.king, elected.epoch)),
            Some(_) | None => None,
        };
        let epoch = self.log.state.epoch;
        let (writer, wanted) = match election {
            Some((king, elected)) => {
                self.require(elected == epoch + 1, "an election raises the epoch", || {
                    format!("from {epoch} to {elected}")
                });
                (Some(king), elected)
            }
            None => (self.log.state.king, epoch),
        };
        let is_own = writer.is_some_and(|writer| self.log.kings.contains(&(by, writer)));
        self.require(is_own, "one writer per epoch", || {
            format!("{by} wrote in epoch {epoch}, which is another's")
        });
        self.require(commit.epoch == wanted, "commits carry the epoch of their writer", || {
            format!("a commit of epoch {} where {wanted} is", commit.epoch)
        });
    }

    fn happened(&mut self, event: &Event) {
        let before = self.log.state.at;
        self.require(event.at >= before, "time in the log never goes back", || format!("event {}", event.id));
        realm::apply(&mut self.log.state, event);
        self.log.events.push(event.clone());
        match &event.fact {
            Fact::Command(outcome) => self.decided(event, outcome),
            Fact::Instance(InstanceEvent::Stopped(stopped)) if matches!(event.cause, Cause::Report(_)) => {
                self.is_gone(stopped.instance, event.id);
            }
            Fact::Alert(events::event::AlertEvent::Planned(planned)) => {
                self.log.mails.insert(planned.mail);
            }
            Fact::Instance(_)
            | Fact::App(_)
            | Fact::Version(_)
            | Fact::Release(_)
            | Fact::Config(_)
            | Fact::Servant(_)
            | Fact::Alert(_)
            | Fact::King(_)
            | Fact::Exec(_) => {}
        }
    }

    /// A command has exactly one outcome.
    fn decided(&mut self, event: &Event, outcome: &CommandEvent) {
        let id = outcome.id().clone();
        let told = match outcome {
            CommandEvent::Accepted(accepted) => {
                Outcome::Accepted { event: event.id, release: accepted.release }
            }
            CommandEvent::Refused(refused) => {
                Outcome::Refused { event: Some(event.id), refusal: refused.refusal.clone() }
            }
        };
        let floor = self.floor(&id);
        self.require(event.id > floor, "the log keeps real-time order", || {
            format!("{id} was sent after event {floor} was answered and is event {}", event.id)
        });
        let before = self.log.outcomes.insert(id.clone(), told);
        self.require(before.is_none(), "a command runs at most once", || {
            format!("{id} has the outcomes {before:?} and event {}", event.id)
        });
    }

    /// All events of an input are in one commit, side by side; a refused command leaves nothing but its refusal.
    fn inputs_are_whole(&mut self, commit: &Commit) {
        let mut groups: Vec<(&Cause, usize, bool)> = Vec::new();
        for event in &commit.events {
            let is_refusal = matches!(&event.fact, Fact::Command(CommandEvent::Refused(_)));
            match groups.last_mut() {
                Some((cause, count, refused)) if **cause == event.cause => {
                    (*count, *refused) = (*count + 1, *refused || is_refusal);
                }
                Some(_) | None => groups.push((&event.cause, 1, is_refusal)),
            }
        }
        for (cause, count, is_refused) in groups {
            self.require(!is_refused || count == 1, "a refused command has no effect", || {
                format!("{cause:?}")
            });
            match cause {
                Cause::Command(id) => {
                    let is_new = self.log.commands.insert(id.clone());
                    self.require(is_new, "all events of a command land together", || id.to_string());
                }
                Cause::Report(id) => self.reported_once(*id),
                Cause::Tick | Cause::Election => {}
            }
        }
    }

    fn reported_once(&mut self, id: ReportId) {
        let is_new = self.log.reports.insert(id);
        self.require(is_new, "a report counts once", || id.to_string());
        let place = (id.epoch, id.number);
        let last = self.log.senders.insert(id.sender, place).unwrap_or_default();
        self.require(last < place, "reports of a sender count in order", || format!("{id} after {last:?}"));
    }

    fn ports_are_unique(&mut self) {
        let mut seen = BTreeSet::new();
        let state = &self.log.state;
        let twice = state.instances.values().find_map(|instance| {
            instance.ports.values().find(|port| !seen.insert((instance.servant, **port))).copied()
        });
        self.require(twice.is_none(), "a port is given out once", || format!("{twice:?}"));
    }

    /// A King's confirmed state is the fold of the log up to there.
    pub fn confirmed(&mut self, node: Node, state: &State) {
        let last = self.log.state.last;
        let matches = self.log.states.get(&state.last).is_some_and(|own| own == state);
        self.require(matches, "replay equals live", || {
            format!("{node} confirms event {} of {last}; its state is not the fold of the log", state.last)
        });
    }

    /// The log lost its end, or itself: from here on nobody who knows more may append.
    pub fn log_is_cut(&mut self) {
        self.log.is_cut = true;
    }
}
