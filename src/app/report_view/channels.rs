//! The channels of the chosen design's layer.

use crate::record::Record;
use crate::report::view;

/// The recorded channels, the chosen design's marked.
pub(super) fn view(record: &Record) -> Option<view::ChannelsView> {
    let map = record.channels.as_ref()?;
    let design = record.chosen_design().filter(|design| design.design.split == map.split)?;
    let kept = design.design.channels.channels().unwrap_or(&[]);
    let channels = map.channels.iter().enumerate().map(|(index, channel)| view::Channel {
        utility: channel.class_separation,
        leakage: channel.linear_attack_psnr,
        fisher: [channel.fisher_map, channel.fisher_pooled],
        dead: channel.dead,
        chosen: kept.iter().any(|&kept| usize::from(kept) == index),
    });
    Some(view::ChannelsView { split: map.split.clone(), channels: channels.collect() })
}
