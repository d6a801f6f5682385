//! Routers as safetensors files.

use super::router::{Linear, Mlp};
use super::{AnyRouter, LinearRouter, MlpRouter, Routed, Router, RouterError, RouterOptions};
use crate::files::{FileError, Kind, TensorFile, save_tensors};
use crate::parameters;
use burn::tensor::Device;
use dynlayer_model::format::SafetensorsFile;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::io::Cursor;
use std::path::Path;

/// The kind of a router's file, whose configuration is JSON in the metadata.
const FILE: Kind = Kind { key: "dynlayer.router", what: "a router's configuration", version: 1 };

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    version: u32,
    router: RouterKind,
    n_layers: u64,
    d_model: u64,
    options: RouterOptions,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum RouterKind {
    Linear,
    Mlp,
}

impl<R: Router + Into<AnyRouter>> Routed<R> {
    /// Writes the router and its options to a safetensors file, atomically.
    ///
    /// The kind of the router, its dimensions and the options are JSON in the metadata under `dynlayer.router`. Tensors
    /// are `F32`. A linear router has `layers.N.weight` `[1, d_model]` and `layers.N.bias` `[1]`. An MLP has
    /// `layers.N.up.weight` `[hidden, d_model]`, `layers.N.up.bias` `[hidden]`, `layers.N.down.weight` `[1, hidden]`
    /// and `layers.N.down.bias` `[1]`, where `hidden` is `d_model / 8`, at least 1.
    ///
    /// # Errors
    /// If the weights cannot be read from the device, or the file cannot be written.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), RouterError> {
        let router: AnyRouter = self.router().clone().into();
        let [n_layers, d_model] = router.dimensions().unwrap_or_default().map(|n| n as u64);
        let (kind, tensors) = match &router {
            AnyRouter::Linear(router) => (RouterKind::Linear, parameters::values(router)?),
            AnyRouter::Mlp(router) => (RouterKind::Mlp, parameters::values(router)?),
        };
        let config = Config { version: FILE.version, router: kind, n_layers, d_model, options: *self.options() };
        Ok(save_tensors(path.as_ref(), FILE, &config, &tensors)?)
    }
}

impl Routed<AnyRouter> {
    /// Reads a file that [`save`](Self::save) wrote, onto a device.
    ///
    /// # Errors
    /// If the file cannot be read, is not a router file, holds tensors, shapes or element types other than its
    /// configuration asks for, or holds weights that are not finite.
    pub fn load(path: impl AsRef<Path>, device: &Device) -> Result<Self, RouterError> {
        let path = path.as_ref();
        let file = SafetensorsFile::open(path).map_err(FileError::from)?;
        Self::read(path, file, device)
    }

    /// Reads the bytes of a file that [`save`](Self::save) wrote, onto a device; errors give `name` as the file's path.
    ///
    /// # Errors
    /// The same as for [`load`](Self::load).
    pub fn from_bytes(
        name: impl AsRef<Path>,
        bytes: impl Into<Cow<'static, [u8]>>,
        device: &Device,
    ) -> Result<Self, RouterError> {
        let name = name.as_ref();
        let file = SafetensorsFile::from_reader(Cursor::new(bytes.into()), name).map_err(FileError::from)?;
        Self::read(name, file, device)
    }

