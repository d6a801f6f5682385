//! The page: the findings as HTML that needs nothing else, and as Markdown.

use dynlayer::inference::report::DepthMap;
use dynlayer::metrics::plot::{CurvePlot, Size};
use std::error::Error;
use std::fmt::Write;

/// A finding: a claim of the paper beside what was found here.
pub struct Finding {
    pub title: String,
    pub claim: String,
    pub found: String,
    pub agrees: Agreement,
    /// Reasons for a difference.
    pub why: String,
    pub plots: Vec<CurvePlot>,
    pub table: Table,
}

/// The relation of a claim to the numbers here.
#[derive(Clone, Copy)]
pub enum Agreement {
    Agrees,
    /// The numbers neither contradict nor support the claim.
    Compatible,
    Differs,
    /// The numbers do not decide it.
    Open,
}

/// A table of texts.
pub struct Table {
    pub head: Vec<String>,
    pub rows: Vec<Vec<String>>,
}

/// A page of findings.
pub struct Page {
    about: String,
    findings: Vec<(Finding, Vec<String>)>,
    /// Answers with the depth of each token.
    pub maps: Vec<DepthMap>,
    /// The settings of the run, by name.
    pub settings: Vec<(String, String)>,
}

const TITLE: &str = "Dynamic layer selection: three experiments";
const SOURCE: &str = "The claims are those of “Dynamic layer selection in decoder-only transformers” (arXiv 2410.20022), in our words. \
                      Brackets are 95 % intervals over the prompts.";
const STYLE: &str = "
:root { color-scheme: light dark; --ink: #1a1a1a; --ground: #ffffff; --line: #c8c8c8; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6edf3; --ground: #0d1117; --line: #4a4a4a; } }
body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--ground); max-width: 60rem; margin: 0 auto; padding: 1rem; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.25rem; margin-top: 2.5rem; }
.verdict { font-weight: 600; border-left: 4px solid var(--ink); padding-left: 0.75rem; }
.plot svg { width: 100%; height: auto; max-width: 44rem; display: block; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: 0.85rem; } th, td { border-bottom: 1px solid var(--line); padding: 0.2rem 0.6rem; text-align: left; white-space: nowrap; }
.settings td { white-space: normal; overflow-wrap: anywhere; }
.map svg { max-width: 100%; height: auto; }
";

impl Page {
    /// Returns a page without findings. `about` says what was measured.
    pub fn new(about: String) -> Self {
        Self { about, findings: Vec::new(), maps: Vec::new(), settings: Vec::new() }
    }

    /// Adds a finding, with its plots drawn.
    pub fn add(&mut self, finding: Finding) -> Result<(), Box<dyn Error>> {
        let drawn = finding.plots.iter().filter(|plot| !plot.curves.is_empty());
        let drawn = drawn.map(|plot| plot.svg(Size::default())).collect::<Result<_, _>>()?;
        self.findings.push((finding, drawn));
        Ok(())
    }

    /// Returns the page as one HTML file, which requests nothing.
    pub fn html(&self) -> String {
        let mut out = String::new();
        // Writing to a string does not fail.
        let _ = self.write_html(&mut out);
        out
    }

    fn write_html(&self, out: &mut String) -> std::fmt::Result {
        write!(
            out,
            "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" \
             content=\"width=device-width, initial-scale=1\">\n<title>{TITLE}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n\
             <h1>{TITLE}</h1>\n<p>{}.</p>\n<p>{SOURCE}</p>\n",
            escaped(&self.about)
        )?;
        for (number, (finding, plots)) in (1..).zip(&self.findings) {
            let Finding { title, claim, found, why, table, .. } = finding;
            writeln!(out, "<section>\n<h2>{number}. {}</h2>\n<p>{}</p>", escaped(title), escaped(claim))?;
            writeln!(out, "<p class=\"verdict\">{} {}</p>", finding.verdict(), escaped(found))?;
            writeln!(out, "<p>{}</p>", escaped(why))?;
            for plot in plots {
                writeln!(out, "<div class=\"plot\">{plot}</div>")?;
            }
            writeln!(
                out,
                "<details{}><summary>All numbers</summary>",
                if table.rows.len() > 12 { "" } else { " open" }
            )?;
            html_table(out, "", &table.head, &table.rows)?;
            writeln!(out, "</details>\n</section>")?;
        }
        if !self.maps.is_empty() {
            writeln!(out, "<section>\n<h2>Answers, word by word</h2>\n<p>Early exit at a confidence of 0.9.</p>")?;
            for map in &self.maps {
                writeln!(out, "<div class=\"map\">{}</div>", map.svg(44))?;
            }
            writeln!(out, "</section>")?;
        }
        writeln!(out, "<section>\n<h2>Settings</h2>")?;
        let rows: Vec<Vec<String>> =
            self.settings.iter().map(|(name, value)| vec![name.clone(), value.clone()]).collect();
        html_table(out, " class=\"settings\"", &[], &rows)?;
        writeln!(out, "</section>\n</body>\n</html>")
    }

    /// Returns the page as Markdown, without plots.
    pub fn markdown(&self) -> String {
        let mut out = String::new();
        // Writing to a string does not fail.
        let _ = self.write_markdown(&mut out);
        out
    }

    fn write_markdown(&self, out: &mut String) -> std::fmt::Result {
        writeln!(out, "# {TITLE}\n\n{}.\n\n{SOURCE}", self.about)?;
        for (number, (finding, _)) in (1..).zip(&self.findings) {
            let Finding { title, claim, found, why, table, .. } = finding;
            writeln!(out, "\n## {number}. {title}\n\n{claim}\n\n**{} {found}**\n\n{why}\n", finding.verdict())?;
            markdown_row(out, &table.head)?;
            markdown_row(out, &vec!["---".to_owned(); table.head.len()])?;
            table.rows.iter().try_for_each(|row| markdown_row(out, row))?;
        }
        if !self.maps.is_empty() {
            writeln!(out, "\n## Answers\n\nThe depth of every word is on the HTML page.\n")?;
            for map in &self.maps {
                writeln!(out, "```text\n{}\n```\n", map.plain().replace("```", "'''"))?;
            }
        }
        writeln!(out, "\n## Settings\n\n| setting | value |\n|---|---|")?;
        self.settings.iter().try_for_each(|(name, value)| markdown_row(out, &[name.clone(), value.clone()]))
    }
}

impl Finding {
    fn verdict(&self) -> &'static str {
        match self.agrees {
            Agreement::Agrees => "Agrees.",
            Agreement::Compatible => "Compatible.",
            Agreement::Differs => "Differs.",
            Agreement::Open => "Not decided.",
        }
    }
}

fn html_table(out: &mut String, class: &str, head: &[String], rows: &[Vec<String>]) -> std::fmt::Result {
    let row = |out: &mut String, cells: &[String], cell: &str| {
        out.push_str("<tr>");
        cells.iter().try_for_each(|text| write!(out, "<{cell}>{}</{cell}>", escaped(text)))?;
        writeln!(out, "</tr>")
    };
    writeln!(out, "<div class=\"scroll\"><table{class}>")?;
    if !head.is_empty() {
        row(out, head, "th")?;
    }
    rows.iter().try_for_each(|cells| row(out, cells, "td"))?;
    writeln!(out, "</table></div>")
}

fn markdown_row(out: &mut String, cells: &[String]) -> std::fmt::Result {
    let cells: Vec<String> = cells.iter().map(|cell| cell.replace('|', "\\|").replace('\n', " ")).collect();
    writeln!(out, "| {} |", cells.join(" | "))
}

/// The text with the characters of HTML's own written as entities.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
