//! A minijinja environment that behaves like that of Jinja in transformers (`utils/chat_template_utils.py`).

use minijinja::syntax::SyntaxConfig;
use minijinja::value::ValueKind;
use minijinja::{AutoEscape, Environment, Error, ErrorKind, State, UndefinedBehavior, Value, escape_formatter};
use minijinja_contrib::pycompat::unknown_method_callback;

use super::clock;
use super::json;

/// The deepest nesting of calls, blocks and macros; the engine's default of 500 needs more stack than the
/// thread of a test has.
const RECURSION_LIMIT: usize = 100;

/// The largest amount of fuel for one rendering. It also limits the stack that is allocated.
const MAX_FUEL: u64 = 2_000_000;

pub(super) fn environment(time: Option<u64>) -> Result<Environment<'static>, Error> {
    let mut environment = Environment::new();
    environment.set_syntax(SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build()?);
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    environment.set_undefined_behavior(UndefinedBehavior::Lenient);
    environment.set_recursion_limit(RECURSION_LIMIT);
    environment.set_unknown_method_callback(python_method);
    environment.set_formatter(|out, state, value| {
        pay_for(state, value)?;
        escape_formatter(out, state, value)
    });
    environment.add_filter("tojson", json::tojson);
    environment.add_function("raise_exception", |message: String| -> Result<Value, Error> {
        Err(Error::new(ErrorKind::InvalidOperation, message))
    });
    set_time(&mut environment, time);
    Ok(environment)
}

pub(super) fn set_time(environment: &mut Environment<'static>, time: Option<u64>) {
    environment.add_function("strftime_now", move |format: &str| clock::strftime(format, time));
}

/// Returns the fuel for a rendering. A template uses about one unit per instruction and per 64 bytes of text.
///
/// Real templates run some tens of instructions per message, and process its text about ten times.
pub(super) fn fuel(messages: usize, bytes: usize) -> u64 {
    const BASE: u64 = 20_000;
    const PER_MESSAGE: u64 = 500;
    let (messages, bytes) = (messages as u64, bytes as u64);
    BASE.saturating_add(messages.saturating_mul(PER_MESSAGE)).saturating_add(bytes / 4).min(MAX_FUEL)
}

/// Returns the size of the stack that a rendering may need: values can be nested as deeply as the fuel allows, and are
/// printed and dropped recursively.
///
/// A level costs nine units of fuel and was measured to need less than 2 kB in a debug build. Stack that is
/// never used takes no memory.
pub(super) fn stack_bytes(fuel: u64) -> usize {
    const BASE: usize = 4 << 20;
    const PER_FUEL: usize = 256;
    BASE.saturating_add(usize::try_from(fuel).unwrap_or(usize::MAX).saturating_mul(PER_FUEL))
}

/// Consumes fuel for every part of a value before it is printed, since a short template can make a value that contains
/// the same value many times.
fn pay_for(state: &State<'_, '_>, value: &Value) -> Result<(), Error> {
    state.consume_fuel(1)?;
    match value.kind() {
        ValueKind::Seq => {
            for item in value.try_iter()? {
                pay_for(state, &item)?;
            }
        }
        ValueKind::Map => {
            for key in value.try_iter()? {
                pay_for(state, &value.get_item(&key)?)?;
            }
        }
        _ => {}
    }
    Ok(())
}

/// Calls a method of Python's strings, lists and dicts.
///
/// `join` and `format` are handled here, because minijinja-contrib's versions can make far more text than they consume
/// fuel for: `join` is replaced, and `format` is refused.
fn python_method(state: &mut State<'_, '_>, value: &Value, method: &str, args: &[Value]) -> Result<Value, Error> {
    match (method, value.as_str()) {
        ("join", Some(separator)) => join(state, separator, args),
        ("format", Some(_)) => Err(Error::new(
            ErrorKind::UnknownMethod,
            "str.format is not supported in chat templates; use ~ or the format filter",
        )),
        _ => unknown_method_callback(state, value, method, args),
    }
}

fn join(state: &State<'_, '_>, separator: &str, args: &[Value]) -> Result<Value, Error> {
    let [items] = args else {
        return Err(Error::new(ErrorKind::InvalidOperation, "str.join takes one argument"));
    };
    let mut text = String::new();
    for (index, item) in items.try_iter()?.enumerate() {
        let Some(item) = item.as_str() else {
            return Err(Error::new(ErrorKind::InvalidOperation, "str.join takes strings"));
        };
        let separator = if index > 0 { separator } else { "" };
        // Fuel is consumed before the text grows, since many items may be the same long string.
        state.consume_fuel(((separator.len() + item.len()) / 64 + 1) as u64)?;
        text.push_str(separator);
        text.push_str(item);
    }
    Ok(Value::from(text))
}

/// Replaces `{% generation %}`, which marks the model's words for training, by `{% if true %}`.
///
/// Like transformers, this renders the content of the block. The whitespace control of the tags is kept.
pub(super) fn without_generation_tags(template: &str) -> String {
    let mut out = String::with_capacity(template.len());
    let mut rest = template;
    while let Some(start) = rest.find("{%") {
        let (before, tag) = rest.split_at(start);
        out.push_str(before);
        let Some(end) = tag.find("%}") else {
            rest = tag;
            break;
        };
        let (tag, after) = tag.split_at(end + 2);
        let name = tag.trim_start_matches("{%").trim_end_matches("%}").trim_matches(['-', '+']).trim();
        match name {
            "generation" => out.push_str(&tag.replacen("generation", "if true", 1)),
            "endgeneration" => out.push_str(&tag.replacen("endgeneration", "endif", 1)),
            _ => out.push_str(tag),
        }
        rest = after;
    }
    out.push_str(rest);
    out
}
