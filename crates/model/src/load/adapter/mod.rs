//! LoRA adapters in the format of PEFT: for some matrices W of a model, the factors of a sum W + s B A.

mod apart;
mod config;
mod product;
mod rules;
#[cfg(test)]
mod tests;

use super::error::{LoadError, NamedShape};
use super::hf_names::EMBEDDING;
use crate::config::LlamaConfig;
use crate::files::{open_regular, read_limited, shorten};
use crate::format::{FloatType, SafetensorsFile, to_f32};
use config::{AdapterConfig, MERGE};
use product::{add_product, transpose};
use rules::Rules;
use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::Path;

/// The name of the file that describes an adapter.
const CONFIG: &str = "adapter_config.json";

/// The name of the file that holds its tensors.
const TENSORS: &str = "adapter_model.safetensors";

/// The name of that file in old adapters, in a format that this crate does not read.
const OLD_TENSORS: &str = "adapter_model.bin";

/// The largest description that is read, in bytes; real ones have one or two kilobytes.
const MAX_CONFIG_BYTES: u64 = 1 << 20;

/// The text that PEFT puts before the name of a module.
const PREFIX: &str = "base_model.model.";

/// An adapter whose tensors fit a model. They are read when they are merged.
#[derive(Debug)]
pub(super) struct AdapterFile {
    file: SafetensorsFile,
    /// The products, by the name of the matrix that each is added to.
    products: BTreeMap<String, Product>,
    /// The tensors of layers that are not among those to transform. They are ignored.
    pub(super) not_transformed: Vec<String>,
}

/// A product s B A.
#[derive(Debug)]
struct Product {
    /// The name of the tensor A, of shape `[rank, inputs]`.
    a: String,
    /// The name of the tensor B, of shape `[outputs, rank]`.
    b: String,
    /// The name of a tensor that replaces W: PEFT stores a copy of an adapted embedding or head, and loads it.
    base: Option<String>,
    rank: usize,
    scale: f32,
}

impl AdapterFile {
    /// Opens the adapter in a folder, and compares its tensors with those of the model.
    ///
    /// # Errors
    /// If there is no adapter, if it is more than a sum of products, or if it does not fit the model; all tensors that
    /// do not fit are listed.
    pub(super) fn open(folder: &Path, model: &LlamaConfig, expected: &[NamedShape]) -> Result<Self, LoadError> {
        let config = read_config(folder)?;
        let invalid = |field: &str, found: String, instead: String| LoadError::AdapterField {
            path: folder.join(CONFIG),
            field: field.to_owned(),
            found,
            instead,
        };
        if let Some((field, found, instead)) = config.refused() {
            return Err(invalid(field, shorten(&found), instead.to_owned()));
        }
        let rules = Rules::new(&config).map_err(|(field, found, instead)| invalid(field, found, instead))?;
        if !folder.join(TENSORS).exists() {
            let found = if folder.join(OLD_TENSORS).exists() {
                "a folder with adapter_model.bin, which is PyTorch's format; load and save it once more with peft"
            } else {
                "a folder without adapter_model.safetensors"
            };
            return Err(LoadError::NotAnAdapter { path: folder.to_path_buf(), found: found.to_owned() });
        }
        let file = SafetensorsFile::open(folder.join(TENSORS))?;
        Self::new(file, &rules, model, expected)
    }

    fn new(
        file: SafetensorsFile,
        rules: &Rules<'_>,
        model: &LlamaConfig,
        expected: &[NamedShape],
    ) -> Result<Self, LoadError> {
        let matrices = expected.iter().filter_map(|tensor| {
            let shape = <[usize; 2]>::try_from(tensor.shape.as_slice()).ok()?;
            Some((tensor.name.as_str(), shape))
        });
        let fit = Fit { file: &file, rules, tied: model.tied_embeddings, matrices: matrices.collect() };
        let (modules, mut problems) = fit.modules();
        let (mut products, mut not_transformed) = (BTreeMap::new(), Vec::new());
        for (name, module) in modules {
            if !rules.transforms(name) {
                not_transformed.extend(module.names().map(str::to_owned));
                continue;
            }
            match fit.product(name, &module) {
                Ok((weight, product)) => {
                    if products.insert(weight, product).is_some() {
                        problems.push(format!("{}: there twice, with and without `model.`", shorten(&name)));
                    }
                }
                Err(problem) => problems.push(problem),
            }
        }
        if products.is_empty() && problems.is_empty() {
            problems.push("no tensor adapts a layer of the model".to_owned());
        }
        if !problems.is_empty() {
            return Err(LoadError::AdapterTensors { path: file.path().to_path_buf(), problems });
        }
        Ok(Self { file, products, not_transformed })
    }

