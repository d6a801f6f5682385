//! The special tokens that encoding puts around a text.

use tokenizers::processors::template::TemplateProcessing;

use super::error::TextErrorKind;

/// Makes encoding put `bos` before and `eos` after every text, each a token with its id, and nothing else.
pub(super) fn set_frame(
    library: &mut tokenizers::Tokenizer,
    bos: Option<(String, u32)>,
    eos: Option<(String, u32)>,
) -> Result<(), TextErrorKind> {
    if bos.is_none() && eos.is_none() {
        library.with_post_processor(None::<TemplateProcessing>);
        return Ok(());
    }
    let mut single: Vec<String> = bos.iter().map(|(token, _)| token.clone()).collect();
    single.push("$A".to_owned());
    single.extend(eos.iter().map(|(token, _)| token.clone()));
    let mut special: Vec<(String, u32)> = bos.into_iter().chain(eos).collect();
    special.dedup();
    let template = TemplateProcessing::builder()
        .try_single(single)
        .map_err(|message| TextErrorKind::Library(message.into()))?
        .special_tokens(special)
        .build()
        .map_err(|error| TextErrorKind::Library(Box::new(error)))?;
    library.with_post_processor(Some(template));
    Ok(())
}
