//! Queries: `king.query.<noun>.<verb>` answered from the confirmed state. No query ever waits for a servant.

use crate::http::Metrics;
use crate::kingdom::Kingdom;
use crate::past::{Past, PastItems, PastPage};
use crate::status::Status;
use crate::telemetry::{MetricsItems, Telemetry};
use crate::writer::work::{PLAN_PREFIX, format_of, fresh_command_id, read_command};
use bus::Bus;
use bus::connect::SubscribeError;
use bus::message::Message;
use events::plan::PlanItem;
use events::query::{KingItem, KingPlace, KingRole, Question, Reply};
use events::subject::{KINGS, QUERIES, QUERIES_GROUP, SIGNATURES, kind_of};
use events::wire::Format;
use events::{EventNumber, Refusal, RefusalCode};
use realm::Context;
use realm::query::{self, Items};
use serde::Serialize;
use service::clock;
use service::shutdown::Shutdown;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// Most queries that are answered at once.
const AT_ONCE: usize = 64;
/// Most queries that wait for their event or their turn.
const MOST: usize = 4096;
/// Largest reply: what NATS takes in one message.
const REPLY_LIMIT: usize = 1_000_000;
/// The query whose answer needs both the state and the past.
const WHY: &str = "why.instance";
/// How long a query waits for the event that it wants to see.
pub const MIN_EVENT_PATIENCE: Duration = Duration::from_secs(5);

/// Answers queries.
#[derive(Clone)]
pub struct Queries {
    bus: Bus,
    kingdom: Kingdom,
    metrics: Arc<Metrics>,
    status: Status,
    past: Past,
    telemetry: Telemetry,
}

/// The items of a reply, with those that only the King itself knows.
#[derive(Serialize)]
#[serde(untagged)]
pub enum KnownItems {
    Law(Items),
    King(Vec<KingItem>),
    Kings(Vec<KingPlace>),
    Plans(Vec<PlanItem>),
    Past(PastItems),
    Metrics(MetricsItems),
}

/// A reply whose items have their own shape for each kind of query.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum AnyReply {
    Ok {
        event: EventNumber,
        items: KnownItems,
        #[serde(skip_serializing_if = "Option::is_none")]
        next: Option<String>,
    },
    Refused(Refusal),
}

impl Queries {
    pub fn new(
        bus: Bus,
        kingdom: Kingdom,
        metrics: Arc<Metrics>,
        status: Status,
        past: Past,
        telemetry: Telemetry,
    ) -> Self {
        Self { bus, kingdom, metrics, status, past, telemetry }
    }

    /// Answers until it is told to stop.
    ///
    /// # Errors
    /// When queries cannot be heard.
    pub async fn run(self, shutdown: Shutdown) -> Result<(), SubscribeError> {
        let mut questions = self.bus.subscribe_in_group(QUERIES, QUERIES_GROUP).await?;
        let mut roll_calls = self.bus.subscribe(KINGS).await?;
        let mut signatures = self.bus.subscribe(SIGNATURES).await?;
        let places = Arc::new(Semaphore::new(AT_ONCE));
        let mut answering = JoinSet::new();
        loop {
            let message = tokio::select! {
                // What every King hears by a subscription of its own, one of the group gets too.
                message = questions.next() => message.map(|message| is_for_one(&message).then_some(message)),
                message = roll_calls.next() => message.map(Some),
                message = signatures.next() => message.map(|message| self.writes().then_some(message)),
                () = shutdown.requested() => return Ok(()),
            };
            let Some(message) = message else { return Ok(()) };
            let Some(message) = message else { continue };
            while answering.try_join_next().is_some() {}
            if answering.len() >= MOST {
                // Whoever asked asks again; waiting here would keep everybody else from being heard.
                tracing::warn!(subject = &*message.subject, most = MOST, "query is dropped: too many wait");
                continue;
            }
            let (queries, places) = (self.clone(), places.clone());
            answering.spawn(async move { queries.reply(message, &places).await });
        }
    }

    fn writes(&self) -> bool {
        self.status.role() == KingRole::Writer
    }

    async fn reply(&self, message: Message, places: &Semaphore) {
        let format = format_of(&message);
        let kind = kind_of(&message.subject).unwrap_or_default().to_owned();
        let reply = if kind.starts_with(PLAN_PREFIX) {
            self.plan(&message, places).await
        } else if Past::knows(&kind) {
            let _place = places.acquire().await;
            of_past(self.past.answer(&kind, format, &message.payload).await)
        } else if Telemetry::knows(&kind) {
            let _place = places.acquire().await;
            match self.telemetry.answer(&kind, format, &message.payload) {
                Ok((items, next, event)) => AnyReply::Ok { event, items: KnownItems::Metrics(items), next },
                Err(refusal) => AnyReply::Refused(refusal),
            }
        } else {
            match read(format, &message.payload) {
                Ok(question) if kind == WHY => self.why(&question, places).await,
                Ok(question) => self.answer(&kind, &question, places).await,
                Err(refusal) => AnyReply::Refused(refusal),
            }
        };
        let mut payload = format.encode(&reply);
        if payload.len() > REPLY_LIMIT {
            payload = format.encode(&AnyReply::Refused(too_wide(payload.len())));
        }
        if let Err(error) = self.bus.answer(&message, payload).await {
            tracing::warn!(%error, kind, "reply was not sent");
        }
    }

