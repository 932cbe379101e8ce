//! When a view may be written, and when what is read of one is news: the rules, without a bucket.

use events::view::Stamp;

/// What is stored under a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    pub revision: u64,
    /// None when it cannot be read: then it may be overwritten.
    pub stamp: Option<Stamp>,
    /// Whether it is what shall be written.
    pub is_same: bool,
}

/// What to do about a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// It stands there already.
    Done,
    /// What stands there reflects a later place: another King writes now.
    Superseded(Stamp),
    /// Write it at this revision; when that fails, read again.
    Write { revision: u64 },
}

/// What to do about a write of this stamp where this stands.
pub fn step(standing: Option<&Standing>, stamp: Stamp) -> Step {
    let Some(standing) = standing else { return Step::Write { revision: 0 } };
    if standing.is_same {
        return Step::Done;
    }
    match standing.stamp {
        Some(found) if found > stamp => Step::Superseded(found),
        Some(_) | None => Step::Write { revision: standing.revision },
    }
}

/// What a watch has delivered last.
#[derive(Clone, Copy, Debug, Default)]
pub struct Seen {
    /// 0 before the first.
    revision: u64,
}

/// Whether a key holds a value or the mark of a deletion, or nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    View,
    Nothing,
}

impl Seen {
    /// Whether a message of the tail is behind what was delivered.
    pub fn is_ahead_of(&self, revision: u64) -> bool {
        revision <= self.revision
    }

    /// Whether the bucket was replaced: its revisions are lower than one that was seen.
    pub fn is_cut_by(&self, revision: u64) -> bool {
        revision < self.revision
    }

    /// Whether a plain read brings what was delivered last.
    pub fn is_at(&self, revision: u64) -> bool {
        revision == self.revision
    }

    /// Takes it as delivered; whether it is to be told: a view, or the deletion of what was told before.
    pub fn deliver(&mut self, revision: u64, content: Content) -> bool {
        let had_one = self.revision != 0;
        self.revision = revision;
        content == Content::View || had_one
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn standing(epoch: u64, event: u64) -> Standing {
        Standing { revision: 7, stamp: Some(Stamp { epoch, event }), is_same: false }
    }

    #[test]
    fn a_lower_stamp_never_replaces_a_higher_one() {
        let stamp = Stamp { epoch: 2, event: 5 };
        assert_eq!(step(None, stamp), Step::Write { revision: 0 });
        assert_eq!(step(Some(&standing(2, 4)), stamp), Step::Write { revision: 7 });
        assert_eq!(step(Some(&standing(1, 9)), stamp), Step::Write { revision: 7 });
        assert_eq!(step(Some(&standing(3, 1)), stamp), Step::Superseded(Stamp { epoch: 3, event: 1 }));
        assert_eq!(step(Some(&Standing { is_same: true, ..standing(9, 9) }), stamp), Step::Done);
    }

    #[test]
    fn a_deletion_is_news_only_after_a_view() {
        let mut seen = Seen::default();
        assert!(!seen.deliver(3, Content::Nothing));
        assert!(seen.deliver(4, Content::View) && seen.deliver(5, Content::Nothing));
        assert!(seen.is_ahead_of(5) && seen.is_cut_by(4) && !seen.is_cut_by(5));
    }
}
