//! A column of numbers as a drawing of its quantiles.
//!
//! A profile knows how many of the values lie between two marks, and not how they lie there. So each
//! bar reaches from one mark to the next and its area is the share between them: nothing is drawn
//! that is not known. Where two marks are (nearly) one, many values are the same: a spike.

use std::fmt::Write as _;

use serde_json::Value;

use super::super::report::short_number;
use super::escape;

/// The marks of a profile, with the share of the values that lies below each.
const MARKS: [(&str, f64); 7] = [
    ("p01", 0.01),
    ("p05", 0.05),
    ("p25", 0.25),
    ("p50", 0.5),
    ("p75", 0.75),
    ("p95", 0.95),
    ("p99", 0.99),
];
const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 150.0;
/// Room for the labels below.
const FOOT: f64 = 24.0;
/// A bar narrower than this part of the drawing is a spike.
const SPIKE_PART: f64 = 1.0 / 400.0;
/// How wide a spike is drawn, and how narrow a bar and how low.
const SPIKE_WIDTH: f64 = 3.0;
const BAR_MIN: f64 = 1.0;
/// Ends that lie further out than this many times all between 1 % and 99 % are not drawn.
const FAR: f64 = 1.0;

/// Numbers in ascending order, each with the share of the values below it.
pub(super) struct Marks(Vec<(f64, f64)>);

/// Values between two marks.
struct Bar {
    from: f64,
    to: f64,
    share: f64,
    is_spike: bool,
}

impl Marks {
    /// Those of a column, if it has numbers that differ.
    pub(super) fn of(column: &Value) -> Option<Self> {
        let number = |value: &Value| value.as_f64().filter(|number| number.is_finite());
        let (least, greatest) = (number(&column["min"])?, number(&column["max"])?);
        let mut marks = vec![(0.0, least)];
        for (name, share) in MARKS {
            // They are estimates: none is outside of what is exact, nor below the one before it.
            let before = marks.last().map_or(least, |(_, value)| *value);
            let value = number(&column["quantiles"][name])?;
            marks.push((share, value.min(greatest).max(before)));
        }
        marks.push((1.0, greatest));
        // As of numbers that are infinitely far apart.
        (greatest > least && (greatest - least).is_finite()).then_some(Self(marks))
    }

    fn at(&self, share: f64) -> f64 {
        let found = self.0.iter().find(|(below, _)| *below >= share);
        found.map_or(f64::NAN, |(_, value)| *value)
    }

    /// What is drawn: all, but for ends that would leave no room for the rest.
    fn range(&self) -> (f64, f64) {
        let ((least, low), (high, greatest)) =
            ((self.at(0.0), self.at(0.01)), (self.at(0.99), self.at(1.0)));
        let far = (high - low) * FAR;
        if far <= 0.0 {
            return (least, greatest);
        }
        let from = if low - least > far { low } else { least };
        let to = if greatest - high > far { high } else { greatest };
        (from, to)
    }

    /// The bars of what is drawn; spikes at one place are one.
    fn bars(&self, from: f64, to: f64) -> Vec<Bar> {
        let mut bars: Vec<Bar> = Vec::new();
        for pair in self.0.windows(2) {
            let ((below, left), (up_to, right)) = (pair[0], pair[1]);
            if left < from || right > to {
                continue;
            }
            let is_spike = right - left < (to - from) * SPIKE_PART;
            let share = up_to - below;
            match bars.last_mut() {
                Some(last)
                    if last.is_spike
                        && is_spike
                        && right - last.from < (to - from) * SPIKE_PART =>
                {
                    (last.to, last.share) = (right, last.share + share);
                }
                _ => bars.push(Bar { from: left, to: right, share, is_spike }),
            }
        }
        bars
    }

