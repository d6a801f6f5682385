//! Routers as safetensors files.

use super::linear_router::Gate;
use super::mlp_router::{MlpGate, hidden_width};
use super::{AnyRouter, LinearRouter, MlpRouter, Routed, Router, RouterError, RouterOptions};
use burn::tensor::{Device, Tensor};
use dynlayer_model::format::{FloatType, SafetensorsFile, write_atomic};
use safetensors::tensor::{Dtype, TensorView};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::path::Path;

/// The metadata's entry that holds the configuration.
const KEY: &str = "dynlayer.router";
/// The version of the file that this crate writes, and reads.
const VERSION: u32 = 1;

/// The configuration, as JSON in the file's metadata.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    version: u32,
    router: Kind,
    n_layers: u64,
    d_model: u64,
    options: RouterOptions,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Kind {
    Linear,
    Mlp,
}

/// A weight on the host, with its name in the file.
type Named = (String, Vec<usize>, Vec<f32>);

impl<R: Router + Into<AnyRouter>> Routed<R> {
    /// Writes router and options as a safetensors file, which is there whole or not at all.
    ///
    /// The options and dimensions are JSON in the metadata under `dynlayer.router`. Tensors are `F32`: of a linear
    /// router `layers.N.weight` `[1, d_model]` and `layers.N.bias` `[1]`, of an MLP `layers.N.up.weight` `[hidden,
    /// d_model]`, `layers.N.up.bias` `[hidden]`, `layers.N.down.weight` `[1, hidden]` and `layers.N.down.bias` `[1]`.
    ///
    /// # Errors
    /// If the weights cannot be read from the device, or the file cannot be written.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), RouterError> {
        let path = path.as_ref();
        let router: AnyRouter = self.router().clone().into();
        let [n_layers, d_model] = router.dimensions().unwrap_or_default().map(|n| n as u64);
        let kind = match &router {
            AnyRouter::Linear(_) => Kind::Linear,
            AnyRouter::Mlp(_) => Kind::Mlp,
        };
        let config = Config { version: VERSION, router: kind, n_layers, d_model, options: *self.options() };
        let config =
            serde_json::to_string(&config).map_err(|source| RouterError::Config { path: path.into(), source })?;
        let serialize = |source| RouterError::Serialize { path: path.into(), source };
        let weights = weights(&router)?;
        let bytes: Vec<Vec<u8>> =
            weights.iter().map(|(_, _, values)| values.iter().flat_map(|x| x.to_le_bytes()).collect()).collect();
        let views = weights.into_iter().zip(&bytes).map(|((name, shape, _), bytes)| {
            TensorView::new(Dtype::F32, shape, bytes).map(|view| (name, view)).map_err(serialize)
        });
        let views = views.collect::<Result<Vec<_>, _>>()?;
        let metadata = HashMap::from([(KEY.to_owned(), config)]);
        let file = safetensors::serialize(views, Some(metadata)).map_err(serialize)?;
        write_atomic(path, &file).map_err(|source| RouterError::Write { path: path.into(), source })
    }
}

impl Routed<AnyRouter> {
    /// Reads what [`save`](Self::save) wrote, onto a device.
    ///
    /// # Errors
    /// If the file is not readable, is not a router's, or holds other tensors, other shapes, other element types than
    /// its configuration asks for, or weights that are not finite.
    pub fn load(path: impl AsRef<Path>, device: &Device) -> Result<Self, RouterError> {
        let path = path.as_ref();
        let file = Source { path, file: SafetensorsFile::open(path)? };
        let config = file.config()?;
        let number = |field, found: u64| {
            usize::try_from(found).map_err(|_| RouterError::Field {
                path: path.into(),
                field,
                found: found.to_string(),
                expected: "a size of this machine",
            })
        };
        let (n_layers, d_model) = (number("n_layers", config.n_layers)?, number("d_model", config.d_model)?);
        let per_layer = if config.router == Kind::Linear { 2 } else { 4 };
        let (found, expected) = (file.file.tensors().count(), n_layers.saturating_mul(per_layer));
        // First, so that nothing is made because the configuration says so.
        if found != expected {
            return Err(RouterError::Count { path: path.into(), found, expected });
        }
        let gate = |prefix: &str, width| {
            let weight = file.read(&format!("{prefix}.weight"), &[1, width])?;
            let bias = file.read(&format!("{prefix}.bias"), &[1])?;
            Ok(Gate::new(weight, bias[0], device))
        };
        let router = match config.router {
            Kind::Linear => {
                let layers = (0..n_layers).map(|layer| gate(&format!("layers.{layer}"), d_model));
                AnyRouter::Linear(LinearRouter { layers: layers.collect::<Result<_, RouterError>>()? })
            }
            Kind::Mlp => {
                let hidden = hidden_width(d_model);
                let layers = (0..n_layers).map(|layer| {
                    let up = file.read(&format!("layers.{layer}.up.weight"), &[hidden, d_model])?;
                    let up_bias = file.read(&format!("layers.{layer}.up.bias"), &[hidden])?;
                    Ok(MlpGate::new(up, up_bias, gate(&format!("layers.{layer}.down"), hidden)?, device))
                });
                AnyRouter::Mlp(MlpRouter { layers: layers.collect::<Result<_, RouterError>>()? })
            }
        };
        Ok(Self::new(router, config.options))
    }
}

