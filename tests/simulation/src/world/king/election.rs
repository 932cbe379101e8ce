//! How a King takes over: it measures the log, reads it to its end, and appends its election there.

use super::super::net::Net;
use super::super::packet::{Ask, Failure, Reply, Timer};
use super::super::tail::REQUEST;
use super::appender::{Appender, Outcome};
use super::journal::Journal;
use super::writer::Writer;
use super::{Clock, Life, RETRY, Role, again};
use crate::coverage::Sight;
use ::king::lease::Observation;
use ::king::writer::Machine;
use events::subject::LOG_STREAM;
use realm::{Candidate, Input};

/// A try to take over.
pub(super) struct Election {
    /// The end of the log that has to be read first.
    pub(super) end: Option<u64>,
    pub(super) measuring: Option<u64>,
    pub(super) appender: Option<Appender>,
}

impl Life {
    pub(super) fn elect(&mut self, net: &mut Net) {
        net.note(self.node, || "wants to take over".to_owned());
        let measuring = Some(net.ask(self.node, Ask::State { stream: LOG_STREAM }, REQUEST));
        self.role = Role::Electing(Election { end: None, measuring, appender: None });
    }

    pub(super) fn measured(&mut self, net: &mut Net, result: Result<Reply, Failure>) {
        let Role::Electing(election) = &mut self.role else { return };
        election.measuring = None;
        match result {
            Ok(Reply::State(state)) => election.end = Some(state.last),
            Ok(_) | Err(_) => net.wake(self.node, RETRY, Timer::Again(again::ELECT)),
        }
    }

    pub(super) fn stand_for_election(&mut self, net: &mut Net) {
        let Role::Electing(election) = &mut self.role else { return };
        let is_read = election.end.is_some_and(|end| self.fold.sequence >= end);
        if !is_read || election.appender.is_some() {
            return;
        }
        let fold = &self.fold;
        let mut machine: Machine<()> = Machine::new(fold.state.clone(), fold.sequence, fold.hash);
        let context = Clock { clock_ms: self.clock_ms }.context(net);
        machine.take(&Input::Election(Candidate::from(self.id)), &context);
        let append = machine.flush().expect("an election is an event, and nothing is in flight");
        let mut appender = Appender::new(self.node, append);
        appender.attempt(net);
        appender.begin_to_settle();
        election.appender = Some(appender);
        // Nothing is followed until it is clear how the election came out.
        if let Some(tail) = self.tail.take() {
            tail.close(net);
        }
    }

    pub(super) fn elected(&mut self, net: &mut Net, journal: &mut Journal, outcome: Outcome) {
        let Role::Electing(Election { appender: Some(appender), .. }) = &self.role else { return };
        match outcome {
            Outcome::Open => {}
            Outcome::Stored(sequence) => {
                let payload = appender.append.payload.clone();
                self.reign(net, journal, sequence, payload);
            }
            Outcome::Deposed => self.unelected(net),
            Outcome::Shorter => self.stop(net, "the log is shorter than what was read from it"),
            Outcome::Refused => {
                net.saw(Sight::LogFull);
                self.follow(net);
                net.wake(self.node, RETRY, Timer::Again(again::UNELECTED));
            }
        }
    }

    /// What the other wrote comes by the tail.
    pub(super) fn unelected(&mut self, net: &mut Net) {
        if self.tail.is_none() {
            self.follow(net);
        }
        let epoch = self.fold.state.epoch;
        self.observe(net, Observation::Unelected { epoch });
    }

    fn reign(&mut self, net: &mut Net, journal: &mut Journal, sequence: u64, payload: bytes::Bytes) {
        match self.fold.take(sequence, &payload) {
            Ok(commit) => {
                self.events.extend(commit.events);
                journal.push(sequence, payload);
            }
            Err(error) => return self.stop(net, &error.to_string()),
        }
        net.judge.confirmed(self.node, &self.fold.state);
        self.role = Role::Backup;
        let epoch = self.fold.state.epoch;
        self.observe(net, Observation::Elected { epoch });
        if matches!(self.role, Role::Backup) {
            // The lease went to another while the election was under way.
            self.follow(net);
        }
    }

    pub(super) fn take_the_throne(&mut self, net: &mut Net) {
        let (epoch, sequence) = (self.fold.state.epoch, self.fold.sequence);
        net.note(self.node, || format!("writes in epoch {epoch} after commit {sequence}"));
        if net.judge.reigns(self.node, epoch) {
            net.saw(Sight::TwoReigned);
        }
        self.was_paused = false;
        self.role = Role::Writing(Box::new(Writer::new(net, self.node, &self.fold)));
    }
}
