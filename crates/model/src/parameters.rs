//! Visits of a module's parameters, with their places in the module.

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::Tensor;

/// A visitor of a module's floating-point parameters.
pub(crate) trait VisitParameters {
    type Error;

    /// Visits a parameter. `path` holds the names of the fields that lead to it. After an error, none is visited.
    fn parameter<const D: usize>(&mut self, path: &[String], tensor: Tensor<D>) -> Result<(), Self::Error>;
}

/// Visits all parameters, in the order of the module's fields, up to the first error.
pub(crate) fn visit<V: VisitParameters>(module: &impl Module, visitor: &mut V) -> Result<(), V::Error> {
    let mut walk = Walk { path: Vec::new(), visitor, result: Ok(()) };
    module.visit(&mut walk);
    walk.result
}

/// The adapter from burn's visitor, which keeps the path.
struct Walk<'a, V: VisitParameters> {
    path: Vec<String>,
    visitor: &'a mut V,
    result: Result<(), V::Error>,
}

impl<V: VisitParameters> ModuleVisitor for Walk<'_, V> {
    fn enter_module(&mut self, name: &str, _: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if self.result.is_ok() {
            self.result = self.visitor.parameter(&self.path, param.val());
        }
    }
}
