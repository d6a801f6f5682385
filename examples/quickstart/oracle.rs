//! The oracle: for every problem one of the candidates, so that the full model's quality is reached with the fewest
//! layers.

use super::measure::{Bench, Row};
use dynlayer::inference::controllers::ControllerSpec;
use dynlayer::inference::oracle::{Candidate, OracleController};
use dynlayer::metrics::allocation::{Allocator, EnvelopePoint, Evidence, Record};
use std::error::Error;

pub struct Oracle {
    pub row: Row,
    /// The highest share of solved problems for each mean number of layers per token.
    pub frontier: Vec<EnvelopePoint>,
    /// The full model's share of solved problems, and its layers.
    pub full: (f64, f64),
    /// The best single candidate with at most the oracle's layers per token, and its share of solved problems.
    pub best_static: Option<(String, f64)>,
}

pub fn run(bench: &Bench<'_>, candidates: &[&Row]) -> Result<Oracle, Box<dyn Error>> {
    let evidence = Evidence::new(candidates.iter().flat_map(|row| {
        let cells = row.each.iter().enumerate();
        cells.map(|(i, (solved, depth))| Record::new(i as u64, row.name.clone(), f64::from(u8::from(*solved)), *depth))
    }))?;
    let full = candidates.iter().max_by(|a, b| a.depth.total_cmp(&b.depth)).ok_or("no candidates")?;
    let allocator = Allocator::new(&evidence)?;
    let allocation = allocator.least_cost(full.exact_match)?;
    let specs = candidates.iter().map(|row| row.name.parse()).collect::<Result<Vec<ControllerSpec>, _>>()?;
    let choices: Vec<Candidate<'_>> =
        specs.iter().map(|spec| Candidate::from_spec(spec, bench.model, &bench.resources)).collect();
    let controller = || OracleController::new(&evidence, &allocation, &choices);
    let mut row = bench.of("oracle".into(), controller()?)?;
    row.seconds = bench.seconds(controller()?)?;
    let within = candidates.iter().filter(|row| row.depth <= allocation.mean_cost);
    let best = within.max_by(|a, b| a.exact_match.total_cmp(&b.exact_match));
    Ok(Oracle {
        row,
        frontier: allocator.envelope().points().to_vec(),
        full: (full.exact_match, full.depth),
        best_static: best.map(|row| (row.name.clone(), row.exact_match)),
    })
}
