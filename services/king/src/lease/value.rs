//! What stands in the key: `<king id> <epoch>`, or `- <epoch>` when its holder let go of it.

use events::KingId;
use std::fmt;
use std::str::FromStr;

/// Who holds the lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    /// None when its last holder let go of it.
    pub holder: Option<KingId>,
    /// The epoch in which the holder writes, or wants to.
    pub epoch: u64,
}

/// The lease as it is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Another with every write.
    pub revision: u64,
    pub lease: Lease,
}

/// Why a text is no lease.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{found:?} is no lease: `<king id> <epoch>`; who else writes the bucket KING_LEASE?")]
pub struct LeaseValueError {
    found: String,
}

impl fmt::Display for Lease {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.holder {
            Some(king) => write!(formatter, "{king} {}", self.epoch),
            None => write!(formatter, "- {}", self.epoch),
        }
    }
}

impl FromStr for Lease {
    type Err = LeaseValueError;

    /// What follows the epoch is for later builds and is passed over.
    fn from_str(text: &str) -> Result<Self, LeaseValueError> {
        let mut words = text.split(' ');
        let holder = match words.next() {
            Some("-") => Some(None),
            Some(king) => king.parse().ok().map(Some),
            None => None,
        };
        let epoch = words.next().and_then(|epoch| epoch.parse().ok());
        match (holder, epoch) {
            (Some(holder), Some(epoch)) => Ok(Self { holder, epoch }),
            _ => Err(LeaseValueError { found: text.chars().take(64).collect() }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    #[test]
    fn a_lease_is_read_as_it_was_written() {
        for holder in [Some(KingId(Uuid::from_u128(7))), None] {
            let lease = Lease { holder, epoch: 12 };
            assert_eq!(lease.to_string().parse(), Ok(lease));
            assert_eq!(format!("{lease} and more").parse(), Ok(lease));
        }
        for text in ["", "-", "king 1", "- one"] {
            assert!(text.parse::<Lease>().is_err(), "{text}");
        }
    }
}