/// The file, and its path for errors.
struct Source<'a> {
    path: &'a Path,
    file: SafetensorsFile,
}

impl Source<'_> {
    fn config(&self) -> Result<Config, RouterError> {
        /// The version first: another one may have other fields.
        #[derive(Deserialize)]
        struct Version {
            version: u32,
        }
        let path = || self.path.to_path_buf();
        let json = self.file.metadata().get(KEY).ok_or_else(|| RouterError::NoConfig { path: path(), key: KEY })?;
        let unread = |source| RouterError::Config { path: path(), source };
        let Version { version: found } = serde_json::from_str(json).map_err(unread)?;
        if found != VERSION {
            return Err(RouterError::Version { path: path(), found, expected: VERSION });
        }
        serde_json::from_str(json).map_err(unread)
    }

    fn read(&self, tensor: &str, expected: &[usize]) -> Result<Vec<f32>, RouterError> {
        let (path, name) = (|| self.path.to_path_buf(), || tensor.to_owned());
        let info = self.file.tensor(tensor)?;
        if info.shape != expected {
            let sizes = |shape: &[usize]| shape.iter().map(|n| *n as u64).collect();
            let (found, expected) = (sizes(&info.shape), sizes(expected));
            return Err(RouterError::Shape { path: path(), tensor: name(), found, expected });
        }
        if info.dtype.float() != Some(FloatType::F32) {
            return Err(RouterError::Dtype { path: path(), tensor: name(), found: info.dtype.to_string() });
        }
        let bytes = self.file.read_tensor_bytes(tensor)?;
        let values: Vec<f32> = bytes.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
        match values.iter().position(|x| !x.is_finite()) {
            Some(index) => Err(RouterError::NotFinite { path: path(), tensor: name(), index, value: values[index] }),
            None => Ok(values),
        }
    }
}

fn weights(router: &AnyRouter) -> Result<Vec<Named>, RouterError> {
    let mut named = Vec::new();
    match router {
        AnyRouter::Linear(router) => {
            for (layer, gate) in router.layers.iter().enumerate() {
                gate_weights(&format!("layers.{layer}"), gate, &mut named)?;
            }
        }
        AnyRouter::Mlp(router) => {
            for (layer, gate) in router.layers.iter().enumerate() {
                named.push(on_host(format!("layers.{layer}.up.weight"), gate.up.val())?);
                named.push(on_host(format!("layers.{layer}.up.bias"), gate.up_bias.val())?);
                gate_weights(&format!("layers.{layer}.down"), &gate.down, &mut named)?;
            }
        }
    }
    Ok(named)
}

fn gate_weights(prefix: &str, gate: &Gate, named: &mut Vec<Named>) -> Result<(), RouterError> {
    named.push(on_host(format!("{prefix}.weight"), gate.weight.val())?);
    named.push(on_host(format!("{prefix}.bias"), gate.bias.val())?);
    Ok(())
}

