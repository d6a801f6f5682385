//! From text to a specification.

use super::super::{Ends, ExitRule, Schedule};
use super::{ControllerSpec, DEFAULT_CLUSTERS, SpecError};
use std::path::PathBuf;
use std::str::FromStr;

/// Controllers inside each other at most: enough for any use, and no text can exhaust the stack.
const MAX_DEPTH: usize = 16;

impl FromStr for ControllerSpec {
    type Err = SpecError;

    fn from_str(text: &str) -> Result<Self, SpecError> {
        parse(text, MAX_DEPTH)
    }
}

fn parse(text: &str, depth: usize) -> Result<ControllerSpec, SpecError> {
    let depth = depth.checked_sub(1).ok_or(SpecError::TooDeep { limit: MAX_DEPTH })?;
    let (name, argument) = match text.split_once(':') {
        Some((name, argument)) => (name.trim(), Some(argument)),
        None => (text.trim(), None),
    };
    let argument = |name, takes| Argument { name, takes, text: argument };
    match name {
        "full" => argument("full", "no argument").none().map(|()| ControllerSpec::Full),
        "skip" => argument("skip", "layers counted from 0, separated by commas")
            .list()
            .map(|layers| ControllerSpec::Skip { layers }),
        "uniform" => argument("uniform", LAYERS).number().map(|budget| ControllerSpec::Uniform { budget }),
        "exit" => argument("exit", LAYERS).number().map(|depth| ControllerSpec::Exit { depth }),
        "influence" => argument("influence", LAYERS).number().map(|budget| ControllerSpec::Influence { budget }),
        "random" => {
            let (budget, mut options) = argument("random", LAYERS).with_options("ends=kept|free")?;
            let ends = options.take("ends", Ends::default())?;
            options.finish(ControllerSpec::Random { budget, ends })
        }
        "bernoulli" => {
            let (Finite(probability), mut options) =
                argument("bernoulli", "a probability").with_options("ends=kept|free")?;
            let ends = options.take("ends", Ends::default())?;
            options.finish(ControllerSpec::Bernoulli { probability, ends })
        }
        "schedule" => schedule(argument("schedule", "MAX..MIN layers, and the position of the least as to=POSITION")),
        "confidence" => exit(argument("confidence", "a difference of probabilities")).map(ControllerSpec::Confidence),
        "entropy" => exit(argument("entropy", "an entropy in nats")).map(ControllerSpec::Entropy),
        "saturation" => exit(argument("saturation", "a cosine")).map(ControllerSpec::Saturation),
        "similarity" => {
            let takes = argument("similarity", "the effect below which a layer is skipped");
            let (Finite(threshold), mut options) = takes.with_options("clusters=N, ends=kept|free")?;
            let clusters = options.take("clusters", DEFAULT_CLUSTERS)?;
            let ends = options.take("ends", Ends::default())?;
            options.finish(ControllerSpec::Similarity { threshold, clusters, ends })
        }
        "router" => argument("router", "a file").file().map(|file| ControllerSpec::Router { file }),
        "replay" => argument("replay", "a file").file().map(|file| ControllerSpec::Replay { file }),
        "budgeted" => {
            let (Finite(budget), inner) =
                argument("budgeted", "layers per pass and, after a colon, a controller").around()?;
            Ok(ControllerSpec::Budgeted { budget, inner: Box::new(parse(inner, depth)?) })
        }
        "warmup" => {
            let (tokens, inner) = argument("warmup", "a number of tokens and, after a colon, a controller").around()?;
            Ok(ControllerSpec::Warmup { tokens, inner: Box::new(parse(inner, depth)?) })
        }
        _ => Err(SpecError::Unknown(name.to_owned())),
    }
}

const LAYERS: &str = "a number of layers";

fn schedule(argument: Argument<'_>) -> Result<ControllerSpec, SpecError> {
    let refused = argument.refused();
    let (Span { max, min }, mut options) = argument.with_options("from=POSITION, to=POSITION, warmup=LAYERS")?;
    let (from, warm_up) = (options.take("from", 0)?, options.take("warmup", 1)?);
    let to = options.take_any("to")?.ok_or(refused)?;
    options.finish(ControllerSpec::Schedule(Schedule { max, min, from, to, warm_up }))
}

