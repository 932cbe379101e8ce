//! Commands and queries to a King, as any NATS client may send them.
//!
//! A command carries an id of its own, so that an attempt without an answer can be repeated safely: the King runs it
//! once and tells the stored outcome.

use crate::cli::Globals;
use crate::failure::Failure;
use anyhow::{Context, anyhow};
use bus::connect::RequestError;
use bus::{Bus, Message};
use events::plan::{PlanItem, PlanToken};
use events::query::{Question, Reply, StateQuestion};
use events::wire::{self, Format};
use events::{Actor, Answer, CommandId, EventNumber, Order, Outcome, RefusalCode, subject};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};

/// One attempt waits this long for its answer.
const ATTEMPT: Duration = Duration::from_secs(3);
/// A King that is being started again is back within this time.
const NO_KING_PATIENCE: Duration = Duration::from_secs(3);
/// Between two attempts.
const PAUSE: Duration = Duration::from_millis(100);

/// A connection to the kingdom.
#[derive(Debug)]
pub struct Client {
    pub bus: Bus,
    actor: Actor,
    nats: String,
    patience: Duration,
}

/// A command that was done.
#[derive(Clone, Debug)]
pub struct Accepted {
    pub id: CommandId,
    /// A question with this `min_event` sees all that the command did.
    pub event: EventNumber,
    /// The release that a deploy made or chose.
    pub release: Option<u32>,
}

impl Client {
    /// Connects.
    ///
    /// # Errors
    /// When no NATS server answers in time.
    pub async fn connect(globals: &Globals) -> Result<Self, Failure> {
        let options =
            bus::Options { url: globals.nats.clone(), name: "kingctl".to_owned(), credentials: None };
        let patience = globals.timeout.min(NO_KING_PATIENCE);
        let bus = match timeout(patience, bus::connect(&options)).await {
            Ok(connected) => connected.context("could not connect to the kingdom")?,
            Err(_) => {
                return Err(Failure::Failed(anyhow!(
                    "no NATS server answers at {}; start a kingdom with `make up`, or name another server with --nats or KING_NATS",
                    globals.nats
                )));
            }
        };
        let actor = format!("kingctl:{}", globals.user).parse().unwrap_or_else(|_| Actor::anonymous());
        Ok(Self { bus, actor, nats: globals.nats.clone(), patience: globals.timeout })
    }

    /// Who asks.
    pub fn actor(&self) -> &Actor {
        &self.actor
    }

    /// Sends a command until it has an outcome, or the time is over. With a plan it does what was planned, or nothing.
    ///
    /// # Errors
    /// The refusal, when it was refused; else that its outcome is not known, with the id to ask for it.
    pub async fn command(&self, order: Order, plan: Option<&PlanToken>) -> Result<Accepted, Failure> {
        let id = CommandId::from_uuid(service::clock::fresh_id());
        let (subject, payload) = (subject::command(order.kind()), wire::encode_order(&order));
        let schema = order.schema().to_string();
        let token = plan.map(PlanToken::to_string);
        let mut headers = vec![
            (subject::HEADER_ID, id.as_str()),
            (subject::HEADER_ACTOR, self.actor.as_str()),
            (subject::HEADER_SCHEMA, schema.as_str()),
        ];
        headers.extend(token.as_deref().map(|token| (subject::HEADER_PLAN, token)));
        let deadline = Instant::now() + self.patience;
        loop {
            let reply = self.ask(&subject, &headers, &payload, deadline).await;
            let answer: Answer =
                decode(&reply.map_err(|unanswered| unanswered.of_command(&id, order.kind()))?)?;
            match answer.outcome {
                Outcome::Accepted { event, release } => return Ok(Accepted { id, event, release }),
                Outcome::Refused { refusal, .. }
                    if refusal.code == RefusalCode::Unavailable && Instant::now() < deadline =>
                {
                    sleep(PAUSE).await;
                }
                Outcome::Refused { refusal, .. } => return Err(Failure::Refused(refusal)),
            }
        }
    }

    /// Asks what a command would lead to.
    ///
    /// # Errors
    /// When the King cannot read the command, or no King answers.
    pub async fn plan(&self, order: &Order) -> Result<PlanItem, Failure> {
        let (subject, schema) = (subject::plan(order.kind()), order.schema().to_string());
        let headers =
            [(subject::HEADER_ACTOR, self.actor.as_str()), (subject::HEADER_SCHEMA, schema.as_str())];
        let deadline = Instant::now() + self.patience;
        let reply = self.ask(&subject, &headers, &wire::encode_order(order), deadline).await;
        match decode(&reply.map_err(|unanswered| Failure::Failed(unanswered.error))?)? {
            Reply::Ok { items, .. } => items.into_iter().next().ok_or_else(|| {
                Failure::Failed(anyhow!(
                    "the King answered without a plan; are King and kingctl of the same build?"
                ))
            }),
            Reply::Refused(refusal) => Err(Failure::Refused(refusal)),
        }
    }

