//! Checkpoints: weights, moments and the step of a training, in one file that is written atomically.

use super::TrainingError;
use super::optimizer::Moments;
use super::weights;
use crate::files::{FileError, Kind, TensorFile, save_tensors};
use crate::identity::{Identity, difference};
use crate::parameters::{self, Tensors, to_host};
use burn::module::Module;
use burn::optim::AdaptiveMomentumState;
use burn::tensor::{Device, Tensor, TensorData};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

/// The kind of file. Everything that is not a tensor is stored as JSON in the metadata.
const FILE: Kind = Kind { key: "dynlayer.training", what: "the header of a training", version: 2 };

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    version: u32,
    /// The number of steps done.
    step: u64,
    /// Everything that the training depends on. A training that differs in it cannot continue from here.
    identity: Identity,
    /// The number of updates of each parameter.
    updates: BTreeMap<String, usize>,
}

/// A training read from a checkpoint.
pub(super) struct Loaded<M> {
    pub(super) module: M,
    pub(super) moments: BTreeMap<String, Moments>,
    pub(super) step: u64,
}

/// The path of the checkpoint in a folder.
pub(super) fn file(folder: &Path) -> PathBuf {
    folder.join("checkpoint.safetensors")
}

/// Makes the folder, and checks that it has room for two checkpoints, since the old and the new one exist side by side
/// for a moment.
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

/// Writes a checkpoint.
pub(super) fn save<M: Module>(
    folder: &Path,
    module: &M,
    moments: &BTreeMap<String, Moments>,
    step: u64,
    identity: &Identity,
) -> Result<(), TrainingError> {
    let mut tensors: Tensors =
        parameters::values(module)?.into_iter().map(|(name, values)| (format!("weights.{name}"), values)).collect();
    let mut updates = BTreeMap::new();
    for (name, moments) in moments {
        let AdaptiveMomentumState { time, moment_1, moment_2, .. } = &moments.momentum;
        updates.insert(name.clone(), *time);
        for (moment, tensor) in [("mean", moment_1), ("square", moment_2)] {
            let key = format!("{moment}.{name}");
            let values = to_host(tensor.clone(), || key.clone())?;
            tensors.insert(key, (vec![values.len()], values));
        }
    }
    let header = Header { version: FILE.version, step, identity: identity.clone(), updates };
    Ok(save_tensors(&file(folder), FILE, &header, &tensors)?)
}

/// Reads the checkpoint of a folder, if there is one.
pub(super) fn load<M: Module>(
    folder: &Path,
    module: M,
    device: &Device,
    identity: &Identity,
) -> Result<Option<Loaded<M>>, TrainingError> {
    let path = file(folder);
    if !path.exists() {
        return Ok(None);
    }
    let (file, header): (_, Header) = TensorFile::open(&path, FILE)?;
    if let Some((setting, expected, found)) = difference(identity, &header.identity) {
        return Err(TrainingError::OtherTraining { file: path.clone(), setting, expected, found });
    }
    let (mut saved, mut moments) = (Tensors::new(), BTreeMap::new());
    for (name, shape) in file.shapes() {
        let values = file.read(name)?;
        if let Some(name) = name.strip_prefix("weights.") {
            saved.insert(name.to_owned(), (shape.to_vec(), values));
        } else {
            moments.insert(name.to_owned(), values);
        }
    }
    let mut states = BTreeMap::new();
    for (name, time) in header.updates {
        let size = saved.get(&name).map(|(shape, _)| shape.iter().product::<usize>());
        let mut take = |moment: &str| {
            let key = format!("{moment}.{name}");
            let values = moments.remove(&key).filter(|values| Some(values.len()) == size);
            let values = values
                .ok_or_else(|| FileError::content(&path, key, "missing or of another size", "one number per weight"))?;
            let n = values.len();
            Ok::<_, FileError>(Tensor::<1>::from_data(TensorData::new(values, [n]), device))
        };
        let state = AdaptiveMomentumState::new(time, take("mean")?, take("square")?);
        states.insert(name.clone(), Moments::new(state));
    }
    if let Some(name) = moments.keys().next() {
        return Err(FileError::content(&path, name, "there", "no such tensor").into());
    }
    let module = weights::restore(module, saved, &path)?;
    Ok(Some(Loaded { module, moments: states, step: header.step }))
}
