//! Tests that the pieces of a stream make the text that decoding all ids at once gives.

use proptest::collection::vec;
use proptest::prelude::*;
use tokenizers::decoders::metaspace::Metaspace;
use tokenizers::models::bpe::{BPE, Vocab};
use tokenizers::pre_tokenizers::metaspace::PrependScheme;

use crate::text::tests::{bpe_data, bpe_tokenizer, spm_tokenizer};
use crate::text::{StreamDecoder, TextError, Tokenizer};

fn pieces(tokenizer: &Tokenizer, ids: &[u32], skip_special: bool) -> Result<Vec<String>, TextError> {
    let mut stream = StreamDecoder::new(tokenizer, skip_special);
    let mut pieces = Vec::new();
    for &id in ids {
        pieces.extend(stream.push(id)?);
    }
    pieces.extend(stream.finish()?);
    Ok(pieces)
}

fn assert_streams(tokenizer: &Tokenizer, ids: &[u32], skip_special: bool) {
    let pieces = pieces(tokenizer, ids, skip_special).unwrap();
    assert!(pieces.iter().all(|piece| !piece.is_empty()));
    assert_eq!(pieces.concat(), tokenizer.decode_continuation(ids, skip_special).unwrap());
}

/// A tokenizer with a decoder that treats the first token differently.
fn metaspace() -> Tokenizer {
    let tokens = ["a", "▁a", "▁", "▁▁", "b", "<x>"];
    let vocab: Vocab = tokens.iter().zip(0..).map(|(token, id)| ((*token).to_owned(), id)).collect();
    let mut library = tokenizers::Tokenizer::new(BPE::builder().vocab_and_merges(vocab, Vec::new()).build().unwrap());
    library.with_decoder(Some(Metaspace::new('▁', PrependScheme::Always, true)));
    library.add_special_tokens([tokenizers::AddedToken::from("<x>", true)]).unwrap();
    Tokenizer::from_library(library, "test").unwrap()
}

/// A tokenizer without a decoder: tokens are joined by spaces.
fn plain() -> Tokenizer {
    let vocab: Vocab = [("a".to_owned(), 0), ("�".to_owned(), 1), ("é".to_owned(), 2)].into_iter().collect();
    let library = tokenizers::Tokenizer::new(BPE::builder().vocab_and_merges(vocab, Vec::new()).build().unwrap());
    Tokenizer::from_library(library, "test").unwrap()
}

#[test]
fn a_character_comes_whole() {
    let tokenizer = bpe_data("gpt-2").build().unwrap();
    let ids = tokenizer.encode("a😀b", false).unwrap();
    assert_eq!(ids.len(), 5, "the emoji takes three tokens");
    assert_eq!(pieces(&tokenizer, &ids, true).unwrap(), ["a", "😀", "b"]);
}

#[test]
fn an_incomplete_character_ends_as_a_replacement() {
    let tokenizer = bpe_tokenizer();
    assert_eq!(pieces(&tokenizer, &[0x61, 0xF0, 0x9F], true).unwrap(), ["a", "\u{FFFD}"]);
    // Bytes that cannot become a character are given at once.
    assert_eq!(pieces(&tokenizer, &[0x80, 0x61], true).unwrap(), ["\u{FFFD}", "a"]);
}

#[test]
fn nothing_is_held_back_for_text() {
    let tokenizer = spm_tokenizer();
    let ids = tokenizer.encode("hello world", false).unwrap();
    let pieces = pieces(&tokenizer, &ids, true).unwrap();
    assert_eq!((pieces.len(), pieces.concat().as_str()), (ids.len(), " hello world"));
}

/// A text of its own does not start with the space that its first token holds; an answer after a prompt does.
#[test]
fn the_first_space_of_an_answer_belongs_to_it() {
    for tokenizer in [spm_tokenizer(), metaspace()] {
        let id = (0..400).find(|id| tokenizer.id_to_token(*id).is_some_and(|token| token == "▁a")).unwrap();
        assert_eq!(tokenizer.decode(&[id, id], true).unwrap(), "a a");
        assert_eq!(tokenizer.decode_continuation(&[id, id], true).unwrap(), " a a");
        assert_eq!(pieces(&tokenizer, &[id, id], true).unwrap(), [" a", " a"]);
        assert_eq!(tokenizer.decode_continuation(&[], true).unwrap(), "");
    }
    assert_eq!(bpe().decode_continuation(&[0x20, 0x61], true).unwrap(), " a");
}

#[test]
fn special_tokens_do_not_end_a_run_when_skipped() {
    let tokenizer = spm_tokenizer();
    let ids = [3 + 0xC3, 2, 3 + 0xA9, 1, 300];
    assert_streams(&tokenizer, &ids, true);
    assert_streams(&tokenizer, &ids, false);
}

#[test]
fn long_invalid_texts_take_linear_time() {
    let tokenizer = bpe_tokenizer();
    assert_eq!(pieces(&tokenizer, &vec![0x80; 200_000], true).unwrap().concat().chars().count(), 200_000);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn byte_level_streams_as_it_decodes(ids in vec(0_u32..270, 0..60), skip: bool) {
        assert_streams(bpe(), &ids, skip);
    }

    #[test]
    fn byte_fallback_streams_as_it_decodes(
        ids in vec(prop_oneof![0_u32..515, 3_u32..259, Just(259_u32), Just(3 + 0xF0), Just(3 + 0x9F), Just(3 + 0x98)], 0..60),
        skip: bool,
    ) {
        assert_streams(sentencepiece(), &ids, skip);
    }

    #[test]
    fn other_decoders_stream_as_they_decode(ids in vec(0_u32..7, 0..40), skip: bool) {
        assert_streams(&metaspace(), &ids, skip);
        assert_streams(&plain(), &ids, skip);
    }

    #[test]
    fn texts_come_back(text in "\\PC*") {
        let tokenizer = bpe();
        let ids = tokenizer.encode(&text, false).unwrap();
        prop_assert_eq!(pieces(tokenizer, &ids, false).unwrap().concat(), text);
    }
}

/// The byte-level tokenizer, built only once and not for each of two thousand cases.
fn bpe() -> &'static Tokenizer {
    static TOKENIZER: std::sync::LazyLock<Tokenizer> = std::sync::LazyLock::new(bpe_tokenizer);
    &TOKENIZER
}

fn sentencepiece() -> &'static Tokenizer {
    static TOKENIZER: std::sync::LazyLock<Tokenizer> = std::sync::LazyLock::new(spm_tokenizer);
    &TOKENIZER
}
