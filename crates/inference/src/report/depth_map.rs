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
    /// The sum of the depths of its tokens.
    depth: f64,
    tokens: u32,
    n_layers: usize,
}

impl Piece {
    /// The mean depth of its tokens.
    fn depth(&self) -> f64 {
        self.depth / f64::from(self.tokens)
    }

    /// The text without control characters other than line ends and tabs.
    fn printable(&self) -> String {
        self.text.chars().filter(|c| !c.is_control() || matches!(c, '\n' | '\t')).collect()
    }

    /// The mean depth as a share of the model's layers, from 0 to 1.
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
            Some(piece) if piece.text.is_empty() && piece.tokens > 0 => {
                piece.text.push_str(text);
                piece.depth += depth;
                piece.tokens += 1;
            }
            _ => self.pieces.push(Piece { text: text.to_owned(), depth, tokens: 1, n_layers }),
        }
    }

    /// Adds text that was given to the model, such as the prompt: it has no depth and no colour.
    pub fn push_given(&mut self, text: &str) {
        self.pieces.push(Piece { text: text.to_owned(), depth: 0.0, tokens: 0, n_layers: 0 });
    }

    /// The text without colours, for a terminal that shall not get escape codes. Control characters are left out as in
    /// [`terminal`](Self::terminal).
    pub fn plain(&self) -> String {
        self.pieces.iter().map(Piece::printable).collect()
    }

    /// Renders the text for a terminal of 256 colours (ANSI escape codes). Deeper tokens have a darker background.
    /// Control characters other than line ends and tabs are left out, so that the text cannot inject escape codes.
    pub fn terminal(&self) -> String {
        let mut out = String::new();
        for piece in &self.pieces {
            let text = piece.printable();
            if piece.tokens == 0 {
                out.push_str(&text);
                continue;
            }
            let (ground, ink) = shade(piece.share());
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

    /// Renders the text as an HTML document in UTF-8: one `<pre>` whose spans have their depth as a tooltip.
    pub fn html(&self) -> String {
        // Browsers leave out a line end after `<pre>`, so that one is not the text's.
        let mut out = String::from(
            "<!doctype html>\n<html lang=\"en\">\n<head><meta charset=\"utf-8\"><title>Depth map</title></head>\n\
             <body>\n<pre class=\"depth-map\" style=\"white-space:pre-wrap\">\n",
        );
        for piece in &self.pieces {
            let text = escaped(&piece.text);
            if piece.tokens == 0 {
                out.push_str(&text);
                continue;
            }
            let (ground, ink) = colours(piece.share());
            let (depth, n_layers) = (rounded(piece.depth()), piece.n_layers);
            let _ = write!(
                out,
                "<span style=\"background:{ground};color:{ink}\" title=\"{depth} of {n_layers} layers\">{text}</span>"
            );
        }
        out.push_str("</pre>\n</body>\n</html>\n");
        out
    }

    /// Renders the text as an SVG image with a legend below it. Lines break at line ends and after `columns`
    /// characters. The colour of given text and of the legend's label follows the viewer's preference for light or dark
    /// pages.
    pub fn svg(&self, columns: usize) -> String {
        let columns = columns.max(1);
        let (mut out, mut line, mut column) = (String::new(), 0, 0);
        for piece in &self.pieces {
            for (i, part) in piece.text.split('\n').enumerate() {
                if i > 0 {
                    (line, column) = (line + 1, 0);
                }
                let chars: Vec<char> = part.chars().filter(|c| !c.is_control()).collect();
                let mut rest = &chars[..];
                while !rest.is_empty() {
                    if column == columns {
                        (line, column) = (line + 1, 0);
                    }
                    let (now, later) = rest.split_at(rest.len().min(columns - column));
                    let colours = (piece.tokens > 0).then(|| colours(piece.share()));
                    svg_run(&mut out, line, column, &now.iter().collect::<String>(), colours);
                    (column, rest) = (column + now.len(), later);
                }
            }
        }
        let n_layers = self.pieces.iter().map(|piece| piece.n_layers).max().unwrap_or(0);
        line += usize::from(column > 0) + 1; // an empty line before the legend
        svg_run(&mut out, line, 0, "layers:", None);
        for step in 1..=LEGEND.min(n_layers) {
            let depth = (step * n_layers).div_ceil(LEGEND.min(n_layers));
            let colours = colours(depth as f64 / n_layers as f64);
            svg_run(&mut out, line, 4 + 4 * step, &format!("{depth:>3} "), Some(colours));
        }
        let (width, height) = (CELL * columns as f64 + 2.0 * MARGIN, LINE * (line + 1) as f64 + MARGIN);
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {height:.0}\" width=\"{width:.0}\" \
             height=\"{height:.0}\" font-family=\"ui-monospace, Menlo, Consolas, monospace\" font-size=\"16\">\
             <style>.given {{fill: #1f2328}} @media (prefers-color-scheme: dark) {{.given {{fill: #e6edf3}}}}</style>\n\
             {out}</svg>\n"
        )
    }
}

