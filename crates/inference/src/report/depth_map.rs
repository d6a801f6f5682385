//! Generated text, coloured by depth.

use crate::control::Route;
use std::fmt::Write;

/// Generated text coloured by the depth of every token, for a terminal or a web page.
///
/// ```
/// use dynlayer_inference::report::{DepthMap, Ran, Route};
///
/// let (run, skipped) = (Ran { attention: true, mlp: true }, Ran::default());
/// let mut map = DepthMap::default();
/// map.push("The capital", &Route::new(vec![run, run]));
/// map.push(" is <Paris>", &Route::new(vec![run, skipped]));
/// assert!(map.html().contains("is &lt;Paris&gt;"));
/// assert!(map.html().contains("1 of 2 layers"));
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DepthMap {
    pieces: Vec<Piece>,
}

#[derive(Clone, Debug, PartialEq)]
struct Piece {
    text: String,
    /// The sum over its tokens.
    depth: f64,
    tokens: u32,
    n_layers: usize,
}

impl Piece {
    fn depth(&self) -> f64 {
        self.depth / f64::from(self.tokens)
    }

    /// The share of the model's layers, from 0 to 1.
    fn share(&self) -> f64 {
        (self.depth() / self.n_layers.max(1) as f64).clamp(0.0, 1.0)
    }
}

impl DepthMap {
    /// Adds a token's text. A token without text, such as the first bytes of a character, is joined to the next text,
    /// which then has the mean depth of its tokens.
    pub fn push(&mut self, text: &str, route: &Route) {
        let (depth, n_layers) = (route.depth(), route.layers().len());
        match self.pieces.last_mut() {
            Some(piece) if piece.text.is_empty() => {
                piece.text.push_str(text);
                piece.depth += depth;
                piece.tokens += 1;
            }
            _ => self.pieces.push(Piece { text: text.to_owned(), depth, tokens: 1, n_layers }),
        }
    }

    /// Renders the text for a terminal of 256 colours (ANSI escape codes). Deeper tokens have a darker background.
    /// Control characters other than line ends and tabs are left out, so that the text cannot inject escape codes.
    pub fn terminal(&self) -> String {
        let mut out = String::new();
        for piece in &self.pieces {
            let (ground, ink) = shade(piece.share());
            let text: String = piece.text.chars().filter(|c| !c.is_control() || matches!(c, '\n' | '\t')).collect();
            // A background that is still set at the end of a line would fill the rest of it.
            for (i, line) in text.split('\n').enumerate() {
                if i > 0 {
                    out.push('\n');
                }
                if !line.is_empty() {
                    let _ = write!(out, "\x1b[48;5;{ground};38;5;{ink}m{line}\x1b[0m");
                }
            }
        }
        out
    }

    /// Renders the text as one HTML `<pre>` whose spans have their depth as a tooltip.
    pub fn html(&self) -> String {
        let mut out = String::from("<pre class=\"depth-map\" style=\"white-space:pre-wrap\">");
        for piece in &self.pieces {
            // From white to dark blue, so that a print without colours keeps the order as greys.
            let share = piece.share();
            let ink = if share > 0.55 { "#fff" } else { "#000" };
            let light = 100.0 - 70.0 * share;
            let _ = write!(
                out,
                "<span style=\"background:hsl(215,60%,{light:.0}%);color:{ink}\" title=\"{} of {} layers\">{}</span>",
                rounded(piece.depth()),
                piece.n_layers,
                escaped(&piece.text)
            );
        }
        out.push_str("</pre>\n");
        out
    }
}

/// Background and text colour among the terminal's 24 greys, 232 (black) to 255 (white).
fn shade(share: f64) -> (u8, u8) {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 0 to 22")]
    let steps = (share * 22.0).round() as u8;
    (255 - steps, if steps > 10 { 255 } else { 232 })
}

/// The depth with one decimal place, or none if it is whole.
fn rounded(depth: f64) -> String {
    if (depth - depth.round()).abs() < 0.05 { format!("{depth:.0}") } else { format!("{depth:.1}") }
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            c if c.is_control() && !matches!(c, '\n' | '\t') => {}
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::Ran;

    fn route(depth: usize) -> Route {
        let ran = |layer| Ran { attention: layer < depth, mlp: layer < depth };
        Route::new((0..4).map(ran).collect())
    }

    #[test]
    fn tokens_without_text_count_for_what_comes_next() {
        let mut map = DepthMap::default();
        map.push("", &route(4));
        map.push("é", &route(1));
        map.push("x", &route(4));
        assert_eq!(map.html().matches("<span").count(), 2);
        assert!(map.html().contains("2.5 of 4 layers"));
    }

    #[test]
    fn text_writes_no_codes_of_its_own() {
        let mut map = DepthMap::default();
        map.push("a\x1b[2Jb\n<script>\"", &route(2));
        assert_eq!(map.terminal().matches('\x1b').count(), 4, "two lines, each set and reset");
        assert!(map.html().contains("a[2Jb\n&lt;script&gt;&quot;"));
    }

    #[test]
    fn deeper_is_darker() {
        let grounds: Vec<u8> = (0..=4).map(|depth| shade(f64::from(depth) / 4.0).0).collect();
        assert!(grounds.windows(2).all(|w| w[0] > w[1]), "{grounds:?}");
    }
}
