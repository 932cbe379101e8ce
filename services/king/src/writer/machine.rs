//! The commit loop as a machine: inputs and acknowledgements in, commits out.
//!
//! With nothing in flight a commit goes out at once; else what arrives is collected until the acknowledgement. When
//! enough has come for a commit that is worth its price, it goes out behind the one in flight, fenced by that one's hash.
//! Inputs are decided in order on a speculative state; the answers to them wait for the acknowledgement of the commit
//! that they rest on.

use super::batch::Batch;
use bus::log::{Append, COMMIT_BYTES};
use events::limits::BYTES_PER_INPUT;
use events::{Commit, Digest};
use realm::{Context, Input, Response, State, step_onto};
use std::collections::VecDeque;
use std::sync::Arc;

/// Most commits that are in flight at once.
pub const FLIGHTS: usize = 2;
/// So many events are worth a commit of their own while another is in flight.
const WORTH_A_FLIGHT: usize = 256;
/// Most events that are collected before the next commit has to go out.
pub const COLLECT_EVENTS: usize = 1024;
/// Most bytes of events that are collected before the next commit has to go out.
pub const COLLECT_BYTES: usize = 256 * 1024;

/// What is collected and one more input fit into a commit, with room for its head.
const _: () = assert!(COLLECT_BYTES + BYTES_PER_INPUT + 1024 <= COMMIT_BYTES);

/// The machine. `T` is what the shell needs to answer an input.
pub struct Machine<T> {
    state: State,
    /// The sequence of the last commit of the log.
    sequence: u64,
    /// The hash of the last commit of the log, or of the last one in flight.
    previous: Digest,
    inbox: u64,
    collecting: Batch<T>,
    /// What was sent and is not acknowledged, in the order of the log.
    flights: VecDeque<Flight<T>>,
    /// Most of them at once.
    most_flights: usize,
}

struct Flight<T> {
    bytes: usize,
    commit: Commit,
    waiting: Vec<T>,
}

/// A commit that is stored, and who waited for it.
pub struct Stored<T> {
    pub sequence: u64,
    pub bytes: usize,
    pub commit: Arc<Commit>,
    pub waiting: Vec<T>,
}

impl<T> Machine<T> {
    /// A machine at the end of the log: its state, the sequence and the hash of the last commit.
    pub fn new(state: State, sequence: u64, previous: Digest) -> Self {
        let (first, inbox) = (state.last + 1, state.inbox);
        Self {
            state,
            sequence,
            previous,
            inbox,
            collecting: Batch::new(first),
            flights: VecDeque::new(),
            most_flights: FLIGHTS,
        }
    }

    /// With at most so many commits in flight: as many as the log allows, and no more than [`FLIGHTS`].
    pub fn with_flights(self, most: usize) -> Self {
        Self { most_flights: most.clamp(1, FLIGHTS), ..self }
    }

    /// Whether another input may be taken; if not, wait for the acknowledgement.
    pub fn has_room(&self) -> bool {
        self.collecting.len() < COLLECT_EVENTS && self.collecting.bytes() < COLLECT_BYTES
    }

    /// Decides an input on the speculative state. Nothing of it may be told before its commit is stored: hand the
    /// answer to [`Machine::wait`].
    pub fn take(&mut self, input: &Input, context: &Context) -> Response {
        step_onto(&mut self.state, input, context, &mut self.collecting.record)
    }

    /// Everything up to this inbox sequence has been taken, or cannot be read at all.
    pub fn reached_inbox(&mut self, sequence: u64) {
        self.inbox = self.inbox.max(sequence);
    }

    /// Keeps an answer until everything decided so far is stored; gives it back at once when all of it is.
    pub fn wait(&mut self, ticket: T) -> Option<T> {
        if !self.collecting.is_empty() {
            self.collecting.waiting.push(ticket);
            None
        } else if let Some(last) = self.flights.back_mut() {
            last.waiting.push(ticket);
            None
        } else {
            Some(ticket)
        }
    }

    /// The next commit to append, when there is one that is worth it. Commits are appended in the order in which they
    /// come from here.
    pub fn flush(&mut self) -> Option<Append> {
        if !self.is_due() {
            return None;
        }
        let next = self.collecting.next(self.state.last + 1);
        let batch = std::mem::replace(&mut self.collecting, next);
        let head = Commit {
            epoch: self.state.epoch,
            first: batch.first,
            previous: self.previous,
            inbox: self.inbox,
            events: Vec::new(),
        };
        let (payload, events, waiting) = batch.into_commit(&head);
        let append = Append {
            hash: Digest::of(&payload),
            expected_last: self.sequence + self.flights.len() as u64,
            follows: (!self.flights.is_empty()).then_some(self.previous),
            payload,
        };
        self.previous = append.hash;
        self.flights.push_back(Flight {
            bytes: append.payload.len(),
            commit: Commit { events, ..head },
            waiting,
        });
        Some(append)
    }

