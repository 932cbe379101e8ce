//! The outcomes of commands: a command id runs once, and its answer can be asked for again.

use super::chunked::Chunked;
use super::marks::{Mark, Marks};
use events::limits::{OUTCOME_AGE_MS, OUTCOMES, OUTCOMES_ALWAYS_KEPT};
use events::{CommandId, CommandKind, EventNumber, Outcome, Refusal, Timestamp};
use serde::de::{Error as _, IgnoredAny, MapAccess, Visitor};
use serde::ser::{SerializeMap, SerializeStruct};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::marker::PhantomData;

/// The outcomes, bounded by age and by number. Age is measured by the log's own time, so every King forgets the same.
#[derive(Clone, Debug, Default)]
pub struct Outcomes {
    marks: Marks,
    /// In the order of their events: the oldest is forgotten first.
    kept: Chunked<Kept>,
    /// How many were forgotten: the number of the oldest. It may wrap around, for so many are never kept at once.
    forgotten: u32,
}

/// An outcome as it is kept: there are many, so it is small.
#[derive(Clone, Debug, PartialEq)]
struct Kept {
    event: EventNumber,
    at: Timestamp,
    /// Of the id, which lies elsewhere in memory.
    mark: Mark,
    id: CommandId,
    command: CommandKind,
    result: Result<Option<u32>, Box<Refusal>>,
}

/// What became of a command.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StoredOutcome {
    /// `<noun>.<verb>`.
    pub command: CommandKind,
    pub at: Timestamp,
    pub outcome: Outcome,
}

impl Kept {
    fn new(id: CommandId, event: EventNumber, stored: StoredOutcome) -> Self {
        let StoredOutcome { command, at, outcome } = stored;
        let result = match outcome {
            Outcome::Accepted { event: _, release } => Ok(release),
            Outcome::Refused { event: _, refusal } => Err(Box::new(refusal)),
        };
        Self { event, at, mark: Mark::of(&id), id, command, result }
    }

    /// An outcome as it was stored; none when it does not say which event it is.
    fn read(id: CommandId, stored: StoredOutcome) -> Option<Self> {
        let (Outcome::Accepted { event, .. } | Outcome::Refused { event: Some(event), .. }) = stored.outcome
        else {
            return None;
        };
        Some(Self::new(id, event, stored))
    }

    fn stored(&self) -> StoredOutcome {
        let outcome = match &self.result {
            Ok(release) => Outcome::Accepted { event: self.event, release: *release },
            Err(refusal) => Outcome::Refused { event: Some(self.event), refusal: Refusal::clone(refusal) },
        };
        StoredOutcome { command: self.command.clone(), at: self.at, outcome }
    }
}

impl Outcomes {
    /// The outcome of a command, if it is remembered.
    pub fn get(&self, id: &CommandId) -> Option<StoredOutcome> {
        let is_of = |number| self.numbered(number).is_some_and(|kept| kept.id == *id);
        self.numbered(self.marks.find(Mark::of(id), is_of)?).map(Kept::stored)
    }

    /// How many are remembered.
    pub fn len(&self) -> usize {
        self.kept.len()
    }

    /// Whether none is remembered.
    pub fn is_empty(&self) -> bool {
        self.kept.len() == 0
    }

    pub(crate) fn insert(&mut self, id: CommandId, event: EventNumber, stored: StoredOutcome) {
        let now = stored.at;
        self.push(Kept::new(id, event, stored));
        while let Some(oldest) = self.kept.front() {
            let aged = now.since(oldest.at) > OUTCOME_AGE_MS;
            // A clock that jumps ages everything at once; the newest stay all the same.
            if self.len() <= if aged { OUTCOMES_ALWAYS_KEPT } else { OUTCOMES } {
                return;
            }
            self.marks.remove(oldest.mark, self.forgotten);
            self.kept.forget_front();
            self.forgotten = self.forgotten.wrapping_add(1);
        }
    }

    fn push(&mut self, kept: Kept) {
        let count = u32::try_from(self.len()).expect("the number of outcomes is bounded");
        self.marks.insert(kept.mark, self.forgotten.wrapping_add(count));
        self.kept.push_back(kept);
    }

    fn numbered(&self, number: u32) -> Option<&Kept> {
        self.kept.nth(number.wrapping_sub(self.forgotten) as usize)
    }
}

/// What is remembered is all that counts.
impl PartialEq for Outcomes {
    fn eq(&self, other: &Self) -> bool {
        self.kept == other.kept
    }
}

/// Snapshots and the hash of the state hold the outcomes as two maps.
impl Serialize for Outcomes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut shape = serializer.serialize_struct("Outcomes", 2)?;
        shape.serialize_field("by_id", &ById(self))?;
        shape.serialize_field("by_event", &ByEvent(self))?;
        shape.end()
    }
}

struct ById<'a>(&'a Outcomes);

