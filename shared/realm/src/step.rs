//! One step of the kingdom: an input in, the events that follow from it out, and the state moved on.

use crate::apply::apply;
use crate::context::{Context, Input};
use crate::converge::{self, Ids};
use crate::decide::{self, Hearing};
use crate::plan;
use crate::state::State;
use crate::trial::Trial;
use events::event::{AppEvent, CommandAccepted, CommandEvent, CommandRefused, InstanceEvent, ServantEvent};
use events::limits::{BYTES_PER_INPUT, EVENTS_PER_INPUT};
use events::{
    Actor, AppName, Cause, Command, CommandKind, DomainName, Event, EventNumber, Fact, Outcome, Refusal,
    RefusalCode, Report, Timestamp, Verdict, wire,
};
use std::collections::BTreeSet;

/// Most facts that a decision itself gives beside what converging adds.
pub(crate) const MOST_DIRECT_FACTS: usize = EVENTS_PER_INPUT / 2;
/// Bytes kept for the outcome of a command.
const OUTCOME_BYTES: usize = 4 * 1024;

/// The events of one input or of many, in order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Record {
    pub events: Vec<Event>,
    /// The same events as MessagePack, one after the other.
    pub encoded: Vec<u8>,
}

impl Record {
    /// Where the next event will stand, and its bytes.
    fn end(&self) -> (usize, usize) {
        (self.events.len(), self.encoded.len())
    }

    /// Takes back everything from so many events and bytes on.
    fn truncate(&mut self, (events, bytes): (usize, usize)) {
        self.events.truncate(events);
        self.encoded.truncate(bytes);
    }
}

/// What one input led to.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    /// The events, numbered on from the state; empty when the input changed nothing.
    pub events: Vec<Event>,
    /// The same events as MessagePack, one after the other: at most `BYTES_PER_INPUT` bytes.
    pub encoded: Vec<u8>,
    pub response: Response,
}

/// What to tell the sender of an input, once the events are stored.
#[derive(Clone, Debug, PartialEq)]
pub enum Response {
    /// A command was decided.
    Decided(Outcome),
    /// A command with this id was decided before; this was its outcome.
    Repeated(Outcome),
    Report(Verdict),
    /// Nobody waits.
    None,
}

/// Decides an input and applies what follows to the state.
pub fn step(state: &mut State, input: &Input, context: &Context) -> Decision {
    let mut record = Record::default();
    let response = step_onto(state, input, context, &mut record);
    Decision { events: record.events, encoded: record.encoded, response }
}

/// Decides an input, applies what follows to the state, and adds its events to a record: at most `EVENTS_PER_INPUT` of
/// them, in `BYTES_PER_INPUT` bytes.
pub fn step_onto(state: &mut State, input: &Input, context: &Context, record: &mut Record) -> Response {
    let mut draft = Draft::new(state, input, context, record);
    let response = match input {
        Input::Command(command) => step_command(state, command, &mut draft),
        Input::Report(report) => step_report(state, report, &mut draft),
        Input::Tick => {
            let unsettled = state.unsettled.clone();
            draft.converge(state, unsettled);
            Response::None
        }
        Input::Election(candidate) => {
            let fact = decide::election(state, *candidate, context);
            draft.record(state, fact);
            Response::None
        }
    };
    assert!(draft.bytes() <= BYTES_PER_INPUT, "every event is counted before it is recorded");
    response
}

fn step_command(state: &mut State, command: &Command, draft: &mut Draft<'_>) -> Response {
    if let Some(stored) = state.outcomes.get(&command.id) {
        return Response::Repeated(stored.outcome);
    }
    let id = command.id.clone();
    let kind = CommandKind::of(&command.order);
    let decided = decide::command(state, &command.order)
        .and_then(|consent| draft.record_as_planned(state, command, consent.facts).map(|()| consent.release));
    match decided {
        Ok(release) => {
            let accepted = CommandAccepted { id, command: kind, release };
            draft.record(state, Fact::Command(CommandEvent::Accepted(accepted)));
            Response::Decided(Outcome::Accepted { event: state.last, release })
        }
        Err(refusal) => {
            let refused = CommandRefused { id, command: kind, refusal: refusal.clone() };
            draft.record(state, Fact::Command(CommandEvent::Refused(refused)));
            Response::Decided(Outcome::Refused { event: Some(state.last), refusal })
        }
    }
}

