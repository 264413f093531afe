//! Every decoder on hostile bytes: whole samples with bits turned, pieces cut out, doubled and joined. `FUZZ_SECONDS` sets the
//! budget of each test (2 unless set); the seeds are fixed, so a failure comes again.
//!
//! What is asserted: no panic, no abort, and an end. `texts` are a user's files and options, `logins` what is said before
//! anybody is known, [`frames`] whole requests, through a connection.

mod frames;
mod logins;
mod texts;

use std::time::{Duration, Instant};

use host::{Random, sim::SeededRandom};

/// Calls `attempt` with one input after the other until the time is over.
fn fuzz(seed: u64, samples: &[Vec<u8>], mut attempt: impl FnMut(&Fuzzer<'_>, Vec<u8>)) {
    let seconds = std::env::var("FUZZ_SECONDS").ok();
    let seconds = seconds.and_then(|s| s.parse().ok()).unwrap_or(2);
    let random = SeededRandom::new(seed);
    let fuzzer = Fuzzer {
        random: &random,
        samples,
    };
    let end = Instant::now() + Duration::from_secs(seconds);
    let mut inputs = 0u64;
    while Instant::now() < end {
        attempt(&fuzzer, fuzzer.next());
        inputs += 1;
    }
    println!("{inputs} inputs in {seconds} s");
    assert!(inputs > 0);
}

struct Fuzzer<'a> {
    random: &'a SeededRandom,
    samples: &'a [Vec<u8>],
}

impl Fuzzer<'_> {
    fn below(&self, limit: usize) -> usize {
        (self.random.number() % limit.max(1) as u64) as usize
    }

    fn sample(&self) -> &[u8] {
        &self.samples[self.below(self.samples.len())]
    }

    /// One or two samples, with some of their bytes changed, cut or doubled.
    fn next(&self) -> Vec<u8> {
        let mut bytes = self.sample().to_vec();
        if self.below(4) == 0 {
            bytes.extend_from_slice(self.sample());
        }
        for _ in 0..self.below(6) {
            let at = self.below(bytes.len());
            match self.below(6) {
                0 => bytes[at] ^= 1 << self.below(8),
                1 => bytes[at] = [0, 1, 0x7f, 0x80, 0xff, b',', b'=', b'"'][self.below(8)],
                2 => bytes.truncate(at.max(1)),
                3 => bytes.extend_from_within(at..),
                4 => bytes.insert(at, self.below(256) as u8),
                _ => drop(bytes.remove(at)),
            }
            if bytes.is_empty() {
                bytes.push(0);
            }
            // Whatever is doubled again and again gets long.
            bytes.truncate(1 << 16);
        }
        bytes
    }
}
