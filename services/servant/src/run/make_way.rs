//! The last word on what the policy of the disk has chosen: whether it is in use by now is known here.

use super::shell::Shell;
use crate::container::supply;
use crate::disk::Removal;
use crate::disk::shelf::Place;
use crate::release::{self, ReleaseFolder};
use events::InstanceId;
use std::collections::BTreeSet;
use std::path::PathBuf;

impl Shell {
    /// Gives back what nobody needs. Releases are moved out of the way at once, which is quick; the rest may take long, and is
    /// removed by who asked.
    pub(super) fn make_way(&self, removal: Removal) {
        let releases = &self.preparer.releases;
        let used = self.reconciler.releases_in_use();
        let trees: BTreeSet<PathBuf> =
            used.iter().map(|key| ReleaseFolder::new(releases, key).tree).collect();
        let images = supply::names(&used);
        let makes_way = |place: &Place| match place {
            Place::Release(tree) => !trees.contains(tree) && self.set_aside(tree.clone()),
            Place::Output(folder) => self.is_silent(folder.instance),
            Place::Image(_, brought) => !images.contains(&brought.name),
        };
        let moved = removal.things.into_iter().filter(|thing| makes_way(&thing.place)).collect();
        // Who asked is gone when the servant ends.
        let _ = removal.moved.send(moved);
    }

    fn set_aside(&self, tree: PathBuf) -> bool {
        let moved = release::set_aside(&self.preparer.releases, &tree);
        if let Err(error) = &moved {
            tracing::warn!(tree = %tree.display(), %error, "could not be moved away");
        }
        moved.is_ok()
    }

    /// Whether nothing is left of an instance that could write.
    fn is_silent(&self, instance: InstanceId) -> bool {
        !self.leaving.contains(&instance) && !self.memory.rows().contains_key(&instance)
    }
}
