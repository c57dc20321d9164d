//! The channels of the chosen design's layer: what each is worth against what it gives away.

use super::super::text::fixed;
use super::super::view::{Channel, ChannelsView, StudyView};
use super::axes::{Axes, Range};
use super::font;
use super::legend::Legend;
use super::scene::{Align, Ink, Label, Mark, Point, Scene};
use super::style::{BLACK, GREY, Marker, SMALL, WIDTH};

const HEIGHT: f64 = 440.0;
const LEGEND_WIDTH: f64 = 200.0;
/// Kept channels are numbered as long as there are no more of them.
const NUMBERED: usize = 40;
/// A kept channel: Okabe and Ito's vermilion, and a diamond.
const KEPT: Ink = Ink::new((213, 94, 0));

/// Draws the map, where the study recorded the channels and one of them is alive.
pub(in super::super) fn draw(view: &StudyView) -> Option<Scene> {
    let map = view.channels.as_ref()?;
    let live: Vec<(usize, &Channel)> = map.channels.iter().enumerate().filter(|(_, c)| !c.dead).collect();
    if live.is_empty() {
        return None;
    }
    let title = format!("Channels of {}: class separation against what each leaks by itself", map.split);
    let mut scene = Scene::new("channels", title, WIDTH, HEIGHT);
    let axes = Axes {
        left: 70.0,
        top: 14.0,
        right: WIDTH - LEGEND_WIDTH - 24.0,
        bottom: HEIGHT - 56.0,
        x: Range::around(live.iter().map(|(_, c)| c.leakage), 0.06, 0.2),
        y: Range::around(live.iter().map(|(_, c)| c.utility), 0.08, 0.05),
    };
    axes.draw(&mut scene, "Leakage: PSNR of a linear map from this channel alone (dB)", "Utility: class separation");
    // Kept channels over the others.
    let place = |c: &Channel| axes.at(c.leakage, c.utility);
    for (index, channel) in live.iter().filter(|(_, c)| !c.chosen) {
        let mark = Mark { at: place(channel), radius: 6.0, design: None, text: tip(*index, channel) };
        scene.mark(mark, |scene| dropped(scene, place(channel)));
    }
    for (index, channel) in live.iter().filter(|(_, c)| c.chosen) {
        let mark = Mark { at: place(channel), radius: 8.0, design: None, text: tip(*index, channel) };
        scene.mark(mark, |scene| kept(scene, place(channel)));
    }
    axes.border(&mut scene);
    number(&mut scene, &axes, &live);
    draw_legend(&mut scene, map, (axes.right + 24.0, axes.top));
    Some(scene)
}

fn kept(scene: &mut Scene, at: Point) {
    Marker::of(3).in_ink(KEPT).filled(scene, at, 6.5);
}

fn dropped(scene: &mut Scene, at: Point) {
    Marker::of(0).in_ink(GREY).hollow(scene, at, 4.0);
}

/// Writes the numbers of kept channels beside them, where nothing else is written yet.
fn number(scene: &mut Scene, axes: &Axes, live: &[(usize, &Channel)]) {
    let chosen: Vec<_> = live.iter().filter(|(_, c)| c.chosen).collect();
    if chosen.len() > NUMBERED {
        return;
    }
    // Nor over a kept channel's own mark.
    let mark = |channel: &Channel| {
        let (x, y) = axes.at(channel.leakage, channel.utility);
        (x - 8.0, y - 8.0, x + 8.0, y + 8.0)
    };
    let mut taken: Vec<(f64, f64, f64, f64)> = chosen.iter().map(|(_, channel)| mark(channel)).collect();
    for (index, channel) in chosen {
        let (x, y) = axes.at(channel.leakage, channel.utility);
        let text = index.to_string();
        let half = font::width(&text, SMALL, true) / 2.0;
        let places = [(x + half + 11.0, y), (x - half - 11.0, y), (x, y - 15.0), (x, y + 15.0)];
        let label = |at| Label::new(at, text.clone(), SMALL, BLACK, Align::Centre).bold();
        let free = |bounds: (f64, f64, f64, f64)| {
            let apart =
                |b: &(f64, f64, f64, f64)| bounds.2 <= b.0 || b.2 <= bounds.0 || bounds.3 <= b.1 || b.3 <= bounds.1;
            bounds.2 < axes.right && bounds.0 > axes.left && bounds.3 < axes.bottom && taken.iter().all(apart)
        };
        if let Some(label) = places.into_iter().map(label).find(|label| free(label.bounds())) {
            taken.push(label.bounds());
            scene.text(label);
        }
    }
}

fn tip(index: usize, channel: &Channel) -> String {
    format!(
        "Channel {index}, {}\nClass separation: {}\nLinear map from it alone: {} dB\nFisher's criterion: {} (map), {} (its mean)",
        if channel.chosen { "kept" } else { "not kept" },
        fixed(channel.utility, 3),
        fixed(channel.leakage, 2),
        fixed(channel.fisher[0], 3),
        fixed(channel.fisher[1], 3),
    )
}

fn draw_legend(scene: &mut Scene, map: &ChannelsView, at: Point) {
    let count = |test: &dyn Fn(&Channel) -> bool| map.channels.iter().filter(|channel| test(channel)).count();
    let mut legend = Legend::new(at, LEGEND_WIDTH);
    legend.heading(scene, "Channels");
    let (chosen, others) = (count(&|c| c.chosen), count(&|c| !c.chosen && !c.dead));
    if chosen > 0 {
        legend.entry(scene, &format!("kept ({chosen})"), kept);
    }
    legend.entry(scene, &format!("not kept ({others})"), dropped);
    let dead = count(&|c| c.dead);
    if dead > 0 {
        legend.entry(scene, &format!("not shown: constant ({dead})"), |_, _| {});
    }
}
