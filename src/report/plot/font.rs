//! The embedded font: DejaVu Sans, so that plots look alike on every machine and need no system fonts.

use super::super::ReportError;
use ab_glyph::{Font, FontRef, PxScale, ScaleFont};
use plotters::style::{FontStyle, register_font};
use std::sync::OnceLock;

/// Name of the embedded font, and at once the fallback list for SVG viewers that lack it (Verdana has the same widths).
pub(super) const FAMILY: &str = "DejaVu Sans, Verdana, sans-serif";
/// Ascent and descent of DejaVu Sans in em.
pub(super) const HEIGHT: f64 = 1.164;
/// Height of its capitals in em.
pub(super) const CAPITALS: f64 = 0.729;

const REGULAR: &[u8] = include_bytes!("../fonts/DejaVuSans.subset.ttf");
const BOLD: &[u8] = include_bytes!("../fonts/DejaVuSans-Bold.subset.ttf");

struct Fonts {
    regular: FontRef<'static>,
    bold: FontRef<'static>,
}

fn fonts() -> Option<&'static Fonts> {
    static FONTS: OnceLock<Option<Fonts>> = OnceLock::new();
    let load = || {
        register_font(FAMILY, FontStyle::Normal, REGULAR).ok()?;
        register_font(FAMILY, FontStyle::Bold, BOLD).ok()?;
        Some(Fonts { regular: FontRef::try_from_slice(REGULAR).ok()?, bold: FontRef::try_from_slice(BOLD).ok()? })
    };
    FONTS.get_or_init(load).as_ref()
}

/// Makes the font known to plotters under [`FAMILY`].
pub(super) fn register() -> Result<(), ReportError> {
    fonts().map(|_| ()).ok_or(ReportError::Font)
}

/// Width of a text whose em is `em` long; 0 if the font cannot be read, which drawing then reports.
pub(in super::super) fn width(text: &str, em: f64, bold: bool) -> f64 {
    set(text, em, bold).1
}

/// The text, or what is left of it with its middle left out, so that it is at most `most` wide: names of layers differ at both ends.
pub(in super::super) fn fitted(text: &str, em: f64, bold: bool, most: f64) -> String {
    if width(text, em, bold) <= most {
        return text.to_owned();
    }
    let chars: Vec<char> = text.chars().collect();
    let shortened = |kept: usize| -> String {
        let (head, tail) = (kept.div_ceil(2), kept / 2);
        chars[..head].iter().chain(&['…']).chain(&chars[chars.len() - tail..]).collect()
    };
    let kept = (1..chars.len()).rev().map(shortened).find(|text| width(text, em, bold) <= most);
    kept.unwrap_or_else(|| "…".to_owned())
}

/// Where the ink of each visible glyph starts, from the start of the text.
pub(super) fn ink_starts(text: &str, em: f64, bold: bool) -> Vec<(char, f64)> {
    set(text, em, bold).0
}

fn set(text: &str, em: f64, bold: bool) -> (Vec<(char, f64)>, f64) {
    let Some(fonts) = fonts() else {
        return (Vec::new(), 0.0);
    };
    let font = if bold { &fonts.bold } else { &fonts.regular }.as_scaled(PxScale::from((em * HEIGHT) as f32));
    let (mut starts, mut pen, mut previous) = (Vec::new(), 0.0, None);
    for c in text.chars() {
        let id = font.glyph_id(c);
        pen += previous.map_or(0.0, |previous| font.kern(previous, id));
        if let Some(outline) = font.outline_glyph(font.scaled_glyph(c)) {
            starts.push((c, f64::from(pen + outline.px_bounds().min.x)));
        }
        pen += font.h_advance(id);
        previous = Some(id);
    }
    (starts, f64::from(pen))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// fontTools: `sum(font["hmtx"][cmap[ord(c)]][0] for c in "PSNR") / 2.048`, regular and bold.
    #[test]
    fn widths_are_those_of_dejavu_sans() {
        assert!((width("PSNR", 1000.0, false) - 2680.7).abs() < 1.0, "{}", width("PSNR", 1000.0, false));
        assert!((width("PSNR", 1000.0, true) - 3060.1).abs() < 1.0, "{}", width("PSNR", 1000.0, true));
    }

    #[test]
    fn a_long_name_keeps_its_ends() {
        let fits = fitted("block4_conv2_1", 11.5, false, 200.0);
        assert_eq!(fits, "block4_conv2_1");
        let cut = fitted("features.denseblock3.denselayer17.conv2", 11.5, false, 120.0);
        assert!(width(&cut, 11.5, false) <= 120.0 && cut.starts_with("feat") && cut.ends_with("conv2"), "{cut}");
        assert_eq!(fitted("name", 11.5, false, 1.0), "…");
    }

    #[test]
    fn every_symbol_that_the_plots_use_is_in_the_subset() {
        let fonts = fonts().unwrap();
        for c in "±×²−–…≤≥★◆~éüß".chars() {
            assert!(fonts.regular.glyph_id(c).0 != 0 && fonts.bold.glyph_id(c).0 != 0, "{c}");
        }
    }
}