    /// The drawing, and what has to be said of it.
    pub(super) fn figure(&self, id: usize, name: &str) -> String {
        let (from, to) = self.range();
        let bars = self.bars(from, to);
        let density = |bar: &Bar| bar.share / (bar.to - bar.from);
        let densest =
            bars.iter().filter(|bar| !bar.is_spike).map(density).fold(f64::MIN_POSITIVE, f64::max);
        let x = |value: f64| (value - from) / (to - from) * WIDTH;
        let mut drawn = String::new();
        // Spikes on top: what is beside one would cover it.
        let (spikes, plain): (Vec<&Bar>, Vec<&Bar>) = bars.iter().partition(|bar| bar.is_spike);
        for bar in plain.into_iter().chain(spikes) {
            let (class, wide, high) = if bar.is_spike {
                ("spike", SPIKE_WIDTH, HEIGHT)
            } else {
                let high = (density(bar) / densest * HEIGHT).max(BAR_MIN);
                ("bar", (x(bar.to) - x(bar.from)).max(BAR_MIN), high)
            };
            let _ = write!(
                drawn,
                "<rect class=\"{class}\" x=\"{:.2}\" y=\"{:.2}\" width=\"{:.2}\" height=\"{high:.2}\"><title>{}</title></rect>",
                x(bar.from).min(WIDTH - wide),
                HEIGHT - high,
                // A gap lets neighbours be told apart.
                if wide > 4.0 { wide - 1.0 } else { wide },
                told(bar),
            );
        }
        let label = |at: f64, anchor: &str, text: String| {
            format!(
                "<text x=\"{at:.2}\" y=\"{:.0}\" text-anchor=\"{anchor}\">{text}</text>",
                HEIGHT + 17.0
            )
        };
        let middle = x(self.at(0.5));
        let mut labels =
            label(0.0, "start", short_number(from)) + &label(WIDTH, "end", short_number(to));
        if (WIDTH * 0.2..WIDTH * 0.8).contains(&middle) {
            labels += &label(middle, "middle", short_number(self.at(0.5)));
        }
        let name = escape(name);
        let total = HEIGHT + FOOT;
        format!(
            "<figure><svg viewBox=\"0 0 {WIDTH} {total}\" width=\"{WIDTH}\" height=\"{total}\" role=\"img\" aria-labelledby=\"t{id} d{id}\">\
             <title id=\"t{id}\">How the values of {name} are spread</title><desc id=\"d{id}\">{}</desc>\
             {drawn}<line x1=\"0\" y1=\"{HEIGHT}\" x2=\"{WIDTH}\" y2=\"{HEIGHT}\"/>\
             <line class=\"median\" x1=\"{middle:.2}\" y1=\"0\" x2=\"{middle:.2}\" y2=\"{HEIGHT}\"/>{labels}</svg>\
             <figcaption>{}</figcaption></figure>\n",
            self.said(),
            self.caption(&bars, (from, to)),
        )
    }

    fn said(&self) -> String {
        let at = |share| short_number(self.at(share));
        format!(
            "From {} to {}. A quarter of the values is below {}, half below {}, three quarters below {}.",
            at(0.0),
            at(1.0),
            at(0.25),
            at(0.5),
            at(0.75)
        )
    }

    fn caption(&self, bars: &[Bar], (from, to): (f64, f64)) -> String {
        let mut caption = "Each bar reaches from one quantile to the next (0, 1, 5, 25, 50, 75, 95, 99 and 100 %); its area \
             is the share of the values between them. How they lie within a bar is not known, and the quantiles are estimates. \
             The dashed line is the median."
            .to_owned();
        if bars.iter().any(|bar| bar.is_spike) {
            caption.push_str(" A thin bar of full height: many values are (nearly) the same.");
        }
        let (least, greatest) = (self.at(0.0), self.at(1.0));
        if from > least {
            let (least, from) = (short_number(least), short_number(from));
            let _ = write!(caption, " Not drawn: the lowest 1 %, from {least} to {from}.");
        }
        if to < greatest {
            let (to, greatest) = (short_number(to), short_number(greatest));
            let _ = write!(caption, " Not drawn: the highest 1 %, from {to} to {greatest}.");
        }
        caption
    }
}

