//! Paths and folders that hold something other than a checkpoint, and what to do with each.

use super::LoadError;
use crate::files::{Files, shorten};
use crate::format::{FormatError, FormatErrorKind, INDEX, SINGLE};
use std::ffi::OsStr;
use std::path::{Component, Path};

/// The largest number of files of a folder that are looked at.
const MAX_FILES: usize = 1000;

/// Returns an error that says what the folder holds, if it is no checkpoint but something well known.
pub(super) fn check(files: &Files) -> Result<(), LoadError> {
    let exists = |name: &str| files.exists(name).unwrap_or(false);
    let configured = exists("config.json");
    if configured && (exists(SINGLE) || exists(INDEX)) {
        return Ok(());
    }
    let Ok(names) = files.names(MAX_FILES) else {
        return Ok(()); // reading the files gives the error
    };
    let any = |wanted: &dyn Fn(&str) -> bool| names.iter().find(|name| wanted(name.as_str()));
    let original = |name: &str| name.starts_with("consolidated.") || name == "params.json" || extension(name) == "pth";
    let (found, instead) = if let Some(name) = any(&|name: &str| extension(name) == "gguf") {
        (name, "give the GGUF file itself; of a split one, its first part")
    } else if let Some(name) = any(&|name: &str| name == "adapter_config.json") {
        (name, "open the model that the adapter was trained on, and add the adapter to it")
    } else if let Some(name) = any(&original).filter(|_| !configured) {
        (name, "take the model in the form of Hugging Face transformers, or convert it with transformers")
    } else if let Some(name) = any(&|name: &str| extension(name) == "safetensors").filter(|_| configured) {
        (name, "name a whole model model.safetensors, or add the index of its shards, model.safetensors.index.json")
    } else {
        return Ok(());
    };
    let found = format!("no checkpoint of Hugging Face transformers, but {}", shorten(found));
    Err(LoadError::OtherFolder { path: files.path().to_path_buf(), found, instead })
}

/// Describes a path that is neither a folder nor a file.
pub(super) fn describe(path: &Path) -> &'static str {
    if path.exists() {
        "neither a folder nor a file"
    } else if looks_like_a_hub_name(path) {
        "nothing is there (if this is a name on the Hugging Face hub, download the model, or open it with \
         Checkpoint::from_hub of the feature hub)"
    } else {
        "nothing is there"
    }
}

/// Returns `true` for `owner/name`.
fn looks_like_a_hub_name(path: &Path) -> bool {
    let plain = |part: &str| {
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        extension(part) != "gguf" && part.chars().all(allowed)
    };
    let parts: Option<Vec<_>> = path
        .components()
        .map(|part| match part {
            Component::Normal(name) => name.to_str().filter(|name| plain(name)),
            _ => None,
        })
        .collect();
    parts.is_some_and(|parts| parts.len() == 2)
}

/// Turns the error for a file that is not GGUF into one that says what kind of file it is, if its name tells.
pub(super) fn other_file(path: &Path, error: FormatError) -> LoadError {
    let found = match path.to_str().map_or("", extension) {
        _ if !matches!(error.kind(), FormatErrorKind::NotGguf { .. }) => return error.into(),
        "safetensors" => "weights without their configuration; give the folder that holds both",
        "bin" | "pt" | "pth" | "ckpt" => {
            "a file of PyTorch; convert the model to safetensors (in transformers: from_pretrained, save_pretrained)"
        }
        _ => return error.into(),
    };
    LoadError::NotACheckpoint { path: path.to_path_buf(), found }
}

fn extension(name: &str) -> &str {
    Path::new(name).extension().and_then(OsStr::to_str).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::super::Checkpoint;
    use super::*;

    fn message(names: &[&str]) -> String {
        let folder = tempfile::tempdir().unwrap();
        for name in names {
            std::fs::write(folder.path().join(name), "{}").unwrap();
        }
        let disk = Checkpoint::open(folder.path()).unwrap_err();
        let memory = Checkpoint::from_files(names.iter().map(|name| (*name, b"{}".as_slice()))).unwrap_err();
        for error in [&disk, &memory] {
            assert!(matches!(error, LoadError::OtherFolder { .. }), "{names:?}: {error:?}");
        }
        disk.to_string()
    }

    #[test]
    fn folders_with_something_else_say_what_to_do() {
        for (names, parts) in [
            (&["b-Q8_0.gguf", "a-Q4_K_M.gguf"][..], ["a-Q4_K_M.gguf", "the GGUF file itself"]),
            (&["config.json", "tokenizer.json", "m.gguf"], ["m.gguf", "the GGUF file itself"]),
            (&["adapter_config.json", "adapter_model.safetensors"], ["adapter_config.json", "add the adapter"]),
            (&["consolidated.00.pth", "params.json"], ["consolidated.00.pth", "transformers"]),
            (&["consolidated.safetensors", "params.json"], ["consolidated.safetensors", "transformers"]),
            (&["config.json", "model-00001-of-00002.safetensors"], ["model-00001", "model.safetensors.index.json"]),
        ] {
            let text = message(names);
            assert!(parts.iter().all(|part| text.contains(part)), "{text}");
        }
    }

    #[test]
    fn paths_with_something_else_say_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        for (name, part) in [("model.safetensors", "give the folder"), ("pytorch_model.bin", "convert the model")] {
            let path = folder.path().join(name);
            std::fs::write(&path, "PK and more").unwrap();
            let error = Checkpoint::open(&path).unwrap_err();
            assert!(matches!(error, LoadError::NotACheckpoint { .. }) && error.to_string().contains(part), "{error}");
        }
        let path = folder.path().join("model.gguf");
        std::fs::write(&path, "PK and more").unwrap();
        assert!(matches!(Checkpoint::open(&path).unwrap_err(), LoadError::Format(_)));
    }

    #[test]
    fn a_hub_name_is_told_from_a_path() {
        for name in ["HuggingFaceTB/SmolLM2-135M-Instruct", "meta-llama/Llama-3.2-1B"] {
            let text = Checkpoint::open(name).unwrap_err().to_string();
            assert!(text.contains(name) && text.contains("from_hub"), "{text}");
        }
        for path in ["SmolLM2-135M", "/no/SmolLM2", "../no/model", "no/model.gguf", "no/such/model"] {
            let text = Checkpoint::open(path).unwrap_err().to_string();
            assert!(text.contains("nothing is there;") && !text.contains("hub"), "{text}");
        }
    }
}
