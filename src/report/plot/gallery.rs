//! Originals beside reconstructions, as one picture.

use super::super::text::fixed;
use super::super::view::{GalleryPair, StudyView};
use super::scene::{Align, Label, Scene};
use super::style::{BLACK, GREY, SMALL, TEXT, WIDTH};

/// About how wide a picture is drawn, in scene units.
const PICTURE: u32 = 128;
const COLUMNS: usize = 3;

/// Draws the gallery, or nothing without pictures.
pub(in super::super) fn draw(view: &StudyView) -> Option<Scene> {
    let sections: Vec<_> = view.gallery.iter().filter(|section| !section.pairs.is_empty()).collect();
    if sections.is_empty() {
        return None;
    }
    let mut scene = Scene::new("gallery", "Original images and what the attacker made of their features", WIDTH, 0.0);
    let column = WIDTH / COLUMNS as f64;
    let mut y = 0.0;
    for section in sections {
        scene.text(Label::new((12.0, y + 18.0), section.title.clone(), TEXT, BLACK, Align::Left).bold());
        y += 36.0;
        for line in section.pairs.chunks(COLUMNS) {
            let mut tallest: f64 = 0.0;
            for (i, pair) in line.iter().enumerate() {
                tallest = tallest.max(draw_pair(&mut scene, pair, (12.0 + column * i as f64, y)));
            }
            y += tallest + 64.0;
        }
    }
    scene.height = y;
    Some(scene)
}

/// Draws a pair with its caption below and returns the height of the pictures.
fn draw_pair(scene: &mut Scene, pair: &GalleryPair, (x, y): (f64, f64)) -> f64 {
    let magnification = magnification(pair.original.width);
    let (width, height) =
        (f64::from(pair.original.width * magnification), f64::from(pair.original.height * magnification));
    scene.picture((x, y), magnification, pair.original.clone());
    scene.picture((x + width + 8.0, y), magnification, pair.reconstruction.clone());
    scene.text(Label::new((x + width / 2.0, y + height + 12.0), "original", SMALL, GREY, Align::Centre));
    scene.text(Label::new((x + width * 1.5 + 8.0, y + height + 12.0), "reconstruction", SMALL, GREY, Align::Centre));
    scene.text(Label::new(
        (x, y + height + 31.0),
        format!("{}: {}", pair.exposure.label(), figures(pair)),
        SMALL,
        BLACK,
        Align::Left,
    ));
    height
}

/// `17.5 dB, SSIM 0.56`.
pub(in super::super) fn figures(pair: &GalleryPair) -> String {
    let ssim = pair.ssim.map_or(String::new(), |ssim| format!(", SSIM {}", fixed(ssim, 2)));
    format!("{} dB{ssim}", fixed(pair.psnr, 1))
}

/// The whole factor that brings a picture closest to the width shown, from below.
pub(in super::super) fn magnification(width: u32) -> u32 {
    (PICTURE / width.max(1)).max(1)
}