fn step_report(state: &mut State, report: &Report, draft: &mut Draft<'_>) -> Response {
    let verdict = match decide::report(state, report, draft.at) {
        Ok(Hearing::News(facts)) => draft.record_all(state, facts).map(|()| Verdict::Committed),
        Ok(Hearing::Redundant) => Ok(Verdict::Redundant),
        Err(refusal) => Err(refusal),
    };
    Response::Report(verdict.unwrap_or_else(Verdict::Refused))
}

/// The events of one input as they come to be.
pub(crate) struct Draft<'a> {
    at: Timestamp,
    cause: Cause,
    actor: Actor,
    domain: DomainName,
    ids: Ids<'a>,
    pub(crate) record: &'a mut Record,
    /// Where the events of this input begin in the record, and their bytes.
    begin: (usize, usize),
    /// What the state was, where all of it may have to be taken back.
    pub(crate) trial: Option<Trial>,
}

impl<'a> Draft<'a> {
    fn new(state: &State, input: &Input, context: &'a Context, record: &'a mut Record) -> Self {
        Self {
            // A clock that is set back must not make events older than those before them.
            at: context.at.max(state.at),
            cause: input.cause(),
            actor: input.actor(),
            domain: input.domain(),
            ids: Ids::new(context),
            begin: record.end(),
            record,
            trial: None,
        }
    }

    /// A draft whose events can be taken back.
    pub(crate) fn on_trial(
        state: &State,
        input: &Input,
        context: &'a Context,
        record: &'a mut Record,
    ) -> Self {
        Self { trial: Some(Trial::begin(state)), ..Self::new(state, input, context, record) }
    }

    /// Takes back what was recorded on trial.
    pub(crate) fn revert(&mut self, state: &mut State) {
        if let Some(trial) = self.trial.take() {
            trial.revert(state);
            self.record.truncate(self.begin);
        }
    }

    /// The events that this input has led to.
    pub(crate) fn events(&self) -> &[Event] {
        &self.record.events[self.begin.0..]
    }

    /// How many bytes they take.
    fn bytes(&self) -> usize {
        self.record.encoded.len() - self.begin.1
    }

    /// Adds the event after `last` to the record; nothing of it is applied.
    fn push(&mut self, last: EventNumber, fact: Fact) {
        let (actor, cause, domain) = (self.actor.clone(), self.cause.clone(), self.domain.clone());
        let event = Event { id: last + 1, at: self.at, actor, cause, domain, fact };
        wire::encode_onto(&mut self.record.encoded, &event);
        self.record.events.push(event);
    }

    fn record(&mut self, state: &mut State, fact: Fact) {
        self.push(state.last, fact);
        self.apply(state, self.record.events.len() - 1);
    }

    /// Applies an event that was pushed before.
    fn apply(&mut self, state: &mut State, index: usize) {
        let event = &self.record.events[index];
        if let Some(trial) = &mut self.trial {
            trial.note(state, &event.fact);
        }
        apply(state, event);
    }

    /// Records the facts of a command and what they entail; where it keeps to a plan, only what was planned.
    fn record_as_planned(
        &mut self,
        state: &mut State,
        command: &Command,
        facts: Vec<Fact>,
    ) -> Result<(), Refusal> {
        let Some(planned) = &command.plan else { return self.record_all(state, facts) };
        self.trial = Some(Trial::begin(state));
        let kept = self.record_all(state, facts).and_then(|()| {
            let trial = self.trial.as_ref().expect("it was begun above");
            plan::check(planned, &command.order, state, trial, self.events())
        });
        match kept {
            Ok(()) => self.trial = None,
            Err(_) => self.revert(state),
        }
        kept
    }

    /// Records facts, then what they entail. Facts that are too large for one input are refused before anything changes.
    pub(crate) fn record_all(&mut self, state: &mut State, facts: Vec<Fact>) -> Result<(), Refusal> {
        let begin = self.record.end();
        for (last, fact) in (state.last..).zip(facts) {
            self.push(last, fact);
        }
        let bytes = self.bytes();
        if bytes + OUTCOME_BYTES > BYTES_PER_INPUT {
            self.record.truncate(begin);
            return Err(too_large(bytes));
        }
        let mut touched = BTreeSet::new();
        for index in begin.0..self.record.events.len() {
            touch(state, &self.record.events[index].fact, &mut touched);
            self.apply(state, index);
        }
        self.converge(state, touched);
        Ok(())
    }

