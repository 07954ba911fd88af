//! A load test as a picture: depth of the queue, workers and latency over time, one below the other.

use super::Sample;

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 140.0;
/// Room for numbers to the left and a title above.
const LEFT: f64 = 60.0;
const TOP: f64 = 30.0;

/// A title, and what is drawn under it.
type Row = (&'static str, fn(&Sample) -> f64);

/// The picture as SVG.
pub(super) fn svg(samples: &[Sample]) -> String {
    let rows: [Row; 3] = [
        ("messages in the queue", |s| f64::from(s.depth)),
        ("workers in service", |s| super::real(s.workers)),
        ("median latency, seconds", |s| s.latency),
    ];
    let end = samples.last().map_or(1.0, |s| s.at.max(1.0));
    let whole = (HEIGHT + TOP) * 3.0 + 30.0;
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {} {whole}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n",
        WIDTH + LEFT + 20.0
    );
    for (row, (title, value)) in rows.into_iter().enumerate() {
        let top = (HEIGHT + TOP) * super::real(row) + TOP;
        let most = samples.iter().map(value).fold(1.0, f64::max);
        let points: Vec<_> = samples
            .iter()
            .map(|s| format!("{:.1},{:.1}", LEFT + s.at / end * WIDTH, top + HEIGHT * (1.0 - value(s) / most)))
            .collect();
        text.push_str(&format!(
            "<text x=\"{LEFT}\" y=\"{:.0}\">{title}</text>\n\
             <path d=\"M{LEFT} {top}V{bottom}H{right}\" fill=\"none\" stroke=\"#888\"/>\n\
             <text x=\"{:.0}\" y=\"{:.0}\" text-anchor=\"end\">{most:.0}</text>\n\
             <text x=\"{:.0}\" y=\"{bottom}\" text-anchor=\"end\">0</text>\n\
             <polyline points=\"{}\" fill=\"none\" stroke=\"#1668b8\" stroke-width=\"2\"/>\n",
            top - 8.0,
            LEFT - 6.0,
            top + 8.0,
            LEFT - 6.0,
            points.join(" "),
            bottom = top + HEIGHT,
            right = LEFT + WIDTH,
        ));
    }
    text.push_str(&format!(
        "<text x=\"{:.0}\" y=\"{:.0}\" text-anchor=\"end\">{end:.0} s</text>\n</svg>\n",
        LEFT + WIDTH,
        whole - 8.0
    ));
    text
}