    /// Asks a question, page by page.
    ///
    /// # Errors
    /// The refusal, when the King refuses it; or that no King answers.
    pub async fn query<T: DeserializeOwned>(
        &self,
        kind: &str,
        question: &Question,
    ) -> Result<Vec<T>, Failure> {
        let (subject, mut question) = (subject::query(kind), question.clone());
        let mut found = Vec::new();
        let mut deadline = Instant::now() + self.patience;
        loop {
            let reply = self.ask(&subject, &[], &wire::encode(&question), deadline).await;
            match decode(&reply.map_err(|unanswered| Failure::Failed(unanswered.error))?)? {
                Reply::Ok { items, next, .. } => {
                    found.extend::<Vec<T>>(items);
                    if next.is_none() {
                        return Ok(found);
                    }
                    question.after = next;
                    deadline = Instant::now() + self.patience;
                }
                // The list changed under the pages: it is read again from its beginning.
                Reply::Refused(refusal)
                    if refusal.code == RefusalCode::Conflict && question.after.take().is_some() =>
                {
                    found.clear();
                }
                Reply::Refused(refusal)
                    if refusal.code == RefusalCode::Unavailable && Instant::now() < deadline =>
                {
                    sleep(PAUSE).await;
                }
                Reply::Refused(refusal) => return Err(Failure::Refused(refusal)),
            }
        }
    }

    /// One page of what a question asks for, and where the next one begins.
    ///
    /// # Errors
    /// The refusal, when the King refuses it; or that no King answers.
    pub async fn page<T: DeserializeOwned>(
        &self,
        kind: &str,
        question: &impl Serialize,
    ) -> Result<(Vec<T>, Option<String>), Failure> {
        let (subject, question) = (subject::query(kind), wire::encode(question));
        let deadline = Instant::now() + self.patience;
        loop {
            let reply = self.ask(&subject, &[], &question, deadline).await;
            match decode(&reply.map_err(|unanswered| Failure::Failed(unanswered.error))?)? {
                Reply::Ok { items, next, .. } => return Ok((items, next)),
                Reply::Refused(refusal)
                    if refusal.code == RefusalCode::Unavailable && Instant::now() < deadline =>
                {
                    sleep(PAUSE).await;
                }
                Reply::Refused(refusal) => return Err(Failure::Refused(refusal)),
            }
        }
    }

    /// Asks a question about the past, page by page. The past does not change under the pages.
    ///
    /// # Errors
    /// As [`Client::page`].
    pub async fn query_past<T: DeserializeOwned>(
        &self,
        kind: &str,
        mut question: StateQuestion,
    ) -> Result<Vec<T>, Failure> {
        let mut found = Vec::new();
        loop {
            let (items, next) = self.page::<T>(kind, &question).await?;
            found.extend(items);
            if next.is_none() {
                return Ok(found);
            }
            question.question.after = next;
        }
    }

    /// The one item that a question must have.
    ///
    /// # Errors
    /// As [`Client::query`]; and not found, when there is none.
    pub async fn query_one<T: DeserializeOwned>(
        &self,
        kind: &str,
        question: &Question,
    ) -> Result<T, Failure> {
        let first = self.query(kind, question).await?.into_iter().next();
        first.ok_or_else(|| Failure::NotFound(format!("the King knows nothing that answers {kind}")))
    }

    /// Repeats a request until it has an answer or the deadline is over.
    async fn ask(
        &self,
        subject: &str,
        headers: &[(&str, &str)],
        payload: &[u8],
        deadline: Instant,
    ) -> Result<Message, Unanswered> {
        let started = Instant::now();
        let mut maybe_done = false;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let attempt = left.min(ATTEMPT).max(PAUSE);
            let error = match self.bus.request(subject, headers, payload.to_vec(), attempt).await {
                Ok(message) => return Ok(message),
                Err(error) => error,
            };
            maybe_done |= error.is_ambiguous();
            let enough = Instant::now() + PAUSE >= deadline;
            match error {
                RequestError::NoResponders { .. } if enough || started.elapsed() >= NO_KING_PATIENCE => {
                    return Err(Unanswered { error: self.no_king(subject), maybe_done });
                }
                RequestError::TimedOut { .. } | RequestError::Disconnected { .. } if enough => {
                    return Err(Unanswered { error: anyhow!(error), maybe_done });
                }
                RequestError::NoResponders { .. }
                | RequestError::TimedOut { .. }
                | RequestError::Disconnected { .. } => sleep(PAUSE).await,
                RequestError::TooLarge { .. }
                | RequestError::BadSubject { .. }
                | RequestError::BadHeader(_) => return Err(Unanswered { error: anyhow!(error), maybe_done }),
            }
        }
    }

    fn no_king(&self, subject: &str) -> anyhow::Error {
        let mut text = format!("no King is alive on {}; start one with `make up`", self.nats);
        if let Some(kind) = subject.strip_prefix("king.cmd.") {
            text.push_str(&format!(
                ", or leave the command to be done later: nats pub {} '<its fields as JSON>'",
                subject::queue(kind)
            ));
        }
        anyhow!(text)
    }
}

/// A request that nobody answered in time.
struct Unanswered {
    error: anyhow::Error,
    /// Whether an attempt may have arrived all the same.
    maybe_done: bool,
}

impl Unanswered {
    fn of_command(self, id: &CommandId, kind: &str) -> Failure {
        if !self.maybe_done {
            return Failure::Failed(self.error.context(format!("{kind} was not done")));
        }
        Failure::Failed(self.error.context(format!(
            "{kind} has no answer, so its outcome is not known; ask later with `kingctl command show {id}`"
        )))
    }
}

fn decode<T: DeserializeOwned>(message: &Message) -> Result<T, Failure> {
    let format = Format::of(message.header(subject::HEADER_CONTENT_TYPE), &message.payload);
    let decoded = match format {
        // What a King says may be larger than what it takes.
        Format::MessagePack => wire::decode(&message.payload),
        Format::Json => format.decode(&message.payload),
    };
    let reason = |error: wire::WireError| {
        anyhow!(
            "the King's answer cannot be read: {}; are King and kingctl of the same build?",
            error.reason()
        )
    };
    Ok(decoded.map_err(reason)?)
}
