//! A long list that grows at its end and is forgotten from its front, in chunks: it never moves what it holds, so no
//! single push pays for all that is there.

use std::collections::VecDeque;

/// How many a chunk holds.
const CHUNK: usize = 512;

/// The list.
#[derive(Clone, Debug)]
pub(super) struct Chunked<T> {
    /// All of them full but the last; none of them is empty.
    chunks: VecDeque<Vec<T>>,
    /// How many of the first chunk are forgotten.
    gone: usize,
}

impl<T> Default for Chunked<T> {
    fn default() -> Self {
        Self { chunks: VecDeque::new(), gone: 0 }
    }
}

/// Two lists are equal when they hold the same, however it lies in chunks.
impl<T: PartialEq> PartialEq for Chunked<T> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl<T> Chunked<T> {
    /// How many it holds.
    pub fn len(&self) -> usize {
        self.end() - self.gone
    }

    /// Adds one at the end.
    pub fn push_back(&mut self, item: T) {
        match self.chunks.back_mut().filter(|chunk| chunk.len() < CHUNK) {
            Some(chunk) => chunk.push(item),
            None => {
                let mut chunk = Vec::with_capacity(CHUNK);
                chunk.push(item);
                self.chunks.push_back(chunk);
            }
        }
    }

    /// The oldest.
    pub fn front(&self) -> Option<&T> {
        self.chunks.front()?.get(self.gone)
    }

    /// Forgets the oldest. It is let go of with its chunk.
    pub fn forget_front(&mut self) {
        let Some(first) = self.chunks.front() else { return };
        self.gone += 1;
        if self.gone == first.len() {
            self.chunks.pop_front();
            self.gone = 0;
        }
    }

    /// From the oldest on.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.chunks.iter().flatten().skip(self.gone)
    }

    /// The one before which there are so many.
    pub fn nth(&self, count: usize) -> Option<&T> {
        let place = self.gone.checked_add(count)?;
        self.chunks.get(place / CHUNK)?.get(place % CHUNK)
    }

    /// The place behind the last, counted from the begin of the first chunk.
    fn end(&self) -> usize {
        self.chunks.len().saturating_sub(1) * CHUNK + self.chunks.back().map_or(0, Vec::len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn it_is_a_queue(steps in proptest::collection::vec((1usize..1500, 0usize..1500), 0..8)) {
            let (mut chunked, mut queue, mut next) = (Chunked::default(), VecDeque::new(), 0u64);
            for (pushed, forgotten) in steps {
                for _ in 0..pushed {
                    chunked.push_back(next);
                    queue.push_back(next);
                    next += 1;
                }
                for _ in 0..forgotten {
                    chunked.forget_front();
                    queue.pop_front();
                }
                prop_assert_eq!(chunked.front(), queue.front());
                prop_assert_eq!(chunked.len(), queue.len());
                prop_assert!(chunked.iter().eq(queue.iter()));
            }
            for count in 0..queue.len() + 2 {
                prop_assert_eq!(chunked.nth(count), queue.get(count));
            }
        }
    }
}
