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
    assert_eq!(files.plots.len(), 15);
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
    assert_eq!(entries, 16, "no temporary file is left");
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
    assert_eq!(page.matches("<h2>").count(), 13);
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

/// Five hundred designs, each measured and with a picture in colour of its own: more than a thorough study has.
fn five_hundred() -> StudyView {
    let mut view = sample::study();
    let copies: Vec<_> = view.designs.iter().take(200).cloned().collect();
    view.designs.extend(copies.into_iter().map(|row| DesignRow { id: format!("{}-again", row.id), ..row }));
    let pictures = view.designs.iter().find(|row| !row.pictures.is_empty()).unwrap().pictures.clone();
    for (i, row) in view.designs.iter_mut().enumerate() {
        row.pictures = pictures.clone();
        // No two alike.
        row.pictures[0].pairs[0].reconstruction.rgb[..2].copy_from_slice(&(i as u16).to_le_bytes());
    }
    view
}

#[test]
fn the_page_of_five_hundred_designs_with_pictures_stays_below_three_megabytes() {
    let view = five_hundred();
    let page = super::page::html(&view, &Plots::new(&view)).unwrap();
    assert!(view.designs.len() == 500 && page.len() < 3_000_000, "{} bytes", page.len());
    assert!(page.contains("\"exposed\""));
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
    view.notes = vec![text()];
    view.live = Some(Live { written: 0, again: 1, measurements: [0, 0], doing: text() });
    view.samples[0].design = text();
    view.samples[0].attack = text();
    if let Some(map) = &mut view.channels {
        map.split = text();
    }
    for row in &mut view.designs {
        row.reason = Some(text());
        row.remarks = vec![text()];
        row.further_costs = vec![(text(), text())];
        for source in &mut row.sources {
            (source.name, source.detail) = (text(), text());
        }
        for section in &mut row.pictures {
            (section.title, section.caption) = (text(), text());
        }
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
        chosen.ladder[0].attack = text();
    }
    let plots = Plots::new(&view);
    let page = super::page::html(&view, &plots).unwrap();
    assert!(!page.contains("<script>alert"));
    assert_eq!(page.matches("<script").count(), 2, "only the page's own script and its data");
    assert_eq!(page.matches("</script").count(), 2, "nothing ends either of them");
    assert!(!page.contains("\"'&") && !page.contains("&\"") && !page.contains("\">alert"));
    for scene in plots.vector() {
        for svg in [scene.svg().unwrap(), scene.inline_svg(&|_| true).unwrap()] {
            assert!(!svg.contains("<script"), "{}", scene.name);
            assert_well_formed(&svg);
        }
    }
}

#[test]
fn a_page_runs_no_script_but_its_own() {
    let view = sample::study();
    let page = super::page::html(&view, &Plots::new(&view)).unwrap();
    let policy = page.split("script-src ").nth(1).unwrap().split(';').next().unwrap();
    let nonce = policy.strip_prefix("'nonce-").unwrap().strip_suffix('\'').unwrap();
    assert!(nonce.len() >= 32 && page.contains(&format!("<script nonce=\"{nonce}\">")), "{policy}");
}

#[test]
fn every_mark_of_a_design_leads_to_a_row_and_to_its_data() {
    let view = sample::study();
    let plots = Plots::new(&view);
    let page = super::page::html(&view, &plots).unwrap();
    let data = page.split("id=\"study-data\">").nth(1).unwrap().split("</script>").next().unwrap();
    let data: serde_json::Value = serde_json::from_str(data).unwrap();
    let known: Vec<&str> = data["designs"].as_array().unwrap().iter().map(|d| d["id"].as_str().unwrap()).collect();
    for scene in plots.vector() {
        for design in scene.marks().filter_map(|mark| mark.design.as_ref()) {
            assert!(known.contains(&design.as_str()), "{design}");
            assert!(page.contains(&format!("id=\"design/{design}\"")), "{design}");
        }
    }
    assert_eq!(plots.pareto.marks().count(), view.designs.len());
}

#[test]
fn what_was_not_verified_is_marked_as_no_claim() {
    let view = sample::study();
    let page = super::page::html(&view, &Plots::new(&view)).unwrap();
    let row = |known: &str| {
        let rows = page.split("<tr class=").filter(|row| row.contains(&format!("data-known=\"{known}\"")));
        let cells: Vec<&str> = rows.map(|row| row.split("</tr>").next().unwrap()).collect();
        assert!(!cells.is_empty(), "{known}");
        cells
    };
    assert!(row("verified").iter().all(|cells| !cells.contains('~')));
    for known in ["measured", "predicted"] {
        assert!(row(known).iter().all(|cells| cells.matches('~').count() >= 3), "{known}");
    }
}

#[test]
fn a_running_study_looks_again_and_a_concluded_one_does_not() {
    let page = |view: &StudyView| super::page::html(view, &Plots::new(view)).unwrap();
    let running = page(&sample::empty());
    assert!(
        running.contains("http-equiv=\"refresh\"") && running.contains("id=\"live\"") && running.contains("Running")
    );
    let concluded = page(&sample::study());
    assert!(!concluded.contains("http-equiv=\"refresh\"") && !concluded.contains("id=\"live\""));
}

#[test]
fn long_names_of_layers_stay_within_every_plot() {
    let mut view = sample::study();
    for row in &mut view.designs {
        row.split = format!("features.denseblock{}.denselayer17.conv2_with_a_long_name", row.split);
    }
    if let Some(chosen) = &mut view.chosen {
        chosen.split = view.designs[0].split.clone();
    }
    assert_no_overlap(&view);
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
    for scene in plots.vector().chain(plots.gallery.as_ref()) {
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
        view.limits = Limits { psnr_mean_max: Some(0.0), psnr_p95_max: Some(0.0), accuracy_min: Some(1.0) };
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
            let svg = scene.svg().unwrap();
            assert_well_formed(&svg);
            assert!(!svg.contains("2147483647") && !svg.contains("-2147483648"), "view {i}, {}", scene.name);
        }
    }
}

#[test]
fn every_status_has_its_sentence() {
    let mut view = sample::study();
    let mut answers = std::collections::BTreeSet::new();
    for status in [
        Status::Verified,
        Status::Unverified,
        Status::RefutedAll,
        Status::Infeasible,
        Status::InProgress,
        Status::Stopped,
    ] {
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
    assert_eq!(answers.len(), 7);
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

/// `cargo test --release --locked --lib report::tests::sample_for_the_eye -- --ignored --nocapture` leaves reports to look at in the
/// temporary folder, and says how long that of five hundred designs took and how large its page is.
#[test]
#[ignore = "writes files to be looked at"]
fn sample_for_the_eye() {
    let dir = std::env::temp_dir().join("privynet-sample-report");
    write(&sample::study(), &dir).unwrap();
    write(&sample::empty(), &dir.join("empty")).unwrap();
    write(&crowded(), &dir.join("crowded")).unwrap();
    let view = five_hundred();
    let start = std::time::Instant::now();
    let files = write(&view, &dir.join("many")).unwrap();
    let took = start.elapsed();
    let size = fs::metadata(&files.page).unwrap().len();
    println!("{} and its plots: {} designs, {size} bytes, {took:?}", files.page.display(), view.designs.len());
}
