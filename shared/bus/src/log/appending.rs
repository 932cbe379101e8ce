//! One commit on its way into the log, as a machine without a socket: what came of an attempt in, what to do next out.
//!
//! An attempt that was not acknowledged is never guessed about: the place that would have been written is read back and
//! compared. The shell does what [`Next`] says, and decides how long it goes on doing so.

/// The machine.
#[derive(Clone, Copy, Debug)]
pub struct Appending {
    expected_last: u64,
    /// An earlier attempt may have been stored, or may still land.
    doubtful: bool,
    overtaken: bool,
}

/// What one attempt to append came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attempt {
    /// Acknowledged under this sequence.
    Stored(u64),
    /// Not written: the log does not end with the commit that was expected.
    Overtaken,
    /// Perhaps written.
    Unclear,
    /// Not written; the same may succeed later.
    Failed,
    /// Not written, and the same will not succeed until somebody changes something.
    Refused,
}

/// What stands where the commit would have been written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Witness {
    /// These very bytes.
    Own,
    /// Other bytes.
    Another,
    Nothing,
    /// The log did not answer.
    Unread,
}

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Read the place that would have been written, from the leader.
    ReadBack,
    /// Ask for the last sequence of the log.
    Measure,
    /// Wait a moment, then make another attempt, or give up.
    Again,
    Done(Ending),
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The commit is stored under this sequence.
    Stored(u64),
    /// Another writer has written its place.
    Deposed,
    /// The log ends at `last`, before the commit that was expected to be the last.
    Shorter { last: u64 },
    /// Refused for good; nothing was written.
    Refused,
}

impl Appending {
    /// A commit that shall follow the commit `expected_last`.
    pub fn after(expected_last: u64) -> Self {
        Self { expected_last, doubtful: false, overtaken: false }
    }

    /// The place that it shall have.
    pub fn sequence(&self) -> u64 {
        self.expected_last + 1
    }

    /// Whether it may have been written, or may still be, although nothing says so.
    pub fn is_doubtful(&self) -> bool {
        self.doubtful
    }

    /// An attempt was made.
    pub fn attempted(&mut self, attempt: Attempt) -> Next {
        self.overtaken = false;
        match attempt {
            Attempt::Stored(sequence) if sequence == self.sequence() => {
                return Next::Done(Ending::Stored(sequence));
            }
            Attempt::Refused if !self.doubtful => return Next::Done(Ending::Refused),
            // The server knows the same bytes from elsewhere; what stands in their place tells.
            Attempt::Stored(_) | Attempt::Overtaken => self.overtaken = true,
            Attempt::Unclear => self.doubtful = true,
            // A refusal that follows an unclear attempt clears nothing up: the earlier one may still land.
            Attempt::Failed | Attempt::Refused => {}
        }
        if self.overtaken || self.doubtful { Next::ReadBack } else { Next::Again }
    }

    /// The place was read back.
    pub fn read_back(&mut self, witness: Witness) -> Next {
        match witness {
            Witness::Own => Next::Done(Ending::Stored(self.sequence())),
            Witness::Another => Next::Done(Ending::Deposed),
            Witness::Nothing if self.overtaken => Next::Measure,
            Witness::Nothing | Witness::Unread => Next::Again,
        }
    }

    /// The log was measured; none when it did not answer.
    pub fn measured(&mut self, last: Option<u64>) -> Next {
        match last {
            Some(last) if last < self.expected_last => Next::Done(Ending::Shorter { last }),
            Some(_) | None => Next::Again,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_acknowledgement_ends_it() {
        let mut appending = Appending::after(4);
        assert_eq!(appending.attempted(Attempt::Stored(5)), Next::Done(Ending::Stored(5)));
    }

    #[test]
    fn silence_is_cleared_up_by_reading_and_tried_again() {
        let mut appending = Appending::after(4);
        assert_eq!(appending.attempted(Attempt::Unclear), Next::ReadBack);
        assert_eq!(appending.read_back(Witness::Nothing), Next::Again);
        assert_eq!(appending.attempted(Attempt::Overtaken), Next::ReadBack);
        assert_eq!(appending.read_back(Witness::Own), Next::Done(Ending::Stored(5)));
    }

    #[test]
    fn a_refusal_after_silence_leaves_it_open() {
        let mut appending = Appending::after(0);
        assert_eq!(appending.attempted(Attempt::Unclear), Next::ReadBack);
        assert_eq!(appending.read_back(Witness::Unread), Next::Again);
        assert_eq!(appending.attempted(Attempt::Refused), Next::ReadBack);
        assert!(appending.is_doubtful());
        assert_eq!(Appending::after(0).attempted(Attempt::Refused), Next::Done(Ending::Refused));
    }

    #[test]
    fn a_rival_deposes_and_a_short_log_is_told_from_one() {
        let mut appending = Appending::after(9);
        assert_eq!(appending.attempted(Attempt::Overtaken), Next::ReadBack);
        assert_eq!(appending.read_back(Witness::Another), Next::Done(Ending::Deposed));
        assert_eq!(appending.read_back(Witness::Nothing), Next::Measure);
        assert_eq!(appending.measured(Some(2)), Next::Done(Ending::Shorter { last: 2 }));
        assert_eq!(appending.measured(Some(9)), Next::Again);
        assert_eq!(appending.measured(None), Next::Again);
    }

    #[test]
    fn the_same_bytes_elsewhere_are_not_this_commit() {
        let mut appending = Appending::after(9);
        assert_eq!(appending.attempted(Attempt::Stored(3)), Next::ReadBack);
        assert_eq!(appending.read_back(Witness::Nothing), Next::Measure);
    }
}
