//! A King's journal on its disk: the commits that it has seen. It may be behind, and a crash may tear its end.

use super::super::net::Net;
use super::super::store::Disk;
use crate::coverage::Sight;
use crate::random::Random;
use bus::outbox::ledger::Synced;
use bytes::Bytes;
use events::Event;
use king::election::Fold;

/// The journal.
#[derive(Default)]
pub struct Journal {
    entries: Vec<(u64, Bytes)>,
    /// How many of them are durable.
    synced: usize,
}

impl Journal {
    pub fn push(&mut self, sequence: u64, payload: Bytes) {
        if sequence > self.last() {
            self.entries.push((sequence, payload));
        }
    }

    pub fn last(&self) -> u64 {
        self.entries.last().map_or(0, |(sequence, _)| *sequence)
    }

    /// Makes it durable. What the disk fails to sync is gone with the process.
    pub fn sync(&mut self, disk: &mut Disk) -> Synced {
        let synced = disk.sync();
        match synced {
            Synced::Yes => self.synced = self.entries.len(),
            Synced::No => self.entries.truncate(self.synced),
        }
        synced
    }

    /// Some of what was not durable is gone.
    pub fn crashed(&mut self, random: &mut Random) {
        let loose = (self.entries.len() - self.synced) as u64;
        let kept = self.synced + usize::try_from(random.below(loose + 1)).expect("below a length");
        self.entries.truncate(kept);
        self.synced = kept;
    }

    /// A fault: the end is missing, and what is the end now is damaged.
    pub fn tear(&mut self, random: &mut Random) {
        let kept = usize::try_from(random.below(self.entries.len() as u64 + 1)).expect("below a length");
        self.entries.truncate(kept);
        if let Some((_, payload)) = self.entries.last_mut() {
            let mut bytes = payload.to_vec();
            let place = usize::try_from(random.below(bytes.len() as u64)).expect("below a length");
            bytes[place] ^= 1 << random.below(8);
            *payload = bytes.into();
        }
        self.synced = self.entries.len();
    }

    /// Folds what it holds as far as it is whole, and forgets the rest.
    pub fn replay(&mut self, net: &mut Net, fold: &mut Fold) -> Vec<Event> {
        let mut events = Vec::new();
        let whole = self.entries.iter().take_while(|(sequence, payload)| {
            // The witness beside it tells a damaged commit even where it still reads as one.
            let is_own = net.judge.has_stored(*sequence, payload);
            match fold.take(*sequence, payload) {
                Ok(commit) if is_own => {
                    events.extend(commit.events);
                    true
                }
                Ok(_) | Err(_) => false,
            }
        });
        let whole = whole.count();
        if whole < self.entries.len() {
            net.saw(Sight::JournalTorn);
            self.entries.truncate(whole);
            let mut again = Fold::empty();
            events.clear();
            for (sequence, payload) in &self.entries {
                let commit = again.take(*sequence, payload).expect("it was folded before");
                events.extend(commit.events);
            }
            *fold = again;
        }
        self.synced = self.entries.len();
        events
    }
}