    /// Converges apps as far as one input may reach; what is left over is continued by ticks. One place is kept for the
    /// outcome of a command.
    fn converge(&mut self, state: &mut State, apps: BTreeSet<AppName>) {
        for app in apps {
            loop {
                let budget = (EVENTS_PER_INPUT - 1).saturating_sub(self.events().len());
                let facts = converge::app(state, &app, budget, &mut self.ids);
                let goes_on = facts.iter().any(converge::is_place);
                for fact in facts {
                    let begin = self.record.end();
                    self.push(state.last, fact);
                    if self.bytes() + OUTCOME_BYTES > BYTES_PER_INPUT {
                        self.record.truncate(begin);
                        return;
                    }
                    self.apply(state, begin.0);
                }
                if !goes_on {
                    break;
                }
            }
        }
    }
}

fn too_large(bytes: usize) -> Refusal {
    decide::refuse::refusal(
        RefusalCode::LimitReached,
        "command",
        format!("it would lead to {bytes} bytes of events; at most {BYTES_PER_INPUT}"),
        "do it in several smaller ones",
    )
}

/// The apps whose instances a fact may concern, told before it is applied.
fn touch(state: &State, fact: &Fact, touched: &mut BTreeSet<AppName>) {
    match fact {
        Fact::App(AppEvent::Deployed(event)) => {
            touched.insert(event.app.clone());
        }
        Fact::App(AppEvent::Scaled(event)) => {
            touched.insert(event.app.clone());
        }
        Fact::Instance(event) => touch_instance(state, event, touched),
        Fact::Servant(event) => touch_servant(state, event, touched),
        Fact::App(
            AppEvent::Created(_)
            | AppEvent::Pushed(_)
            | AppEvent::Settled(_)
            | AppEvent::ImageAdded(_)
            | AppEvent::Removed(_)
            | AppEvent::Emitted(_),
        )
        | Fact::Version(_)
        | Fact::Release(_)
        | Fact::Config(_)
        | Fact::Command(_)
        | Fact::Alert(_)
        | Fact::Exec(_)
        | Fact::King(_) => {}
    }
}

/// An instance that becomes well changes nothing for its app while others are not; nor does one that is gone while others
/// are going, unless its place is needed. So a deploy of thousands does not look at all of them for each.
fn touch_instance(state: &State, event: &InstanceEvent, touched: &mut BTreeSet<AppName>) {
    let Some(instance) = state.instances.get(&event.instance()) else { return };
    let app = state.apps.get(&instance.app);
    let matters = match event {
        InstanceEvent::BecameHealthy(_) | InstanceEvent::Finished(_) | InstanceEvent::Steadied(_) => {
            app.is_some_and(|app| app.tally.unwell <= 1)
        }
        InstanceEvent::Stopped(_) => app.is_some_and(|app| app.tally.retiring <= 1 || app.is_short()),
        InstanceEvent::Failed(_) | InstanceEvent::CrashLooped(_) | InstanceEvent::Retired(_) => true,
        InstanceEvent::Placed(_)
        | InstanceEvent::Started(_)
        | InstanceEvent::BecameUnhealthy(_)
        | InstanceEvent::Crashed(_)
        | InstanceEvent::PortsReplaced(_)
        | InstanceEvent::Halted(_)
        | InstanceEvent::Erred(_)
        | InstanceEvent::RestartOrdered(_)
        | InstanceEvent::WorkersScaled(_) => false,
    };
    if matters {
        touched.insert(instance.app.clone());
    }
}

fn touch_servant(state: &State, event: &ServantEvent, touched: &mut BTreeSet<AppName>) {
    match event {
        ServantEvent::Lost(_) | ServantEvent::Removed(_) => {
            let on_it =
                state.servants.get(&event.servant()).into_iter().flat_map(|servant| &servant.instances);
            touched
                .extend(on_it.filter_map(|id| state.instances.get(id)).map(|instance| instance.app.clone()));
        }
        ServantEvent::DiskCleaned(_) => {}
        ServantEvent::Joined(_)
        | ServantEvent::Changed(_)
        | ServantEvent::Returned(_)
        | ServantEvent::DiskChanged(_) => {
            touched.extend(state.unsettled.iter().cloned());
        }
    }
}
