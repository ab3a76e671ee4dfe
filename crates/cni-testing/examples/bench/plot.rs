//! Growth as a picture: a plain SVG with a logarithmic axis of times.

use std::fmt::Write as _;

use crate::growth::Curve;

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 360.0;
const MARGIN: f64 = 60.0;
const COLOURS: [&str; 6] = ["#0b6e4f", "#08a045", "#6bbf59", "#9d0208", "#dc2f02", "#f48c06"];

/// Times in milliseconds over how much is held, both axes logarithmic where `logarithmic` says so for the lower one.
pub(crate) fn svg(title: &str, across: &str, curves: &[Curve], logarithmic: bool) -> String {
    let points = || curves.iter().flat_map(|curve| &curve.points);
    let scale = |x: f64| if logarithmic { x.max(1.0).log10() } else { x };
    let right = points().map(|(x, _)| scale(*x)).fold(f64::MIN, f64::max);
    let left = points().map(|(x, _)| scale(*x)).fold(f64::MAX, f64::min);
    let top = points().map(|(_, y)| y.log10()).fold(f64::MIN, f64::max).ceil();
    let bottom = points().map(|(_, y)| y.log10()).fold(f64::MAX, f64::min).floor();
    let x = |value: f64| MARGIN + (scale(value) - left) / (right - left) * (WIDTH - 2.0 * MARGIN);
    let y =
        |value: f64| HEIGHT - MARGIN - (value.log10() - bottom) / (top - bottom) * (HEIGHT - 2.0 * MARGIN);

    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" \
         font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
         <text x=\"{MARGIN}\" y=\"24\" font-size=\"15\">{title}</text>\n\
         <text x=\"{}\" y=\"{}\" text-anchor=\"middle\">{across}</text>\n",
        WIDTH / 2.0,
        HEIGHT - 16.0
    );
    let mut decade = bottom;
    while decade <= top {
        let (at, value) = (y(10_f64.powf(decade)), 10_f64.powf(decade));
        let _ = writeln!(
            svg,
            "<path d=\"M{MARGIN} {at:.1}H{}\" stroke=\"#ddd\"/><text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{value} ms</text>",
            WIDTH - MARGIN,
            MARGIN - 6.0,
            at + 4.0
        );
        decade += 1.0;
    }
    for value in ticks(curves, logarithmic) {
        let _ = writeln!(
            svg,
            "<text x=\"{:.1}\" y=\"{}\" text-anchor=\"middle\">{value}</text>",
            x(value),
            HEIGHT - MARGIN + 18.0
        );
    }
    for (index, curve) in curves.iter().enumerate() {
        let colour = COLOURS[index % COLOURS.len()];
        let path: Vec<String> =
            curve.points.iter().map(|(at, time)| format!("{:.1},{:.1}", x(*at), y(*time))).collect();
        let _ = writeln!(
            svg,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.5\"/>\n\
             <text x=\"{}\" y=\"{}\" fill=\"{colour}\" text-anchor=\"end\">{}</text>",
            path.join(" "),
            WIDTH - MARGIN,
            44 + 15 * index,
            curve.name
        );
    }
    svg + "</svg>\n"
}

/// Where the lower axis is labelled: at the points themselves, or at five places where there are many.
fn ticks(curves: &[Curve], logarithmic: bool) -> Vec<f64> {
    let Some(first) = curves.first() else { return Vec::new() };
    let last = first.points.last().map_or(0.0, |(x, _)| *x);
    if logarithmic {
        first.points.iter().map(|(x, _)| *x).collect()
    } else {
        (0..=4).map(|part| (last * f64::from(part) / 4.0).round()).collect()
    }
}
