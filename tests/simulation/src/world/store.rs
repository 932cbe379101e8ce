//! A host's disk as sled leaves it: what was written and not flushed may be lost with the process, from some write on. A sync may
//! fail: then it is lost for sure.

use super::net::Net;
use crate::coverage::Sight;
use crate::random::Random;
use bus::outbox::ledger::{Bounds, Holding, Kept, Ledger, Offer, Side, Synced};
use events::ReportId;
use std::collections::BTreeMap;
use uuid::Uuid;

/// A disk of a host.
#[derive(Debug, Default)]
pub struct Disk {
    /// Whether its next sync fails. The one after that succeeds again: the system has let go of what it could not write.
    fails: bool,
}

impl Disk {
    /// A fault: the next sync says EIO.
    pub fn fail(&mut self) {
        self.fails = true;
    }

    pub fn sync(&mut self) -> Synced {
        if std::mem::take(&mut self.fails) { Synced::No } else { Synced::Yes }
    }
}

/// A map on a disk.
#[derive(Clone, Debug)]
pub struct Store<K, V> {
    durable: BTreeMap<K, V>,
    now: BTreeMap<K, V>,
    loose: Vec<(K, Option<V>)>,
}

impl<K, V> Default for Store<K, V> {
    fn default() -> Self {
        Self { durable: BTreeMap::new(), now: BTreeMap::new(), loose: Vec::new() }
    }
}

impl<K: Ord + Clone, V: Clone> Store<K, V> {
    pub fn put(&mut self, key: K, value: V) {
        self.now.insert(key.clone(), value.clone());
        self.loose.push((key, Some(value)));
    }

    pub fn remove(&mut self, key: &K) {
        self.now.remove(key);
        self.loose.push((key.clone(), None));
    }

    pub fn get(&self, key: &K) -> Option<&V> {
        self.now.get(key)
    }

    pub fn all(&self) -> &BTreeMap<K, V> {
        &self.now
    }

    /// What a crash leaves for sure.
    pub fn durable(&self) -> &BTreeMap<K, V> {
        &self.durable
    }

    /// Makes what was written durable. Where the disk fails, all of that can be read as long as the process lives, and no
    /// longer.
    pub fn sync(&mut self, disk: &mut Disk) -> Synced {
        let synced = disk.sync();
        match synced {
            Synced::Yes => self.flush(),
            Synced::No => self.loose.clear(),
        }
        synced
    }

    fn flush(&mut self) {
        for (key, value) in self.loose.drain(..) {
            match value {
                Some(value) => drop(self.durable.insert(key, value)),
                None => drop(self.durable.remove(&key)),
            }
        }
    }

    /// Some of what was not flushed is gone.
    pub fn crashed(&mut self, random: &mut Random) {
        let kept = usize::try_from(random.below(self.loose.len() as u64 + 1)).expect("below a length");
        self.loose.truncate(kept);
        self.flush();
        self.now = self.durable.clone();
    }
}

/// An outbox: the real ledger over such a disk.
#[derive(Default)]
pub struct Numbers {
    entries: Store<u64, Vec<u8>>,
    side: Option<Side>,
    ledger: Option<Ledger>,
    is_lost: bool,
    is_made: bool,
    acknowledged: u64,
}

impl Numbers {
    pub fn open(&mut self, net: &mut Net, _: Uuid, now_ms: u64) {
        let kept = if self.is_made && !self.is_lost { Kept::Yes } else { Kept::No };
        if self.is_lost {
            net.saw(Sight::OutboxLost);
            self.entries = Store::default();
        }
        if self.entries.all().keys().any(|number| *number <= self.acknowledged) {
            net.saw(Sight::ReportReturned);
        }
        (self.is_lost, self.is_made, self.acknowledged) = (false, true, 0);
        let all = self.entries.all();
        let holding = Holding {
            last: all.keys().next_back().copied().unwrap_or_default(),
            count: all.len(),
            bytes: all.values().map(Vec::len).sum(),
        };
        let mut ledger = Ledger::open(self.side, kept, holding, now_ms, Bounds::default());
        self.entries.flush();
        let side = ledger.reservation();
        self.side = Some(side);
        ledger.reserved(side);
        self.ledger = Some(ledger);
    }

    fn ledger(&self) -> &Ledger {
        self.ledger.as_ref().expect("an outbox is opened before it is used")
    }

    pub fn epoch(&self) -> u64 {
        self.ledger().epoch()
    }

    /// Takes an entry; its number, unless it is full.
    pub fn push(&mut self, net: &mut Net, sender: Uuid, entry: Vec<u8>) -> Option<u64> {
        let mut ledger = *self.ledger();
        let number = loop {
            match ledger.offer(entry.len()) {
                Offer::Full | Offer::Stopped => return None,
                Offer::Reserve(side) => {
                    self.side = Some(side);
                    ledger.reserved(side);
                }
                Offer::Take(number) => break number,
            }
        };
        ledger.taken(entry.len());
        net.judge.numbered(ReportId { sender, epoch: ledger.epoch(), number });
        self.entries.put(number, entry);
        self.ledger = Some(ledger);
        Some(number)
    }

    /// The barrier. Whether the outbox can be used after it.
    pub fn sync(&mut self, disk: &mut Disk) -> Synced {
        let mut ledger = *self.ledger();
        let last = ledger.last();
        let synced = self.entries.sync(disk);
        if let Some(side) = ledger.synced(last, synced) {
            self.side = Some(side);
            ledger.reserved(side);
        }
        self.ledger = Some(ledger);
        if ledger.is_stopped() { Synced::No } else { Synced::Yes }
    }

    /// Whether a crash leaves an entry for sure.
    pub fn is_on_disk(&self, number: u64) -> bool {
        self.entries.durable().contains_key(&number)
    }

    /// What may be sent.
    pub fn pending(&self, most: usize) -> Vec<(u64, Vec<u8>)> {
        let ledger = self.ledger();
        let all = self.entries.all().iter().take(most).filter(|(number, _)| ledger.shows(**number));
        all.map(|(number, entry)| (*number, entry.clone())).collect()
    }

    /// Forgets up to a number; what was forgotten.
    pub fn acknowledge(&mut self, number: u64) -> Vec<u64> {
        let gone: Vec<u64> = self.entries.all().range(..=number).map(|(number, _)| *number).collect();
        let bytes = gone.iter().filter_map(|number| self.entries.get(number)).map(Vec::len).sum();
        gone.iter().for_each(|number| self.entries.remove(number));
        self.acknowledged = self.acknowledged.max(number);
        if let Some(ledger) = &mut self.ledger {
            ledger.acknowledged(number);
            ledger.deleted(gone.len(), bytes);
        }
        gone
    }

    pub fn forget_all(&mut self) {
        if let Some(last) = self.entries.all().keys().next_back().copied() {
            self.acknowledge(last);
        }
    }

    pub fn is_empty(&self) -> bool {
        self.entries.all().is_empty()
    }

    pub fn crashed(&mut self, random: &mut Random) {
        self.entries.crashed(random);
        self.ledger = None;
    }

    /// A fault: the store is damaged, and will be set aside.
    pub fn lose(&mut self) {
        self.is_lost = self.is_made;
    }
}
