//! The metrics' memory is bounded, whoever reads them. Alone in its process, whose memory it measures.

#![cfg(target_os = "linux")]

use std::{fs, sync::Arc, time::Duration};

use anyhow::{Context as _, Result};
use host::sim::SimClock;
use strait::{
    base::ids::Route,
    telemetry::{WorkerEvents, metrics},
};
use wire::TopicPartition;

/// Resident memory in bytes.
fn resident() -> Result<usize> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.context("VmRSS")?.trim().trim_end_matches(" kB");
    Ok(kilobytes.parse::<usize>()? * 1024)
}

/// Ten minutes of 10,000 batches a second: kept until somebody reads, the two histograms would take 96 MB.
#[tokio::test]
async fn memory_is_flat_with_nobody_reading_for_ten_minutes() -> Result<()> {
    let clock = SimClock::new(0);
    let handle = metrics::install(Arc::new(clock.clone()))?;
    let route = Route {
        source: TopicPartition::new("t", 0),
        target: TopicPartition::new("t", 0),
    };
    let events = WorkerEvents::new("f", ["east", "west"], &route);
    let took = Duration::from_millis(3);
    let mut before = 0;
    for second in 0..600 {
        for _ in 0..10_000 {
            events.acknowledged((1, 100), took, Some(took));
        }
        clock.advance(Duration::from_secs(1));
        // For the upkeep to wake, to run, and to sleep again.
        for _ in 0..4 {
            tokio::task::yield_now().await;
        }
        if second == 60 {
            before = resident()?;
        }
    }
    let grown = resident()?.saturating_sub(before);
    assert!(grown < 16 << 20, "{grown} bytes");
    let text = handle.render();
    for line in [
        "strait_latency_seconds_count{flow=\"f\"} 6000000",
        "strait_records_total{flow=\"f\"} 6000000",
    ] {
        assert!(text.contains(line), "{line} not in\n{text}");
    }
    Ok(())
}
