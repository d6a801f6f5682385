//! Reading and atomic writing of this crate's files: JSON documents, and weights as safetensors.

use crate::parameters::Tensors;
use dynlayer_model::format::{FloatType, FormatError, SafetensorsFile, write_atomic};
use safetensors::tensor::{Dtype, TensorView};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// The error for a file that this crate writes or reads: a recording, a calibration, a router, a checkpoint.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FileError {
    /// The file cannot be read or written.
    #[error("{path}: cannot be read or written")]
    Io {
        /// The file.
        path: PathBuf,
        /// The operating system's reason.
        source: std::io::Error,
    },
    /// The file, or its metadata, is not the JSON of the expected document.
    #[error("{path}: not the JSON of {expected}")]
    Json {
        /// The file.
        path: PathBuf,
        /// The document that the file should hold.
        expected: &'static str,
        /// The parser's reason, with line and column.
        source: serde_json::Error,
    },
    /// A field of a document, an entry of the metadata or a tensor does not have the expected content.
    #[error("{path}: {field} is {found}; expected {expected}")]
    Content {
        /// The file.
        path: PathBuf,
        /// The name of the field, entry or tensor.
        field: String,
        /// The content that was found.
        found: String,
        /// The content that is needed.
        expected: String,
    },
    /// The file is not a readable safetensors file.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// Tensors could not be put into a safetensors file.
    #[error("{path}: cannot be written as safetensors")]
    Serialize {
        /// The file.
        path: PathBuf,
        /// The safetensors library's reason.
        source: safetensors::SafeTensorError,
    },
}

impl FileError {
    pub(crate) fn content(
        path: &Path,
        field: impl Into<String>,
        found: impl Into<String>,
        expected: impl Into<String>,
    ) -> Self {
        let path = path.to_path_buf();
        Self::Content { path, field: field.into(), found: found.into(), expected: expected.into() }
    }

    fn io(path: &Path) -> impl Fn(std::io::Error) -> Self {
        move |source| Self::Io { path: path.to_path_buf(), source }
    }

    fn json(path: &Path, expected: &'static str) -> impl Fn(serde_json::Error) -> Self {
        move |source| Self::Json { path: path.to_path_buf(), expected, source }
    }
}

/// Writes a document as JSON. Errors call the document `what`.
pub(crate) fn save_json(path: &Path, what: &'static str, document: &impl Serialize) -> Result<(), FileError> {
    let json = serde_json::to_vec(document).map_err(FileError::json(path, what))?;
    write_atomic(path, &json).map_err(FileError::io(path))
}

/// Reads a document from JSON. Errors call the document `what`.
pub(crate) fn load_json<T: DeserializeOwned>(path: &Path, what: &'static str) -> Result<T, FileError> {
    let json = std::fs::read(path).map_err(FileError::io(path))?;
    serde_json::from_slice(&json).map_err(FileError::json(path, what))
}

/// Reads a document from JSON, after checking that its field `version` is the expected one: another version may have
/// other fields.
pub(crate) fn load_versioned_json<T: DeserializeOwned>(
    path: &Path,
    what: &'static str,
    version: u32,
) -> Result<T, FileError> {
    let json = std::fs::read(path).map_err(FileError::io(path))?;
    versioned(path, &json, what, version)
}

fn versioned<T: DeserializeOwned>(path: &Path, json: &[u8], what: &'static str, expected: u32) -> Result<T, FileError> {
    #[derive(Deserialize)]
    struct Version {
        version: u32,
    }
    let Version { version } = serde_json::from_slice(json).map_err(FileError::json(path, what))?;
    if version != expected {
        return Err(FileError::content(path, "version", version.to_string(), expected.to_string()));
    }
    serde_json::from_slice(json).map_err(FileError::json(path, what))
}

/// A kind of safetensors file. The metadata's entry `key` holds the file's header as JSON. Errors call the header
/// `what`, and its field `version` must equal `version`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kind {
    pub(crate) key: &'static str,
    pub(crate) what: &'static str,
    pub(crate) version: u32,
}

/// Writes a safetensors file with the tensors as `F32`, and with the header as JSON in the metadata.
pub(crate) fn save_tensors(
    path: &Path,
    kind: Kind,
    header: &impl Serialize,
    tensors: &Tensors,
) -> Result<(), FileError> {
    let header = serde_json::to_string(header).map_err(FileError::json(path, kind.what))?;
    let serialize = |source| FileError::Serialize { path: path.to_path_buf(), source };
    let bytes: Vec<Vec<u8>> =
        tensors.values().map(|(_, values)| values.iter().flat_map(|x| x.to_le_bytes()).collect()).collect();
    let views = tensors.iter().zip(&bytes).map(|((name, (shape, _)), bytes)| {
        TensorView::new(Dtype::F32, shape.clone(), bytes).map(|view| (name, view)).map_err(serialize)
    });
    let views = views.collect::<Result<Vec<_>, _>>()?;
    let metadata = HashMap::from([(kind.key.to_owned(), header)]);
    let file = safetensors::serialize(views, Some(metadata)).map_err(serialize)?;
    write_atomic(path, &file).map_err(FileError::io(path))
}

/// An open safetensors file in the form that [`save_tensors`] writes.
pub(crate) struct TensorFile<'a> {
    path: &'a Path,
    file: SafetensorsFile,
}

impl<'a> TensorFile<'a> {
    /// Opens a file and reads its header.
    pub(crate) fn open<H: DeserializeOwned>(path: &'a Path, kind: Kind) -> Result<(Self, H), FileError> {
        Self::new(path, SafetensorsFile::open(path)?, kind)
    }

    /// Reads the header of an open file. Errors name the file by `path`.
    pub(crate) fn new<H: DeserializeOwned>(
        path: &'a Path,
        file: SafetensorsFile,
        kind: Kind,
    ) -> Result<(Self, H), FileError> {
        let Some(json) = file.metadata().get(kind.key) else {
            return Err(FileError::content(path, format!("the metadata's {:?}", kind.key), "missing", kind.what));
        };
        let header = versioned(path, json.as_bytes(), kind.what, kind.version)?;
        Ok((Self { path, file }, header))
    }

    /// The names of the tensors, with their shapes.
    pub(crate) fn shapes(&self) -> impl Iterator<Item = (&str, &[usize])> {
        self.file.tensors().map(|(name, tensor)| (name, tensor.shape.as_slice()))
    }

    /// Reads the numbers of a tensor, which must be finite and `F32`.
    pub(crate) fn read(&self, name: &str) -> Result<Vec<f32>, FileError> {
        let tensor = self.file.tensor(name)?;
        if tensor.dtype.float() != Some(FloatType::F32) {
            return Err(FileError::content(self.path, name, tensor.dtype.to_string(), "F32"));
        }
        let bytes = self.file.read_tensor_bytes(name)?;
        let values: Vec<f32> = bytes.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
        match values.iter().position(|x| !x.is_finite()) {
            Some(i) => {
                let field = format!("{name} at {i}");
                Err(FileError::content(self.path, field, values[i].to_string(), "a finite number"))
            }
            None => Ok(values),
        }
    }

    /// Reads the numbers of a tensor, which must have the shape `expected`, and be finite and `F32`.
    pub(crate) fn read_shape(&self, name: &str, expected: &[usize]) -> Result<Vec<f32>, FileError> {
        let found = &self.file.tensor(name)?.shape;
        if found != expected {
            let (found, expected) = (format!("of shape {found:?}"), format!("shape {expected:?}"));
            return Err(FileError::content(self.path, name, found, expected));
        }
        self.read(name)
    }
}
