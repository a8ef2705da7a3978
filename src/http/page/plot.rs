//! The lag of the last hour, drawn here: steps of ten seconds, each as high as its worst moment.
//!
//! The labels are HTML beside the drawing, so that they keep their size when it is narrow.

use crate::status::history::Point;
use crate::status::report::Report;
use crate::status::span::spoken;

use super::markup::Markup;

/// What the drawing spans in its own units, which it is stretched from.
const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 100.0;

/// Seconds from its left to its right edge.
const SPAN: f64 = 3_600.0;

/// A point stands for the ten seconds before it; a little more, so that no gap is drawn between
/// two that are late.
const STEP: f64 = 11.5;

/// Heights of the drawing, in seconds; half of each is as round.
const TOPS: [f64; 18] = [
    2.0,
    4.0,
    10.0,
    20.0,
    60.0,
    120.0,
    240.0,
    600.0,
    1_200.0,
    3_600.0,
    7_200.0,
    14_400.0,
    43_200.0,
    86_400.0,
    172_800.0,
    864_000.0,
    8_640_000.0,
    86_400_000.0,
];

/// The plot.
pub(super) fn lag(page: &mut Markup, report: &Report) {
    let points = &report.history;
    let worst = points.iter().max_by(|a, b| a.lag_seconds.total_cmp(&b.lag_seconds));
    let highest = worst.map_or(0.0, |worst| worst.lag_seconds);
    let top = TOPS.into_iter().find(|top| *top >= highest).unwrap_or(highest);
    page.section("Lag in the last hour");
    page.raw("<figure class=\"plot\">\n<div class=\"y\" aria-hidden=\"true\">");
    for label in [spoken(top), spoken(top / 2.0), "0 s".to_owned()] {
        page.raw("<span>");
        page.text(format_args!("{label}"));
        page.raw("</span>");
    }
    page.raw("</div>\n<svg id=\"lag\" viewBox=\"0 0 720 100\" preserveAspectRatio=\"none\" role=\"img\" aria-labelledby=\"lag-title lag-desc\">\n<title id=\"lag-title\">Lag in the last hour</title>\n<desc id=\"lag-desc\">");
    page.text(format_args!("{}", described(report, worst)));
    page.raw(
        "</desc>\n<path class=\"grid\" d=\"M0 0H720M0 50H720M180 0V100M360 0V100M540 0V100\"/>\n\
         <path class=\"base\" d=\"M0 100H720\"/>\n",
    );
    let (area, line) = paths(points, top);
    page.raw("<path class=\"area\" d=\"");
    page.text(format_args!("{area}"));
    page.raw("\"/>\n<path class=\"line\" d=\"");
    page.text(format_args!("{line}"));
    page.raw(
        "\"/>\n</svg>\n<div class=\"x\" aria-hidden=\"true\"><span>60 min ago</span>\
         <span>45</span><span>30</span><span>15</span><span>now</span></div>\n<figcaption>",
    );
    page.text(format_args!("{}", described(report, worst)));
    page.raw("</figcaption>\n</figure>\n</section>\n");
}

fn described(report: &Report, worst: Option<&Point>) -> String {
    let lag = &report.snapshot.lag;
    let now = if lag.caught_up {
        "Caught up now".to_owned()
    } else {
        format!("{} behind now", spoken(lag.seconds))
    };
    match worst {
        None => format!("{now}."),
        Some(worst) if worst.lag_seconds < 1.0 => {
            format!("{now}; never more than 1 s behind in what is drawn.")
        }
        Some(worst) if worst.seconds_ago < 10.0 => {
            format!("{now}; the worst was {}, just now.", spoken(worst.lag_seconds))
        }
        Some(worst) => format!(
            "{now}; the worst was {}, {} ago.",
            spoken(worst.lag_seconds),
            spoken(worst.seconds_ago)
        ),
    }
}

/// The area under the steps, and their upper edge. Where nothing was seen, nothing is drawn.
fn paths(points: &[Point], top: f64) -> (String, String) {
    let (mut area, mut line) = (String::new(), String::new());
    // Where the step before ended, if the next one goes on from there.
    let mut edge: Option<f64> = None;
    for (point, next) in points.iter().zip(following(points)) {
        let right = x(point.seconds_ago);
        let left = x(point.seconds_ago + STEP).max(edge.unwrap_or(0.0));
        let y = HEIGHT - (point.lag_seconds / top).clamp(0.0, 1.0) * HEIGHT;
        if edge.is_some() {
            area.push_str(&format!("V{y:.1}H{right:.1}"));
            line.push_str(&format!("V{y:.1}H{right:.1}"));
        } else {
            area.push_str(&format!("M{left:.1} {HEIGHT}V{y:.1}H{right:.1}"));
            line.push_str(&format!("M{left:.1} {y:.1}H{right:.1}"));
        }
        let goes_on = next.is_some_and(|next| point.seconds_ago - next.seconds_ago <= STEP);
        if !goes_on {
            area.push_str(&format!("V{HEIGHT}Z"));
        }
        edge = goes_on.then_some(right);
    }
    (area, line)
}

/// Each point's next one.
fn following(points: &[Point]) -> impl Iterator<Item = Option<&Point>> {
    points.iter().skip(1).map(Some).chain(std::iter::once(None))
}

fn x(seconds_ago: f64) -> f64 {
    (WIDTH - seconds_ago / SPAN * WIDTH).clamp(0.0, WIDTH)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(seconds_ago: f64, lag_seconds: f64) -> Point {
        Point { seconds_ago, lag_seconds, retained_bytes: None }
    }

    #[test]
    fn steps_are_drawn_and_gaps_are_left() {
        #[track_caller]
        fn check(points: &[Point], area: &str, line: &str) {
            assert_eq!(paths(points, 10.0), (area.to_owned(), line.to_owned()));
        }
        check(&[], "", "");
        check(&[point(0.0, 5.0)], "M717.7 100V50.0H720.0V100Z", "M717.7 50.0H720.0");
        check(
            &[point(1_810.0, 10.0), point(1_800.0, 0.0), point(0.0, 20.0)],
            "M355.7 100V0.0H358.0V100.0H360.0V100ZM717.7 100V0.0H720.0V100Z",
            "M355.7 0.0H358.0V100.0H360.0M717.7 0.0H720.0",
        );
        check(&[point(4_000.0, 1.0)], "M0.0 100V90.0H0.0V100Z", "M0.0 90.0H0.0");
    }
}
