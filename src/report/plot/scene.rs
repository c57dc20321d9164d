//! A drawing as a list of shapes, and its rendering by plotters into SVG text or PNG pixels.
//!
//! The plots decide where everything goes in a [`Scene`]; only this file knows a plotters back-end. One list drawn twice keeps
//! the SVG in the page and the PNG beside it the same picture, and lets tests look at what was placed where.

use super::super::text::{design_anchor, escape};
use super::super::{ReportError, png, view::Picture};
use super::font;
use plotters::backend::{BitMapBackend, DrawingBackend, SVGBackend};
use plotters::coord::Shift;
use plotters::drawing::{DrawingArea, DrawingAreaErrorKind, IntoDrawingArea};
use plotters::element::{BitMapElement, Circle, PathElement, Polygon};
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{Color as _, FontDesc, FontFamily, FontStyle, FontTransform, RGBAColor, RGBColor, ShapeStyle};
use std::ops::Range;

/// Back-end pixels per scene unit. Back-ends round to whole pixels; at 4 that is a quarter of a unit.
const OVERSAMPLING: u32 = 4;
/// Back-end pixels averaged into one pixel of the PNG, which so has `OVERSAMPLING / PNG_BINNING` pixels per scene unit.
const PNG_BINNING: u32 = 2;

/// A point in scene units (CSS pixels at full width), y downwards.
pub(in super::super) type Point = (f64, f64);

/// A colour with its opacity in [0, 1].
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in super::super) struct Ink {
    pub rgb: (u8, u8, u8),
    pub opacity: f64,
}

impl Ink {
    /// An opaque colour.
    pub const fn new(rgb: (u8, u8, u8)) -> Self {
        Self { rgb, opacity: 1.0 }
    }

    /// The same colour at another opacity.
    pub const fn faded(self, opacity: f64) -> Self {
        Self { rgb: self.rgb, opacity }
    }

    fn plotters(self) -> RGBAColor {
        RGBColor(self.rgb.0, self.rgb.1, self.rgb.2).mix(self.opacity)
    }
}

/// Which point of a text lies at its position, horizontally. Vertically it is always the middle of the capitals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Align {
    Left,
    Centre,
    Right,
}

/// A piece of text.
#[derive(Debug, Clone)]
pub(in super::super) struct Label {
    pub at: Point,
    pub text: String,
    /// Em size in scene units.
    pub size: f64,
    pub ink: Ink,
    pub align: Align,
    pub bold: bool,
    /// Reads upwards instead of to the right.
    pub upwards: bool,
}

impl Label {
    /// Regular text that reads to the right.
    pub fn new(at: Point, text: impl Into<String>, size: f64, ink: Ink, align: Align) -> Self {
        Self { at, text: text.into(), size, ink, align, bold: false, upwards: false }
    }

    pub fn bold(mut self) -> Self {
        self.bold = true;
        self
    }

    pub fn upwards(mut self) -> Self {
        self.upwards = true;
        self
    }

    /// The box that the text fills, as `(left, top, right, bottom)`.
    pub fn bounds(&self) -> (f64, f64, f64, f64) {
        let width = font::width(&self.text, self.size, self.bold);
        let before = match self.align {
            Align::Left => 0.0,
            Align::Centre => width / 2.0,
            Align::Right => width,
        };
        let half = self.size * 0.5;
        let (x, y) = self.at;
        if self.upwards {
            (x - half, y - width + before, x + half, y + before)
        } else {
            (x - before, y - half, x - before + width, y + half)
        }
    }
}

#[derive(Debug, Clone)]
enum Shape {
    Path { points: Vec<Point>, width: f64, ink: Ink },
    Polygon { points: Vec<Point>, ink: Ink },
    Disc { centre: Point, radius: f64, ink: Ink },
    Text(Label),
    Picture { at: Point, magnification: u32, picture: Picture },
}

/// A mark that stands for a design, or for something else that has more to say when it is pointed at.
#[derive(Debug, Clone)]
pub(in super::super) struct Mark {
    pub at: Point,
    pub radius: f64,
    /// Id of the design drawn there, which has a view of its own on the page.
    pub design: Option<String>,
    pub text: String,
}

/// Neighbouring shapes that belong together.
#[derive(Debug, Clone)]
struct Group {
    shapes: Range<usize>,
    kind: Kind,
}

#[derive(Debug, Clone)]
enum Kind {
    Mark(Mark),
    /// What accompanies a design's mark, such as its error bars, and comes and goes with it.
    Part {
        design: String,
    },
}

