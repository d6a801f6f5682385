//! Certifies candidates: of the controllers whose loss is small with high probability, on prompts like those that were
//! measured, the cheapest is chosen.
//!
//! ```text
//! cargo run --release --example calibrate -- --model DIR|FILE.gguf --data FILE.jsonl --chat \
//!     --candidates full,exit:20,exit:10 --metric agreement --alpha 0.05 --delta 0.1 --out DIR
//! cargo run --release --example generate -- --model DIR|FILE.gguf --certificate DIR/certificate.json \
//!     --max-new-tokens 64 --chat "Hello"
//! ```

mod arguments;

use arguments::Arguments;
use clap::Parser;
use dynlayer::inference::controllers::Resources;
use dynlayer::inference::oracle::{Candidate, Certified, OracleRun};
use dynlayer::metrics::certificate::{Certificate, Guarantee};
use dynlayer::model::WeightDtype;
use dynlayer::model::format::write_atomic;
use dynlayer_examples::certificates::Texts;
use dynlayer_examples::evidence::Metric;
use dynlayer_examples::output::{check, check_folder, shell_word, warn};
use dynlayer_examples::{Loaded, calibration, evidence};
use std::error::Error;
use std::io::Write;
use std::process::ExitCode;

fn main() -> ExitCode {
    dynlayer_examples::main_of(|| run(&Arguments::parse()))
}

fn run(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    let Arguments { evidence: measured, alpha, delta, loss, rule, order, out, json } = arguments;
    if measured.metric == Metric::Nll {
        return Err("--metric nll has no bound, which a certificate needs; take rouge-l, exact or agreement".into());
    }
    check_folder(out)?;
    let (file, journal) = (out.join("certificate.json"), out.join("run.jsonl"));
    check(&file)?;
    let mut data = evidence::read(measured)?;
    let loaded = Loaded::open_as(&measured.model, measured.dtype, WeightDtype::F32, *json)?;
    let Loaded { tokenizer, model, .. } = &loaded;
    let items = evidence::items(&mut data, measured, tokenizer, model)?;
    evidence::warnings(&data, measured.metric).iter().for_each(warn);
    let specs = evidence::specs(measured, model.layers().len())?;
    let texts = calibration::texts(measured.calibration.as_deref(), &measured.model, tokenizer, model)?;
    let resources = Resources::new().texts(texts).seed(measured.seed);
    let candidates = specs.iter().map(|spec| Candidate::from_spec(spec, model, &resources)).collect();
    let options = measured.options(&loaded)?;
    let settings = options.run;
    let run = OracleRun::new(model, candidates, measured.metric.measure()).options(options);
    let table = evidence::measure(&run, &journal, &items, *json)?.evidence()?;

    let guarantee = Guarantee::new(*alpha, *delta).loss(*loss).rule(rule.clone()).order(*order);
    let mut certificate = guarantee.certify(&table, "full")?;
    measured.metric.words().clone_into(&mut certificate.quality);
    if certificate.chosen().is_some() {
        let texts = Texts::greedy(&measured.model, tokenizer, measured.chat, measured.max_new_tokens, &measured.stop)?;
        Certified::bind(&mut certificate, model, &settings, &resources, texts.labels())?;
    }
    write_atomic(&file, &serde_json::to_vec_pretty(&certificate)?)
        .map_err(|error| format!("{}: {error}", file.display()))?;
    let mut out = std::io::stdout().lock();
    if *json {
        serde_json::to_writer(&mut out, &certificate)?;
        return Ok(writeln!(out)?);
    }
    print(&mut out, &certificate)?;
    if certificate.chosen().is_some() {
        let (file, tokens) = (file.display(), measured.max_new_tokens);
        let quoted = |stop: &String| format!(" --stop={}", shell_word(stop));
        let stop = measured.stop.iter().map(quoted).collect::<Vec<_>>().concat();
        writeln!(
            out,
            "\nThe certificate is in {file}. Run it with generate --certificate {file} --max-new-tokens {tokens}{stop}."
        )?;
    }
    Ok(())
}

/// Prints the tested candidates, and what is promised.
fn print(out: &mut impl Write, certificate: &Certificate) -> std::io::Result<()> {
    writeln!(out, "| candidate | layers | loss | bound | p-value | certified |\n|---|---:|---:|---:|---:|---|")?;
    for one in &certificate.candidates {
        let certified = if one.certified { "yes" } else { "no" };
        writeln!(
            out,
            "| {} | {:.2} | {:.4} | {:.4} | {:.2e} | {certified} |",
            one.name, one.cost, one.loss, one.bound, one.p_value
        )?;
    }
    writeln!(out, "\n{certificate}")
}
