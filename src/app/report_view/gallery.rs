//! The reconstructions that a study kept: those of the chosen design, of every other one, and a scale of decibels.

use crate::app::AppError;
use crate::estimate::{Gallery, GalleryImage};
use crate::exec::gallery_name;
use crate::measurement::{DesignId, Fidelity, Metric};
use crate::record::{DesignRecord, Record};
use crate::report::view;
use crate::search::Status;
use crate::store::{Event, StudyReader};
use crate::verify::Verdict;

/// What samples are to show, in dB: from little more than the mean image to hardly told apart from the original.
const LEVELS: [f64; 8] = [9.0, 12.0, 15.0, 18.0, 21.0, 25.0, 30.0, 36.0];

/// How far a sample may lie from what it is to show, in dB.
const TOLERANCE: f64 = 1.25;

/// The galleries of a study, those of verifications first.
pub(super) struct Galleries(Vec<Kept>);

/// The gallery of one measurement.
struct Kept {
    design: DesignId,
    fidelity: Fidelity,
    seed: u64,
    verification: bool,
    gallery: Gallery,
}

impl Galleries {
    /// Reads those of the record's designs.
    pub(super) fn read(reader: &StudyReader, record: &Record) -> Result<Self, AppError> {
        let mut kept = Vec::new();
        let verified = record.verdicts.iter().flat_map(|verdict| {
            // The strongest first: its pictures are the ones to show.
            let strongest = strongest_seed(reader, verdict);
            let others = verdict.seeds.iter().copied().filter(move |&seed| Some(seed) != strongest);
            strongest.into_iter().chain(others).map(|seed| (&verdict.design, verdict.fidelity, seed, true))
        });
        let searched = record
            .designs
            .iter()
            .filter_map(|design| design.measured.first().map(|row| (&design.id, row.fidelity, row.seed, false)));
        for (design, fidelity, seed, verification) in verified.chain(searched) {
            let Some(bytes) = reader.load_blob(&gallery_name(design, fidelity, seed))? else { continue };
            // A gallery that can't be read is left out: the figures stand without it.
            if let Ok(gallery) = serde_json::from_slice::<Gallery>(&bytes) {
                kept.push(Kept { design: design.clone(), fidelity, seed, verification, gallery });
            }
        }
        Ok(Self(kept))
    }

    /// A design's pictures.
    pub(super) fn of(&self, design: &DesignId) -> Vec<view::GallerySection> {
        let mut sections: Vec<view::GallerySection> = Vec::new();
        for kept in self.0.iter().filter(|kept| kept.design == *design) {
            // Where a design was verified, what the search's short training made adds nothing.
            if kept.verification || sections.is_empty() {
                sections.extend(kept.sections(if kept.verification { "Verification" } else { "Search" }));
            }
        }
        sections
    }

    /// The chosen design's verified reconstructions, and those of the measured design that leaks most.
    pub(super) fn sections(&self, record: &Record) -> Vec<view::GallerySection> {
        let title = |design: &DesignRecord| {
            let channels = design.design.channels.depth();
            format!("{} at {channels} channel{}", design.design.split, if channels == 1 { "" } else { "s" })
        };
        let mut sections = Vec::new();
        let mut add = |design: &DesignRecord, title: &str| {
            let kept = self.0.iter().find(|kept| kept.design == design.id);
            sections.extend(kept.into_iter().flat_map(|kept| kept.sections(title)));
        };
        if let Some(design) = record.chosen_design() {
            let kind = match (record.chosen_verdict(), record.status) {
                (Some(_), _) => "chosen",
                (None, Status::Infeasible) => "nearest",
                (None, _) => "best",
            };
            add(design, &format!("The {kind} design: {}", title(design)));
        }
        let psnr = |d: &&DesignRecord| d.measured(Metric::PsnrMean).map_or(f64::NEG_INFINITY, |m| m.value);
        let measured = record.designs.iter().filter(|d| d.order.is_some());
        let leakiest = measured.max_by(|a, b| psnr(a).total_cmp(&psnr(b)));
        if let Some(design) = leakiest.filter(|design| record.chosen.as_ref() != Some(&design.id)) {
            add(design, &format!("For contrast, the design that leaks most: {}", title(design)));
        }
        sections
    }

