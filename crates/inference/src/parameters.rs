//! Access to a module's weights by name.

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{DType, Tensor};
pub use dynlayer_model::DeviceReadError;
use std::collections::BTreeMap;

/// Tensors on the host by name: the shape and the numbers of each, in row-major order.
pub(crate) type Tensors = BTreeMap<String, (Vec<usize>, Vec<f32>)>;

/// Reads the numbers of a tensor to the host, in row-major order.
pub(crate) fn to_host<const D: usize>(
    tensor: Tensor<D>,
    what: impl FnOnce() -> String,
) -> Result<Vec<f32>, DeviceReadError> {
    let data = tensor.cast(DType::F32).try_into_data().map_err(|error| format!("{error:?}"));
    let values = data.and_then(|data| data.try_into_vec_as::<f32>().map_err(|error| format!("{error:?}")));
    values.map_err(|reason| DeviceReadError { what: what(), reason })
}

/// A visitor of a module's weights, which receives each weight's name, such as `layers.3.mlp.up_proj.weight`.
pub(crate) trait VisitNamed {
    fn visit<const D: usize>(&mut self, name: String, param: &Param<Tensor<D>>);
}

pub(crate) fn visit<M: Module>(module: &M, inner: &mut impl VisitNamed) {
    module.visit(&mut Named { path: Vec::new(), inner });
}

/// The adapter from burn's visitor to [`VisitNamed`]: it tracks the path of the visit to build each weight's name.
pub(crate) struct Named<'a, T> {
    pub(crate) path: Vec<String>,
    pub(crate) inner: &'a mut T,
}

impl<T: VisitNamed> ModuleVisitor for Named<'_, T> {
    fn enter_module(&mut self, name: &str, _: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.inner.visit(self.path.join("."), param);
    }
}

/// Reads all weights of a module to the host.
pub(crate) fn values<M: Module>(module: &M) -> Result<Tensors, DeviceReadError> {
    struct Read(Result<Tensors, DeviceReadError>);
    impl VisitNamed for Read {
        fn visit<const D: usize>(&mut self, name: String, param: &Param<Tensor<D>>) {
            let Ok(found) = &mut self.0 else { return };
            let tensor = param.val();
            let shape = tensor.dims().to_vec();
            match to_host(tensor, || name.clone()) {
                Ok(values) => {
                    found.insert(name, (shape, values));
                }
                Err(error) => self.0 = Err(error),
            }
        }
    }
    let mut read = Read(Ok(Tensors::new()));
    visit(module, &mut read);
    read.0
}
