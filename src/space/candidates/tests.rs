use super::*;
use crate::backbone::Architecture;
use crate::config::{PrecisionEntry, SelectionsEntry};
use crate::features::ChannelScores;
use crate::proxy::MomentsBuilder;
use crate::space::{Mix, MixInsight};

const MIXED: Selection = Selection::Mixed { weight: 100, relu: true };

/// A layer of 64 channels, seven of which are dead.
fn insight() -> LayerInsight {
    let moments = |channels: usize| {
        let mut builder = MomentsBuilder::new(2, channels, 4, 2);
        let wave =
            |length: usize, speed: f32| (0..length).map(|i| (i as f32 * speed).sin() * 0.5 + 0.5).collect::<Vec<_>>();
        let features = wave(40 * 4 * channels, 1.7);
        builder.add_pixels(&features, &wave(40 * 48, 0.9));
        builder.add_classes(&features, &[0, 1].repeat(20));
        builder.finish(1.0)
    };
    let fisher_map: Vec<f64> = (0..64).map(|i| f64::from(i * 37 % 64)).collect();
    let dead = (0..64).map(|i| i % 10 == 3).collect();
    let weights = (0..16 * 64).map(|i| (i as f32 * 0.3).cos()).collect();
    let mix = Mix::new(weights, vec![0.5; 16], true).unwrap();
    LayerInsight {
        scores: ChannelScores { fisher_pooled: fisher_map.clone(), fisher_map, dead },
        moments: moments(64),
        mixes: vec![MixInsight { selection: MIXED, mix, moments: moments(16) }],
    }
}

fn selections() -> Vec<Selection> {
    Selection::all(&SelectionsEntry {
        first: true,
        fisher: true,
        random: 9,
        pruned_random: 9,
        balanced: vec![0.0, 0.5, 2.0],
        mixed: vec![],
        mixed_relu: vec![1.0, 2.0],
    })
}

/// Depths at which rules differ, at which they all keep the same channels, and that no layer has.
fn layers(insight: &LayerInsight) -> Vec<SplitLayer<'_>> {
    let net = Architecture::vgg16();
    let layer = |name: &str| {
        let layer = net.layer(name).unwrap();
        let cost = |depth| (depth, Cost::new(net, layer, 32, depth, PrecisionEntry::default()).unwrap());
        SplitLayer { layer, insight, depths: [1, 5, 16, 28, 57, 60].map(cost).to_vec() }
    };
    vec![layer("conv1_2"), layer("conv2_1")]
}

fn enumerated<'a>(insight: &'a LayerInsight, selections: &'a [Selection]) -> Candidates<'a> {
    Candidates::enumerate(layers(insight), selections, &|_| ControlFlow::Continue(())).unwrap()
}

/// Slot by slot, everything made and kept.
fn eagerly(insight: &LayerInsight, selections: &[Selection]) -> Vec<Candidate> {
    let mut candidates: Vec<Candidate> = Vec::new();
    for SplitLayer { layer, insight, depths } in layers(insight) {
        for (depth, cost) in depths {
            for &selection in selections {
                let Some(channels) = selection.choose(layer.name, depth, insight) else {
                    continue;
                };
                let Proxies { linear_attack, class_separation } = match insight.mix(selection) {
                    Some(mix) => mix.moments.proxies(&(0..depth as u16).collect::<Vec<_>>(), &mut Workspace::default()),
                    None => insight.moments.proxies(channels.channels().unwrap(), &mut Workspace::default()),
                };
                let design = Design { split: layer.name.to_owned(), channels };
                match candidates.iter_mut().find(|known| known.id == design.id()) {
                    Some(known) => known.selections.push(selection),
                    None => candidates.push(Candidate {
                        id: design.id(),
                        design,
                        split_index: layer.index,
                        selections: vec![selection],
                        cost,
                        linear_attack,
                        class_separation,
                    }),
                }
            }
        }
    }
    candidates
}

/// Everything of a candidate, for comparison.
fn told(candidate: &Candidate) -> String {
    format!("{candidate:?} {:?}", candidate.features())
}

#[test]
fn equals_the_eager_enumeration_whatever_the_threads() {
    let (insight, selections) = (insight(), selections());
    let expected: Vec<String> = eagerly(&insight, &selections).iter().map(told).collect();
    for threads in [1, 3] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let candidates = pool.install(|| enumerated(&insight, &selections));
        assert_eq!(candidates.iter().map(|candidate| told(&candidate)).collect::<Vec<_>>(), expected);
    }
}

#[test]
fn what_is_known_without_making_a_candidate_is_what_it_has() {
    let (insight, selections) = (insight(), selections());
    let candidates = enumerated(&insight, &selections);
    let listed: Candidates<'_> = candidates.iter().collect();
    assert!(
        candidates
            .places()
            .map(|(place, range)| (place.clone(), range))
            .eq(listed.places().map(|(place, range)| (place.clone(), range)))
    );
    for candidates in [&candidates, &listed] {
        for (index, candidate) in candidates.iter().enumerate() {
            assert_eq!(candidate.id, candidate.design.id());
            assert_eq!(candidates.id(index), candidate.id);
            assert_eq!(candidates.index_of(&candidate.id), Some(index));
            assert_eq!(candidates.features(index), candidate.features());
            assert_eq!(*candidates.place(index), candidate.place());
        }
        assert_eq!(candidates.index_of(&"conv1_2-5-00000000".parse().unwrap()), None);
        assert_eq!(candidates.index_of(&"other".parse().unwrap()), None);
    }
}

#[test]
fn selections_that_agree_make_one_candidate() {
    let (insight, selections) = (insight(), selections());
    let candidates = enumerated(&insight, &selections);
    let (_, all) = candidates.places().find(|(place, _)| place.depth == 57).unwrap();
    assert_eq!(all.len(), 1, "there are 57 live channels");
    // Neither what is left of pruning nor the mix has as many.
    let able = |rule: &&Selection| !matches!(rule, Selection::PrunedRandom { .. } | Selection::Mixed { .. });
    let able: Vec<Selection> = selections.iter().filter(able).copied().collect();
    assert_eq!(candidates.get(all.start).selections, able);
    assert!(candidates.places().all(|(place, _)| place.depth != 60));
}

#[test]
fn of_two_designs_of_one_id_the_first_is_kept() {
    let selections = [Selection::First, Selection::Fisher, Selection::Random { seed: 0 }];
    let mut rules = Rules::new(&selections);
    // The id shows the upper half.
    rules.add([Some(7 << 32), Some(7 << 32 | 1), Some(7 << 32)].into_iter());
    assert_eq!((rules.contents.len(), rules.selections_of(0)), (1, vec![selections[0], selections[2]]));
}

#[test]
fn a_million_candidates_fit_in_memory() {
    let rules = size_of::<u64>() + size_of::<u32>();
    assert!(size_of::<Proxies>() + rules < 32, "bytes of a candidate");
    let (insight, selections) = (insight(), selections());
    let candidates = enumerated(&insight, &selections);
    let Source::Rules(Rules { contents, makers, .. }) = &candidates.source else {
        panic!("rules make them");
    };
    assert_eq!([contents.len(), makers.len(), candidates.proxies.len()], [candidates.len(); 3]);
}

#[test]
fn the_enumeration_ends_when_the_user_says_so() {
    let (insight, selections) = (insight(), selections());
    let watch = |done: f64| if done > 0.5 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) };
    assert_eq!(Candidates::enumerate(layers(&insight), &selections, &watch).unwrap_err(), Interrupted);
}
