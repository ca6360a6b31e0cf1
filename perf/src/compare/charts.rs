//! The charts, as SVG.

use std::error::Error;
use std::io;
use std::ops::Range;

use plotters::coord::Shift;
use plotters::prelude::*;

use super::Measured;
use super::rows::{IDLE_COUNTS, IN_FLIGHT_COUNTS, MEMBER_COUNTS};
use crate::report::{Column, short};

/// One line of a chart.
struct Line {
    name: String,
    points: Vec<(f64, f64)>,
}

/// What stands beside the lines.
struct Frame {
    title: &'static str,
    x: (&'static str, Axis),
    y: (&'static str, Axis),
}

/// How numbers are laid out.
#[derive(Clone, Copy)]
enum Axis {
    Even,
    Logarithmic,
    /// Shares, of which 90, 99 and 99.9 per cent are one apart.
    Shares,
}

const SIZE: (u32, u32) = (900, 520);
/// What is left of its width for the names of the lines.
const LEGEND_WIDTH: i32 = 170;
const LEGEND_LINE_HEIGHT: i32 = 22;
const MIB: f64 = 1024.0;

/// All charts for which there are figures, each with the name of its file.
///
/// # Errors
///
/// One could not be drawn.
pub fn all(measured: &[Measured]) -> io::Result<Vec<(&'static str, String)>> {
    let members = MEMBER_COUNTS.map(|count| (count, format!("members-{count}")));
    let in_flight = IN_FLIGHT_COUNTS.map(|count| match count {
        1 => (1, "members-500".into()),
        count => (count, format!("in-flight-{count}")),
    });
    let charts = [
        (
            "latency.svg",
            Frame {
                title: "5,000 members, 20 messages a second: latency of deliveries",
                x: ("share of deliveries, per cent", Axis::Shares),
                y: ("arrived within, ms", Axis::Logarithmic),
            },
            distributions(measured),
        ),
        (
            "cost-by-members.svg",
            Frame {
                title: "1 message in flight: CPU of the server per delivery",
                x: ("members", Axis::Logarithmic),
                y: ("µs", Axis::Logarithmic),
            },
            costs(measured, &members),
        ),
        (
            "cost-by-messages.svg",
            Frame {
                title: "500 members: CPU of the server per delivery",
                x: ("messages in flight", Axis::Logarithmic),
                y: ("µs", Axis::Logarithmic),
            },
            costs(measured, &in_flight),
        ),
        (
            "memory.svg",
            Frame {
                title: "Idle members: resident memory of the server",
                x: ("connections", Axis::Even),
                y: ("MiB", Axis::Even),
            },
            memory(measured),
        ),
    ];
    let charts = charts.into_iter();
    let charts = charts.filter(|(_, _, lines)| lines.iter().any(|line| line.points.len() > 1));
    charts
        .map(|(name, frame, lines)| Ok((name, draw(&frame, &lines)?)))
        .collect()
}

fn columns<'a>(measured: &'a [Measured], name: &str) -> &'a [Column] {
    let found = measured.iter().find(|measured| measured.row.name == name);
    found.map_or(&[], |measured| &measured.report.columns)
}

/// How latencies are distributed.
fn distributions(measured: &[Measured]) -> Vec<Line> {
    let columns = columns(measured, "latency").iter();
    columns
        .map(|column| Line {
            name: column.name.clone(),
            points: column.distribution(),
        })
        .collect()
}

/// What a delivery costs in several rows, each of which has its place on the axis.
fn costs(measured: &[Measured], rows: &[(u32, String)]) -> Vec<Line> {
    let mut lines: Vec<Line> = Vec::new();
    for (place, row) in rows {
        for column in columns(measured, row) {
            let Some(spread) = column.spread("server_cpu_us_per_delivery") else {
                continue;
            };
            let point = (f64::from(*place), spread.median);
            match lines.iter_mut().find(|line| line.name == column.name) {
                Some(line) => line.points.push(point),
                None => lines.push(Line {
                    name: column.name.clone(),
                    points: vec![point],
                }),
            }
        }
    }
    lines
}

fn memory(measured: &[Measured]) -> Vec<Line> {
    let columns = columns(measured, "idle").iter();
    let point = |column: &Column, count: u32| {
        let name = if count == 0 {
            "rss_0_kib".into()
        } else {
            format!("rss_{count}_kib")
        };
        Some((f64::from(count), column.spread(&name)?.median / MIB))
    };
    let counts = || std::iter::once(0).chain(IDLE_COUNTS);
    columns
        .map(|column| Line {
            name: column.name.clone(),
            points: counts().filter_map(|count| point(column, count)).collect(),
        })
        .collect()
}

