//! The rank and scale of each product, and the adapted layers, by PEFT's expressions over the names of modules.

use super::config::{AdapterConfig, MAX_PATTERNS, Patterns};
use crate::files::shorten;
use regex::{Regex, RegexBuilder};

/// The largest size of a compiled expression, in bytes.
const MAX_EXPRESSION: usize = 1 << 18;

/// An [`AdapterConfig`] whose expressions are compiled.
pub(super) struct Rules<'a> {
    config: &'a AdapterConfig,
    ranks: Vec<(Regex, usize)>,
    alphas: Vec<(Regex, f64)>,
    /// Expressions that find the number of a module's layer, as the group `idx`.
    layers: Vec<Regex>,
}

/// A value that cannot be used: its field, the value, and what was expected instead.
pub(super) type Invalid = (&'static str, String, String);

impl<'a> Rules<'a> {
    /// Compiles the expressions.
    pub(super) fn new(config: &'a AdapterConfig) -> Result<Self, Invalid> {
        // PEFT calls re.match with these expressions, where a pattern is text that may hold a `|`.
        let layer = |pattern: &str| {
            expression("layers_pattern", pattern, &format!(r"^(?:(?:^|.*?\.){pattern}\.(?P<idx>\d+)\.)"))
        };
        let layers = match config.layers_pattern.as_slice() {
            [] => vec![layer("[^.]*")?],
            patterns if patterns.len() > MAX_PATTERNS => {
                let found = format!("a list of {}", patterns.len());
                return Err(("layers_pattern", found, format!("expected at most {MAX_PATTERNS} expressions")));
            }
            patterns => patterns.iter().map(|pattern| layer(pattern)).collect::<Result<_, _>>()?,
        };
        Ok(Self {
            config,
            ranks: compiled("rank_pattern", &config.rank_pattern)?,
            alphas: compiled("alpha_pattern", &config.alpha_pattern)?,
            layers,
        })
    }

    /// Returns the rank of a module's product, and its scale alpha / r or alpha / sqrt(r).
    pub(super) fn rank_and_scale(&self, module: &str) -> Result<(usize, f32), Invalid> {
        let rank = first(&self.ranks, module).unwrap_or(self.config.r);
        let alpha = first(&self.alphas, module).unwrap_or(self.config.lora_alpha);
        if rank == 0 {
            return Err(("r or rank_pattern", format!("0 for {module}"), "expected a positive rank".to_owned()));
        }
        let divisor = if self.config.use_rslora { (rank as f64).sqrt() } else { rank as f64 };
        #[expect(clippy::cast_possible_truncation, reason = "peft multiplies by this number in f32 too")]
        let scale = (alpha / divisor) as f32;
        if scale.is_finite() {
            Ok((rank, scale))
        } else {
            let found = format!("{alpha} for {module}");
            Err(("lora_alpha or alpha_pattern", found, "expected a scale (alpha / r) that fits f32".to_owned()))
        }
    }

    /// Returns `true` if a module's layer is among those that `layers_to_transform` lists, or if it lists none.
    pub(super) fn transforms(&self, module: &str) -> bool {
        let listed = &self.config.layers_to_transform;
        listed.is_empty()
            || self.config.names(module)
            || self.layer(module).is_some_and(|layer| listed.contains(&layer))
    }

    /// Returns the number of a module's layer, by the first expression that matches the module.
    fn layer(&self, module: &str) -> Option<usize> {
        let found = self.layers.iter().find_map(|layer| layer.captures(module))?;
        found.name("idx")?.as_str().parse().ok()
    }
}

/// Returns the value of the first expression that matches a module's name.
fn first<T: Copy>(patterns: &[(Regex, T)], module: &str) -> Option<T> {
    patterns.iter().find(|(expression, _)| expression.is_match(module)).map(|(_, value)| *value)
}

/// Compiles expressions that match the end of a name, from a dot or the beginning on.
fn compiled<T: Copy>(field: &'static str, patterns: &Patterns<T>) -> Result<Vec<(Regex, T)>, Invalid> {
    let compile = |(pattern, value): &(String, T)| {
        let compiled = expression(field, pattern, &format!(r"^(?:(?:.*\.)?(?:{pattern})$)"));
        compiled.map(|compiled| (compiled, *value))
    };
    patterns.0.iter().map(compile).collect()
}

/// Compiles `text`, which was made from a pattern of the field.
fn expression(field: &'static str, pattern: &str, text: &str) -> Result<Regex, Invalid> {
    RegexBuilder::new(text).size_limit(MAX_EXPRESSION).dfa_size_limit(MAX_EXPRESSION).build().map_err(|error| {
        let error = error.to_string();
        let reason = error.lines().last().unwrap_or_default(); // the lines before it show the expression
        (field, shorten(&pattern), format!("expected an expression without references and look-around: {reason}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(json: &str) -> AdapterConfig {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn ranks_and_alphas_are_those_of_the_first_expression_that_matches() {
        let config = config(
            r#"{"peft_type": "LORA", "r": 8, "lora_alpha": 4,
                "rank_pattern": {"k_proj": 2, "layers.1\\..*": 3, "proj": 5},
                "alpha_pattern": {"^model.layers.0.mlp.(up|down)_proj": 6, "q_proj|v_proj": -1.5}}"#,
        );
        let rules = Rules::new(&config).unwrap();
        for (module, rank, alpha) in [
            ("model.layers.0.self_attn.q_proj", 8, -1.5),
            ("model.layers.0.self_attn.k_proj", 2, 4.0),
            ("model.layers.1.self_attn.k_proj", 2, 4.0), // the first in the file, not the first in the alphabet
            ("model.layers.1.self_attn.v_proj", 3, -1.5),
            ("model.layers.0.mlp.up_proj", 8, 6.0),
            ("model.layers.11.mlp.up_proj", 8, 4.0), // an expression matches whole parts of the name
            ("other.model.layers.0.mlp.up_proj", 8, 4.0),
        ] {
            assert_eq!(rules.rank_and_scale(module).unwrap(), (rank, alpha / rank as f32), "{module}");
        }
    }

    #[test]
    fn rank_stabilised_scales_divide_by_the_root() {
        let config = config(r#"{"peft_type": "LORA", "r": 9, "lora_alpha": 6, "use_rslora": true}"#);
        assert_eq!(Rules::new(&config).unwrap().rank_and_scale("lm_head").unwrap(), (9, 2.0));
    }

    #[test]
    fn layers() {
        let rules = |extra: &str| config(&format!(r#"{{"peft_type": "LORA", {extra}}}"#));
        for (extra, transformed) in [
            (r#""layers_to_transform": null"#, [true, true, true]),
            (r#""layers_to_transform": []"#, [true, true, true]),
            (r#""layers_to_transform": 1"#, [false, true, false]),
            (r#""layers_to_transform": [0, 7]"#, [true, false, false]),
            (r#""layers_to_transform": [1], "layers_pattern": "layers""#, [false, true, false]),
            (r#""layers_to_transform": [1], "layers_pattern": ["h", "lay.*"]"#, [false, true, false]),
            (r#""layers_to_transform": [1], "layers_pattern": ["h"]"#, [false, false, false]),
            (r#""layers_to_transform": [1], "target_modules": ["lm_head", "q_proj"]"#, [false, true, true]),
        ] {
            let config = rules(extra);
            let rules = Rules::new(&config).unwrap();
            let modules = ["model.layers.0.mlp.up_proj", "model.layers.1.self_attn.q_proj", "lm_head"];
            assert_eq!(modules.map(|module| rules.transforms(module)), transformed, "{extra}");
        }
    }

    #[test]
    fn what_cannot_be_used_is_named() {
        let problem = |json: &str| {
            let config = config(json);
            let rules = Rules::new(&config);
            let (field, found, expected) = rules.and_then(|rules| rules.rank_and_scale("lm_head")).unwrap_err();
            format!("{field} is {found}; {expected}")
        };
        for (json, part) in [
            (r#"{"peft_type": "LORA", "r": 0}"#, "r or rank_pattern is 0 for lm_head"),
            (r#"{"peft_type": "LORA", "rank_pattern": {"lm_head": 0}}"#, "0 for lm_head"),
            (r#"{"peft_type": "LORA", "lora_alpha": 1e300}"#, "lora_alpha or alpha_pattern is 1"),
            (r#"{"peft_type": "LORA", "alpha_pattern": {"(?=a)": 1}}"#, "look-around"),
            (r#"{"peft_type": "LORA", "rank_pattern": {"(a{999}){999}": 1}}"#, "expected an expression"),
            (r#"{"peft_type": "LORA", "layers_pattern": "("}"#, "layers_pattern is (;"),
        ] {
            let text = problem(json);
            assert!(text.contains(part), "{text}");
        }
    }
}