/// A drawing in scene units.
#[derive(Debug, Clone)]
pub(in super::super) struct Scene {
    /// File stem, such as `pareto`.
    pub name: &'static str,
    /// What it shows, for the caption and for screen readers.
    pub title: String,
    pub width: f64,
    pub height: f64,
    shapes: Vec<Shape>,
    /// In the order of their shapes, never one within another.
    groups: Vec<Group>,
}

impl Scene {
    pub fn new(name: &'static str, title: impl Into<String>, width: f64, height: f64) -> Self {
        Self { name, title: title.into(), width, height, shapes: Vec::new(), groups: Vec::new() }
    }

    /// Draws a mark: on the page it can be pointed at, reached by keyboard and followed to its design.
    pub fn mark(&mut self, mark: Mark, draw: impl FnOnce(&mut Self)) {
        self.group(Kind::Mark(mark), draw);
    }

    /// Draws what comes and goes with a design's mark.
    pub fn part(&mut self, design: &str, draw: impl FnOnce(&mut Self)) {
        self.group(Kind::Part { design: design.to_owned() }, draw);
    }

    fn group(&mut self, kind: Kind, draw: impl FnOnce(&mut Self)) {
        let (start, groups) = (self.shapes.len(), self.groups.len());
        draw(self);
        // What is drawn as part of a group is no group of its own.
        self.groups.truncate(groups);
        self.groups.push(Group { shapes: start..self.shapes.len(), kind });
    }

    /// Whether marks lead to designs.
    pub fn has_links(&self) -> bool {
        self.groups.iter().any(|group| matches!(&group.kind, Kind::Mark(mark) if mark.design.is_some()))
    }

    /// Whether it has marks.
    pub fn is_interactive(&self) -> bool {
        self.groups.iter().any(|group| matches!(group.kind, Kind::Mark(_)))
    }

    /// The marks placed so far.
    #[cfg(test)]
    pub fn marks(&self) -> impl Iterator<Item = &Mark> {
        self.groups.iter().filter_map(|group| match &group.kind {
            Kind::Mark(mark) => Some(mark),
            Kind::Part { .. } => None,
        })
    }

    pub fn path(&mut self, points: impl Into<Vec<Point>>, width: f64, ink: Ink) {
        self.shapes.push(Shape::Path { points: points.into(), width, ink });
    }

    pub fn line(&mut self, from: Point, to: Point, width: f64, ink: Ink) {
        self.path([from, to], width, ink);
    }

    /// A straight line of dashes; `dash` and `gap` in scene units.
    pub fn dashed(&mut self, from: Point, to: Point, width: f64, ink: Ink, (dash, gap): (f64, f64)) {
        let length = (to.0 - from.0).hypot(to.1 - from.1);
        let along = |d: f64| (from.0 + (to.0 - from.0) * d / length, from.1 + (to.1 - from.1) * d / length);
        let mut start = 0.0;
        while start < length {
            self.line(along(start), along((start + dash).min(length)), width, ink);
            start += dash + gap;
        }
    }

    pub fn polygon(&mut self, points: impl Into<Vec<Point>>, ink: Ink) {
        self.shapes.push(Shape::Polygon { points: points.into(), ink });
    }

    /// A filled rectangle from its upper left to its lower right corner.
    pub fn rectangle(&mut self, (x0, y0): Point, (x1, y1): Point, ink: Ink) {
        self.polygon([(x0, y0), (x1, y0), (x1, y1), (x0, y1)], ink);
    }

    /// The outline of a rectangle.
    pub fn frame(&mut self, (x0, y0): Point, (x1, y1): Point, width: f64, ink: Ink) {
        self.path([(x0, y0), (x1, y0), (x1, y1), (x0, y1), (x0, y0)], width, ink);
    }

    pub fn disc(&mut self, centre: Point, radius: f64, ink: Ink) {
        self.shapes.push(Shape::Disc { centre, radius, ink });
    }

    pub fn text(&mut self, label: Label) {
        self.shapes.push(Shape::Text(label));
    }

    /// Places a picture with each of its pixels `magnification` scene units wide. PNG only.
    pub fn picture(&mut self, at: Point, magnification: u32, picture: Picture) {
        self.shapes.push(Shape::Picture { at, magnification, picture });
    }

    /// The texts placed so far.
    #[cfg(test)]
    pub fn labels(&self) -> impl Iterator<Item = &Label> {
        self.shapes.iter().filter_map(|shape| match shape {
            Shape::Text(label) => Some(label),
            _ => None,
        })
    }

