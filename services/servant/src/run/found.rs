//! Finding at the start what ran before: from the instance table, the folders of instances, and the holders that live.

use super::shell::Shell;
use crate::keeper::{self, Found, InstanceFolder, Seen};
use crate::memory::{Held, Row};
use crate::reconcile::{Adopted, Input};
use crate::spec::{Runtime, Spec};
use anyhow::{Context, Result};
use events::Slot;
use std::collections::{BTreeMap, VecDeque};

impl Shell {
    /// Takes over every instance that is known, then goes on with the last assignment.
    ///
    /// # Errors
    /// When the folders cannot be read.
    pub async fn find(&mut self) -> Result<()> {
        let known = self.known().context("the folders of instances cannot be read")?;
        let (contained, known): (Vec<_>, Vec<_>) =
            known.into_iter().partition(|(_, row)| row.spec.runtime() == Runtime::Container);
        let mut inputs = VecDeque::new();
        for (folder, row) in contained {
            inputs.push_back(self.adopt_container(&folder, row)?);
        }
        self.containers.watch();
        // All at once: one that hangs keeps no other waiting.
        let looks: Vec<_> = known
            .iter()
            .map(|(folder, _)| {
                let (folder, host) = (folder.clone(), self.host.clone());
                tokio::spawn(async move { keeper::look(&folder, &host).await })
            })
            .collect();
        for ((folder, row), look) in known.into_iter().zip(looks) {
            let failed = || format!("instance {} cannot be taken over", folder.instance);
            let seen = look.await.with_context(failed)?.with_context(failed)?;
            inputs.push_back(self.adopt(&folder, row, seen).with_context(failed)?);
        }
        // All at once: what is to be reported of them is made durable together.
        self.steps(inputs).await?;
        self.hub.sweep();
        if let Some(stored) = self.memory.assignment().cloned() {
            self.assigned(stored).await?;
        }
        Ok(())
    }

    /// The instances of the table, and those that have a folder all the same: the table may have been lost. Of one that
    /// is gone only the output is shipped.
    fn known(&mut self) -> Result<Vec<(InstanceFolder, Row)>> {
        let mut known: BTreeMap<_, _> = self.memory.rows().clone();
        for folder in InstanceFolder::all(&self.instances)? {
            let Some(spec) = folder.spec() else {
                tracing::warn!(instance = %folder.instance, "a folder that does not say what it holds is left alone");
                continue;
            };
            if folder.is_stopped() && !known.contains_key(&folder.instance) {
                self.ship(&spec).close();
                continue;
            }
            known.entry(folder.instance).or_insert_with(|| Row::new(spec));
        }
        let instances = self.instances.clone();
        Ok(known.into_values().map(|row| (InstanceFolder::new(&instances, row.spec.instance), row)).collect())
    }

    fn adopt_container(&mut self, folder: &InstanceFolder, row: Row) -> Result<Input> {
        let spec = folder.spec().unwrap_or_else(|| row.spec.clone());
        let shipping = self.ship(&spec);
        shipping.wake();
        let (missed, adopted) = self.containers.adopt(folder, &row, shipping);
        tracing::info!(instance = %folder.instance, ?adopted, "found a container");
        let (spec, looping, workers) = (Box::new(spec), row.looping, row.workers);
        self.memory.put(row)?;
        let adopted = BTreeMap::from([(0, adopted)]);
        Ok(Input::Known { spec, missed, adopted, looping, workers })
    }

    fn adopt(&mut self, folder: &InstanceFolder, row: Row, seen: Seen) -> Result<Input> {
        let found = self.keeper.adopt(folder, seen);
        let (missed, adopted) = (row.missed(found.state()), adopted(&row, &found));
        tracing::info!(instance = %folder.instance, ?adopted, "found");
        if folder.path.is_dir() {
            self.ship(&row.spec).wake();
        }
        let spec = Box::new(spec_of(folder, &row, &adopted));
        let (looping, workers) = (row.looping, row.workers);
        self.memory.put(row)?;
        Ok(Input::Known { spec, missed, adopted, looping, workers })
    }
}

/// What runs may be older than what is remembered: it is as its folder says, and the assignment shall see that.
fn spec_of(folder: &InstanceFolder, row: &Row, adopted: &BTreeMap<Slot, Adopted>) -> Spec {
    let runs = adopted.values().any(|adopted| matches!(adopted, Adopted::Running { .. }));
    let own = if runs { folder.spec() } else { None };
    own.unwrap_or_else(|| row.spec.clone())
}

fn adopted(row: &Row, found: &Found) -> BTreeMap<Slot, Adopted> {
    match found {
        // What is recorded to run is taken to run until its holder is heard, or is gone.
        Found::Held(state) | Found::Unknown(state) => row.adopted(state, Held::Yes),
        Found::Unheld(state) => row.adopted(state, Held::No),
    }
}
