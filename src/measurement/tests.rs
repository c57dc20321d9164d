use super::*;

fn evaluation() -> Evaluation {
    let design: DesignId = "conv3_1-d16-fisher".parse().unwrap();
    let row = |metric, value| Measurement {
        design: design.clone(),
        metric,
        value,
        std_error: 0.1,
        n: 1000,
        fidelity: Fidelity::Quick,
        seed: 7,
        seconds: 1.5,
    };
    Evaluation {
        design: design.clone(),
        fidelity: Fidelity::Quick,
        seed: 7,
        order: 3,
        reason: "space-filling".into(),
        outcome: Outcome::Done(vec![row(Metric::Accuracy, 0.5), row(Metric::PsnrMax, 26.2)]),
        seconds: 3.0,
        from: None,
        files: BTreeMap::new(),
    }
}

#[test]
fn design_ids_are_checked_wherever_they_come_from() {
    assert_eq!("conv1_2-d64".parse::<DesignId>().unwrap().to_string(), "conv1_2-d64");
    assert!("a".repeat(64).parse::<DesignId>().is_ok());
    for bad in ["", "Conv", "a b", "../x", "a/b", "é", &"a".repeat(65)] {
        assert!(bad.parse::<DesignId>().is_err(), "{bad}");
        let json = serde_json::to_string(bad).unwrap();
        assert!(serde_json::from_str::<DesignId>(&json).is_err(), "{bad}");
    }
}

#[test]
fn names_are_stable_in_text_and_json() {
    for &metric in Metric::ALL {
        assert_eq!(metric.name().parse::<Metric>(), Ok(metric));
        assert_eq!(serde_json::to_string(&metric).unwrap(), format!("{:?}", metric.name()));
    }
    for &fidelity in Fidelity::ALL {
        assert_eq!(fidelity.to_string().parse::<Fidelity>(), Ok(fidelity));
    }
    let error = "psnr".parse::<Metric>().unwrap_err().to_string();
    assert!(error.contains("psnr_mean") && error.contains("\"psnr\""), "{error}");
}

#[test]
fn an_evaluation_survives_json() {
    let whole = evaluation();
    assert_eq!(whole.check(), Ok(()));
    let json = serde_json::to_string(&whole).unwrap();
    assert_eq!(serde_json::from_str::<Evaluation>(&json).unwrap(), whole);
    let failed = Evaluation { outcome: Outcome::failed(Failure::Diverged, "NaN"), ..whole };
    let json = serde_json::to_string(&failed).unwrap();
    assert_eq!(serde_json::from_str::<Evaluation>(&json).unwrap(), failed);
    assert!(failed.measurements().is_empty());
}

#[test]
fn figures_that_json_cannot_hold_and_foreign_rows_are_refused() {
    let spoil = |change: fn(&mut Measurement)| {
        let mut evaluation = evaluation();
        if let Outcome::Done(rows) = &mut evaluation.outcome {
            change(&mut rows[1]);
        }
        evaluation.check().unwrap_err().to_string()
    };
    assert!(spoil(|row| row.value = f64::NAN).contains("psnr_max is NaN"));
    assert!(spoil(|row| row.std_error = f64::INFINITY).contains("standard error"));
    assert!(spoil(|row| row.std_error = -0.1).contains("standard error"));
    assert!(spoil(|row| row.seed = 8).contains("seed 8"));
    let endless = Evaluation { seconds: f64::NAN, ..evaluation() };
    assert!(endless.check().is_err());
}
