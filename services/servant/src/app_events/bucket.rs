//! A token bucket: so much each second for long, and so much at once. Pure: the time comes from outside.

/// A bucket, full at first.
#[derive(Clone, Debug)]
pub struct Bucket {
    per_second: u64,
    /// In thousandths of a token.
    most: u64,
    left: u64,
    at_ms: u64,
}

impl Bucket {
    /// `per_second` tokens come each second, and it holds `most`.
    pub fn new((per_second, most): (u64, u64)) -> Self {
        let most = most.saturating_mul(1000);
        Self { per_second, most, left: most, at_ms: 0 }
    }

    /// Takes a token, if there is one.
    pub fn take(&mut self, now_ms: u64) -> bool {
        self.fill(now_ms);
        let is_there = self.left >= 1000;
        if is_there {
            self.left -= 1000;
        }
        is_there
    }

    /// Whether there is a token.
    pub fn has(&mut self, now_ms: u64) -> bool {
        self.fill(now_ms);
        self.left >= 1000
    }

    fn fill(&mut self, now_ms: u64) {
        let come = now_ms.saturating_sub(self.at_ms).saturating_mul(self.per_second);
        self.left = self.left.saturating_add(come).min(self.most);
        self.at_ms = self.at_ms.max(now_ms);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn no_more_is_given_than_there_was_and_came(steps in proptest::collection::vec((0u64..400, 1u64..50), 1..60)) {
            let (mut bucket, mut now, mut given) = (Bucket::new((10, 20)), 0, 0);
            for (pause, wanted) in steps {
                now += pause;
                given += (0..wanted).filter(|_| bucket.take(now)).count() as u64;
                prop_assert!(given <= 20 + now * 10 / 1000 + 1, "{given} by {now}");
            }
        }
    }

    #[test]
    fn it_fills_with_time_and_not_beyond_its_room() {
        let mut bucket = Bucket::new((10, 5));
        assert_eq!((0..9).filter(|_| bucket.take(1000)).count(), 5);
        assert!(!bucket.has(1099) && bucket.take(1100) && !bucket.take(1100));
        assert_eq!((0..99).filter(|_| bucket.take(1_000_000)).count(), 5);
        assert!(!bucket.take(5), "a clock that goes back gives nothing");
    }
}
