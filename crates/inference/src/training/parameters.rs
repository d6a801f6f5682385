//! A module's weights by name.

use super::TrainingError;
use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{DType, Tensor, TensorData};
use std::collections::BTreeMap;
use std::path::Path;

/// A weight on the host: its shape and its numbers.
pub(super) type Values = (Vec<usize>, Vec<f32>);

/// The path of the parameter that is being visited, such as `layers.3.mlp.up_proj.weight`.
#[derive(Debug, Default)]
pub(super) struct Place(Vec<String>);

impl Place {
    pub(super) fn enter(&mut self, name: &str) {
        self.0.push(name.to_owned());
    }

    pub(super) fn leave(&mut self) {
        self.0.pop();
    }

    pub(super) fn name(&self) -> String {
        self.0.join(".")
    }
}

/// The numbers of a tensor, in row-major order.
pub(super) fn read<const D: usize>(tensor: Tensor<D>, name: impl Fn() -> String) -> Result<Vec<f32>, TrainingError> {
    let failed = |reason: &dyn std::fmt::Debug| TrainingError::Device { what: name(), reason: format!("{reason:?}") };
    let data = tensor.cast(DType::F32).try_into_data().map_err(|error| failed(&error))?;
    data.try_into_vec_as::<f32>().map_err(|error| failed(&error))
}

/// All weights of a module.
pub(super) fn values<M: Module>(module: &M) -> Result<BTreeMap<String, Values>, TrainingError> {
    struct Visitor {
        place: Place,
        found: Result<BTreeMap<String, Values>, TrainingError>,
    }
    impl ModuleVisitor for Visitor {
        fn enter_module(&mut self, name: &str, _: &str) {
            self.place.enter(name);
        }

        fn exit_module(&mut self, _: &str, _: &str) {
            self.place.leave();
        }

        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let Ok(found) = &mut self.found else { return };
            let name = self.place.name();
            let tensor = param.val();
            let shape = tensor.dims().to_vec();
            match read(tensor, || name.clone()) {
                Ok(values) => {
                    found.insert(name, (shape, values));
                }
                Err(error) => self.found = Err(error),
            }
        }
    }
    let mut visitor = Visitor { place: Place::default(), found: Ok(BTreeMap::new()) };
    module.visit(&mut visitor);
    visitor.found
}

/// The module with the weights of a file: all of them, under the same names, in the same shapes.
pub(super) fn restore<M: Module>(
    module: M,
    weights: BTreeMap<String, Values>,
    path: &Path,
) -> Result<M, TrainingError> {
    struct Mapper<'a> {
        place: Place,
        weights: BTreeMap<String, Values>,
        fault: Option<TrainingError>,
        path: &'a Path,
    }
    impl Mapper<'_> {
        fn refuse(&mut self, field: String, found: String, expected: String) {
            let path = self.path.to_path_buf();
            self.fault.get_or_insert(TrainingError::Checkpoint { path, field, found, expected });
        }
    }
    impl ModuleMapper for Mapper<'_> {
        fn enter_module(&mut self, name: &str, _: &str) {
            self.place.enter(name);
        }

        fn exit_module(&mut self, _: &str, _: &str) {
            self.place.leave();
        }

        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            let name = self.place.name();
            let (id, tensor, mapper) = param.consume();
            let expected = tensor.dims().to_vec();
            let tensor = match self.weights.remove(&name) {
                Some((shape, values)) if shape == expected => {
                    let tracked = tensor.is_require_grad();
                    let options = (&tensor.device(), tensor.dtype());
                    let new = Tensor::from_data(TensorData::new(values, shape), options);
                    if tracked { new.require_grad() } else { new }
                }
                Some((shape, _)) => {
                    self.refuse(name, format!("of shape {shape:?}"), format!("shape {expected:?}"));
                    tensor
                }
                None => {
                    self.refuse(name, "missing".into(), format!("a tensor of shape {expected:?}"));
                    tensor
                }
            };
            Param::from_mapped_value(id, tensor, mapper)
        }
    }
    let mut mapper = Mapper { place: Place::default(), weights, fault: None, path };
    let module = module.map(&mut mapper);
    if let Some(name) = mapper.weights.keys().next().cloned() {
        mapper.refuse(name, "there".into(), "no such tensor: the module has no parameter of this name".into());
    }
    mapper.fault.map_or(Ok(module), Err)
}
