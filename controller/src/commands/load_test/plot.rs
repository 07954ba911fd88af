//! A load test as a picture: depth of the queue, workers and latency over time, one below the other.

use super::{Sample, report::real};

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 140.0;
/// Room for numbers to the left and a title above.
const LEFT: f64 = 60.0;
const TOP: f64 = 34.0;
/// Room below for the times.
const BOTTOM: f64 = 24.0;

/// A line: its name, its colour, and what it follows.
type Line = (&'static str, &'static str, fn(&Sample) -> f64);

/// Each row under its title.
const ROWS: [(&str, &[Line]); 3] = [
    ("messages in the queue", &[("", "#1668b8", |s| f64::from(s.depth))]),
    ("workers in service", &[("", "#1668b8", |s| real(s.workers))]),
    (
        "latency of the latest answers, seconds",
        &[
            ("p50", "#1668b8", |s| s.latency.p50),
            ("p90", "#d97706", |s| s.latency.p90),
            ("p99", "#b91c1c", |s| s.latency.p99),
        ],
    ),
];

/// The picture as SVG.
pub(super) fn svg(samples: &[Sample]) -> String {
    let end = samples.last().map_or(1.0, |s| s.at.max(1.0));
    let (right, whole) = (LEFT + WIDTH, (HEIGHT + TOP + BOTTOM) * 3.0);
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {} {whole}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n",
        right + 30.0
    );
    for (row, (title, lines)) in ROWS.into_iter().enumerate() {
        let top = (HEIGHT + TOP + BOTTOM) * real(row) + TOP;
        let bottom = top + HEIGHT;
        let most = samples.iter().flat_map(|s| lines.iter().map(|(_, _, value)| value(s))).fold(1.0, f64::max);
        let values = ticks(most);
        // The highest number stands at the top.
        let most = values.last().map_or(most, |last| last.max(most));
        let (x, y) = (|at: f64| LEFT + at / end * WIDTH, |value: f64| bottom - value / most * HEIGHT);
        text.push_str(&format!("<text x=\"{LEFT}\" y=\"{:.0}\" font-weight=\"bold\">{title}</text>\n", top - 12.0));
        for value in values {
            text.push_str(&format!(
                "<path d=\"M{LEFT} {:.1}H{right}\" stroke=\"#ddd\"/>\n<text x=\"{:.0}\" y=\"{:.1}\" text-anchor=\"end\">{value}</text>\n",
                y(value),
                LEFT - 6.0,
                y(value) + 4.0
            ));
        }
        let (unit, name) = if end > 300.0 { (60.0, "min") } else { (1.0, "s") };
        for at in ticks(end / unit).into_iter().filter(|at| at * unit <= end) {
            text.push_str(&format!(
                "<path d=\"M{x:.1} {bottom}v4\" stroke=\"#888\"/>\n<text x=\"{x:.1}\" y=\"{:.0}\" text-anchor=\"middle\">{at} {name}</text>\n",
                bottom + 17.0,
                x = x(at * unit)
            ));
        }
        text.push_str(&format!("<path d=\"M{LEFT} {top}V{bottom}H{right}\" fill=\"none\" stroke=\"#888\"/>\n"));
        for (n, (name, colour, value)) in lines.iter().enumerate() {
            let points: Vec<_> = samples.iter().map(|s| format!("{:.1},{:.1}", x(s.at), y(value(s)))).collect();
            text.push_str(&format!(
                "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>\n",
                points.join(" ")
            ));
            if !name.is_empty() {
                text.push_str(&format!(
                    "<text x=\"{:.0}\" y=\"{:.0}\" text-anchor=\"end\" fill=\"{colour}\">{name}</text>\n",
                    right - 36.0 * real(lines.len() - 1 - n),
                    top - 12.0
                ));
            }
        }
    }
    text.push_str("</svg>\n");
    text
}

/// Whole numbers at even steps of 1, 2 or 5 times a power of ten, from nothing to `most` or the next one above it: six at most.
fn ticks(most: f64) -> Vec<f64> {
    let mut steps = (0..).flat_map(|power| [1.0, 2.0, 5.0].map(|n| n * 10_f64.powi(power)));
    let step = steps.find(|step| most / step <= 5.0).unwrap_or(most);
    let last = (most / step).ceil();
    (0..=5_u32).map(f64::from).take_while(|n| *n <= last).map(|n| n * step).collect()
}

#[cfg(test)]
mod tests {
    use super::ticks;

    #[test]
    fn an_axis_has_round_numbers_and_reaches_its_most() {
        assert_eq!(ticks(1.0), [0.0, 1.0]);
        assert_eq!(ticks(5.0), [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
        assert_eq!(ticks(7.3), [0.0, 2.0, 4.0, 6.0, 8.0]);
        assert_eq!(ticks(26.0), [0.0, 10.0, 20.0, 30.0]);
        assert_eq!(ticks(4321.0), [0.0, 1000.0, 2000.0, 3000.0, 4000.0, 5000.0]);
    }
}
