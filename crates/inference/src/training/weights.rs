//! Changes of a module's weights by name.

use crate::files::FileError;
use crate::parameters::{Named, Tensors};
use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{Tensor, TensorData};
use std::path::Path;

/// A change of a module's weights by name, such as `layers.3.mlp.up_proj.weight`.
pub(super) trait MapNamed {
    fn map<const D: usize>(&mut self, name: String, param: Param<Tensor<D>>) -> Param<Tensor<D>>;
}

pub(super) fn map<M: Module>(module: M, inner: &mut impl MapNamed) -> M {
    module.map(&mut Named { path: Vec::new(), inner })
}

impl<T: MapNamed> ModuleMapper for Named<'_, T> {
    fn enter_module(&mut self, name: &str, _: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        self.inner.map(self.path.join("."), param)
    }
}

/// Excludes weights from training, by name.
pub(super) fn freeze<M: Module>(module: M, frozen: impl Fn(&str) -> bool) -> M {
    struct Freeze<F>(F);
    impl<F: Fn(&str) -> bool> MapNamed for Freeze<F> {
        fn map<const D: usize>(&mut self, name: String, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            if (self.0)(&name) { param.set_require_grad(false) } else { param }
        }
    }
    map(module, &mut Freeze(frozen))
}

/// Replaces the weights of a module by those of a file, which must hold every weight of the module, with the same name
/// and shape, and no other.
pub(super) fn restore<M: Module>(module: M, weights: Tensors, path: &Path) -> Result<M, FileError> {
    struct Restore<'a> {
        weights: Tensors,
        /// The first difference between module and file.
        error: Option<FileError>,
        path: &'a Path,
    }
    impl Restore<'_> {
        fn refuse(&mut self, name: &str, found: String, expected: String) {
            self.error.get_or_insert(FileError::content(self.path, name, found, expected));
        }
    }
    impl MapNamed for Restore<'_> {
        fn map<const D: usize>(&mut self, name: String, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            let (id, tensor, mapper) = param.consume();
            let expected = tensor.dims().to_vec();
            let tensor = match self.weights.remove(&name) {
                Some((shape, values)) if shape == expected => {
                    let restored =
                        Tensor::from_data(TensorData::new(values, shape), (&tensor.device(), tensor.dtype()));
                    if tensor.is_require_grad() { restored.require_grad() } else { restored }
                }
                found => {
                    let found = found.map_or("missing".to_owned(), |(shape, _)| format!("of shape {shape:?}"));
                    self.refuse(&name, found, format!("a tensor of shape {expected:?}"));
                    tensor
                }
            };
            Param::from_mapped_value(id, tensor, mapper)
        }
    }
    let mut restore = Restore { weights, error: None, path };
    let module = map(module, &mut restore);
    if let Some(name) = restore.weights.keys().next().cloned() {
        restore.refuse(&name, "there".into(), "no tensor: the module has no parameter of this name".into());
    }
    restore.error.map_or(Ok(module), Err)
}
