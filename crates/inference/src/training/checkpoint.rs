//! A training on disk: weights, moments and the step, in one file that is there whole or not at all.

use super::TrainingError;
use super::optimizer::Moments;
use super::parameters::{self, Values, read};
use burn::module::Module;
use burn::optim::AdaptiveMomentumState;
use burn::tensor::{Device, Tensor, TensorData};
use dynlayer_model::format::{FloatType, SafetensorsFile, write_atomic};
use safetensors::tensor::{Dtype, TensorView};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};
use std::io::Write;
use std::path::{Path, PathBuf};

/// The metadata's entry that holds everything that is no tensor.
const KEY: &str = "dynlayer.training";
/// The version of the file that this crate writes, and reads.
const VERSION: u32 = 1;

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    version: u32,
    /// Steps done.
    step: u64,
    /// What the training was begun with, as JSON: another training cannot go on from here.
    identity: String,
    /// How often each parameter was updated.
    updates: BTreeMap<String, usize>,
}

/// A training as it was read back.
pub(super) struct Loaded<M> {
    pub(super) module: M,
    pub(super) moments: BTreeMap<String, Moments>,
    pub(super) step: u64,
}

/// Where the checkpoint of a folder is.
pub(super) fn file(folder: &Path) -> PathBuf {
    folder.join("checkpoint.safetensors")
}

/// Makes the folder, and proves that checkpoints will fit: the old and the new one lie side by side for a moment.
pub(super) fn prepare<M: Module>(folder: &Path, module: &M) -> Result<(), TrainingError> {
    let io = |what| move |source| TrainingError::Io { path: folder.to_path_buf(), what, source };
    std::fs::create_dir_all(folder).map_err(io("the folder cannot be made"))?;
    let bytes = 2 * 3 * 4 * module.num_params();
    let mut probe = tempfile::NamedTempFile::new_in(folder).map_err(io("nothing can be written there"))?;
    let zeros = vec![0u8; 1 << 20];
    let mut left = bytes;
    while left > 0 {
        let n = left.min(zeros.len());
        probe.write_all(&zeros[..n]).map_err(io("there is no room for two checkpoints"))?;
        left -= n;
    }
    probe.as_file().sync_all().map_err(io("there is no room for two checkpoints"))
}

pub(super) fn save<M: Module>(
    folder: &Path,
    module: &M,
    moments: &BTreeMap<String, Moments>,
    step: u64,
    identity: &str,
) -> Result<(), TrainingError> {
    let path = file(folder);
    let serialize = |source| TrainingError::Serialize { path: path.clone(), source };
    let mut tensors: BTreeMap<String, Values> = BTreeMap::new();
    for (name, values) in parameters::values(module)? {
        tensors.insert(format!("weights.{name}"), values);
    }
    let mut updates = BTreeMap::new();
    for (name, AdaptiveMomentumState { time, moment_1, moment_2, .. }) in moments.iter().map(|(n, m)| (n, &m.momentum))
    {
        updates.insert(name.clone(), *time);
        for (of, moment) in [("mean", moment_1), ("square", moment_2)] {
            let key = format!("{of}.{name}");
            let values = read(moment.clone(), || key.clone())?;
            tensors.insert(key, (vec![values.len()], values));
        }
    }
    let header = Header { version: VERSION, step, identity: identity.to_owned(), updates };
    let header = serde_json::to_string(&header)
        .map_err(|error| broken(&path, KEY, &error.to_string(), "what can be written as JSON"))?;
    let bytes: Vec<(String, Vec<usize>, Vec<u8>)> = tensors
        .into_iter()
        .map(|(name, (shape, values))| (name, shape, values.iter().flat_map(|x| x.to_le_bytes()).collect()))
        .collect();
    let views = bytes.iter().map(|(name, shape, bytes)| {
        TensorView::new(Dtype::F32, shape.clone(), bytes).map(|view| (name.clone(), view)).map_err(serialize)
    });
    let views = views.collect::<Result<Vec<_>, _>>()?;
    let file = safetensors::serialize(views, Some(HashMap::from([(KEY.to_owned(), header)]))).map_err(serialize)?;
    let io = |source| TrainingError::Io { path: path.clone(), what: "the checkpoint cannot be written", source };
    write_atomic(&path, &file).map_err(io)
}

/// The training of a folder, if there is one.
pub(super) fn load<M: Module>(
    folder: &Path,
    module: M,
    device: &Device,
    identity: &str,
) -> Result<Option<Loaded<M>>, TrainingError> {
    let path = file(folder);
    if !path.exists() {
        return Ok(None);
    }
    let file = SafetensorsFile::open(&path)?;
    let text = file.metadata().get(KEY).ok_or_else(|| broken(&path, KEY, "missing", "the header of a training"))?;
    let header: Header = serde_json::from_str(text)
        .map_err(|error| broken(&path, KEY, &error.to_string(), "the header of a training"))?;
    if header.version != VERSION {
        return Err(broken(&path, "version", &header.version.to_string(), &VERSION.to_string()));
    }
    if header.identity != identity {
        return Err(broken(&path, "the training's options", &header.identity, identity));
    }
    let mut weights = BTreeMap::new();
    let mut moments = BTreeMap::new();
    for (name, tensor) in file.tensors() {
        let values = floats(&file, &path, name)?;
        if let Some(name) = name.strip_prefix("weights.") {
            weights.insert(name.to_owned(), (tensor.shape.clone(), values));
        } else {
            moments.insert(name.to_owned(), values);
        }
    }
    let mut states = BTreeMap::new();
    for (name, time) in header.updates {
        let size = weights.get(&name).map(|(shape, _): &Values| shape.iter().product::<usize>());
        let mut moment = |of: &str| {
            let key = format!("{of}.{name}");
            let values = moments.remove(&key).filter(|values| Some(values.len()) == size);
            let values =
                values.ok_or_else(|| broken(&path, &key, "missing or of another size", "one number per weight"))?;
            let n = values.len();
            Ok::<_, TrainingError>(Tensor::<1>::from_data(TensorData::new(values, [n]), device))
        };
        let state = AdaptiveMomentumState::new(time, moment("mean")?, moment("square")?);
        states.insert(name.clone(), Moments::new(state));
    }
    if let Some(name) = moments.keys().next() {
        return Err(broken(&path, name, "there", "no such tensor"));
    }
    let module = parameters::restore(module, weights, &path)?;
    Ok(Some(Loaded { module, moments: states, step: header.step }))
}

fn floats(file: &SafetensorsFile, path: &Path, name: &str) -> Result<Vec<f32>, TrainingError> {
    let info = file.tensor(name)?;
    if info.dtype.float() != Some(FloatType::F32) {
        return Err(broken(path, name, &format!("{:?}", info.dtype), "F32"));
    }
    let bytes = file.read_tensor_bytes(name)?;
    let values: Vec<f32> = bytes.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
    match values.iter().find(|x| !x.is_finite()) {
        Some(value) => Err(broken(path, name, &value.to_string(), "finite numbers")),
        None => Ok(values),
    }
}

fn broken(path: &Path, field: &str, found: &str, expected: &str) -> TrainingError {
    TrainingError::Checkpoint {
        path: path.to_path_buf(),
        field: field.to_owned(),
        found: found.to_owned(),
        expected: expected.to_owned(),
    }
}