    /// Answers a question once the state reflects the event that it asks for. Only then it takes one of the places.
    async fn answer(&self, kind: &str, question: &Question, places: &Semaphore) -> AnyReply {
        if let Some(event) = question.min_event
            && !self.kingdom.reached(event, MIN_EVENT_PATIENCE).await
        {
            return AnyReply::Refused(too_early(event, self.kingdom.read(|state| state.last)));
        }
        let _place = places.acquire().await;
        self.answer_now(kind, question)
    }

    /// Answers why an instance is as it is: what the state tells, and what in the past led to it.
    async fn why(&self, question: &Question, places: &Semaphore) -> AnyReply {
        let mut reply = self.answer(WHY, question, places).await;
        let Some(id) = question.instance else { return reply };
        let since = self.kingdom.read(|state| state.instances.get(&id).map(|instance| instance.since));
        let _place = places.acquire().await;
        let causes = match self.past.causes_of(id, since).await {
            Ok(causes) => causes,
            Err(refusal) => return AnyReply::Refused(refusal),
        };
        match &mut reply {
            AnyReply::Ok { items: KnownItems::Law(Items::Whys(items)), .. } => {
                items.iter_mut().for_each(|item| item.causes.clone_from(&causes));
            }
            AnyReply::Refused(refusal) if refusal.code == RefusalCode::Unknown => {
                if let Some(last) = causes.first() {
                    refusal.rule = format!("the instance {id} is gone");
                    refusal.fix = format!("see what became of it: kingctl event show {}", last.event.id);
                }
            }
            AnyReply::Ok { .. } | AnyReply::Refused(_) => {}
        }
        reply
    }

    /// Answers what a command would lead to.
    async fn plan(&self, message: &Message, places: &Semaphore) -> AnyReply {
        let command = match read_command(message, fresh_command_id) {
            Ok(command) => command,
            Err(refusal) => return AnyReply::Refused(*refusal),
        };
        let _place = places.acquire().await;
        let context = Context { at: clock::now(), entropy: clock::fresh_id().as_u128() };
        let (event, item) = self.kingdom.plan(&command, &context);
        AnyReply::Ok { event, items: KnownItems::Plans(vec![item]), next: None }
    }

    /// Answers a question from the state of now.
    pub fn answer_now(&self, kind: &str, question: &Question) -> AnyReply {
        if kind == "king.show" {
            let king = self.show();
            return AnyReply::Ok { event: king.event, items: KnownItems::King(vec![king]), next: None };
        }
        if kind == "king.ls" {
            let place = self.status.place();
            return AnyReply::Ok { event: place.event, items: KnownItems::Kings(vec![place]), next: None };
        }
        self.kingdom.read(|state| match query::answer(state, kind, question) {
            Ok((items, next)) => AnyReply::Ok { event: state.last, items: KnownItems::Law(items), next },
            Err(refusal) => AnyReply::Refused(refusal),
        })
    }

    fn show(&self) -> KingItem {
        self.kingdom.read(|state| KingItem {
            king: state.king.unwrap_or(self.status.identity().king),
            epoch: state.epoch,
            event: state.last,
            state_hash: state.hash(),
            published: self.metrics.published_event_number.get(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        })
    }
}

fn is_for_one(message: &Message) -> bool {
    ![KINGS, SIGNATURES].contains(&&*message.subject)
}

fn of_past(answer: Result<PastPage, Refusal>) -> AnyReply {
    match answer {
        Ok(PastPage { items, next, event }) => AnyReply::Ok { event, items: KnownItems::Past(items), next },
        Err(refusal) => AnyReply::Refused(refusal),
    }
}

fn read(format: Format, payload: &[u8]) -> Result<Question, Refusal> {
    if payload.is_empty() {
        return Ok(Question::default());
    }
    format.decode(payload).map_err(|error| Refusal {
        code: RefusalCode::Unreadable,
        field: "query".into(),
        rule: error.reason(),
        fix: "send nothing, or fields of a question: app, servant, process, id, min_event".into(),
    })
}

fn too_early(wanted: EventNumber, last: EventNumber) -> Refusal {
    Refusal {
        code: RefusalCode::Unavailable,
        field: "min_event".into(),
        rule: format!("event {wanted} is not reached within 5 s; the state reflects {last}"),
        fix: "ask again, or ask for an event that exists".into(),
    }
}

fn too_wide(bytes: usize) -> Refusal {
    Refusal {
        code: RefusalCode::LimitReached,
        field: "query".into(),
        rule: format!("the reply would have {bytes} bytes; at most {REPLY_LIMIT}"),
        fix: "narrow it by app or servant, or ask in MessagePack, which is shorter".into(),
    }
}

/// A reply as the typed shape with free items, for the HTTP lists.
pub fn as_json(reply: AnyReply) -> Reply<serde_json::Value> {
    match reply {
        AnyReply::Refused(refusal) => Reply::Refused(refusal),
        AnyReply::Ok { event, items, next } => match serde_json::to_value(items) {
            Ok(serde_json::Value::Array(items)) => Reply::Ok { event, items, next },
            Ok(other) => Reply::Ok { event, items: vec![other], next },
            Err(error) => Reply::Refused(Refusal {
                code: RefusalCode::Unavailable,
                field: "items".into(),
                rule: format!("the items cannot be written as JSON: {error}"),
                fix: "report it: it is a bug".into(),
            }),
        },
    }
}