/// The background and text colour for web pages and images. The background goes from nearly white to dark blue, so that
/// deeper tokens are also darker in a greyscale print.
fn colours(share: f64) -> (String, &'static str) {
    let light = 95.0 - 65.0 * share;
    (format!("hsl(215,60%,{light:.0}%)"), if share > 0.5 { "#fff" } else { "#000" })
}

/// The width of a character of an SVG, in pixels.
const CELL: f64 = 9.6;
/// The height of a line of an SVG, in pixels.
const LINE: f64 = 26.0;
/// The space around the text of an SVG, in pixels.
const MARGIN: f64 = 8.0;
/// The largest number of depths that the legend of an SVG shows.
const LEGEND: usize = 6;

/// Writes successive characters of one line, on a coloured background or as given text. Their width is fixed, whatever
/// font the viewer uses.
fn svg_run(out: &mut String, line: usize, column: usize, text: &str, colours: Option<(String, &str)>) {
    let (x, y) = (MARGIN + CELL * column as f64, MARGIN + LINE * line as f64);
    let width = CELL * text.chars().count() as f64;
    let ink = match colours {
        Some((ground, ink)) => {
            let height = LINE - 4.0;
            let _ = writeln!(
                out,
                "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height}\" fill=\"{ground}\"/>"
            );
            format!("fill=\"{ink}\"")
        }
        None => "class=\"given\"".to_owned(),
    };
    let (baseline, text) = (y + 16.0, escaped(text));
    let _ = writeln!(
        out,
        "<text x=\"{x:.1}\" y=\"{baseline:.1}\" textLength=\"{width:.1}\" xml:space=\"preserve\" {ink}>{text}</text>"
    );
}

/// The background and text colour among the terminal's 24 greys, from 232 (black) to 255 (white).
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
            '\'' => out.push_str("&#39;"),
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
        map.push("a\x1b[2Jb\n<script>\"'&", &route(2));
        assert_eq!(map.terminal().matches('\x1b').count(), 4, "two lines, each set and reset");
        assert_eq!(map.plain(), "a[2Jb\n<script>\"'&");
        assert!(map.html().contains("a[2Jb\n&lt;script&gt;&quot;&#39;&amp;"));
    }

    #[test]
    fn the_page_is_a_whole_document() {
        let page = DepthMap::default().html();
        assert!(page.starts_with("<!doctype html>\n<html lang=\"en\">") && page.ends_with("</html>\n"), "{page}");
        let parts = ["<meta charset=\"utf-8\">", "<title>", "</head>", "<body>", "<pre", "</pre>", "</body>"];
        let places: Vec<usize> = parts.iter().map(|part| page.find(part).unwrap()).collect();
        assert!(places.is_sorted(), "{page}");
    }

    #[test]
    fn given_text_has_no_colour() {
        let mut map = DepthMap::default();
        map.push_given("a<b\n");
        map.push("cdef", &route(1));
        assert_eq!(map.html().matches("<span").count(), 1);
        assert!(map.terminal().starts_with("a<b\n\x1b["));
        let svg = map.svg(3);
        assert!(svg.contains("class=\"given\">a&lt;b<"), "{svg}");
        // Four characters take two lines of three, and the legend has a swatch for each of the four layers.
        assert_eq!(svg.matches("<rect").count(), 2 + 4, "{svg}");
    }

    #[test]
    fn deeper_is_darker() {
        let grounds: Vec<u8> = (0..=4).map(|depth| shade(f64::from(depth) / 4.0).0).collect();
        assert!(grounds.windows(2).all(|w| w[0] > w[1]), "{grounds:?}");
    }
}
