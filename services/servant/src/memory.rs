//! What the servant must know after its own death: its assignment with the place in the log that it reflects, and a row
//! for each instance. Stored before it is acted on.

use crate::holder::words::{Exit, SlotState, State, Told};
use crate::reconcile::{Adopted, Reported};
use crate::spec::Spec;
use bus::table::{Table, TableError};
use events::report::InstanceNews;
use events::view::{Assignment, Stamp, Stamped};
use events::{InstanceId, Slot, wire};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;

const ASSIGNMENT: &str = "assignment";
const INSTANCE: &str = "instance.";

/// What is remembered of an instance.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    pub spec: Spec,
    /// It is in a crash loop, and the King was told.
    pub looping: bool,
    /// The last process whose start was reported.
    pub started_pid: Option<u32>,
    /// The last run whose end was reported.
    pub exited_run: u64,
    /// The same of each of its workers, where it has some.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub slots: BTreeMap<Slot, SlotRow>,
    /// How many workers the King was told of.
    #[serde(default)]
    pub workers: u16,
}

/// What is remembered of a worker.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SlotRow {
    pub started_pid: Option<u32>,
    pub exited_run: u64,
    /// How many restarts were ordered before it was started.
    pub restarts: u32,
}

impl Row {
    /// A row of an instance that has done nothing yet.
    pub fn new(spec: Spec) -> Self {
        let (slots, workers) = (BTreeMap::new(), 0);
        Self { spec, looping: false, started_pid: None, exited_run: 0, slots, workers }
    }

    /// What was reported, durably, is not reported again after a restart; `exited_run` is the run whose end it tells.
    pub fn remember(&mut self, news: &InstanceNews, exited_run: Option<u64>) {
        match news {
            InstanceNews::Started(news) => match news.slot {
                Some(slot) => {
                    let restarts = self.spec.restarts;
                    let row = self.slots.entry(slot).or_default();
                    (row.started_pid, row.restarts) = (Some(news.pid), restarts);
                }
                None => self.started_pid = Some(news.pid),
            },
            InstanceNews::Exited(news) => {
                let run = exited_run.unwrap_or_default();
                match news.slot {
                    Some(slot) => self.slots.entry(slot).or_default().exited_run = run,
                    None => self.exited_run = run,
                }
            }
            InstanceNews::Scaled(news) => self.workers = news.to,
            InstanceNews::Looping(_) => self.looping = true,
            InstanceNews::Steady(_) => self.looping = false,
            InstanceNews::Ready(_)
            | InstanceNews::Unhealthy(_)
            | InstanceNews::Failed(_)
            | InstanceNews::PortTaken(_)
            | InstanceNews::Emitted(_)
            | InstanceNews::ImageBuilt(_)
            | InstanceNews::Stopped(_)
            | InstanceNews::Erred(_) => {}
        }
    }

    /// The ends of earlier runs that the King was not told of: the Servant was killed after it had ordered a successor and
    /// before it could tell.
    pub fn missed(&self, state: &State) -> Vec<Exit> {
        let is_missed =
            |exit: &&Exit| exit.run > self.slot(exit.slot).exited_run && exit.told == Told::Nothing;
        state.past.iter().filter(is_missed).cloned().collect()
    }

    /// What is remembered of a slot.
    pub fn slot(&self, slot: Slot) -> SlotRow {
        if self.spec.how.workers.is_some() {
            return self.slots.get(&slot).cloned().unwrap_or_default();
        }
        SlotRow { started_pid: self.started_pid, exited_run: self.exited_run, restarts: self.spec.restarts }
    }

    /// How its instance is found at the start: by what its holder, or the holder's folder, says. Of workers, those that
    /// run and those whose end is to be told; without workers, slot 0 in any case.
    pub fn adopted(&self, state: &State, held: Held) -> BTreeMap<Slot, Adopted> {
        if self.spec.how.workers.is_none() {
            return BTreeMap::from([(0, self.adopted_slot(state.slot(0).as_ref(), held))]);
        }
        let slots = std::iter::once(0).chain(state.others.iter().map(|other| other.run.slot));
        let each = slots.map(|slot| (slot, self.adopted_slot(state.slot(slot).as_ref(), held)));
        each.filter(|(_, adopted)| adopted.matters()).collect()
    }

    fn adopted_slot(&self, state: Option<&SlotState>, held: Held) -> Adopted {
        let said = |is_so| if is_so { Reported::Yes } else { Reported::No };
        match state {
            Some(SlotState { exit: Some(exit), .. }) => {
                let is_reported = said(self.slot(exit.slot).exited_run >= exit.run);
                Adopted::Exited { exit: exit.clone(), is_reported }
            }
            Some(SlotState { run, exit: None }) if held == Held::Yes => {
                let row = self.slot(run.slot);
                let is_reported = said(row.started_pid == Some(run.pid));
                Adopted::Running { pid: run.pid, is_reported, restarts: row.restarts }
            }
            Some(SlotState { .. }) | None => Adopted::Idle,
        }
    }
}