    fn read(path: &Path, file: SafetensorsFile, device: &Device) -> Result<Self, RouterError> {
        let (file, config): (_, Config) = TensorFile::new(path, file, FILE)?;
        let number = |field, found: u64| {
            let refused = |_| FileError::content(path, field, found.to_string(), "a number that fits in usize");
            usize::try_from(found).map_err(refused)
        };
        let (n_layers, d_model) = (number("n_layers", config.n_layers)?, number("d_model", config.d_model)?);
        let per_layer = if config.router == RouterKind::Linear { 2 } else { 4 };
        let (found, expected) = (file.shapes().count(), n_layers.saturating_mul(per_layer));
        // Checked first, so that a broken configuration allocates nothing.
        if found != expected {
            let error = FileError::content(path, "the number of tensors", found.to_string(), expected.to_string());
            return Err(error.into());
        }
        let linear = |name: String, outputs: usize, inputs: usize| {
            let weight = file.read_shape(&format!("{name}.weight"), &[outputs, inputs])?;
            Ok::<_, FileError>(Linear::new(weight, file.read_shape(&format!("{name}.bias"), &[outputs])?, device))
        };
        let router = match config.router {
            RouterKind::Linear => {
                let layers = (0..n_layers).map(|layer| linear(format!("layers.{layer}"), 1, d_model));
                LinearRouter { layers: layers.collect::<Result<_, _>>()? }.into()
            }
            RouterKind::Mlp => {
                let inner = MlpRouter::inner_width(d_model);
                let layers = (0..n_layers).map(|layer| {
                    let up = linear(format!("layers.{layer}.up"), inner, d_model)?;
                    Ok::<_, FileError>(Mlp { up, down: linear(format!("layers.{layer}.down"), 1, inner)? })
                });
                MlpRouter { layers: layers.collect::<Result<_, _>>()? }.into()
            }
        };
        Ok(Self::new(router, config.options))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controllers::{Ends, RouterInput};
    use dynlayer_model::format::FormatErrorKind;
    use safetensors::tensor::{Dtype, TensorView};
    use std::collections::HashMap;

    fn routed(router: impl Into<AnyRouter>) -> Routed<AnyRouter> {
        let options =
            RouterOptions { input: RouterInput::Position, ends: Ends::Free, threshold: 0.3, temperature: 0.7 };
        Routed::new(router.into(), options)
    }

    fn bits(router: &AnyRouter) -> Vec<(String, Vec<usize>, Vec<u32>)> {
        let bits = |values: Vec<f32>| values.into_iter().map(f32::to_bits).collect();
        let values = parameters::values(router).unwrap();
        values.into_iter().map(|(name, (shape, values))| (name, shape, bits(values))).collect()
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

    /// Writes a file with this configuration and these tensors, and returns the error of reading it as a router.
    fn load(config: Option<&str>, tensors: &[(&str, &[usize], &[f32])]) -> FileError {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("hostile.safetensors");
        let bytes: Vec<Vec<u8>> =
            tensors.iter().map(|(_, _, values)| values.iter().flat_map(|x| x.to_le_bytes()).collect()).collect();
        let views = tensors.iter().zip(&bytes).map(|((name, shape, _), bytes)| {
            ((*name).to_owned(), TensorView::new(Dtype::F32, shape.to_vec(), bytes).unwrap())
        });
        let metadata = config.map(|config| HashMap::from([(FILE.key.to_owned(), config.to_owned())]));
        std::fs::write(&path, safetensors::serialize(views, metadata).unwrap()).unwrap();
        let error = Routed::load(&path, &Device::flex()).map(|_| ()).unwrap_err();
        assert!(error.to_string().contains("hostile.safetensors"), "{error}");
        let RouterError::File(error) = error else { panic!("{error}") };
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
        let content = |config: Option<&str>, tensors: &[(&str, &[usize], &[f32])], part: &str| {
            let error = load(config, tensors);
            assert!(matches!(error, FileError::Content { .. }) && error.to_string().contains(part), "{error}");
        };
        content(None, &good, "the metadata's \"dynlayer.router\" is missing");
        for config in ["{", r#"{"version": 1}"#, &config(1, "conv", 1, 2)] {
            assert!(matches!(load(Some(config), &good), FileError::Json { .. }));
        }
        content(Some(&config(2, "linear", 1, 2)), &good, "version is 2; expected 1");
        content(Some(&config(1, "linear", u64::MAX, 2)), &good, "the number of tensors is 2");
        let wide = "layers.0.weight is of shape [1, 2]; expected shape [1, 18446744073709551615]";
        content(Some(&config(1, "linear", 1, u64::MAX)), &good, wide);
        content(Some(&config(1, "mlp", 1, 2)), &good, "the number of tensors is 2; expected 4");
        let other = load(Some(&config(1, "linear", 1, 2)), &[good[0], ("layers.7.bias", &[1], &[0.0])]);
        let FileError::Format(format) = &other else { panic!("{other}") };
        assert!(matches!(format.kind(), FormatErrorKind::NoSuchTensor { .. }), "{other}");
        let nan: [(&str, &[usize], &[f32]); 2] = [("layers.0.weight", &[1, 2], &[1.0, f32::NAN]), good[1]];
        content(Some(&config(1, "linear", 1, 2)), &nan, "layers.0.weight at 1 is NaN");
    }

    #[test]
    fn files_that_are_no_safetensors() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("short");
        std::fs::write(&path, [9, 0, 0]).unwrap();
        for path in [path.as_path(), folder.path(), &folder.path().join("none")] {
            assert!(matches!(Routed::load(path, &Device::flex()), Err(RouterError::File(FileError::Format(_)))));
        }
        let routed = routed(LinearRouter::new([1, 4], 0.0, 0, &Device::flex()));
        assert!(matches!(routed.save(folder.path()), Err(RouterError::File(FileError::Io { .. }))));
    }

    #[test]
    fn another_element_type() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("half.safetensors");
        let views = [("layers.0.weight", vec![1, 2], 4), ("layers.0.bias", vec![1], 2)];
        let bytes = [0u8; 4];
        let views = views.map(|(name, shape, n)| (name, TensorView::new(Dtype::F16, shape, &bytes[..n]).unwrap()));
        let metadata = HashMap::from([(FILE.key.to_owned(), config(1, "linear", 1, 2))]);
        std::fs::write(&path, safetensors::serialize(views, Some(metadata)).unwrap()).unwrap();
        let error = Routed::load(&path, &Device::flex()).map(|_| ()).unwrap_err();
        assert!(error.to_string().contains("layers.0.weight is F16; expected F32"), "{error}");
    }
}
