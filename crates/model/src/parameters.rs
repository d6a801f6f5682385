//! Visits of a module's parameters, with their places in the module.

use crate::matrix::Blocks;
use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Int, Tensor};

/// A visitor of a module's floating-point parameters and quantised matrices.
pub(crate) trait VisitParameters {
    type Error;

    /// Visits a parameter. `path` holds the names of the fields that lead to it. After an error, none is visited.
    fn parameter<const D: usize>(&mut self, path: &[String], tensor: Tensor<D>) -> Result<(), Self::Error>;

    /// Visits a quantised matrix, in the same way.
    fn blocks(&mut self, path: &[String], blocks: &Blocks) -> Result<(), Self::Error>;
}

/// Returns the name of the first weight that is kept as quantised blocks, such as `layers.0.mlp.up_proj.weight`.
///
/// Public only for the other crates of the workspace; not part of the stable interface.
#[doc(hidden)]
pub fn quantised_weight(module: &impl Module) -> Option<String> {
    struct First;
    impl VisitParameters for First {
        type Error = String;

        fn parameter<const D: usize>(&mut self, _: &[String], _: Tensor<D>) -> Result<(), String> {
            Ok(())
        }

        fn blocks(&mut self, path: &[String], _: &Blocks) -> Result<(), String> {
            Err(path.join("."))
        }
    }
    visit(module, &mut First).err()
}

/// Visits all parameters, in the order of the module's fields, up to the first error.
pub(crate) fn visit<V: VisitParameters>(module: &impl Module, visitor: &mut V) -> Result<(), V::Error> {
    let mut walk = Walk { path: Vec::new(), blocks: None, visitor, result: Ok(()) };
    module.visit(&mut walk);
    walk.result
}

/// The adapter from burn's visitor, which keeps the path.
struct Walk<'a, V: VisitParameters> {
    path: Vec<String>,
    /// The name of the blocks that are visited now.
    blocks: Option<String>,
    visitor: &'a mut V,
    result: Result<(), V::Error>,
}

impl<V: VisitParameters> ModuleVisitor for Walk<'_, V> {
    fn enter_module(&mut self, name: &str, container: &str) {
        if container == Blocks::CONTAINER {
            self.blocks = Some(name.to_owned());
        } else {
            self.path.push(name.to_owned());
        }
    }

    fn exit_module(&mut self, _: &str, container: &str) {
        if container == Blocks::CONTAINER {
            self.blocks = None;
        } else {
            self.path.pop();
        }
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if self.result.is_ok() {
            self.result = self.visitor.parameter(&self.path, param.val());
        }
    }

    fn visit_int<const D: usize>(&mut self, param: &Param<Tensor<D, Int>>) {
        let blocks = self.blocks.as_deref().and_then(|name| Blocks::visited(name, param));
        if self.result.is_ok()
            && let Some(blocks) = blocks
        {
            self.result = self.visitor.blocks(&self.path, &blocks);
        }
    }
}
