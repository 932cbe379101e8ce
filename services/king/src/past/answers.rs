//! Answers to questions about the past: `event.*`, `state.*` and `audit.*`.

use super::{Past, View};
use crate::queries::MIN_EVENT_PATIENCE;
use audit::chain::{self, ChainError};
use audit::find::{self, FindError};
use audit::history::{History, HistoryError};
use audit::travel::{self, TravelError};
use events::limits::{ITEMS_PER_REPLY, REPLY_BYTES};
use events::query::{
    ChainItem, ChainLink, DifferenceItem, EventQuestion, KeyItem, Moment, StateItem, StateQuestion,
};
use events::wire::{self, Format};
use events::{Checkpoint, Event, EventNumber, InstanceId, Refusal, RefusalCode, Timestamp};
use realm::query::Items;
use realm::{State, difference};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// The items of a reply about the past; each kind of query has one kind of item.
#[derive(Serialize)]
#[serde(untagged)]
pub enum PastItems {
    Events(Vec<Event>),
    Chains(Vec<ChainItem>),
    States(Vec<StateItem>),
    /// A list as it would have been given then.
    Then(Items),
    Differences(Vec<DifferenceItem>),
    Keys(Vec<KeyItem>),
    Checkpoints(Vec<Checkpoint>),
}

/// One page of items, what to ask for to get the next, and the newest event that it reflects.
pub struct PastPage {
    pub items: PastItems,
    pub next: Option<String>,
    pub event: EventNumber,
}

/// The part of any question that says what its answer must reflect.
#[derive(Default, Deserialize)]
struct Hope {
    #[serde(default)]
    min_event: Option<EventNumber>,
    #[serde(default)]
    question: Option<Box<Hope>>,
}

impl Past {
    /// Whether a kind of query is about the past.
    pub fn knows(kind: &str) -> bool {
        matches!(
            kind,
            "event.ls" | "event.show" | "state.show" | "state.diff" | "audit.key" | "audit.checkpoint"
        )
    }

    /// Answers a question about the past.
    ///
    /// # Errors
    /// The refusal, when the question cannot be read, names nothing that was, or the past cannot be read.
    pub async fn answer(&self, kind: &str, format: Format, payload: &[u8]) -> Result<PastPage, Refusal> {
        match kind {
            "audit.key" => return Ok(self.keys()),
            "audit.checkpoint" => return self.checkpoint().await,
            _ => {}
        }
        self.wait_for(&read(format, payload)?).await?;
        let view = self.view().await.map_err(|error| unreadable(&error))?.ok_or_else(starting)?;
        let (past, kind, payload) = (self.clone(), kind.to_owned(), payload.to_vec());
        let work = move || past.work_out(&kind, format, &payload, &view);
        tokio::task::spawn_blocking(work).await.expect("questions about the past do not panic")
    }

    /// Waits until the confirmed state reflects the event that a question asks for.
    async fn wait_for(&self, hope: &Hope) -> Result<(), Refusal> {
        let nested = hope.question.as_ref().and_then(|question| question.min_event);
        let Some(event) = hope.min_event.or(nested) else { return Ok(()) };
        if self.shared.kingdom.reached(event, MIN_EVENT_PATIENCE).await {
            return Ok(());
        }
        let rule = format!("event {event} is not reached within 5 s");
        Err(refusal(
            RefusalCode::Unavailable,
            "min_event",
            rule,
            "ask again, or ask for an event that exists",
        ))
    }

    fn work_out(&self, kind: &str, format: Format, payload: &[u8], view: &View) -> Result<PastPage, Refusal> {
        let event = view.newest();
        let (items, next) = match kind {
            "event.ls" => self.list(view, &read::<EventQuestion>(format, payload)?)?,
            "event.show" => self.show_event(view, &read::<EventQuestion>(format, payload)?)?,
            "state.show" => self.show_state(view, &read::<StateQuestion>(format, payload)?)?,
            _ => self.differ(view, &read::<StateQuestion>(format, payload)?)?,
        };
        Ok(PastPage { items, next, event })
    }

    fn list(&self, view: &View, question: &EventQuestion) -> Result<(PastItems, Option<String>), Refusal> {
        let found = self.with_index(view, |index| find::page(view, index, question));
        let (events, next) = found.map_err(|error| unreadable(&error))?.map_err(|error| match error {
            FindError::Place { .. } => {
                refusal(RefusalCode::Invalid, "after", error.to_string(), "leave it out")
            }
            FindError::History(source) => unreadable(&source),
        })?;
        Ok((PastItems::Events(events), next))
    }

    fn show_event(
        &self,
        view: &View,
        question: &EventQuestion,
    ) -> Result<(PastItems, Option<String>), Refusal> {
        let number = question.number.ok_or_else(|| {
            refusal(RefusalCode::Invalid, "number", "is missing".into(), "name the number of an event")
        })?;
        let chain = self.with_index(view, |index| chain::of(view, index, number));
        let chain = chain.map_err(|error| unreadable(&error))?.map_err(|error| match error {
            ChainError::Unknown { .. } => {
                refusal(RefusalCode::Unknown, "number", error.to_string(), "see `kingctl event ls`")
            }
            ChainError::History(source) => unreadable(&source),
        })?;
        Ok((PastItems::Chains(vec![chain]), None))
    }