impl Axis {
    /// Where a number stands.
    fn place(self, value: f64) -> f64 {
        match self {
            Axis::Even => value,
            Axis::Logarithmic => value.log10(),
            Axis::Shares => -(1.0 - value).log10(),
        }
    }

    /// What stands at a place.
    fn label(self, place: f64) -> String {
        match self {
            Axis::Even => short(place),
            Axis::Logarithmic => {
                let decimals = (1.0 - place.floor()).max(0.0) as usize;
                format!("{:.decimals$}", 10f64.powf(place))
            }
            Axis::Shares => {
                let decimals = (place.round() as usize).saturating_sub(2);
                format!("{:.decimals$}", 100.0 - 100.0 * 10f64.powf(-place))
            }
        }
    }

    /// From where to where an axis goes that has to show these places.
    fn range(self, places: impl Iterator<Item = f64>) -> Range<f64> {
        let (min, max) = places.fold((f64::MAX, f64::MIN), |(min, max), place| {
            (min.min(place), max.max(place))
        });
        match self {
            Axis::Even => 0.0..max * 1.05,
            Axis::Logarithmic => min - 0.1..max + 0.1,
            Axis::Shares => 0.0..max,
        }
    }
}

fn draw(frame: &Frame, lines: &[Line]) -> io::Result<String> {
    let mut svg = String::new();
    paint(&mut svg, frame, lines).map_err(|error| io::Error::other(error.to_string()))?;
    Ok(svg)
}

fn paint(svg: &mut String, frame: &Frame, lines: &[Line]) -> Result<(), Box<dyn Error>> {
    let ((x_title, x), (y_title, y)) = (frame.x, frame.y);
    let points = || lines.iter().flat_map(|line| &line.points);
    let area = SVGBackend::with_string(svg, SIZE).into_drawing_area();
    area.fill(&WHITE)?;
    let (area, legend) = area.split_horizontally(SIZE.0 as i32 - LEGEND_WIDTH);
    name(&legend, lines)?;
    let mut chart = ChartBuilder::on(&area)
        .caption(frame.title, ("sans-serif", 20))
        .margin(15)
        .x_label_area_size(45)
        .y_label_area_size(70)
        .build_cartesian_2d(
            x.range(points().map(|(value, _)| x.place(*value))),
            y.range(points().map(|(_, value)| y.place(*value))),
        )?;
    chart
        .configure_mesh()
        .x_desc(x_title)
        .y_desc(y_title)
        .x_label_formatter(&|place| x.label(*place))
        .y_label_formatter(&|place| y.label(*place))
        .light_line_style(TRANSPARENT)
        .draw()?;
    for (number, line) in lines.iter().enumerate() {
        let color = Palette99::pick(number).to_rgba();
        let places = || line.points.iter().map(|(a, b)| (x.place(*a), y.place(*b)));
        chart.draw_series(places().map(|place| Circle::new(place, 3, color.filled())))?;
        chart.draw_series(LineSeries::new(places(), color.stroke_width(2)))?;
    }
    area.present()?;
    Ok(())
}

/// Which line is whose, beside the chart: within it, there is no corner that is free in all of them.
fn name<B>(area: &DrawingArea<B, Shift>, lines: &[Line]) -> Result<(), Box<dyn Error>>
where
    B: DrawingBackend,
    B::ErrorType: 'static,
{
    let mut y = 60;
    for (number, line) in lines.iter().enumerate() {
        let color = Palette99::pick(number).to_rgba();
        let middle = y + 6;
        let stroke = [(0, middle), (22, middle)];
        area.draw(&PathElement::new(stroke, color.stroke_width(3)))?;
        area.draw(&Text::new(line.name.clone(), (30, y), ("sans-serif", 14)))?;
        y += LEGEND_LINE_HEIGHT;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stand_where_the_axis_says() {
        for (axis, value, label) in [
            (Axis::Even, 12.0, "12.0"),
            (Axis::Logarithmic, 100.0, "100"),
            (Axis::Logarithmic, 0.251, "0.25"),
            (Axis::Shares, 0.99, "99"),
            (Axis::Shares, 0.999, "99.9"),
        ] {
            assert_eq!(axis.label(axis.place(value)), label);
        }
    }

    #[test]
    fn a_chart_names_its_lines() {
        let frame = Frame {
            title: "cost",
            x: ("members", Axis::Logarithmic),
            y: ("ms", Axis::Even),
        };
        let line = Line {
            name: "roomcast ws".into(),
            points: vec![(10.0, 1.0), (100.0, 2.0)],
        };
        let svg = draw(&frame, &[line]).unwrap();
        assert!(
            svg.starts_with("<svg") && svg.contains("roomcast ws"),
            "{svg}"
        );
    }
}