    /// Whether there is a commit that is worth to be sent.
    pub fn is_due(&self) -> bool {
        match self.flights.len() {
            0 => !self.collecting.is_empty(),
            count if count >= self.most_flights => false,
            _ => self.collecting.len() >= WORTH_A_FLIGHT,
        }
    }

    /// The first commit in flight is stored under this sequence.
    ///
    /// # Panics
    /// When nothing is in flight, or the sequence is not the next one: a bug of the shell.
    pub fn stored(&mut self, sequence: u64) -> Stored<T> {
        let flight = self.flights.pop_front().expect("only a commit in flight can be acknowledged");
        assert_eq!(sequence, self.sequence + 1, "commits are acknowledged in order");
        self.sequence = sequence;
        Stored { sequence, bytes: flight.bytes, commit: flight.commit.into(), waiting: flight.waiting }
    }

    /// How many events wait for the next commit.
    pub fn collected(&self) -> usize {
        self.collecting.len()
    }

    /// Whether everything decided is stored.
    pub fn is_idle(&self) -> bool {
        self.flights.is_empty() && self.collecting.is_empty()
    }

    /// The sequence of the last commit that is stored.
    pub fn last_commit(&self) -> u64 {
        self.sequence
    }

    /// The speculative state: for deciding only.
    pub fn state(&self) -> &State {
        &self.state
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use events::command::{AppCommand, CreateApp};
    use events::{Actor, Command, Timestamp, wire};

    fn create(app: &str) -> Input {
        Input::Command(Command {
            id: format!("create-{app}").parse().unwrap(),
            actor: Actor::anonymous(),
            order: AppCommand::from(CreateApp { app: app.parse().unwrap() }).into(),
            plan: None,
        })
    }

    fn context() -> Context {
        Context { at: Timestamp(1_000), entropy: 7 }
    }

    #[test]
    fn a_spliced_commit_reads_like_any_other() {
        let mut machine: Machine<()> = Machine::new(State::default(), 0, Digest::ZERO);
        machine.take(&create("a"), &context());
        machine.take(&create("b"), &context());
        let append = machine.flush().unwrap();
        let commit: Commit = wire::decode(&append.payload).unwrap();
        assert_eq!((commit.first, commit.events.len(), commit.previous), (1, 4, Digest::ZERO));
        let mut replayed = State::default();
        realm::apply_commit(&mut replayed, &commit).unwrap();
        assert_eq!(replayed.hash(), machine.state().hash());
    }

    #[test]
    fn what_arrives_in_flight_becomes_one_commit_chained_to_the_first() {
        let mut machine = Machine::new(State::default(), 0, Digest::ZERO);
        machine.take(&create("a"), &context());
        assert_eq!(machine.wait("a"), None);
        let first = machine.flush().unwrap();
        machine.take(&create("b"), &context());
        assert_eq!(machine.wait("b"), None);
        machine.take(&create("c"), &context());
        assert_eq!(machine.wait("c"), None);
        assert!(machine.flush().is_none(), "one commit at a time");
        assert_eq!(machine.stored(1).waiting, ["a"]);
        let second = machine.flush().unwrap();
        let commit: Commit = wire::decode(&second.payload).unwrap();
        assert_eq!((commit.first, commit.previous), (3, Digest::of(&first.payload)));
        assert_eq!(second.expected_last, 1);
        assert_eq!(machine.stored(2).waiting, ["b", "c"]);
        assert!(machine.is_idle());
    }

    #[test]
    fn a_repeated_command_waits_for_the_commit_that_its_answer_rests_on() {
        let mut machine = Machine::new(State::default(), 0, Digest::ZERO);
        machine.take(&create("a"), &context());
        machine.flush().unwrap();
        assert!(matches!(machine.take(&create("a"), &context()), Response::Repeated(_)));
        assert_eq!(machine.wait("again"), None);
        assert_eq!(machine.stored(1).waiting, ["again"]);
        assert_eq!(machine.wait("later"), Some("later"));
    }
}
