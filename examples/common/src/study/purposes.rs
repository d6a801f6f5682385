//! The purposes of the random draws of studies and of the examples that train.

dynlayer::metrics::purposes! {
    /// The seed of the problems that a router of the embedded model learns from.
    pub LEARNED = b"learning";
    /// The seed of the problems that a newly trained embedded model is measured on.
    pub MEASURED = b"measured";
    /// The number of the text that a router's training begins with.
    pub FIRST_TEXT = b"textfrom";
    /// The runs of a study's resamples; the index is the number of seeds.
    pub(super) RUNS = b"studruns";
}
