//! The purposes of this crate's random draws.

pub(crate) use dynlayer_metrics::random::{at, derive};

dynlayer_metrics::purposes! {
    /// The choice of a token; the indices are the stream and the position.
    pub(crate) SAMPLING = b"sampling";
    /// A drafted token under [`Accept::Rejection`](crate::Accept::Rejection); the indices are the stream, the position,
    /// and the number of tokens at the beginning of the round.
    pub(crate) DRAFT = b"drafttok";
    /// The acceptance of a drafted token, by the same indices.
    pub(crate) ACCEPT = b"accepted";
    /// The token instead of one that was not accepted, by the same indices.
    pub(crate) INSTEAD = b"residual";
    /// A layer of [`BernoulliSkip`](crate::controllers::BernoulliSkip), drawn by [`Row::draw`](crate::Row::draw).
    pub(crate) BERNOULLI = b"bernoull";
    /// A route of [`RandomSkip`](crate::controllers::RandomSkip); the index is the stream.
    pub(crate) RANDOM_SKIP = b"randskip";
    /// The first centroids of a layer's clusters; the last index is the layer.
    pub(crate) CLUSTERS = b"clusters";
    /// The weights of a linear router; the last index is the layer.
    pub(crate) LINEAR_ROUTER = b"linroute";
    /// The inner weights of an MLP router; the last index is the layer.
    pub(crate) MLP_UP = b"mlpruppr";
    /// The outer weights of an MLP router; the last index is the layer.
    pub(crate) MLP_DOWN = b"mlprdown";
    /// The noise of gates; the indices are the stream, the position, and the training step with the layer.
    pub(crate) GATES = b"logistic";
    /// A permutation of states; the indices are the stream, the training step and the layer.
    pub(crate) PERMUTATION = b"permutes";
    /// A reservoir of states; the indices are the stream, the position and the layer.
    pub(crate) RESERVOIR = b"reservoi";
    /// Layer dropout; the indices are the stream, the training step and the layer.
    pub(crate) LAYER_DROPOUT = b"laydropt";
    /// The layers of a step at a random depth; the index is the step.
    pub(crate) TUNED_DEPTH = b"tundepth";
    /// The division of sequences for a trial of the predictor.
    pub(crate) TRIAL_FOLDS = b"folds\0\0\0";
    /// The seed of a random route of the null oracle; the indices are the depth and the number.
    pub(crate) NULL_ROUTE = b"nullrout";
    /// The seed of an output that is sampled for a half of the score; the index is the half.
    pub(crate) HALF = b"halfseed";
}
