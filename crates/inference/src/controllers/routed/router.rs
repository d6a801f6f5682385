//! What a learned gate is.

use super::{LinearRouter, MlpRouter};
use burn::module::Module;
use burn::tensor::Tensor;

/// A module that gives each token a logit for running a layer; [`Routed`](super::Routed) makes a controller of it.
///
/// ```
/// use burn::module::{Module, Param};
/// use burn::tensor::Tensor;
/// use dynlayer_inference::controllers::Router;
///
/// /// One number per layer, whatever the token: the paper's learned constant.
/// #[derive(Module, Debug)]
/// struct Constant {
///     logits: Param<Tensor<1>>, // [n_layers]
/// }
///
/// impl Router for Constant {
///     fn logits(&self, layer: usize, features: Tensor<3>) -> Tensor<2> {
///         let [rows, tokens, _] = features.dims();
///         self.logits.val().narrow(0, layer, 1).unsqueeze::<2>().expand([rows, tokens])
///     }
/// }
/// ```
pub trait Router: Module {
    /// The logit of running this layer: positive to run, for each token.
    ///
    /// # Shapes
    /// - `features`: `[rows, tokens, d_model]`, detached
    /// - result: `[rows, tokens]`
    fn logits(&self, layer: usize, features: Tensor<3>) -> Tensor<2>;

    /// Layers and width of the features that it was made for, if it depends on them: checked before a run.
    fn dimensions(&self) -> Option<[usize; 2]> {
        None
    }
}

/// The routers that come with the crate: what a file holds.
#[derive(Module, Debug)]
pub enum AnyRouter {
    /// A linear map per layer.
    Linear(LinearRouter),
    /// A small MLP per layer.
    Mlp(MlpRouter),
}

impl Router for AnyRouter {
    fn logits(&self, layer: usize, features: Tensor<3>) -> Tensor<2> {
        match self {
            Self::Linear(router) => router.logits(layer, features),
            Self::Mlp(router) => router.logits(layer, features),
        }
    }

    fn dimensions(&self) -> Option<[usize; 2]> {
        match self {
            Self::Linear(router) => router.dimensions(),
            Self::Mlp(router) => router.dimensions(),
        }
    }
}

impl From<LinearRouter> for AnyRouter {
    fn from(router: LinearRouter) -> Self {
        Self::Linear(router)
    }
}

impl From<MlpRouter> for AnyRouter {
    fn from(router: MlpRouter) -> Self {
        Self::Mlp(router)
    }
}
