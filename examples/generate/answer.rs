//! The answer to one prompt: generated, shown and written to files.

use super::arguments::Arguments;
use super::output::{self, Summary};
use dynlayer::inference::controllers::Recording;
use dynlayer::inference::report::{DepthMap, RunReport};
use dynlayer::inference::{GenerateError, TokenEvent};
use dynlayer::model::format::write_atomic;
use dynlayer_examples::interrupt::{self, Interrupted};
use dynlayer_examples::output::colours;
use std::error::Error;
use std::io::Write;

/// The answer so far.
#[derive(Default)]
pub struct Answer {
    token_ids: Vec<u32>,
    text: String,
    stop: Option<String>,
    map: DepthMap,
}

impl Answer {
    /// Adds token after token until the end, and shows their text as it comes unless the output is JSON.
    ///
    /// # Errors
    /// [`GenerateError`] if the generation fails, [`Interrupted`] after Ctrl-C, and an [`std::io::Error`] if standard
    /// output cannot be written. After the last two, what was generated until then is complete.
    pub fn generate(
        &mut self,
        events: impl Iterator<Item = Result<TokenEvent, GenerateError>>,
        arguments: &Arguments,
    ) -> Result<(), Box<dyn Error>> {
        let mut out = std::io::stdout();
        for event in events {
            let event = event?;
            self.token_ids.push(event.token);
            self.text.push_str(&event.text);
            self.stop = event.stop.map(|stop| stop.to_string());
            self.map.push(&event.text, &event.route);
            if !arguments.json {
                write!(out, "{}", event.text)?;
                out.flush()?;
            }
            if self.stop.is_none() && interrupt::requested() {
                self.stop = Some(Interrupted.to_string());
                return Err(Interrupted.into());
            }
        }
        Ok(())
    }

    /// Writes the files that were asked for.
    pub fn save(&self, arguments: &Arguments, recording: &Recording) -> Result<(), Box<dyn Error>> {
        let recorded = arguments.record.as_ref().map_or(Ok(()), |file| recording.save(file));
        // The second file is written even if the first one failed.
        if let Some(file) = &arguments.depth_map {
            write_atomic(file, self.map.html().as_bytes()).map_err(|error| format!("{}: {error}", file.display()))?;
        }
        Ok(recorded?)
    }

    /// Prints the JSON object, or what follows the text.
    pub fn print(
        self,
        arguments: &Arguments,
        prompt_ids: Vec<u32>,
        report: &RunReport,
        load_seconds: f64,
    ) -> std::io::Result<()> {
        if arguments.json {
            return output::print(&Summary {
                prompt_ids,
                token_ids: self.token_ids,
                text: self.text,
                stop: self.stop,
                layers_per_token: report.decode.layers_per_token(),
                layers_executed_per_token: report.decode.layers_executed_per_token(),
                n_layers: report.dimensions.n_layers,
                prefill_tok_s: report.prefill.tokens_per_second(),
                decode_tok_s: report.decode.tokens_per_second(),
                speculation: report.speculation.clone(),
                load_s: load_seconds,
                peak_rss_mb: output::peak_resident_mb(),
            });
        }
        let mut out = std::io::stdout().lock();
        writeln!(out, "\n")?;
        if let Some(stop) = &self.stop {
            writeln!(out, "stopped: {stop}")?;
        }
        writeln!(out, "controller {}, control from {}", arguments.controller, arguments.control_from)?;
        write!(out, "{report}")?;
        if arguments.usage {
            if colours() {
                writeln!(out, "\n{}", self.map.terminal())?;
            }
            writeln!(out, "\n{}", report.usage())?;
        }
        let peak = output::peak_resident_mb().map_or("unknown".into(), |mb| format!("{mb:.0} MB"));
        writeln!(out, "loaded in {load_seconds:.2} s, peak memory {peak}")
    }
}