fn told(bar: &Bar) -> String {
    let share = short_number((bar.share * 1000.0).round() / 10.0);
    let (from, to) = (short_number(bar.from), short_number(bar.to));
    if from == to {
        format!("{share} % at {from}")
    } else {
        format!("{share} % from {from} to {to}")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn column(min: f64, quantiles: [f64; 7], max: f64) -> Value {
        let mut column = json!({"min": min, "max": max, "quantiles": {}});
        for ((name, _), value) in MARKS.iter().zip(quantiles) {
            column["quantiles"][*name] = value.into();
        }
        column
    }

    /// Class, x, width and height of each bar.
    fn rects(svg: &str) -> Vec<(String, f64, f64, f64)> {
        let value = |rect: &str, key: &str| {
            let from = rect.find(&format!(" {key}=\"")).unwrap() + key.len() + 3;
            rect[from..].split('"').next().unwrap().to_owned()
        };
        let number = |rect: &str, key: &str| value(rect, key).parse::<f64>().unwrap();
        svg.split("<rect")
            .skip(1)
            .map(|rect| {
                (
                    value(rect, "class"),
                    number(rect, "x"),
                    number(rect, "width"),
                    number(rect, "height"),
                )
            })
            .collect()
    }

    #[test]
    fn the_area_of_a_bar_is_its_share() {
        let even = column(0.0, [1.0, 5.0, 25.0, 50.0, 75.0, 95.0, 99.0], 100.0);
        let svg = Marks::of(&even).unwrap().figure(3, "n");
        let bars = rects(&svg);
        assert_eq!(bars.len(), 8);
        for (class, x, width, height) in &bars {
            assert_eq!(class, "bar");
            assert!(
                (height - HEIGHT).abs() < 0.1,
                "values that are spread evenly are level: {svg}"
            );
            assert!(*x >= 0.0 && x + width <= WIDTH + 0.1, "{svg}");
        }
        let steep = column(0.0, [1.0, 2.0, 10.0, 15.0, 25.0, 80.0, 98.0], 100.0);
        let bars = rects(&Marks::of(&steep).unwrap().figure(0, "n"));
        // 25 % within 5 is twice as dense as 25 % within 10.
        assert!((bars[3].3 / bars[4].3 - 2.0).abs() < 0.01);
    }

    #[test]
    fn values_that_are_the_same_are_a_spike_and_far_ends_are_told() {
        let zeros = column(0.0, [0.0, 0.0, 0.0, 1.0, 2.0, 5.0, 9.0], 1e9);
        let svg = Marks::of(&zeros).unwrap().figure(0, "n");
        let bars = rects(&svg);
        let spikes = bars.iter().filter(|bar| bar.0 == "spike").collect::<Vec<_>>();
        assert!(spikes.len() == 1 && (spikes[0].3 - HEIGHT).abs() < 0.1, "{svg}");
        assert!(bars.last().unwrap().0 == "spike" && svg.contains("25 % at 0"), "{svg}");
        assert!(bars.iter().all(|bar| bar.1 + bar.2 <= WIDTH + 0.1), "{svg}");
        assert!(svg.contains("Not drawn: the highest 1 %, from 9 to 1000000000."), "{svg}");
        assert!(svg.contains("many values are (nearly) the same"), "{svg}");
    }

    #[test]
    fn estimates_are_put_in_order_and_what_has_no_spread_is_not_drawn() {
        let odd = column(0.0, [-5.0, 1.0, 0.5, 4.0, 99.0, 3.0, 7.0], 10.0);
        let marks = Marks::of(&odd).unwrap();
        assert!(marks.0.is_sorted_by(|a, b| a.1 <= b.1), "{:?}", marks.0);
        assert!(!marks.figure(0, "n").contains("NaN"));
        assert!(Marks::of(&column(3.0, [3.0; 7], 3.0)).is_none());
        assert!(Marks::of(&json!({"min": "a", "max": "b"})).is_none());
        assert!(Marks::of(&json!({"min": "NaN", "max": 1.0, "quantiles": {}})).is_none());
        assert!(Marks::of(&column(f64::MIN, [0.0; 7], f64::MAX)).is_none());
        for huge in [column(-1e308, [0.0; 7], 5e307), column(0.0, [1e-300; 7], 1e-299)] {
            let svg = Marks::of(&huge).unwrap().figure(0, "n");
            assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
        }
    }
}