    /// Returns `true` if the adapter changes the tensor of this name.
    pub(super) fn adapts(&self, weight: &str) -> bool {
        self.products.contains_key(weight)
    }

    /// Reads the matrix that replaces that of the base model, if the adapter has one.
    pub(super) fn base(&self, weight: &str) -> Option<Result<Vec<f32>, LoadError>> {
        let name = self.products.get(weight)?.base.as_ref()?;
        Some(self.read(name))
    }

    /// Adds the product for the tensor of this name, if there is one, to its values.
    pub(super) fn merge(&self, weight: &str, values: &mut [f32]) -> Result<(), LoadError> {
        let Some(product) = self.products.get(weight) else { return Ok(()) };
        let (a, b, rank) = (self.read(&product.a)?, self.read(&product.b)?, product.rank);
        if weight == EMBEDDING {
            // PEFT adds (B A)^T to the embedding.
            let (left, right) = (transpose(&a, a.len() / rank), transpose(&b, rank));
            add_product(values, &left, &right, rank, product.scale);
        } else {
            add_product(values, &b, &a, rank, product.scale);
        }
        Ok(())
    }

    fn read(&self, name: &str) -> Result<Vec<f32>, LoadError> {
        let bytes = self.file.read_tensor_bytes(name)?; // refuses other types than floats
        let values = to_f32(self.file.tensor(name)?.dtype.float().unwrap_or(FloatType::F32), &bytes);
        match values.iter().filter(|x| !x.is_finite()).count() {
            0 => Ok(values),
            count => Err(LoadError::NotFinite { path: self.file.path().to_path_buf(), tensor: name.to_owned(), count }),
        }
    }
}

/// The tensors of an adapter for one module.
#[derive(Default)]
struct Module<'a> {
    a: Option<&'a str>,
    b: Option<&'a str>,
    base: Option<&'a str>,
    /// If `true`, the factors have the names of those of an embedding.
    embedding: bool,
}

impl<'a> Module<'a> {
    fn names(&self) -> impl Iterator<Item = &'a str> {
        [self.a, self.b, self.base].into_iter().flatten()
    }
}

/// The comparison of an adapter's tensors with a model.
struct Fit<'a> {
    file: &'a SafetensorsFile,
    rules: &'a Rules<'a>,
    tied: bool,
    /// The shapes of the model's matrices.
    matrices: BTreeMap<&'a str, [usize; 2]>,
}

