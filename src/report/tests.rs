//! Tests of whole reports: what is written, that it is well-formed, safe and self-contained, and that odd studies are no trouble.

use super::plot::Plots;
use super::view::*;
use super::{ReportError, sample, write};
use std::fs;

/// Checks that tags nest and that attributes are quoted; enough to catch unescaped text and unclosed elements.
fn assert_well_formed(xml: &str) {
    let mut open = Vec::new();
    let mut rest = xml;
    while let Some(start) = rest.find('<') {
        let text = &rest[..start];
        assert!(!text.contains('>'), "stray > in {text:?}");
        let end = start + rest[start..].find('>').expect("a tag that ends");
        let tag = &rest[start + 1..end];
        assert!(!tag.contains('<'), "< within {tag:?}");
        assert_eq!(tag.matches('"').count() % 2, 0, "quotes of {tag:?}");
        let name = |tag: &str| tag.split_whitespace().next().unwrap_or_default().to_owned();
        if let Some(closing) = tag.strip_prefix('/') {
            assert_eq!(open.pop(), Some(name(closing)));
        } else if !tag.ends_with('/') {
            open.push(name(tag));
        }
        rest = &rest[end + 1..];
    }
    assert_eq!(open, Vec::<String>::new());
}

#[test]
fn a_report_has_its_page_and_every_plot() {
    let dir = tempfile::tempdir().unwrap();
    let target = dir.path().join("reports/sample");
    let files = write(&sample::study(), &target).unwrap();
    assert_eq!(files.page, target.join("index.html"));
    assert_eq!(files.plots.len(), 11);
    for path in &files.plots {
        if path.extension().unwrap() == "png" {
            let image = image::open(path).unwrap();
            assert!(image.width() >= 1200, "{} is {} wide", path.display(), image.width());
        } else {
            let svg = fs::read_to_string(path).unwrap();
            assert!(svg.contains("role=\"img\"") && svg.contains("<title "), "{}", path.display());
            assert_well_formed(&svg);
        }
    }
    let entries = fs::read_dir(&target).unwrap().count();
    assert_eq!(entries, 12, "no temporary file is left");
    // A second report takes the place of the first.
    assert_eq!(write(&sample::study(), &target).unwrap(), files);
}

#[test]
fn the_page_loads_nothing() {
    let view = sample::study();
    let page = super::page::html(&view, &Plots::new(&view)).unwrap();
    for needle in ["http://", "https://", "src=\"//", "@import", "url("] {
        assert!(!page.contains(needle), "{needle}");
    }
    for source in page.split("src=\"").skip(1) {
        assert!(source.starts_with("data:image/png;base64,"), "{}", &source[..40]);
    }
    assert_eq!(page.matches("<h2>").count(), 11);
    assert!(page.len() < 3_000_000, "{} bytes", page.len());
}

#[test]
fn the_page_of_three_thousand_designs_stays_below_three_megabytes() {
    let mut view = sample::study();
    let predicted: Vec<_> = view.designs.iter().filter(|row| row.measured.is_none()).cloned().collect();
    for copy in 0..11 {
        view.designs.extend(predicted.iter().map(|row| DesignRow { id: format!("{}-{copy}", row.id), ..row.clone() }));
    }
    assert!(view.designs.len() > 3000);
    let page = super::page::html(&view, &Plots::new(&view)).unwrap();
    assert!(page.len() < 3_000_000, "{} bytes", page.len());
    assert!(page.contains("more are in the study"));
}

#[test]
fn hostile_names_are_shown_not_run() {
    const HOSTILE: &str = "<script>alert(1)</script>\"'&";
    let mut view = sample::study();
    let text = || HOSTILE.to_owned();
    view.name = text();
    view.subject = text();
    view.explanation = vec![text()];
    view.warnings = vec![text()];
    view.budgets[0].name = text();
    view.budgets[0].limit.text = text();
    view.floors[0].name = text();
    view.threat.attacks = vec![text()];
    view.threat.remarks = vec![text()];
    view.gallery[0].title = text();
    view.gallery[0].caption = text();
    view.history[0].phase = text();
    view.history[0].reason = text();
    view.provenance[0] = ProvenanceItem { name: text(), value: text() };
    for row in &mut view.designs {
        row.id = format!("{HOSTILE}{}", row.id);
        row.split = format!("{HOSTILE}{}", row.split);
        row.selection = text();
        row.selection_kind = text();
        row.macs.text = text();
    }
    if let Some(chosen) = &mut view.chosen {
        chosen.id = format!("{HOSTILE}{}", chosen.id);
        chosen.split = text();
        chosen.selection = text();
    }
    let plots = Plots::new(&view);
    let page = super::page::html(&view, &plots).unwrap();
    assert!(!page.contains("<script>alert"));
    assert_eq!(page.matches("<script").count(), 1, "only the page's own script");
    assert!(!page.contains("\"'&") && !page.contains("&\"") && !page.contains("\">alert"));
    for scene in plots.vector() {
        let svg = scene.svg(false).unwrap();
        assert!(!svg.contains("<script"), "{}", scene.name);
        assert_well_formed(&svg);
    }
}

#[test]
fn labels_of_a_plot_do_not_overlap() {
    for view in [sample::study(), crowded()] {
        assert_no_overlap(&view);
    }
}

/// Thirteen split layers, nine depths, floors close to each other.
fn crowded() -> StudyView {
    let mut view = sample::study();
    for (i, row) in view.designs.iter_mut().enumerate() {
        row.split_index = i % 13;
        row.split = format!("conv{}_{}", row.split_index / 3 + 1, row.split_index % 3 + 1);
        row.depth = 1 << (i % 9);
    }
    view.floors.iter_mut().for_each(|floor| floor.psnr_mean = 17.5 + floor.psnr_mean * 0.01);
    view.limits.accuracy_min = Some(0.6);
    view
}

