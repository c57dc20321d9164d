//! What the leakage figures mean, and what they don't.

use super::super::text::escape;
use super::super::view::{Status, StudyView};
use super::list;

pub(super) fn section(view: &StudyView) -> String {
    let threat = &view.threat;
    let mut meaning = vec![
        "Leakage is the best reconstruction that any of the attacks listed here reached on images that no training saw.".to_owned(),
        "PSNR is the mean squared error over all pixels on a logarithmic scale: 3 dB more is half the error. At the mean image the \
         attacker learned nothing about the single image; at the 8×8 thumbnail, about as much as a thumbnail shows; above some 30 dB \
         the reconstruction is hardly told apart from the original."
            .to_owned(),
    ];
    meaning.extend(threat.remarks.iter().cloned());
    let limits = [
        "It is no proof: an attacker with more pairs, more computation or a better attack may recover more.",
        "The mean does not protect each image: the 95th percentile, the maximum and the most exposed image say how bad it can get.",
        "PSNR and SSIM compare pixels, not meaning: what an image shows may be guessed from a poor reconstruction, and the cloud net is \
         trained to tell its class.",
        "It holds for images like those of the evaluation part; other images need a study of their own.",
    ]
    .map(str::to_owned);
    let attacks = if threat.attacks.is_empty() {
        "<p>No attack has run yet.</p>\n".to_owned()
    } else {
        let when = match view.status {
            Status::InProgress | Status::Stopped => "Attacks of the search, and of the verification that is to come:",
            _ => "Attacks that ran:",
        };
        format!("<p>{when}</p>\n{}", list(&threat.attacks))
    };
    format!(
        "<section id=\"threat\">\n<h2>What the leakage figures mean, and what they do not</h2>\n<p>{}</p>\n{attacks}\
         <h3>They mean</h3>\n{}<h3>They do not mean</h3>\n{}</section>\n",
        escape(&threat.attacker),
        list(&meaning),
        list(&limits)
    )
}