    /// The drawing as an SVG document.
    pub fn svg(&self) -> Result<String, ReportError> {
        let (body, title) = (self.elements(&self.shapes)?, escape(&self.title));
        Ok(format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" {} role=\"img\" aria-labelledby=\"{name}-title\">\n\
             <title id=\"{name}-title\">{title}</title>\n{body}</svg>\n",
            self.size(),
            name = self.name
        ))
    }

    /// The drawing as an element to stand within an HTML page: its marks are links to their designs, where the page is `known` to
    /// tell of these, or can at least be reached.
    pub fn inline_svg(&self, known: &dyn Fn(&str) -> bool) -> Result<String, ReportError> {
        let mut body = String::new();
        let mut from = 0;
        for Group { shapes, kind } in &self.groups {
            body += &self.elements(&self.shapes[from..shapes.start])?;
            from = shapes.end;
            let elements = self.elements(&self.shapes[shapes.clone()])?;
            body += &match kind {
                Kind::Mark(Mark { design: Some(design), .. }) if !known(design) => {
                    format!("<g data-of=\"\">\n{elements}</g>\n")
                }
                Kind::Part { design } => format!("<g data-of=\"{}\">\n{elements}</g>\n", escape(design)),
                Kind::Mark(mark) => inline_mark(mark, &elements),
            };
        }
        body += &self.elements(&self.shapes[from..])?;
        // The children of an image are nothing to a screen reader; those of a group are.
        let role = if self.is_interactive() { "group" } else { "img" };
        Ok(format!(
            "<svg {} role=\"{role}\" aria-labelledby=\"{name}-title\">\n<title id=\"{name}-title\">{}</title>\n{body}</svg>\n",
            self.size(),
            escape(&self.title),
            name = self.name
        ))
    }

    fn size(&self) -> String {
        let (width, height) = self.pixels();
        format!("width=\"{}\" height=\"{}\" viewBox=\"0 0 {width} {height}\"", self.width, self.height)
    }

    /// Shapes as SVG elements, a line each.
    fn elements(&self, shapes: &[Shape]) -> Result<String, ReportError> {
        if shapes.is_empty() {
            return Ok(String::new());
        }
        let mut document = String::new();
        {
            let area = SVGBackend::with_string(&mut document, self.pixels()).into_drawing_area();
            self.draw(shapes, &area, Target::Svg)?;
        }
        let body = document.split_once('>').map_or("", |(_, body)| body);
        let body = body.rsplit_once("</svg>").map_or(body, |(body, _)| body);
        Ok(body.trim_start_matches('\n').to_owned())
    }

    /// The drawing as a PNG file on white.
    pub fn png(&self) -> Result<Vec<u8>, ReportError> {
        let (width, height) = self.pixels();
        let mut rgb = vec![255; 3 * width as usize * height as usize];
        {
            let area = BitMapBackend::with_buffer(&mut rgb, (width, height)).into_drawing_area();
            self.draw(&self.shapes, &area, Target::Bitmap)?;
        }
        png::encode(&png::shrink(&Picture { width, height, rgb }, PNG_BINNING))
    }

    fn pixels(&self) -> (u32, u32) {
        // A multiple of the binning, so that no row or column is cut off.
        ((self.width.ceil() as u32) * OVERSAMPLING, (self.height.ceil() as u32) * OVERSAMPLING)
    }

    fn draw<B: DrawingBackend>(
        &self,
        shapes: &[Shape],
        area: &DrawingArea<B, Shift>,
        target: Target,
    ) -> Result<(), ReportError> {
        font::register()?;
        let failed = |error: DrawingAreaErrorKind<B::ErrorType>| ReportError::Draw {
            plot: self.name,
            message: error.to_string(),
        };
        for shape in shapes {
            match shape {
                Shape::Path { points, width, ink } => {
                    let stroke = (width * f64::from(OVERSAMPLING)).round().max(1.0) as u32;
                    let style = ShapeStyle { color: ink.plotters(), filled: false, stroke_width: stroke };
                    area.draw(&PathElement::new(points.iter().copied().map(pixel).collect::<Vec<_>>(), style))
                        .map_err(failed)?;
                }
                Shape::Polygon { points, ink } => {
                    let points: Vec<_> = points.iter().copied().map(pixel).collect();
                    area.draw(&Polygon::new(points, ink.plotters().filled())).map_err(failed)?;
                }
                Shape::Disc { centre, radius, ink } => {
                    let radius = (radius * f64::from(OVERSAMPLING)).round() as i32;
                    area.draw(&Circle::new(pixel(*centre), radius, ink.plotters().filled())).map_err(failed)?;
                }
                Shape::Text(label) => {
                    draw_label(area, label, target).map_err(failed)?;
                }
                Shape::Picture { at, magnification, picture } => {
                    let large = png::enlarge(picture, magnification * OVERSAMPLING);
                    let size = (large.width, large.height);
                    if let Some(element) = BitMapElement::with_owned_buffer(pixel(*at), size, large.rgb) {
                        area.draw(&element).map_err(failed)?;
                    }
                }
            }
        }
        area.present().map_err(failed)
    }
}

