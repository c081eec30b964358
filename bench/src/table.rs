use std::fmt;
use std::time::Duration;

/// What was measured, a row each.
#[derive(Default)]
pub(crate) struct Table {
    rows: Vec<[String; 5]>,
}

impl Table {
    /// A row of several samples: median, range, how many.
    pub(crate) fn samples(&mut self, what: &str, unit: &str, mut samples: Vec<f64>, goal: &str) {
        samples.sort_by(f64::total_cmp);
        let Some((first, last)) = samples.first().zip(samples.last()) else { return };
        let median = samples[samples.len() / 2];
        self.rows.push([
            what.to_owned(),
            format!("{} {unit}", shown(median)),
            format!("{} to {}", shown(*first), shown(*last)),
            samples.len().to_string(),
            goal.to_owned(),
        ]);
        eprintln!("{what}: {median:.1} {unit}");
    }

    /// A row of one figure.
    pub(crate) fn figure(&mut self, what: &str, unit: &str, figure: f64, goal: &str) {
        self.samples(what, unit, vec![figure], goal);
    }
}

/// Small figures need more digits.
fn shown(figure: f64) -> String {
    if figure.abs() < 1.0 { format!("{figure:.3}") } else { format!("{figure:.1}") }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let head = ["measured", "median", "range", "samples", "goal"].map(str::to_owned);
        let widths: Vec<usize> = (0..head.len())
            .map(|column| {
                std::iter::once(&head)
                    .chain(&self.rows)
                    .map(|row| row[column].len())
                    .max()
                    .unwrap_or_default()
            })
            .collect();
        for row in std::iter::once(&head).chain(&self.rows) {
            let cells: Vec<String> =
                row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
            writeln!(f, "{}", cells.join("  ").trim_end())?;
        }
        Ok(())
    }
}

pub(crate) fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}
