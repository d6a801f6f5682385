//! Routes: the sublayers that ran for one token.

use serde::{Deserialize, Serialize};
use std::fmt;

/// The sublayers of one layer that ran for one token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Ran {
    /// `true` if the attention sublayer ran.
    pub attention: bool,
    /// `true` if the MLP sublayer ran.
    pub mlp: bool,
}

/// The sublayers that ran for one token, layer by layer.
///
/// ```
/// use dynlayer_inference::report::{Ran, Route};
///
/// let run = Ran { attention: true, mlp: true };
/// let route = Route::new(vec![run, Ran::default(), Ran { attention: true, mlp: false }]);
/// assert_eq!(route.depth(), 1.5);
/// assert_eq!(route.to_string(), "#.a");
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Route(Vec<Ran>);

impl Route {
    /// Makes a route from the layers in order.
    pub fn new(layers: Vec<Ran>) -> Self {
        Self(layers)
    }

    /// The layers in order.
    pub fn layers(&self) -> &[Ran] {
        &self.0
    }

    /// The number of layers that the token ran; each sublayer counts half.
    pub fn depth(&self) -> f64 {
        self.0.iter().map(|ran| f64::from(u8::from(ran.attention) + u8::from(ran.mlp)) / 2.0).sum()
    }

    pub(crate) fn push(&mut self, ran: Ran) {
        self.0.push(ran);
    }
}

/// One character per layer: `#` both sublayers, `a` attention only, `m` MLP only, `.` neither.
impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|ran| {
            f.write_str(match (ran.attention, ran.mlp) {
                (true, true) => "#",
                (true, false) => "a",
                (false, true) => "m",
                (false, false) => ".",
            })
        })
    }
}
