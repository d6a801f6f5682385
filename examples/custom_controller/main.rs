//! A custom controller, checked by the conformance suite and then run.
//!
//! ```text
//! cargo run --example custom_controller -- --model DIR|FILE.gguf [--chat TEXT] [--threshold 0.99]
//! ```

use burn::tensor::Tensor;
use clap::Parser;
use dynlayer::inference::report::DepthMap;
use dynlayer::inference::{
    Action, Controller, ControllerError, Decision, GenerateOptions, Site, conformance, generate,
};
use dynlayer::model::WeightDtype;
use dynlayer::model::text::ChatMessage;
use dynlayer_examples::Loaded;
use dynlayer_examples::arguments::ModelArguments;
use dynlayer_examples::output::colours;
use std::error::Error;
use std::io::Write;
use std::process::ExitCode;

// The whole controller: a row exits before a layer whose input hardly differs from the input of the layer before it.

struct Saturated {
    threshold: f32,
    previous: Option<Tensor<2>>,
}

impl Controller for Saturated {
    fn decide(&mut self, site: &Site<'_>) -> Result<Decision, ControllerError> {
        let now = site.last_hidden(); // [rows, d_model], on the device
        let before = self.previous.replace(now.clone());
        let Some(before) = before.filter(|_| site.layer() > 0) else { return Ok(Action::Run.into()) };
        let dot = (now.clone() * before.clone()).sum_dim(1);
        let norms = now.square().sum_dim(1) * before.square().sum_dim(1);
        let cosine = (dot / norms.sqrt()).squeeze_dim::<1>(1); // [rows]
        let similar = site.read(cosine)?; // one number per row, on the host
        let action = |s| if s > self.threshold { Action::Exit } else { Action::Run };
        Ok(Decision::per_row(similar.into_iter().map(action)))
    }
}

#[derive(Parser, Debug)]
#[command(about = "Checks and runs a custom controller, which this example defines in some 15 lines")]
struct Arguments {
    #[command(flatten)]
    model: ModelArguments,
    /// A message to answer, through the model's chat template; by default a problem for the embedded model, and a
    /// question for other models.
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    chat: Option<String>,
    /// The cosine similarity of the inputs of two layers above which a row exits.
    #[arg(long, default_value_t = 0.99)]
    threshold: f32,
    /// The largest number of tokens to generate.
    #[arg(long, default_value_t = 48)]
    max_new_tokens: usize,
}

fn main() -> ExitCode {
    dynlayer_examples::main_of(|| run(&Arguments::parse()))
}

fn run(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    let device = dynlayer_examples::open_device(arguments.model.device)?;
    let controller = || Saturated { threshold: arguments.threshold, previous: None };
    // Checks the rules of the trait on a small model first.
    conformance::check(&conformance::small_model(&device)?, conformance::Rule::ALL, controller)?;

    let Loaded { checkpoint, tokenizer, model } = Loaded::open_as(&arguments.model, None, WeightDtype::F16, false)?;
    let prompt = if arguments.chat.is_none() && arguments.model.model.is_none() {
        "sort 52938174=".to_owned()
    } else {
        let template = tokenizer.chat_template()?.ok_or("the checkpoint has no chat template")?;
        let question = arguments.chat.as_deref().unwrap_or("How does a bicycle stay upright?");
        template.render(&[ChatMessage::user(question)], true)?
    };
    let prompt = tokenizer.encode(&prompt, false)?;
    let options = GenerateOptions {
        max_new_tokens: arguments.max_new_tokens,
        stop_tokens: checkpoint.stop_tokens(&tokenizer)?,
        tokenizer: Some(&tokenizer),
        ..GenerateOptions::default()
    };
    let mut generation = generate(&model, controller(), &[prompt], options)?;
    let mut map = DepthMap::default();
    for event in &mut generation {
        let event = event?;
        map.push(&event.text, &event.route);
    }
    let (text, report) = (if colours() { map.terminal() } else { map.plain() }, generation.report());
    write!(std::io::stdout(), "{text}\n\n{report}{}", report.usage())?;
    Ok(())
}
