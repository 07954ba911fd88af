//! What a load test measures, and how it is told. Pure.

use serde::Serialize;
use std::{collections::BTreeMap, time::Duration};

/// Answers that tell how it goes at the moment: the latest so many.
const LATEST: usize = 100;

/// Jobs, and what came of them.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// Jobs that the queue took.
    pub(super) sent: usize,
    /// Those that have no answer yet, by number, and when each was sent, since the test began.
    pub(super) open: BTreeMap<usize, Duration>,
    /// Latencies, seconds, in the order in which the answers came.
    latencies: Vec<f64>,
    /// When the latest answer came.
    last: Duration,
}

impl Tally {
    pub(super) fn send(&mut self, numbers: &[usize], now: Duration) {
        self.sent += numbers.len();
        self.open.extend(numbers.iter().map(|&number| (number, now)));
    }

    /// An answer counts once, however often it is seen.
    pub(super) fn answer(&mut self, numbers: &[usize], now: Duration) {
        for number in numbers {
            if let Some(sent) = self.open.remove(number) {
                self.latencies.push(now.saturating_sub(sent).as_secs_f64());
                self.last = now;
            }
        }
    }

    pub(super) fn sample(&self, now: Duration, depth: u32, workers: usize) -> Sample {
        Sample {
            at: now.as_secs_f64(),
            depth,
            workers,
            sent: self.sent,
            answered: self.latencies.len(),
            latency: Latency::of(&self.latencies[self.latencies.len().saturating_sub(LATEST)..]),
        }
    }
}

/// Seconds from sending to the record, by percentile; to about a second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(super) struct Latency {
    pub(super) p50: f64,
    pub(super) p90: f64,
    pub(super) p99: f64,
    pub(super) max: f64,
}

impl Latency {
    fn of(latencies: &[f64]) -> Self {
        let mut sorted = latencies.to_vec();
        sorted.sort_by(f64::total_cmp);
        let [p50, p90, p99, max] = [500, 900, 990, 1000].map(|share| percentile(&sorted, share));
        Self { p50, p90, p99, max }
    }
}

/// The value below which so many of a thousand lie; nearest rank.
fn percentile(sorted: &[f64], of_thousand: usize) -> f64 {
    let rank = (sorted.len() * of_thousand).div_ceil(1000);
    sorted.get(rank.max(1) - 1).copied().unwrap_or(0.0)
}

/// One look at the stack.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Sample {
    /// Seconds since the first job.
    pub(super) at: f64,
    /// Messages that wait in the queue or are being worked on.
    pub(super) depth: u32,
    /// Workers in service.
    pub(super) workers: usize,
    /// Jobs sent so far.
    pub(super) sent: usize,
    /// Jobs answered so far.
    pub(super) answered: usize,
    /// Of the latest answers.
    pub(super) latency: Latency,
}

impl Sample {
    pub(super) fn line(&self) -> String {
        let Self { at, depth, workers, sent, answered, latency: Latency { p50, p90, p99, max: _ } } = self;
        format!(
            "{at:>6.0} s  {sent} sent  {answered} answered  {depth} in the queue  {workers} workers  p50 {p50:.1} s  p90 {p90:.1} s  p99 {p99:.1} s\n"
        )
    }
}

/// How it went.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Report {
    stack: String,
    rate: u32,
    /// Whether it was told to stop before its end.
    pub(super) interrupted: bool,
    seconds: f64,
    pub(super) sent: usize,
    answered: usize,
    /// Answers a second, from the first job to the last answer.
    throughput: f64,
    latency: Latency,
    deepest: u32,
    workers: (usize, usize),
    pub(super) samples: Vec<Sample>,
}

impl Report {
    /// Before anything was sent.
    pub(super) fn new(stack: String, rate: u32) -> Self {
        Self { stack, rate, ..Self::default() }
    }

    /// What was measured.
    pub(super) fn fill(&mut self, took: Duration, tally: &Tally, samples: Vec<Sample>) {
        let sizes = samples.iter().map(|s| s.workers);
        self.seconds = took.as_secs_f64();
        self.sent = tally.sent;
        self.answered = tally.latencies.len();
        self.throughput = real(tally.latencies.len()) / tally.last.as_secs_f64().max(1.0);
        self.latency = Latency::of(&tally.latencies);
        self.deepest = samples.iter().map(|s| s.depth).max().unwrap_or_default();
        self.workers = (sizes.clone().min().unwrap_or_default(), sizes.max().unwrap_or_default());
        self.samples = samples;
    }

    /// Whether every job was answered.
    pub(super) fn whole(&self) -> bool {
        self.answered == self.sent
    }

    pub(super) fn text(&self) -> String {
        let Latency { p50, p90, p99, max } = self.latency;
        format!(
            "stack {}{}: {} jobs in {:.0} s, {} answered ({:.1} a second)\n  latency  p50 {p50:.1} s, p90 {p90:.1} s, p99 {p99:.1} s, max {max:.1} s\n  queue    {} at most\n  workers  {} to {}\n",
            self.stack,
            if self.interrupted { ", interrupted" } else { "" },
            self.sent,
            self.seconds,
            self.answered,
            self.throughput,
            self.deepest,
            self.workers.0,
            self.workers.1
        )
    }
}

/// A count as a number for pictures and means.
pub(super) fn real(n: usize) -> f64 {
    f64::from(u32::try_from(n).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_occurred() {
        let values: Vec<f64> = (1..=200).map(f64::from).collect();
        assert_eq!(Latency::of(&values), Latency { p50: 100.0, p90: 180.0, p99: 198.0, max: 200.0 });
        assert_eq!(Latency::of(&[7.0]).p50.to_string(), "7");
        assert_eq!(Latency::of(&[]), Latency::default());
    }

    #[test]
    fn an_answer_counts_once_and_the_wait_for_one_that_never_comes_slows_nothing() {
        let second = Duration::from_secs;
        let mut tally = Tally::default();
        tally.send(&(0..10).collect::<Vec<_>>(), second(0));
        tally.send(&[10, 12], second(1));
        tally.answer(&[0, 2, 4, 99], second(2));
        tally.answer(&[0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 12], second(5));
        assert_eq!(tally.open.keys().copied().collect::<Vec<_>>(), [9]);
        let sample = tally.sample(second(6), 1, 2);
        assert_eq!((sample.sent, sample.answered, sample.latency.p50.to_string()), (12, 11, "5".to_owned()));
        let mut report = Report::new("prod in us-east-1".to_owned(), 10);
        report.fill(second(305), &tally, vec![sample]);
        assert!(!report.whole());
        assert_eq!(
            report.text(),
            "stack prod in us-east-1: 12 jobs in 305 s, 11 answered (2.2 a second)\n  \
             latency  p50 5.0 s, p90 5.0 s, p99 5.0 s, max 5.0 s\n  queue    1 at most\n  workers  2 to 2\n"
        );
    }
}