    /// Reconstructions of about so many decibels each, whoever made them.
    pub(super) fn samples(&self) -> Vec<view::Sample> {
        let all = || {
            self.0.iter().flat_map(|kept| {
                let of = |attack: &'static str| move |image| (kept, attack, image);
                let decoded = kept.gallery.images.iter().map(of("trained attack"));
                decoded.chain(kept.gallery.inverted.iter().map(of("white-box inversion")))
            })
        };
        let mut taken: Vec<f64> = Vec::new();
        let mut samples = Vec::new();
        for level in LEVELS {
            let near = |image: &GalleryImage| (image.psnr - level).abs();
            let nearest = all().min_by(|(.., a), (.., b)| near(a).total_cmp(&near(b)));
            let Some((kept, attack, image)) = nearest.filter(|(.., image)| near(image) <= TOLERANCE) else { continue };
            // The same picture may be the nearest to two levels.
            if taken.contains(&image.psnr) {
                continue;
            }
            taken.push(image.psnr);
            samples.extend(pair(image.clone()).map(|pair| view::Sample {
                design: kept.design.to_string(),
                attack: format!("{attack}, in {}", if kept.verification { "verification" } else { "the search" }),
                pair,
            }));
        }
        samples
    }
}

impl Kept {
    /// The pictures of both attacks, as far as there are any.
    fn sections(&self, title: &str) -> Vec<view::GallerySection> {
        let Self { fidelity, seed, gallery, .. } = self;
        [(&gallery.images, "trained attack"), (&gallery.inverted, "white-box inversion")]
            .into_iter()
            .map(|(images, attack)| view::GallerySection {
                title: format!("{title} ({attack})"),
                caption: format!("{fidelity} protocol, seed {seed}; images that no training saw."),
                pairs: images.iter().cloned().filter_map(pair).collect(),
            })
            .filter(|section| !section.pairs.is_empty())
            .collect()
    }
}

/// The verification's seed whose attack recovered most.
fn strongest_seed(reader: &StudyReader, verdict: &Verdict) -> Option<u64> {
    let mut best: Option<(f64, u64)> = None;
    for event in reader.events() {
        let Event::Evaluation(e) = event else { continue };
        if (&e.design, e.fidelity) != (&verdict.design, verdict.fidelity) || !verdict.seeds.contains(&e.seed) {
            continue;
        }
        let found = e.measurements().iter().find(|row| row.metric == Metric::PsnrMean).map(|row| row.value);
        if let Some(value) = found
            && best.is_none_or(|(most, _)| value > most)
        {
            best = Some((value, e.seed));
        }
    }
    best.map(|(_, seed)| seed)
}

/// A picture of the gallery beside its original; `None` where bytes and size disagree.
pub(in crate::app) fn pair(image: GalleryImage) -> Option<view::GalleryPair> {
    let picture = |rgb: Vec<u8>| view::Picture { width: image.width as u32, height: image.height as u32, rgb };
    let whole = image.width * image.height * 3;
    if image.original.len() != whole || image.reconstruction.len() != whole {
        return None;
    }
    Some(view::GalleryPair {
        exposure: match image.label.as_str() {
            "best" => view::Exposure::Most,
            "median" => view::Exposure::Median,
            _ => view::Exposure::Least,
        },
        psnr: image.psnr,
        ssim: Some(image.ssim),
        original: picture(image.original.clone()),
        reconstruction: picture(image.reconstruction.clone()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(psnr: f64) -> GalleryImage {
        let pixels = vec![0; 3];
        GalleryImage {
            label: "median".to_owned(),
            index: 0,
            psnr,
            ssim: 0.5,
            width: 1,
            height: 1,
            original: pixels.clone(),
            reconstruction: pixels,
        }
    }

    fn galleries(decoded: &[f64], inverted: &[f64]) -> Galleries {
        let images = |psnrs: &[f64]| psnrs.iter().copied().map(image).collect();
        let gallery = Gallery { images: images(decoded), inverted: images(inverted) };
        let design: DesignId = "conv3_1-4-00000000".parse().unwrap();
        Galleries(vec![Kept { design, fidelity: Fidelity::Quick, seed: 1, verification: false, gallery }])
    }

    #[test]
    fn samples_are_the_nearest_to_each_level_and_none_is_shown_twice() {
        let samples = galleries(&[14.2, 15.4, 50.0], &[18.1, 24.6]).samples();
        let psnrs: Vec<f64> = samples.iter().map(|sample| sample.pair.psnr).collect();
        assert_eq!(psnrs, [15.4, 18.1, 24.6], "what is far from every level is left out");
        assert!(
            samples[0].attack.starts_with("trained attack") && samples[1].attack.starts_with("white-box inversion")
        );
    }

    #[test]
    fn a_picture_that_is_not_as_large_as_it_says_is_left_out() {
        let short = GalleryImage { width: 2, ..image(15.0) };
        assert!(pair(short).is_none() && pair(image(15.0)).is_some());
    }
}
