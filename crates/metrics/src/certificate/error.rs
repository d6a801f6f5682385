//! The error for certificates that cannot be issued or do not apply.

/// The error for a certificate that cannot be issued, or that does not apply.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum CertificateError {
    /// There are no sequences.
    #[error("no sequences; at least one is needed")]
    NoSequences,
    /// A loss is out of its range.
    #[error("loss {index} is {found}; expected {expected}")]
    Loss {
        /// The index of the sequence.
        index: usize,
        /// The loss.
        found: f64,
        /// The allowed losses.
        expected: &'static str,
    },
    /// A level is out of its range.
    #[error("{option} is {found}; expected a number between 0 and 1")]
    Level {
        /// `alpha` or `delta`.
        option: &'static str,
        /// Its value.
        found: f64,
    },
    /// The weights or edges of a graph are not shares.
    #[error(
        "a graph for {candidates} candidates needs as many weights, with a sum of at most 1, and for each candidate as many \
         edges, with a sum of at most 1 and none to itself"
    )]
    Graph {
        /// The number of candidates.
        candidates: usize,
    },
    /// A candidate is not in the table.
    #[error("there is no candidate {name}; the table has {}", .candidates.join(", "))]
    NoCandidate {
        /// Its name.
        name: String,
        /// The candidates of the table.
        candidates: Vec<String>,
    },
    /// A sequence lacks a candidate.
    #[error("sequence {sequence} was not measured with {candidate}")]
    Missing {
        /// The sequence's id.
        sequence: u64,
        /// The candidate.
        candidate: String,
    },
    /// A quality is out of the range in which a loss has a bound.
    #[error(
        "the quality of {candidate} for sequence {sequence} is {found}; expected a measure from 0 to 1: clip or rescale it, and \
         say so"
    )]
    Quality {
        /// The sequence's id.
        sequence: u64,
        /// The candidate.
        candidate: String,
        /// The quality.
        found: f64,
    },
    /// Candidates have different numbers of losses.
    #[error("candidate {candidate} has {found} losses; expected {expected}, as of the first one")]
    Lengths {
        /// The index of the candidate.
        candidate: usize,
        /// The number of its losses.
        found: usize,
        /// The number of the first one's.
        expected: usize,
    },
    /// A p-value is not between 0 and 1.
    #[error("p-value {index} is {found}; expected a number from 0 to 1")]
    PValue {
        /// Its index.
        index: usize,
        /// Its value.
        found: f64,
    },
    /// Rules on halves need at least two sequences.
    #[error("{found} sequences; a choice on one half and a test on the other need at least 2")]
    TooFew {
        /// The number of sequences.
        found: usize,
    },
    /// The certificate was issued for something else.
    #[error("the certificate does not apply: {what} was {expected}, and is {found} here; calibrate again")]
    Other {
        /// The thing that differs, such as `model`.
        what: String,
        /// Its value in the certificate.
        expected: String,
        /// Its value here.
        found: String,
    },
}