/// A mark with an invisible disc around it that is easier to hit, and its text.
fn inline_mark(mark: &Mark, elements: &str) -> String {
    let scale = f64::from(OVERSAMPLING);
    let (x, y) = pixel(mark.at);
    let hit = format!(
        "<title>{}</title><circle class=\"hit\" cx=\"{x}\" cy=\"{y}\" r=\"{:.0}\"/>",
        escape(&mark.text),
        mark.radius * scale
    );
    match &mark.design {
        Some(design) => format!(
            "<a class=\"mark\" href=\"#{}\" data-design=\"{}\">\n{elements}{hit}</a>\n",
            escape(&design_anchor(design)),
            escape(design)
        ),
        None => format!("<g class=\"mark\" role=\"img\">\n{elements}{hit}</g>\n"),
    }
}

fn pixel((x, y): Point) -> (i32, i32) {
    let scale = f64::from(OVERSAMPLING);
    ((x * scale).round() as i32, (y * scale).round() as i32)
}

/// Which back-end draws: they do not agree on what a font's size is, nor on where its baseline lies.
#[derive(Clone, Copy)]
enum Target {
    Svg,
    Bitmap,
}

impl Target {
    /// What plotters takes as font size per em: its SVG back-end divides by 1.24, its `ab_glyph` font by the font's own height.
    fn height_per_em(self) -> f64 {
        match self {
            Self::Svg => 1.24,
            Self::Bitmap => font::HEIGHT,
        }
    }

    /// From a position anchored at the top to the baseline, in em: `dy="0.76em"` in SVG, half the font's height in `ab_glyph`.
    fn top_to_baseline(self) -> f64 {
        match self {
            Self::Svg => 0.76,
            Self::Bitmap => font::HEIGHT / 2.0,
        }
    }
}

fn draw_label<B: DrawingBackend>(
    area: &DrawingArea<B, Shift>,
    label: &Label,
    target: Target,
) -> Result<(), DrawingAreaErrorKind<B::ErrorType>> {
    let em = label.size * f64::from(OVERSAMPLING);
    let style = if label.bold { FontStyle::Bold } else { FontStyle::Normal };
    let turn = if label.upwards { FontTransform::Rotate270 } else { FontTransform::None };
    let plotters_font =
        FontDesc::new(FontFamily::Name(font::FAMILY), em * target.height_per_em(), style).transform(turn);
    let align = match (target, label.align) {
        (Target::Bitmap, _) | (Target::Svg, Align::Left) => HPos::Left,
        (Target::Svg, Align::Centre) => HPos::Center,
        (Target::Svg, Align::Right) => HPos::Right,
    };
    let style = plotters_font.color(&label.ink.plotters()).pos(Pos::new(align, VPos::Top));
    // From the middle of the capitals down to the baseline, then up to what the back-end takes for the top.
    let shift = (em * (font::CAPITALS / 2.0 - target.top_to_baseline())).round() as i32;
    let (x, y) = pixel(label.at);
    // A point `along` the line of text, seen from the label's position.
    let place = |along: i32| {
        if label.upwards { (x + shift, y - along) } else { (x + along, y + shift) }
    };
    match target {
        Target::Svg => area.draw_text(&label.text, &style, place(0)),
        // plotters leaves out each glyph's side bearing, which spoils the spacing: so each glyph is placed here.
        Target::Bitmap => {
            let before = match label.align {
                Align::Left => 0.0,
                Align::Centre => font::width(&label.text, em, label.bold) / 2.0,
                Align::Right => font::width(&label.text, em, label.bold),
            };
            for (glyph, start) in font::ink_starts(&label.text, em, label.bold) {
                area.draw_text(glyph.encode_utf8(&mut [0; 4]), &style, place((start - before).round() as i32))?;
            }
            Ok(())
        }
    }
}