impl Serialize for ById<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut outcomes: Vec<&Kept> = self.0.kept.iter().collect();
        outcomes.sort_unstable_by(|one, other| one.id.cmp(&other.id));
        let mut map = serializer.serialize_map(Some(outcomes.len()))?;
        outcomes.into_iter().try_for_each(|kept| map.serialize_entry(&kept.id, &kept.stored()))?;
        map.end()
    }
}

struct ByEvent<'a>(&'a Outcomes);

impl Serialize for ByEvent<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.kept.len()))?;
        self.0.kept.iter().try_for_each(|kept| map.serialize_entry(&kept.event, &kept.id))?;
        map.end()
    }
}

#[derive(Deserialize)]
#[serde(rename = "Outcomes")]
struct Shape {
    by_id: Pairs<CommandId, StoredOutcome>,
    /// The ids in it say nothing more.
    by_event: Pairs<EventNumber, IgnoredAny>,
}

/// The entries of a map in the order in which they come. There are many: to sort them into a map takes longer than all
/// else.
struct Pairs<K, V>(Vec<(K, V)>);

impl<'de, K: Deserialize<'de>, V: Deserialize<'de>> Deserialize<'de> for Pairs<K, V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(PairsVisitor(PhantomData)).map(Self)
    }
}

struct PairsVisitor<K, V>(PhantomData<(K, V)>);

impl<'de, K: Deserialize<'de>, V: Deserialize<'de>> Visitor<'de> for PairsVisitor<K, V> {
    type Value = Vec<(K, V)>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a map")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        // A size that is claimed is believed only so far.
        let mut pairs = Vec::with_capacity(map.size_hint().unwrap_or(0).min(OUTCOMES));
        while let Some(pair) = map.next_entry()? {
            pairs.push(pair);
        }
        Ok(pairs)
    }
}

impl<'de> Deserialize<'de> for Outcomes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Shape { by_id, by_event } = Shape::deserialize(deserializer)?;
        if !by_id.0.is_sorted_by(|(one, _), (next, _)| one < next) {
            return Err(D::Error::custom("the outcomes are not in the order of their ids"));
        }
        if !by_event.0.is_sorted_by(|(one, _), (next, _)| one < next) {
            return Err(D::Error::custom("the outcomes are not in the order of their events"));
        }
        let kept = by_id.0.into_iter().map(|(id, stored)| Kept::read(id, stored));
        let mut kept = kept
            .collect::<Option<Vec<_>>>()
            .ok_or_else(|| D::Error::custom("an outcome does not say which event it is"))?;
        kept.sort_unstable_by_key(|kept| kept.event);
        if !kept.iter().map(|kept| kept.event).eq(by_event.0.iter().map(|(event, _)| *event)) {
            return Err(D::Error::custom("the outcomes and the list of their events do not belong together"));
        }
        let mut outcomes = Self::default();
        kept.into_iter().for_each(|kept| outcomes.push(kept));
        Ok(outcomes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use events::RefusalCode;
    use std::collections::BTreeMap;

    fn outcomes() -> Outcomes {
        let refusal = Refusal {
            code: RefusalCode::Unknown,
            field: "app".into(),
            rule: "no such app".into(),
            fix: "create it".into(),
        };
        let refused = Outcome::Refused { event: Some(4), refusal };
        let accepted = Outcome::Accepted { event: 9, release: Some(2) };
        let mut outcomes = Outcomes::default();
        for (id, event, outcome) in [("b", 4, refused), ("a", 9, accepted)] {
            let stored = StoredOutcome { command: "app.deploy".into(), at: Timestamp(event), outcome };
            outcomes.insert(id.parse().unwrap(), event, stored);
        }
        outcomes
    }

    /// What the hash of a state is taken over: signed checkpoints and backups name it.
    #[derive(Serialize)]
    struct TwoMaps {
        by_id: BTreeMap<CommandId, StoredOutcome>,
        by_event: BTreeMap<EventNumber, CommandId>,
    }

    #[test]
    fn outcomes_are_stored_as_two_maps_and_come_back() {
        let outcomes = outcomes();
        let ids = ["a", "b"].map(|id| id.parse::<CommandId>().unwrap());
        let maps = TwoMaps {
            by_id: ids.iter().map(|id| (id.clone(), outcomes.get(id).unwrap())).collect(),
            by_event: BTreeMap::from([(4, ids[1].clone()), (9, ids[0].clone())]),
        };
        let bytes = rmp_serde::to_vec_named(&outcomes).unwrap();
        assert_eq!(bytes, rmp_serde::to_vec_named(&maps).unwrap());
        assert_eq!(rmp_serde::from_slice::<Outcomes>(&bytes).unwrap(), outcomes);
    }

    #[test]
    fn outcomes_that_do_not_belong_together_are_refused() {
        let maps = TwoMaps { by_id: BTreeMap::new(), by_event: BTreeMap::from([(4, "b".parse().unwrap())]) };
        let bytes = rmp_serde::to_vec_named(&maps).unwrap();
        assert!(rmp_serde::from_slice::<Outcomes>(&bytes).is_err());
    }
}
