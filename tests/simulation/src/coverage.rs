//! What must have been seen: situations that are easily missed, so a run that never met one says so.

use std::fmt;

macro_rules! sights {
    ($($(#[$doc:meta])* $Sight:ident = $words:literal,)*) => {
        /// A situation.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Sight { $($(#[$doc])* $Sight,)* }

        impl Sight {
            /// Every one.
            pub const ALL: &[Self] = &[$(Self::$Sight,)*];
        }

        impl fmt::Display for Sight {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.pad(match self { $(Self::$Sight => $words,)* })
            }
        }
    };
}

sights! {
    DiedUnresolved = "a King died with an append whose outcome it did not know",
    ResolvedAsOwn = "an append that was not acknowledged was found to be stored",
    AppendedAgain = "an append that was not acknowledged was not there and was made again",
    StaleRefused = "an append of a King that had lost its place was refused",
    SeenOvertaken = "a King with nothing to append saw that another had been elected",
    TwoInFlight = "two commits were in flight at once",
    DeposedInFlight = "a King was deposed with two commits in flight",
    TwoReigned = "two Kings took themselves for the writer at the same time",
    PausedDeposed = "a King that had stood still woke up and was refused",
    RepeatedAcross = "a command was sent again to another King and got the stored answer",
    QueuedAcross = "a queued command was run after a failover",
    ReportAgain = "a report came again and changed nothing",
    ReportReturned = "an acknowledged report came back after a crash and was sent again",
    OutboxLost = "an outbox was lost and began another life",
    JournalTorn = "a journal was torn and its King filled it from the stream",
    SyncFailed = "a disk failed a sync, and whose it was ended at once",
    ViewOvertaken = "a view was written by another King in between",
    ViewSuperseded = "a King met a view of a later one and stopped",
    EventsOvertaken = "public events were published by another King in between",
    TailReopened = "a tail was made anew after what it had read",
    Adopted = "a servant came back and took over what ran",
    InstanceCrashed = "an instance crashed and was started again",
    ServantLost = "a servant was called lost",
    ServantReturned = "a lost servant came back",
    ClockWentBack = "a King's clock stood behind the log's",
    LogFull = "the log took no more for a while",
    LeaderChanged = "the streams were without a leader",
    LogCut = "the log lost its end and every King stopped",
    LogLost = "the log was lost and every King stopped",
    MailAgain = "a mail was sent twice with the same id",
    RelayedAgain = "a Foreman sent a batch again",
}

/// How often each was seen.
#[derive(Clone, Debug)]
pub struct Coverage {
    counts: Vec<u64>,
}

impl Default for Coverage {
    fn default() -> Self {
        Self { counts: vec![0; Sight::ALL.len()] }
    }
}

impl Coverage {
    /// It was seen.
    pub fn saw(&mut self, sight: Sight) {
        self.counts[sight as usize] += 1;
    }

    /// Adds what another run saw.
    pub fn add(&mut self, other: &Self) {
        self.counts.iter_mut().zip(&other.counts).for_each(|(count, more)| *count += more);
    }

    /// How often it was seen.
    pub fn count(&self, sight: Sight) -> u64 {
        self.counts[sight as usize]
    }

    /// What was never seen.
    pub fn missing(&self) -> Vec<Sight> {
        Sight::ALL.iter().copied().filter(|sight| self.count(*sight) == 0).collect()
    }
}