fn assert_no_overlap(view: &StudyView) {
    let plots = Plots::new(view);
    for scene in plots.vector().into_iter().chain(plots.gallery.as_ref()) {
        let labels: Vec<_> = scene.labels().map(|label| (label.bounds(), &label.text)).collect();
        for (i, (a, text)) in labels.iter().enumerate() {
            assert!(
                a.0 >= 0.0 && a.1 >= 0.0 && a.2 <= scene.width && a.3 <= scene.height,
                "{}: {text:?} leaves the plot: {a:?}",
                scene.name
            );
            for (b, other) in &labels[..i] {
                let apart = a.2 <= b.0 || b.2 <= a.0 || a.3 <= b.1 || b.3 <= a.1;
                assert!(apart, "{}: {text:?} lies over {other:?}", scene.name);
            }
        }
    }
}

#[test]
fn degenerate_studies_have_reports_too() {
    let study = sample::study();
    let row = study.chosen_row().unwrap().clone();
    let single = StudyView { designs: vec![row.clone()], history: study.history[..1].to_vec(), ..study.clone() };
    let predicted = {
        let mut view = StudyView { chosen: None, diagnostics: Vec::new(), history: Vec::new(), ..study.clone() };
        view.designs.iter_mut().for_each(|row| row.measured = None);
        view
    };
    let same = StudyView { designs: vec![row.clone(); 20], ..study.clone() };
    let bare = {
        let figures = Figures { accuracy: Some(Estimate { value: 0.0, se: 0.0 }), ..Figures::default() };
        let row = DesignRow { measured: Some(figures), predicted: None, probability_feasible: None, depth: 0, ..row };
        StudyView { designs: vec![row], ..study.clone() }
    };
    let infeasible = StudyView { status: Status::Infeasible, chosen: None, gallery: Vec::new(), ..study.clone() };
    let nothing_allowed = {
        let mut view = study.clone();
        view.budgets.iter_mut().for_each(|bar| bar.limit.value = 0.0);
        view.limits = Limits { psnr_mean_max: Some(0.0), accuracy_min: Some(1.0) };
        view
    };
    let far_over = {
        let mut view = study.clone();
        view.budgets[0].used = Some(Quantity { value: 1e12, text: "1 TMAC".to_owned() });
        view
    };
    let one_point = {
        let mut view = study.clone();
        view.diagnostics.iter_mut().for_each(|d| {
            d.points.truncate(1);
            d.r2 = None;
        });
        view
    };
    let views = [sample::empty(), single, predicted, same, bare, infeasible, nothing_allowed, far_over, one_point];
    for (i, view) in views.iter().enumerate() {
        view.check().unwrap();
        let plots = Plots::new(view);
        let page = super::page::html(view, &plots).unwrap();
        assert!(!page.contains("NaN") && !page.contains("inf "), "view {i}");
        for scene in plots.vector() {
            let svg = scene.svg(false).unwrap();
            assert_well_formed(&svg);
            assert!(!svg.contains("2147483647") && !svg.contains("-2147483648"), "view {i}, {}", scene.name);
        }
    }
}

#[test]
fn every_status_has_its_sentence() {
    let mut view = sample::study();
    let mut answers = std::collections::BTreeSet::new();
    for status in [Status::Verified, Status::Unverified, Status::RefutedAll, Status::Infeasible, Status::InProgress] {
        view.status = status;
        answers.insert(super::text::answer(&view));
    }
    view.status = Status::RefutedAll;
    let next = super::text::answer(&view);
    assert!(
        next.contains("expect") && !next.contains("recovers images"),
        "a design not verified claims nothing: {next}"
    );
    view.chosen.as_mut().unwrap().refuted = true;
    answers.insert(super::text::answer(&view));
    assert_eq!(answers.len(), 6);
    view.status = Status::Verified;
    let answer = super::text::answer(&view);
    for part in
        ["32 of 256 channels", "conv3_3", "\u{a0}% of unseen images", "dB PSNR", "at most", "95\u{a0}% confidence"]
    {
        assert!(answer.contains(part), "{part} in {answer}");
    }
}

#[test]
fn numbers_that_are_none_are_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let mut view = sample::study();
    view.designs[3].predicted =
        Some(Figures { psnr_mean: Some(Estimate { value: f64::NAN, se: 0.1 }), ..Figures::default() });
    let error = write(&view, dir.path()).unwrap_err().to_string();
    assert!(error.contains(&view.designs[3].id) && error.contains("PsnrMean") && error.contains("NaN"), "{error}");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);

    let mut view = sample::study();
    view.gallery[1].pairs[0].original.rgb.pop();
    assert!(matches!(write(&view, dir.path()), Err(ReportError::PictureSize { bytes: 3071, width: 32, .. })));
}

#[test]
fn a_folder_that_cannot_be_written_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let taken = dir.path().join("taken");
    fs::write(&taken, "a file").unwrap();
    let error = write(&sample::study(), &taken).unwrap_err();
    assert!(matches!(&error, ReportError::Write { path, .. } if *path == taken), "{error}");
}

/// `cargo test --release --lib report::tests::sample_for_the_eye -- --ignored` leaves a report to look at in the temporary folder.
#[test]
#[ignore = "writes files to be looked at"]
fn sample_for_the_eye() {
    let dir = std::env::temp_dir().join("privynet-sample-report");
    let start = std::time::Instant::now();
    let files = write(&sample::study(), &dir).unwrap();
    println!("{} in {:?}", files.page.display(), start.elapsed());
    write(&sample::empty(), &dir.join("empty")).unwrap();
    write(&crowded(), &dir.join("crowded")).unwrap();
}