    fn show_state(
        &self,
        view: &View,
        question: &StateQuestion,
    ) -> Result<(PastItems, Option<String>), Refusal> {
        let mut asked = question.question.clone();
        // The place of a page of the past is `<event>:<place in the list>`: so all pages are of one state.
        let mut at = question.at;
        if let Some(after) = asked.after.take() {
            let (event, place) = after.split_once(':').ok_or_else(|| bad_place(&after))?;
            at = Moment::Event(event.parse().map_err(|_| bad_place(&after))?);
            asked.after = Some(place.to_owned());
        }
        let state = self.state_at(view, at)?;
        let Some(noun) = &question.noun else {
            return Ok((PastItems::States(vec![travel::describe(&state)]), None));
        };
        let (items, next) = realm::query::answer(&state, &format!("{noun}.ls"), &asked)?;
        let next = next.map(|next| format!("{}:{next}", state.last));
        if next.is_some() {
            self.keep(state);
        }
        Ok((PastItems::Then(items), next))
    }

    fn differ(&self, view: &View, question: &StateQuestion) -> Result<(PastItems, Option<String>), Refusal> {
        let after = question.question.after.as_deref().unwrap_or("0");
        let skip: usize = after.parse().map_err(|_| bad_place(after))?;
        let before = self.state_at(view, question.at)?;
        let later = self.state_at(view, question.to.unwrap_or(Moment::Event(view.newest())))?;
        let mut items = difference::between(&before, &later);
        items.retain(|item| question.noun.as_ref().is_none_or(|noun| item.noun == *noun));
        let mut bytes = 0;
        let fits = items.iter().skip(skip).take(ITEMS_PER_REPLY).take_while(|item| {
            bytes += wire::encode(item).len();
            bytes <= REPLY_BYTES
        });
        let end = items.len().min(skip + fits.count().max(1));
        let next = (end < items.len()).then(|| end.to_string());
        let page = items.drain(skip.min(end)..end).collect();
        Ok((PastItems::Differences(page), next))
    }

    fn state_at(&self, view: &View, at: Moment) -> Result<Arc<State>, Refusal> {
        if let Moment::Event(event) = at
            && let Some(state) = self.take_kept(event)
        {
            return Ok(state);
        }
        let state = travel::state_at(view, at).map_err(|error| match error {
            TravelError::Future { .. } => refusal(
                RefusalCode::Unknown,
                "at",
                error.to_string(),
                "name an event or a time that has been",
            ),
            TravelError::History(source) => unreadable(&source),
        })?;
        Ok(Arc::new(state))
    }

    fn keys(&self) -> PastPage {
        let own = self.shared.signer.key();
        let (keys, event) = self.shared.kingdom.read(|state| (state.keys.clone(), state.last));
        let items = keys.into_iter().map(|key| KeyItem { key, answers: key == own }).collect();
        PastPage { items: PastItems::Keys(items), next: None, event }
    }

    /// What led to how an instance is, or was when it ended: the newest event of its life first, then its causes.
    ///
    /// # Errors
    /// When the past cannot be read.
    pub async fn causes_of(
        &self,
        instance: InstanceId,
        since: Option<Timestamp>,
    ) -> Result<Vec<ChainLink>, Refusal> {
        let view = self.view().await.map_err(|error| unreadable(&error))?.ok_or_else(starting)?;
        let past = self.clone();
        let work = move || {
            let found = past.with_index(&view, |index| chain::behind(&view, index, instance, since));
            found.and_then(|found| found).map_err(|error| unreadable(&error))
        };
        tokio::task::spawn_blocking(work).await.expect("questions about the past do not panic")
    }

    /// A signature for the newest commit. That of a King that was never elected would prove nothing to anybody.
    async fn checkpoint(&self) -> Result<PastPage, Refusal> {
        let own = self.shared.signer.key();
        if !self.shared.kingdom.read(|state| state.keys.contains(&own)) {
            let rule = "this King was not elected, so its signature proves nothing".into();
            return Err(refusal(RefusalCode::Unavailable, "query", rule, "ask again when a King writes"));
        }
        let checkpoint = self.sign().await.map_err(|error| unreadable(&error))?.ok_or_else(starting)?;
        let event = checkpoint.mark.event;
        Ok(PastPage { items: PastItems::Checkpoints(vec![checkpoint]), next: None, event })
    }
}

fn read<T: DeserializeOwned>(format: Format, payload: &[u8]) -> Result<T, Refusal> {
    let payload = if payload.is_empty() { b"{}" } else { payload };
    format.decode(payload).map_err(|error| {
        refusal(RefusalCode::Unreadable, "query", error.reason(), "send the fields of the question")
    })
}

fn refusal(code: RefusalCode, field: &str, rule: String, fix: &str) -> Refusal {
    Refusal { code, field: field.into(), rule, fix: fix.into() }
}

fn bad_place(after: &str) -> Refusal {
    let rule = format!("{:?} is not where a page ended", after.chars().take(64).collect::<String>());
    refusal(RefusalCode::Invalid, "after", rule, "ask for the list from its beginning")
}

fn starting() -> Refusal {
    refusal(RefusalCode::Unavailable, "query", "the King is starting".into(), "ask again in a moment")
}

fn unreadable(error: &HistoryError) -> Refusal {
    tracing::warn!(error = error as &dyn std::error::Error, "the past cannot be read");
    let rule = service::chain(error);
    refusal(RefusalCode::Unavailable, "query", rule, "ask again; if it stays so, see `kingctl king verify`")
}
