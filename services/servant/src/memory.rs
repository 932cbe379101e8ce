//! What the servant must know after its own death: its assignment with the place in the log that it reflects, and a row
//! for each instance. Stored before it is acted on.

use crate::spec::Spec;
use bus::table::{Table, TableError};
use events::view::{Assignment, Stamped};
use events::{InstanceId, wire};
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
}

impl Row {
    /// A row of an instance that has done nothing yet.
    pub fn new(spec: Spec) -> Self {
        Self { spec, looping: false, started_pid: None, exited_run: 0 }
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
        for spec in specs {
            let known = self.rows.get(&spec.instance);
            if known.is_none_or(|row| row.spec != *spec) {
                let row =
                    known.cloned().map_or(Row::new(spec.clone()), |row| Row { spec: spec.clone(), ..row });
                self.put(row)?;
            }
        }
        self.table.put(ASSIGNMENT, wire::encode(&assignment))?;
        self.table.barrier().await?;
        self.assignment = Some(assignment);
        Ok(())
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
        let id = row.spec.instance;
        self.table.put(format!("{INSTANCE}{id}"), wire::encode(&row))?;
        self.rows.insert(id, row);
        Ok(())
    }

    /// Forgets an instance.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn remove(&mut self, instance: InstanceId) -> Result<(), TableError> {
        self.rows.remove(&instance);
        self.table.remove(format!("{INSTANCE}{instance}"))
    }
}
