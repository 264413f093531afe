//! Differences that are known and stay for now; each has its line in `broker-lite/SKIPPED.md`.

/// A difference: where it is.
pub struct Known {
    /// The case.
    pub case: &'static str,
    /// What is asked.
    pub asked: &'static str,
}

/// All of them. One that is no longer there fails its case: its line has to go.
pub const KNOWN: &[Known] = &[
    // The crate that decodes takes a length of -1 for null only.
    Known {
        case: "frames::bodies",
        asked: "MetadataRequest 1 -2 topics",
    },
    // Kafka stumbles over it and never answers.
    Known {
        case: "produce::requests",
        asked: "ProduceRequest 9 no records",
    },
];