impl<'a> Fit<'a> {
    /// Returns the tensors by the name of their module, and what is wrong with the others.
    fn modules(&self) -> (BTreeMap<&'a str, Module<'a>>, Vec<String>) {
        let (mut modules, mut problems) = (BTreeMap::<&str, Module<'_>>::new(), Vec::new());
        for (tensor, info) in self.file.tensors() {
            let name = tensor.strip_prefix(PREFIX).unwrap_or(tensor);
            let name = name.strip_suffix(".weight").unwrap_or(name);
            // The name of the adapter, which peft's save_pretrained removes, but a plain state has.
            let name = name.strip_suffix(".default").unwrap_or(name);
            let (module, part) = name.rsplit_once('.').unwrap_or_default();
            if !["lora_A", "lora_B", "lora_embedding_A", "lora_embedding_B", "base_layer"].contains(&part) {
                problems.push(format!("{}: neither a lora_A nor a lora_B", shorten(&tensor)));
                continue;
            }
            if info.dtype.float().is_none() {
                problems.push(format!("{}: of type {}, expected F32, F16 or BF16", shorten(&tensor), info.dtype));
            }
            let entry = modules.entry(module).or_default();
            entry.embedding |= part.starts_with("lora_embedding");
            let slot = match part {
                "base_layer" => &mut entry.base,
                part if part.ends_with('A') => &mut entry.a,
                _ => &mut entry.b,
            };
            if slot.replace(tensor).is_some() {
                problems.push(format!("{}: there twice, under two names", shorten(&tensor)));
            }
        }
        (modules, problems)
    }

    /// Returns the product of a module and the name of its matrix, or what is wrong with the module's tensors.
    fn product(&self, name: &str, module: &Module<'_>) -> Result<(String, Product), String> {
        let problem = |text: String| Err(format!("{}: {text}", shorten(&name)));
        if self.tied && (name.ends_with("lm_head") || name.ends_with("embed_tokens")) {
            // peft adapts one and leaves the other, which a model that holds them once cannot do.
            return problem(format!("the embedding is also the output head, and this is for one of them; {MERGE}"));
        }
        // An adapter of a model without a head has names without `model.`.
        let weights = [format!("{name}.weight"), format!("model.{name}.weight")];
        let found = weights.into_iter().find_map(|weight| Some((*self.matrices.get(weight.as_str())?, weight)));
        let Some(([rows, columns], weight)) = found else {
            return problem("the model has no such matrix".to_owned());
        };
        let (a, b) = match (module.a, module.b) {
            (Some(a), Some(b)) => (a, b),
            (Some(_), None) => return problem("a lora_A without a lora_B".to_owned()),
            (None, Some(_)) => return problem("a lora_B without a lora_A".to_owned()),
            (None, None) => return problem("a whole matrix, neither a lora_A nor a lora_B".to_owned()),
        };
        let embedding = weight == EMBEDDING;
        if module.embedding != embedding {
            return problem("lora_embedding_A and lora_embedding_B belong to the embedding, and only to it".to_owned());
        }
        let (rank, scale) = match self.rules.rank_and_scale(name) {
            Ok(found) => found,
            Err((field, found, expected)) => return problem(format!("{field} is {found}; {expected}")),
        };
        let (inputs, outputs) = if embedding { (rows, columns) } else { (columns, rows) };
        let shapes = [(Some(a), [rank, inputs]), (Some(b), [outputs, rank]), (module.base, [rows, columns])];
        for (tensor, expected) in shapes {
            let Some(info) = tensor.and_then(|tensor| self.file.get(tensor)) else { continue };
            if info.shape != expected {
                let (found, tensor) = (&info.shape, shorten(&tensor.unwrap_or_default()));
                return Err(format!("{tensor}: of shape {found:?}, expected {expected:?} for rank {rank}"));
            }
        }
        let base = module.base.map(str::to_owned);
        Ok((weight, Product { a: a.to_owned(), b: b.to_owned(), base, rank, scale }))
    }
}

/// Reads the description of the adapter in a folder.
fn read_config(folder: &Path) -> Result<AdapterConfig, LoadError> {
    let path = folder.join(CONFIG);
    let not_an_adapter = |found: String| LoadError::NotAnAdapter { path: folder.to_path_buf(), found };
    let text = match open_regular(&path).and_then(|file| read_limited(file, MAX_CONFIG_BYTES)) {
        Ok(text) if text.len() as u64 > MAX_CONFIG_BYTES => {
            return Err(not_an_adapter(format!("a folder whose adapter_config.json exceeds {MAX_CONFIG_BYTES} bytes")));
        }
        Ok(text) => text,
        Err(_) if !folder.exists() => return Err(not_an_adapter("nothing is there".to_owned())),
        Err(_) if !folder.is_dir() => return Err(not_an_adapter("not a folder".to_owned())),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let whole = folder.join("config.json").exists();
            let found = if whole { "a folder with a whole model" } else { "a folder without adapter_config.json" };
            return Err(not_an_adapter(found.to_owned()));
        }
        Err(error) => {
            return Err(not_an_adapter(format!("a folder whose adapter_config.json cannot be read: {error}")));
        }
    };
    serde_json::from_slice(&text).map_err(|source| match wrong_field(&text) {
        Some((field, found, error)) => LoadError::AdapterField { path, field, found, instead: error.to_string() },
        None => LoadError::AdapterConfig { path, source },
    })
}

/// Returns the first field of a description whose value is wrong by itself, the value, and the parser's reason.
fn wrong_field(text: &[u8]) -> Option<(String, String, serde_json::Error)> {
    let fields: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(text).ok()?;
    fields.into_iter().find_map(|(field, value)| {
        let (name, found) = (shorten(&field), shorten(&value));
        let alone = serde_json::json!({ "peft_type": "LORA", field: value });
        Some((name, found, serde_json::from_value::<AdapterConfig>(alone).err()?))
    })
}