/// Whether an instance has a holder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Held {
    Yes,
    No,
}

/// What an assignment is to the one that was acted on last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// To be kept, then acted on.
    Newer,
    /// To be acted on again.
    Same,
    /// To be refused.
    Older,
}

impl Standing {
    /// What an assignment of this stamp is to the last.
    pub fn of(stamp: Stamp, last: Option<Stamp>) -> Self {
        match last {
            Some(last) if last > stamp => Self::Older,
            Some(last) if last == stamp => Self::Same,
            Some(_) | None => Self::Newer,
        }
    }
}

/// The memory on disk, and a copy to read.
pub struct Memory {
    table: Table,
    rows: BTreeMap<InstanceId, Row>,
    assignment: Option<Stamped<Assignment>>,
}

impl Memory {
    /// Opens it. What cannot be read is forgotten: the assignment is sent again, the instances are found by their folders.
    ///
    /// # Errors
    /// When the disk fails.
    pub async fn open(folder: &Path) -> Result<Self, TableError> {
        let table = Table::open(folder).await?;
        if let Some(aside) = table.set_aside() {
            tracing::error!(aside = %aside.display(), "the instance table was damaged and is set aside");
        }
        let (mut rows, mut assignment) = (BTreeMap::new(), None);
        for (key, value) in table.all()? {
            let key = String::from_utf8_lossy(&key);
            let id = key.strip_prefix(INSTANCE).and_then(|id| id.parse::<InstanceId>().ok());
            let read = match id {
                Some(id) => wire::decode(&value).map(|row| drop(rows.insert(id, row))),
                None => wire::decode(&value).map(|stored| assignment = Some(stored)),
            };
            if let Err(error) = read {
                tracing::warn!(%key, error = error.reason(), "a row of the instance table cannot be read");
            }
        }
        Ok(Self { table, rows, assignment })
    }

    /// The assignment that was last acted on.
    pub fn assignment(&self) -> Option<&Stamped<Assignment>> {
        self.assignment.as_ref()
    }

    /// The instances that are known.
    pub fn rows(&self) -> &BTreeMap<InstanceId, Row> {
        &self.rows
    }

    /// Keeps an assignment and the instances that it names, durably.
    ///
    /// # Errors
    /// When the disk fails.
    pub async fn assign(
        &mut self,
        assignment: Stamped<Assignment>,
        specs: &[Spec],
    ) -> Result<(), TableError> {
        let rows: Vec<Row> = specs.iter().filter_map(|spec| self.changed(spec)).collect();
        let mut pairs: Vec<_> = rows.iter().map(|row| (key(row.spec.instance), wire::encode(row))).collect();
        pairs.push((ASSIGNMENT.to_owned(), wire::encode(&assignment)));
        self.table.put_all(&pairs)?;
        self.table.barrier().await?;
        self.rows.extend(rows.into_iter().map(|row| (row.spec.instance, row)));
        self.assignment = Some(assignment);
        Ok(())
    }

    /// The row of an instance that is new or is to be another than before.
    fn changed(&self, spec: &Spec) -> Option<Row> {
        match self.rows.get(&spec.instance) {
            None => Some(Row::new(spec.clone())),
            Some(row) if row.spec != *spec => Some(Row { spec: spec.clone(), ..row.clone() }),
            Some(_) => None,
        }
    }

    /// Changes what is remembered of an instance. Not durable at once: forgetting it costs a repeated report.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn change(&mut self, instance: InstanceId, change: impl FnOnce(&mut Row)) -> Result<(), TableError> {
        match self.rows.get(&instance).cloned() {
            Some(mut row) => {
                change(&mut row);
                self.put(row)
            }
            None => Ok(()),
        }
    }

    /// The table, for its barrier.
    pub fn table(&self) -> Table {
        self.table.clone()
    }

    /// Remembers an instance that was found.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn put(&mut self, row: Row) -> Result<(), TableError> {
        self.table.put(key(row.spec.instance), wire::encode(&row))?;
        self.rows.insert(row.spec.instance, row);
        Ok(())
    }

    /// Forgets an instance.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn remove(&mut self, instance: InstanceId) -> Result<(), TableError> {
        self.rows.remove(&instance);
        self.table.remove(key(instance))
    }
}

fn key(instance: InstanceId) -> String {
    format!("{INSTANCE}{instance}")
}
