//! Removing what was chosen, once nobody needs it any more. Whatever cannot be removed is left for another time.

use super::blocking;
use super::shelf::{Place, Shelf, Thing};
use crate::container::Engine;
use crate::container::engine::images::Unnamed;
use crate::container::supply::ledger::Brought;
use crate::spool;
use std::io;
use std::path::{Path, PathBuf};

/// What removes things.
pub struct Hands {
    pub shelf: Shelf,
    pub engine: Engine,
}

impl Hands {
    /// Removes what was moved out of the way, and what an earlier life has left there; and these. Gives those that are gone.
    ///
    /// # Errors
    /// When it breaks off.
    pub async fn remove(&self, things: Vec<Thing>) -> io::Result<Vec<Thing>> {
        let shelf = self.shelf.clone();
        blocking(move || {
            shelf.empty_trash();
            Ok(())
        })
        .await?;
        let mut gone = Vec::new();
        for thing in things {
            let name = &thing.candidate.name;
            match self.remove_one(&thing.place).await {
                Ok(Removal::Done) => gone.push(thing),
                Ok(Removal::Not) => tracing::info!(name, "somebody uses it; it stays"),
                Err(error) => tracing::warn!(name, %error, "what nobody uses could not be removed"),
            }
        }
        Ok(gone)
    }

    async fn remove_one(&self, place: &Place) -> io::Result<Removal> {
        match place {
            // It is in the trash.
            Place::Release(_) => Ok(Removal::Done),
            Place::Output(folder) => {
                let path = folder.path.clone();
                blocking(move || spool::give_up(&path)).await.map(|()| Removal::Done)
            }
            Place::Image(record, brought) => self.remove_image(record, brought).await,
        }
    }

    async fn remove_image(&self, record: &Path, brought: &Brought) -> io::Result<Removal> {
        let found = self.engine.image(&brought.name).await.map_err(io::Error::other)?;
        // Somebody may have removed it, or given its name to an image of their own.
        let is_ours = found.is_some_and(|image| image.id == brought.id);
        let unnamed = match is_ours {
            true => self.engine.remove_image(&brought.name).await.map_err(io::Error::other)?,
            false => Unnamed::Gone,
        };
        let (shelf, record): (_, PathBuf) = (self.shelf.clone(), record.to_owned());
        match unnamed {
            Unnamed::Gone => blocking(move || shelf.forget_image(&record)).await?,
            Unnamed::Needed => blocking(move || shelf.spare_image(&record)).await?,
        }
        Ok(if is_ours && unnamed == Unnamed::Gone { Removal::Done } else { Removal::Not })
    }
}

enum Removal {
    Done,
    Not,
}
