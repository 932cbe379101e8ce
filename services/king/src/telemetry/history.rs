//! What was used within the last ten minutes: each second of the last minute, and ten seconds in one before.

use events::Timestamp;
use events::query::metrics::UsagePoint;
use std::collections::VecDeque;

/// Most points of one frame each.
const FINE: usize = 60;
/// Most points of ten seconds each.
const COARSE: usize = 54;
/// How long a coarse point is.
const COARSE_MS: u64 = 10_000;

/// A bounded past.
#[derive(Clone, Debug, Default)]
pub struct History {
    fine: VecDeque<Point>,
    coarse: VecDeque<Point>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Point {
    at: Timestamp,
    frames: u32,
    /// In thousandths, summed over the frames.
    cpu: u32,
    memory_kib: u64,
}

impl History {
    /// Adds what was used over one frame.
    pub fn push(&mut self, at: Timestamp, cpu: u32, memory_kib: u64) {
        self.fine.push_back(Point { at, frames: 1, cpu, memory_kib });
        if self.fine.len() > FINE
            && let Some(oldest) = self.fine.pop_front()
        {
            self.coarsen(oldest);
        }
    }

    fn coarsen(&mut self, point: Point) {
        let tens = |at: Timestamp| at.0 / COARSE_MS;
        match self.coarse.back_mut() {
            Some(last) if tens(last.at) == tens(point.at) => {
                last.frames += point.frames;
                last.cpu = last.cpu.saturating_add(point.cpu);
                last.memory_kib = last.memory_kib.max(point.memory_kib);
            }
            Some(_) | None => self.coarse.push_back(point),
        }
        if self.coarse.len() > COARSE {
            self.coarse.pop_front();
        }
    }

    /// From this moment on, oldest first.
    pub fn since(&self, moment: Timestamp) -> Vec<UsagePoint> {
        let points = self.coarse.iter().chain(&self.fine).filter(|point| point.at >= moment);
        points.map(Point::tell).collect()
    }
}

impl Point {
    fn tell(&self) -> UsagePoint {
        UsagePoint {
            at: self.at,
            frames: self.frames,
            cpu_percent: f64::from(self.cpu / self.frames.max(1)) / 10.0,
            memory_bytes: self.memory_kib.saturating_mul(1024),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_minute_is_fine_and_the_time_before_coarse_and_bounded() {
        let mut history = History::default();
        for second in 0..3600u32 {
            history.push(Timestamp(u64::from(second) * 1000), second % 10 * 100, u64::from(second));
        }
        let all = history.since(Timestamp(0));
        assert_eq!(all.len(), FINE + COARSE);
        assert_eq!((all[0].frames, all[0].at), (10, Timestamp(3_000_000)));
        assert_eq!((all[0].cpu_percent, all[0].memory_bytes), (45.0, 3009 * 1024));
        assert!(all[COARSE..].iter().all(|point| point.frames == 1));
        assert_eq!(all.last().map(|point| point.at), Some(Timestamp(3_599_000)));
        let sum: u32 = all.iter().map(|point| point.frames).sum();
        assert_eq!(sum, 600, "ten minutes, without a hole");
        assert_eq!(history.since(Timestamp(3_590_000)).len(), 10);
    }
}