fn exit(argument: Argument<'_>) -> Result<ExitRule, SpecError> {
    let (Finite(threshold), mut options) = argument.with_options("patience=CHECKS, min=LAYERS, every=LAYERS")?;
    let (patience, min_layers) = (options.take("patience", 1)?, options.take("min", 1)?);
    let every = options.take("every", 1)?;
    options.finish(ExitRule { threshold, patience, min_layers, every })
}

/// What stands after a controller's colon.
#[derive(Clone, Copy)]
struct Argument<'a> {
    name: &'static str,
    takes: &'static str,
    text: Option<&'a str>,
}

impl<'a> Argument<'a> {
    fn refused(&self) -> SpecError {
        SpecError::Argument { name: self.name, expected: self.takes, found: self.text.unwrap_or("").to_owned() }
    }

    fn none(&self) -> Result<(), SpecError> {
        if self.text.is_none() { Ok(()) } else { Err(self.refused()) }
    }

    fn number(&self) -> Result<usize, SpecError> {
        self.text.and_then(|text| text.trim().parse().ok()).ok_or_else(|| self.refused())
    }

    /// Numbers between commas; an empty text is an empty list.
    fn list(&self) -> Result<Vec<usize>, SpecError> {
        let text = self.text.ok_or_else(|| self.refused())?;
        if text.trim().is_empty() {
            return Ok(Vec::new());
        }
        text.split(',').map(|layer| layer.trim().parse().map_err(|_| self.refused())).collect()
    }

    /// All of the text: file names may hold colons, commas and spaces.
    fn file(&self) -> Result<PathBuf, SpecError> {
        self.text.filter(|text| !text.trim().is_empty()).map(PathBuf::from).ok_or_else(|| self.refused())
    }

    /// A value, a colon, and the rest.
    fn around<T: FromStr>(&self) -> Result<(T, &'a str), SpecError> {
        let (value, inner) = self.text.and_then(|text| text.split_once(':')).ok_or_else(|| self.refused())?;
        Ok((value.trim().parse().map_err(|_| self.refused())?, inner))
    }

    /// A value and options.
    fn with_options<T: FromStr>(&self, known: &'static str) -> Result<(T, Options<'a>), SpecError> {
        let mut parts = self.text.unwrap_or("").split(',');
        let value = parts.next().and_then(|value| value.trim().parse().ok()).ok_or_else(|| self.refused())?;
        Ok((value, Options { name: self.name, known, left: parts.collect() }))
    }
}

/// `key=value` texts that have not been used yet.
struct Options<'a> {
    name: &'static str,
    known: &'static str,
    left: Vec<&'a str>,
}

impl Options<'_> {
    fn refused(&self, found: &str) -> SpecError {
        SpecError::Option { name: self.name, expected: self.known, found: found.to_owned() }
    }

    /// The value of a key, if it is there; a second one is left over for [`finish`](Self::finish) to refuse.
    fn take_any<T: FromStr>(&mut self, key: &str) -> Result<Option<T>, SpecError> {
        let value =
            |option: &str| option.split_once('=').filter(|(k, _)| k.trim() == key).map(|(_, v)| v.trim().parse().ok());
        let Some((at, value)) = self.left.iter().enumerate().find_map(|(at, option)| Some((at, value(option)?))) else {
            return Ok(None);
        };
        let option = self.left.remove(at);
        value.map(Some).ok_or_else(|| self.refused(option))
    }

    fn take<T: FromStr>(&mut self, key: &str, default: T) -> Result<T, SpecError> {
        Ok(self.take_any(key)?.unwrap_or(default))
    }

    /// The result, unless an option is left.
    fn finish<T>(self, result: T) -> Result<T, SpecError> {
        match self.left.first() {
            Some(option) => Err(self.refused(option)),
            None => Ok(result),
        }
    }
}

/// A number that is one: `nan` and `inf` parse as `f32`.
struct Finite(f32);

impl FromStr for Finite {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        text.parse().ok().filter(|x: &f32| x.is_finite()).map(Self).ok_or(())
    }
}

/// `28..14`.
struct Span {
    max: usize,
    min: usize,
}

impl FromStr for Span {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (max, min) = text.split_once("..").ok_or(())?;
        let number = |text: &str| text.trim().parse().map_err(|_| ());
        Ok(Self { max: number(max)?, min: number(min)? })
    }
}
