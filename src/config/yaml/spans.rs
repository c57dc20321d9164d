//! Where the keys and values of a YAML text stand.
//!
//! The parser that makes values of a text forgets where they stood. A second one, which reports events with their places, finds a
//! value again by its path: only once something is wrong with it.

use saphyr_parser::{Event, Parser, Span};

use super::super::place::Place;

/// How deep lists and maps may be nested: far beyond any real file, and a bound on recursion.
const DEEPEST: usize = 64;

/// A value with its place.
#[derive(Debug)]
struct Node {
    span: Span,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Scalar(String),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

#[derive(Debug)]
struct Entry {
    key: String,
    key_span: Span,
    value: Node,
}

/// The first document of a text.
#[derive(Debug)]
pub(super) struct Document<'a> {
    text: &'a str,
    root: Node,
}

impl<'a> Document<'a> {
    /// `None` for a text that isn't YAML, or that is empty.
    pub(super) fn parse(text: &'a str) -> Option<Self> {
        let mut events = Parser::new_from_str(text);
        loop {
            if let Event::DocumentStart(_) = events.next_event()?.ok()?.0 {
                let root = node(&mut || events.next_event()?.ok(), 0)?;
                return Some(Self { text, root });
            }
        }
    }

    /// The value at a dotted path such as `privacy.psnr.mean` or `splits.conv1_2[1]`, or the part of it that reads `value`; the key
    /// where the value is no single scalar, and the last key that exists where the path leads nowhere.
    pub(super) fn value(&self, path: &str, value: Option<&str>) -> Option<Place> {
        let Found { key, node, is_whole } = self.find(path);
        let wanted = value.filter(|_| is_whole);
        let named = key.filter(|entry| wanted == Some(entry.key.as_str())).map(|entry| entry.key_span);
        let part = || wanted.and_then(|value| scalar(node, value));
        let whole =
            || matches!(node.kind, Kind::Scalar(_)).then_some(node.span).filter(|span| is_whole && !span.is_empty());
        let key = || key.map(|entry| entry.key_span);
        self.place(named.or_else(part).or_else(whole).or_else(key).or_else(|| first(node))?)
    }

    /// The last of the keys called `key` in the map at `path`.
    pub(super) fn key(&self, path: &str, key: &str) -> Option<Place> {
        let Found { node, .. } = self.find(path);
        let Kind::Map(entries) = &node.kind else { return None };
        self.place(entries.iter().rev().find(|entry| entry.key == key)?.key_span)
    }

    /// The key or scalar that holds the character at `line` and `column`, both counted from 1.
    pub(super) fn at(&self, line: usize, column: usize) -> Option<Place> {
        self.place(at(&self.root, (line, column.checked_sub(1)?))?)
    }

    /// The node at a path; the last that exists on the way to it where there is none.
    fn find(&self, path: &str) -> Found<'_> {
        let mut found = Found { key: None, node: &self.root, is_whole: true };
        let mut rest = path;
        while !rest.is_empty() {
            let Some((key, node, left)) = step(found.node, rest) else {
                return Found { is_whole: false, ..found };
            };
            found = Found { key, node, is_whole: true };
            rest = left.strip_prefix('.').unwrap_or(left);
        }
        found
    }

    fn place(&self, span: Span) -> Option<Place> {
        let width = match span.start.line() == span.end.line() {
            true => span.end.col().saturating_sub(span.start.col()),
            // Of what goes on over several lines the first is marked.
            false => usize::MAX,
        };
        Place::new(self.text, span.start.line(), span.start.col() + 1, width.max(1))
    }
}

struct Found<'n> {
    /// The entry that leads to the node; none for the items of lists.
    key: Option<&'n Entry>,
    node: &'n Node,
    /// Whether the path leads there, and no further.
    is_whole: bool,
}

/// One step along a path: the entry, where there is one, the node, and the rest of the path.
fn step<'n, 'p>(node: &'n Node, path: &'p str) -> Option<(Option<&'n Entry>, &'n Node, &'p str)> {
    match &node.kind {
        Kind::Scalar(_) => None,
        Kind::Map(entries) => {
            // Keys may hold dots, as layers' names do: the longest one counts.
            let leads = |entry: &&Entry| {
                let rest = path.strip_prefix(entry.key.as_str());
                !entry.key.is_empty() && rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
            };
            let entry = entries.iter().filter(leads).max_by_key(|entry| entry.key.len())?;
            Some((Some(entry), &entry.value, &path[entry.key.len()..]))
        }
        Kind::List(items) => match path.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((index, rest)) => Some((None, items.get(index.parse::<usize>().ok()?)?, rest)),
            // An item is also called by the name that it gives itself, as the columns of a replay are.
            None => {
                let name = path.split('.').next().unwrap_or(path);
                Some((None, items.iter().find(|item| scalar(item, name).is_some())?, &path[name.len()..]))
            }
        },
    }
}

/// The first key of a map, or the whole of anything else.
fn first(node: &Node) -> Option<Span> {
    match &node.kind {
        Kind::Map(entries) => entries.first().map(|entry| entry.key_span),
        _ => Some(node.span),
    }
}