fn on_host<const D: usize>(tensor: String, values: Tensor<D>) -> Result<Named, RouterError> {
    let shape = values.dims().to_vec();
    let device = |tensor: &str, reason| RouterError::Device { tensor: tensor.to_owned(), reason };
    let data = values.try_into_data().map_err(|error| device(&tensor, format!("{error:?}")))?;
    let values = data.try_into_vec_as::<f32>().map_err(|error| device(&tensor, format!("{error:?}")))?;
    Ok((tensor, shape, values))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controllers::{Ends, RouterInput};
    use dynlayer_model::format::FormatErrorKind;

    fn routed(router: impl Into<AnyRouter>) -> Routed<AnyRouter> {
        let options =
            RouterOptions { input: RouterInput::Position, ends: Ends::Free, threshold: 0.3, temperature: 0.7 };
        Routed::new(router.into(), options)
    }

    fn bits(router: &AnyRouter) -> Vec<(String, Vec<usize>, Vec<u32>)> {
        let bits = |values: Vec<f32>| values.into_iter().map(f32::to_bits).collect();
        weights(router).unwrap().into_iter().map(|(name, shape, values)| (name, shape, bits(values))).collect()
    }

    #[test]
    fn what_is_saved_comes_back_bit_for_bit() {
        let device = Device::flex();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("router.safetensors");
        let (linear, mlp) = (LinearRouter::new([3, 20], 0.1, 5, &device), MlpRouter::new([3, 20], 0.1, 5, &device));
        for saved in [routed(linear), routed(mlp)] {
            saved.save(&path).unwrap();
            let loaded = Routed::load(&path, &device).unwrap();
            assert_eq!(loaded.options(), saved.options());
            assert_eq!(bits(loaded.router()), bits(saved.router()));
            assert_eq!(loaded.router().dimensions(), Some([3, 20]));
        }
    }

    /// Writes a file by hand and reads it as a router.
    fn load(config: Option<&str>, tensors: &[(&str, &[usize], &[f32])]) -> RouterError {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("hostile.safetensors");
        let bytes: Vec<Vec<u8>> =
            tensors.iter().map(|(_, _, values)| values.iter().flat_map(|x| x.to_le_bytes()).collect()).collect();
        let views = tensors.iter().zip(&bytes).map(|((name, shape, _), bytes)| {
            ((*name).to_owned(), TensorView::new(Dtype::F32, shape.to_vec(), bytes).unwrap())
        });
        let metadata = config.map(|config| HashMap::from([(KEY.to_owned(), config.to_owned())]));
        std::fs::write(&path, safetensors::serialize(views, metadata).unwrap()).unwrap();
        let error = Routed::load(&path, &Device::flex()).map(|_| ()).unwrap_err();
        assert!(error.to_string().contains("hostile.safetensors"), "{error}");
        error
    }

    fn config(version: u32, kind: &str, n_layers: u64, d_model: u64) -> String {
        format!(
            r#"{{"version": {version}, "router": "{kind}", "n_layers": {n_layers}, "d_model": {d_model}, "options":
            {{"input": "hidden", "ends": "kept", "threshold": 0.5, "temperature": 1.0}}}}"#
        )
    }

    #[test]
    fn hostile_files_are_typed_errors() {
        let good: [(&str, &[usize], &[f32]); 2] =
            [("layers.0.weight", &[1, 2], &[1.0, 2.0]), ("layers.0.bias", &[1], &[0.0])];
        assert!(matches!(load(None, &good), RouterError::NoConfig { .. }));
        assert!(matches!(load(Some("{"), &good), RouterError::Config { .. }));
        assert!(matches!(load(Some(r#"{"version": 1}"#), &good), RouterError::Config { .. }));
        let newer = load(Some(&config(2, "linear", 1, 2)), &good);
        assert!(matches!(newer, RouterError::Version { found: 2, expected: 1, .. }), "{newer}");
        assert!(matches!(load(Some(&config(1, "conv", 1, 2)), &good), RouterError::Config { .. }));
        let deep = load(Some(&config(1, "linear", u64::MAX, 2)), &good);
        assert!(matches!(deep, RouterError::Count { found: 2, .. }), "{deep}");
        let wide = load(Some(&config(1, "linear", 1, u64::MAX)), &good);
        assert!(
            wide.to_string().contains("layers.0.weight has shape [1, 2]; expected [1, 18446744073709551615]"),
            "{wide}"
        );
        assert!(matches!(load(Some(&config(1, "mlp", 1, 2)), &good), RouterError::Count { expected: 4, .. }));
        let other = load(Some(&config(1, "linear", 1, 2)), &[good[0], ("layers.7.bias", &[1], &[0.0])]);
        let RouterError::Format(format) = &other else { panic!("{other}") };
        assert!(matches!(format.kind(), FormatErrorKind::NoSuchTensor { .. }), "{other}");
        let nan = load(Some(&config(1, "linear", 1, 2)), &[("layers.0.weight", &[1, 2], &[1.0, f32::NAN]), good[1]]);
        assert!(matches!(nan, RouterError::NotFinite { index: 1, .. }), "{nan}");
    }

    #[test]
    fn files_that_are_no_safetensors() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("short");
        std::fs::write(&path, [9, 0, 0]).unwrap();
        for path in [path.as_path(), folder.path(), &folder.path().join("none")] {
            assert!(matches!(Routed::load(path, &Device::flex()), Err(RouterError::Format(_))));
        }
        let routed = routed(LinearRouter::new([1, 4], 0.0, 0, &Device::flex()));
        assert!(matches!(routed.save(folder.path()), Err(RouterError::Write { .. })));
    }

    #[test]
    fn another_element_type() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("half.safetensors");
        let views = [("layers.0.weight", vec![1, 2], 4), ("layers.0.bias", vec![1], 2)];
        let bytes = [0u8; 4];
        let views = views.map(|(name, shape, n)| (name, TensorView::new(Dtype::F16, shape, &bytes[..n]).unwrap()));
        let metadata = HashMap::from([(KEY.to_owned(), config(1, "linear", 1, 2))]);
        std::fs::write(&path, safetensors::serialize(views, Some(metadata)).unwrap()).unwrap();
        let error = Routed::load(&path, &Device::flex()).map(|_| ()).unwrap_err();
        assert!(matches!(&error, RouterError::Dtype { found, .. } if found == "F16"), "{error}");
    }
}
