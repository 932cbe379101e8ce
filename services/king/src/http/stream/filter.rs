//! The filter of an event stream: by noun, by app, by servant; an event passes when it fits all that are given.
//!
//! - An app's events are those of the nouns app, version, release and config (its own scope) that name it, and those of
//!   its instances. Events of commands, alerts and Kings belong to no app.
//! - A servant's events are those of the noun servant with its id, the ends of runs on it, those of the instances placed
//!   on it, and what apps told of on it. A name is
//!   taken as the servant that holds it when the stream begins; an id may be of one that is gone.
//!
//! An instance event names only the instance. Its app and servant are those of its placing, which never change: taken
//! from what the feed remembers, else from the state of now, else from the log, where the placing stands before every
//! other event of the instance. So the answer is the same whether the instance still exists or not.

use crate::feed::{Feed, FeedError, Placement};
use crate::http::parameters::Parameters;
use crate::http::problem::{Problem, cut};
use events::event::{ExecEvent, InstanceEvent};
use events::{AppName, Event, Fact, InstanceId, ServantId, ServantName};
use std::collections::BTreeSet;
use std::sync::Arc;

type FindPlacement = dyn Fn(InstanceId) -> Option<Placement> + Send + Sync;
type FindServant = dyn Fn(&ServantName) -> Option<ServantId> + Send + Sync;

/// How names and instances are found in the state of now.
#[derive(Clone)]
pub struct Lookup {
    /// Where an instance was placed; none when the state does not hold it.
    pub placement: Arc<FindPlacement>,
    /// The servant that holds a name.
    pub servant: Arc<FindServant>,
}

/// A filter as asked for.
pub(super) struct FilterAsked {
    nouns: Option<BTreeSet<String>>,
    app: Option<AppName>,
    servant: Option<ServantAsked>,
}

enum ServantAsked {
    Id(ServantId),
    Name(ServantName),
}

impl FilterAsked {
    pub fn read(parameters: &Parameters) -> Result<Self, Problem> {
        let servant = match parameters.text("servant").map(str::parse::<ServantId>) {
            None => None,
            Some(Ok(id)) => Some(ServantAsked::Id(id)),
            Some(Err(_)) => {
                parameters.parse("servant", "give the name or the id of a servant")?.map(ServantAsked::Name)
            }
        };
        let app = parameters.parse("app", "give the name of an app")?;
        Ok(Self { nouns: parameters.text("noun").map(nouns).transpose()?, app, servant })
    }

    /// Finds the servant that a name means now.
    pub fn resolve(self, lookup: &Lookup) -> Result<Filter, Problem> {
        let servant = match self.servant {
            None => None,
            Some(ServantAsked::Id(id)) => Some(id),
            Some(ServantAsked::Name(name)) => Some((lookup.servant)(&name).ok_or_else(|| {
                let rule = format!("no servant is called {name} now");
                Problem::invalid("servant", rule, "see /v1/servants; give the id for one that is gone")
            })?),
        };
        Ok(Filter { nouns: self.nouns, app: self.app, servant, lookup: lookup.clone() })
    }
}

fn nouns(text: &str) -> Result<BTreeSet<String>, Problem> {
    let known: BTreeSet<&str> = Fact::kinds().filter_map(|(kind, _)| kind.split('.').next()).collect();
    let given: BTreeSet<String> = text.split(',').map(str::to_owned).collect();
    match given.iter().find(|noun| !known.contains(noun.as_str())) {
        None => Ok(given),
        Some(noun) => {
            let known: Vec<&str> = known.into_iter().collect();
            let rule = format!("{:?} is no noun of an event", cut(noun));
            Err(Problem::invalid("noun", rule, format!("use one or more of {}", known.join(","))))
        }
    }
}

/// A filter.
pub(super) struct Filter {
    nouns: Option<BTreeSet<String>>,
    app: Option<AppName>,
    servant: Option<ServantId>,
    lookup: Lookup,
}

impl Filter {
    /// Whether an event passes; `sequence` is that of its commit.
    pub async fn passes(&self, event: &Event, sequence: u64, feed: &Feed) -> Result<bool, FeedError> {
        if self.nouns.as_ref().is_some_and(|nouns| !nouns.contains(event.fact.noun())) {
            return Ok(false);
        }
        if self.app.is_none() && self.servant.is_none() {
            return Ok(true);
        }
        let (app, servant) = self.belongs(&event.fact, sequence, feed).await?;
        Ok(self.app.as_ref().is_none_or(|wanted| app.as_ref() == Some(wanted))
            && self.servant.is_none_or(|wanted| servant == Some(wanted)))
    }

    /// The app and the servant that an event belongs to.
    async fn belongs(
        &self,
        fact: &Fact,
        sequence: u64,
        feed: &Feed,
    ) -> Result<(Option<AppName>, Option<ServantId>), FeedError> {
        Ok(match fact {
            Fact::App(event) => (Some(event.app().clone()), event.servant()),
            Fact::Version(event) => (Some(event.app().clone()), None),
            Fact::Release(event) => (Some(event.app().clone()), None),
            Fact::Config(event) => (event.scope().cloned(), None),
            Fact::Servant(event) => (None, Some(event.servant())),
            Fact::Exec(ExecEvent::Ended(event)) => (None, Some(event.servant)),
            Fact::Exec(ExecEvent::Requested(_) | ExecEvent::Cancelled(_))
            | Fact::Command(_)
            | Fact::Alert(_)
            | Fact::King(_) => (None, None),
            Fact::Instance(event) => match self.placement(event, sequence, feed).await? {
                Some(place) => (Some(place.app), Some(place.servant)),
                None => (None, None),
            },
        })
    }

    async fn placement(
        &self,
        event: &InstanceEvent,
        sequence: u64,
        feed: &Feed,
    ) -> Result<Option<Placement>, FeedError> {
        let instance = event.instance();
        if let InstanceEvent::Placed(placed) = event {
            return Ok(Some(Placement { app: placed.app.clone(), servant: placed.servant }));
        }
        let known = feed.remembered(instance).or_else(|| (self.lookup.placement)(instance));
        match known {
            Some(place) => Ok(Some(place)),
            None => feed.placement(instance, sequence).await,
        }
    }
}
