//! A window of public events in flight, as a machine without a socket: each is fenced by the sequence that the one before
//! it gets, so if one fails, all that follow fail too.

use super::PublicEventError;
use events::{Event, EventNumber};

/// Most events in flight.
pub const WINDOW: usize = 64;

/// Where the stream of public events stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    pub sequence: u64,
    pub number: EventNumber,
}

/// The machine, over the events that follow a place.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    reached: Place,
    sent: usize,
    in_flight: usize,
    has_failed: bool,
}

/// What to send next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dispatch {
    /// Which of the events.
    pub index: usize,
    pub expected_last: u64,
}

impl Window {
    /// Nothing is in flight yet.
    pub fn after(place: Place) -> Self {
        Self { reached: place, sent: 0, in_flight: 0, has_failed: false }
    }

    /// The next of so many events to send, when there is room for it.
    pub fn dispatch(&mut self, events: usize) -> Option<Dispatch> {
        if self.has_failed || self.in_flight == WINDOW || self.sent == events {
            return None;
        }
        let index = self.sent;
        self.sent += 1;
        self.in_flight += 1;
        Some(Dispatch { index, expected_last: self.reached.sequence + self.in_flight as u64 - 1 })
    }

    /// The oldest in flight was acknowledged; false when that is no place behind the one before.
    pub fn landed(&mut self, sequence: u64, duplicate: bool) -> bool {
        self.in_flight -= 1;
        if self.has_failed || duplicate || sequence != self.reached.sequence + 1 {
            self.has_failed = true;
            return false;
        }
        self.reached = Place { sequence, number: self.reached.number + 1 };
        true
    }

    /// The oldest in flight was not acknowledged.
    pub fn lost(&mut self) {
        self.in_flight -= 1;
        self.has_failed = true;
    }

    /// How many are in flight.
    pub fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// Up to where all are stored.
    pub fn reached(&self) -> Place {
        self.reached
    }

    /// Whether one has failed: where the stream stands has to be read again.
    pub fn has_failed(&self) -> bool {
        self.has_failed
    }
}

/// The events after the last stored one.
///
/// # Errors
/// When they do not follow it.
pub fn rest(events: &[Event], published: EventNumber) -> Result<&[Event], PublicEventError> {
    let start = events.partition_point(|event| event.id <= published);
    let rest = &events[start..];
    let expected = (published + 1..).zip(rest);
    for (number, event) in expected {
        if event.id != number {
            return Err(PublicEventError::Hole { published: number - 1, given: event.id });
        }
    }
    Ok(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_the_end_of_all_that_follow() {
        let mut window = Window::after(Place { sequence: 10, number: 7 });
        let sent: Vec<u64> = (0..3).map(|_| window.dispatch(3).unwrap().expected_last).collect();
        assert_eq!((sent, window.dispatch(3)), (vec![10, 11, 12], None));
        assert!(window.landed(11, false));
        window.lost();
        assert!(!window.landed(13, false));
        assert_eq!(window.reached(), Place { sequence: 11, number: 8 });
        assert!(window.has_failed() && window.in_flight() == 0);
    }

    #[test]
    fn the_window_has_an_end() {
        let mut window = Window::after(Place { sequence: 0, number: 0 });
        let sent = std::iter::from_fn(|| window.dispatch(1000)).count();
        assert_eq!(sent, WINDOW);
    }
}