/// Where the scalar that reads `value` stands in a node; keys count, too.
fn scalar(node: &Node, value: &str) -> Option<Span> {
    match &node.kind {
        Kind::Scalar(text) => (text == value && !text.is_empty()).then_some(node.span),
        Kind::List(items) => items.iter().find_map(|item| scalar(item, value)),
        Kind::Map(entries) => entries.iter().find_map(|entry| {
            let key = (entry.key == value).then_some(entry.key_span);
            scalar(&entry.value, value).or(key)
        }),
    }
}

fn at(node: &Node, place: (usize, usize)) -> Option<Span> {
    let holds = |span: Span| {
        let from = (span.start.line(), span.start.col());
        let to = (span.end.line(), span.end.col());
        (from <= place && place < to).then_some(span)
    };
    match &node.kind {
        Kind::Scalar(_) => holds(node.span),
        Kind::List(items) => items.iter().find_map(|item| at(item, place)),
        Kind::Map(entries) => {
            entries.iter().find_map(|entry| holds(entry.key_span).or_else(|| at(&entry.value, place)))
        }
    }
}

/// Reads one node; `None` where events end early, or go too deep.
fn node<'i>(next: &mut dyn FnMut() -> Option<(Event<'i>, Span)>, depth: usize) -> Option<Node> {
    let (event, span) = next()?;
    node_of(event, span, next, depth)
}

fn node_of<'i>(
    event: Event<'i>,
    span: Span,
    next: &mut dyn FnMut() -> Option<(Event<'i>, Span)>,
    depth: usize,
) -> Option<Node> {
    if depth > DEEPEST {
        return None;
    }
    match event {
        Event::Scalar(text, ..) => Some(Node { span, kind: Kind::Scalar(text.into_owned()) }),
        Event::Alias(_) => Some(Node { span, kind: Kind::Scalar(String::new()) }),
        Event::SequenceStart(..) => {
            let mut items = Vec::new();
            loop {
                match next()? {
                    (Event::SequenceEnd, end) => {
                        let span = Span::new(span.start, end.end);
                        return Some(Node { span, kind: Kind::List(items) });
                    }
                    (event, span) => items.push(node_of(event, span, next, depth + 1)?),
                }
            }
        }
        Event::MappingStart(..) => {
            let mut entries = Vec::new();
            loop {
                match next()? {
                    (Event::MappingEnd, end) => {
                        let span = Span::new(span.start, end.end);
                        return Some(Node { span, kind: Kind::Map(entries) });
                    }
                    (event, span) => {
                        let key = node_of(event, span, next, depth + 1)?;
                        let value = node(next, depth + 1)?;
                        let (text, key_span) = match key.kind {
                            Kind::Scalar(text) => (text, key.span),
                            // No file of this program has such keys.
                            _ => (String::new(), key.span),
                        };
                        entries.push(Entry { key: text, key_span, value });
                    }
                }
            }
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "space: s.yaml\nprivacy:\n  psnr: {mean: 18 dB, p95: 21 dB}\nsplits:\n  layer1.0.add: [4, 80]\n  \
        layer1: [2]\nconstraints:\n  - {column: psnr, max: 25}\n  - {column: macs, max: .inf}\n";

    fn found(place: Option<Place>) -> (usize, String) {
        let place = place.unwrap();
        (place.line, place.text.chars().skip(place.column - 1).take(place.width).collect())
    }

    #[test]
    fn values_are_found_by_their_path() {
        let document = Document::parse(TEXT).unwrap();
        for (path, value, line, text) in [
            ("space", None, 1, "s.yaml"),
            ("privacy.psnr.mean", Some("18 dB"), 3, "18 dB"),
            ("privacy.psnr", Some("21 dB"), 3, "21 dB"),
            ("privacy", Some("no bound"), 2, "privacy"),
            ("privacy.ssim", Some("3"), 2, "privacy"),
            ("splits.layer1.0.add", Some("80"), 5, "80"),
            ("splits.layer1.0.add[0]", None, 5, "4"),
            ("splits.layer1.0.add", Some("layer1.0.add"), 5, "layer1.0.add"),
            ("splits.layer1", Some("[0]"), 6, "layer1"),
            ("constraints.macs", Some("inf"), 9, "column"),
            ("constraints.macs.max", None, 9, ".inf"),
            ("nothing", None, 1, "space"),
        ] {
            assert_eq!(found(document.value(path, value)), (line, text.to_owned()), "{path}");
        }
    }

    #[test]
    fn keys_are_found_by_name_and_scalars_by_place() {
        let document = Document::parse(TEXT).unwrap();
        assert_eq!(found(document.key("privacy.psnr", "p95")), (3, "p95".to_owned()));
        assert_eq!(found(document.key("", "splits")), (4, "splits".to_owned()));
        assert_eq!(document.key("", "seed"), None);
        assert_eq!(found(document.at(3, 17)), (3, "18 dB".to_owned()));
        assert_eq!(found(document.at(2, 1)), (2, "privacy".to_owned()));
        assert_eq!(document.at(99, 1), None);
    }

    #[test]
    fn what_is_no_yaml_has_no_places() {
        for text in ["", "a: [", "# nothing", &"[".repeat(5_000)] {
            assert!(Document::parse(text).is_none(), "{text}");
        }
    }
}
