//! Tests on tiny tokenizers, made in memory.

mod bpe;
mod chat;
mod folder;
mod hostile;
mod pre;
mod spm;
mod stream;

use crate::text::{GgufTokenizerData, Tokenizer};

/// GPT-2's alphabet, in the order of the bytes.
pub(super) fn alphabet() -> Vec<String> {
    let mut other = 0x100;
    (0..=255_u32)
        .map(|byte| {
            let code = match byte {
                0x21..=0x7E | 0xA1..=0xAC | 0xAE..=0xFF => byte,
                _ => {
                    other += 1;
                    other - 1
                }
            };
            char::from_u32(code).unwrap().to_string()
        })
        .collect()
}

/// A byte-level BPE: ids 0 to 255 are the bytes, then a few merges, two control tokens and one of the user.
pub(super) fn bpe_data(pre: &str) -> GgufTokenizerData {
    let mut tokens = alphabet();
    let merges = ["h e", "l l", "he ll", "hell o", "Ġ hello", "Ċ Ċ", "1 2", "ð Ł"];
    tokens.extend(merges.iter().map(|merge| merge.replace(' ', "")));
    tokens.extend(["<|im_start|>", "<|im_end|>", "<tool>"].map(str::to_owned));
    let count = tokens.len();
    let mut token_types = vec![1; count];
    token_types[count - 3..].copy_from_slice(&[3, 3, 4]);
    GgufTokenizerData {
        model: "gpt2".to_owned(),
        pre: Some(pre.to_owned()),
        merges: Some(merges.map(str::to_owned).to_vec()),
        token_types: Some(token_types),
        bos: u32::try_from(count - 3).ok(),
        eos: u32::try_from(count - 2).ok(),
        tokens,
        ..GgufTokenizerData::default()
    }
}

pub(super) fn bpe_tokenizer() -> Tokenizer {
    bpe_data("smollm").build().unwrap()
}
