//! The use of a certificate: the cheapest certified controller, on the model that it was certified for.

use crate::control::RunSettings;
use crate::controllers::{BuildError, ControllerSpec, Resources, SpecError};
use dynlayer_metrics::certificate::{Certificate, CertificateError};
use dynlayer_model::{DeviceReadError, Llama};
use std::collections::BTreeMap;

/// The controller that a certificate names, and the settings that it must run under.
///
/// ```
/// use dynlayer_inference::conformance::small_model;
/// use dynlayer_inference::controllers::{ControllerSpec, Resources};
/// use dynlayer_inference::oracle::{Candidate, Certified, Item, Measure, OracleOptions, OracleRun};
/// use dynlayer_metrics::certificate::{Guarantee, Loss};
/// # let folder = tempfile::tempdir()?;
/// # let file = folder.path().join("run.jsonl");
///
/// let model = small_model(&dynlayer_model::Backend::Flex.device()?)?;
/// let resources = Resources::new();
/// let specs: [ControllerSpec; 2] = ["full".parse()?, "exit:5".parse()?];
/// let candidates = specs.iter().map(|spec| Candidate::from_spec(spec, &model, &resources)).collect();
/// let items: Vec<Item> = (0..40u32).map(|i| Item { id: i.into(), prompt: vec![i, 7], ..Item::default() }).collect();
/// let options = OracleOptions { max_new_tokens: 4, ..OracleOptions::default() };
/// let settings = options.run;
/// let run = OracleRun::new(&model, candidates, Measure::Agreement).options(options);
/// let evidence = run.run(&file, &items, |_| {})?.evidence()?;
///
/// // With probability 0.9, at most 80 % of the tokens of such prompts differ from the full model's.
/// let mut certificate = Guarantee::new(0.8, 0.1).loss(Loss::QualityGap).certify(&evidence, "full")?;
/// Certified::bind(&mut certificate, &model, &settings, &resources, [("prompts", "two tokens")])?;
/// let certified = Certified::open(&certificate, &model, &resources, [("prompts", "two tokens")])?;
/// let controller = certified.spec.build(&model, &resources)?; // to be run under `certified.run`
/// # let _ = controller;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Certified {
    /// The cheapest certified candidate.
    pub spec: ControllerSpec,
    /// The settings that it was measured under.
    pub run: RunSettings,
}

/// The conditions that have names of their own; others are labels of the caller, or inputs of the controller.
const MODEL: &str = "model";
const CONFIGURATION: &str = "configuration";
const RUN: &str = "settings";

impl Certified {
    /// Adds the conditions of its use to a new certificate: the model's weights and configuration, the settings of the run, what
    /// the chosen controller reads or is calibrated on, and `labels`, such as the form of the prompts.
    ///
    /// # Errors
    /// [`CertifiedError`]: if no candidate is certified, its name is no specification, or its files cannot be read.
    pub fn bind<'a>(
        certificate: &mut Certificate,
        model: &Llama,
        run: &RunSettings,
        resources: &Resources,
        labels: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<(), CertifiedError> {
        certificate.conditions = conditions(&chosen(certificate)?, model, run, resources, labels)?;
        Ok(())
    }

    /// Returns the cheapest certified controller of a certificate with [conditions](Self::bind), if it may be used here.
    ///
    /// # Errors
    /// [`CertifiedError`]: if a condition differs here, such as the model, no candidate is certified, or a file that its
    /// controller reads cannot be read.
    pub fn open<'a>(
        certificate: &Certificate,
        model: &Llama,
        resources: &Resources,
        labels: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Self, CertifiedError> {
        let spec = chosen(certificate)?;
        let settings = certificate.conditions.get(RUN).ok_or(CertifiedError::Unbound)?;
        let run = serde_json::from_str(settings).map_err(CertifiedError::Settings)?;
        let here = conditions(&spec, model, &run, resources, labels)?;
        if let Some(missing) = here.keys().find(|name| !certificate.conditions.contains_key(*name)) {
            return Err(CertifiedError::NoCondition { name: missing.clone() });
        }
        certificate.check(&here)?;
        Ok(Self { spec, run })
    }
}

fn chosen(certificate: &Certificate) -> Result<ControllerSpec, CertifiedError> {
    let name = certificate.chosen().ok_or(CertifiedError::NoneCertified)?;
    name.parse().map_err(|source| CertifiedError::Spec { name: name.to_owned(), source })
}

fn conditions<'a>(
    spec: &ControllerSpec,
    model: &Llama,
    run: &RunSettings,
    resources: &Resources,
    labels: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> Result<BTreeMap<String, String>, CertifiedError> {
    let settings = serde_json::to_string(run).map_err(CertifiedError::Settings)?;
    let configuration = serde_json::to_string(model.config()).map_err(CertifiedError::Settings)?;
    let mut conditions = BTreeMap::from([
        (MODEL.to_owned(), model.weights_digest()?.to_string()),
        (CONFIGURATION.to_owned(), configuration),
        (RUN.to_owned(), settings),
    ]);
    let inputs = spec.inputs(resources)?.into_iter().map(|(what, digest)| (what, digest.to_string()));
    conditions.extend(inputs);
    for (name, value) in labels {
        if conditions.insert(name.to_owned(), value.to_owned()).is_some() {
            return Err(CertifiedError::Label { name: name.to_owned() });
        }
    }
    Ok(conditions)
}

/// The error for a certificate whose controller cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CertifiedError {
    /// No candidate is certified.
    #[error(
        "the certificate names no candidate: at its level, none was certified; take a higher level, or more sequences"
    )]
    NoneCertified,
    /// The certificate has no conditions.
    #[error("the certificate is not bound to a model; bind it where it is issued (Certified::bind)")]
    Unbound,
    /// The certificate lacks a condition.
    #[error(
        "the certificate says nothing of {name}; bind it where it is issued (Certified::bind), with the same labels"
    )]
    NoCondition {
        /// The condition's name.
        name: String,
    },
    /// A label has the name of another condition.
    #[error("the label {name:?} has the name of another condition; choose another name")]
    Label {
        /// The label.
        name: String,
    },
    /// The chosen candidate's name is no specification of a controller.
    #[error("the certified candidate {name:?} is no specification of a controller")]
    Spec {
        /// The name.
        name: String,
        /// The cause.
        source: SpecError,
    },
    /// Settings cannot be written or read.
    #[error("the certificate's settings")]
    Settings(#[source] serde_json::Error),
    /// A condition differs.
    #[error(transparent)]
    Condition(#[from] CertificateError),
    /// A file that the controller reads cannot be read.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// A weight cannot be read from the device.
    #[error(transparent)]
    Device(#[from] DeviceReadError),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::small_model;
    use dynlayer_metrics::allocation::{Evidence, Record};
    use dynlayer_metrics::certificate::Guarantee;
    use dynlayer_model::{Adapter, AdapterOptions, Backend, Llama};

    const LABEL: [(&str, &str); 1] = [("prompts", "a")];

    fn model() -> Llama {
        small_model(&Backend::Flex.device().unwrap()).unwrap()
    }

    /// A certificate for two candidates that are always right.
    fn issued(name: &str) -> Certificate {
        let records = (0..100).flat_map(|i| [Record::new(i, "full", 1.0, 6.0), Record::new(i, name, 1.0, 2.0)]);
        Guarantee::new(0.1, 0.1).certify(&Evidence::new(records).unwrap(), "full").unwrap()
    }

    #[test]
    fn a_certificate_is_for_its_model_settings_inputs_and_labels() {
        let (model, resources) = (model(), Resources::new().texts(vec![vec![1, 2, 3]]));
        let run = RunSettings { seed: 3, ..RunSettings::default() };
        let mut certificate = issued("influence:2");
        Certified::bind(&mut certificate, &model, &run, &resources, LABEL).unwrap();
        let opened = Certified::open(&certificate, &model, &resources, LABEL).unwrap();
        assert_eq!((opened.spec.to_string().as_str(), opened.run), ("influence:2", run));

        let refused = |model: &Llama, resources: &Resources, label| {
            Certified::open(&certificate, model, resources, [("prompts", label)]).unwrap_err().to_string()
        };
        let adapter = Adapter::new(&model, &AdapterOptions::default()).unwrap();
        assert!(refused(&model.adapted(&adapter).unwrap(), &resources, "a").contains("model was"));
        assert!(refused(&model, &resources, "b").contains("prompts was a, and is b here"));
        for name in ["model", "configuration", "settings", "calibration texts"] {
            let error =
                Certified::bind(&mut issued("influence:2"), &model, &run, &resources, [(name, "a")]).unwrap_err();
            assert!(matches!(error, CertifiedError::Label { .. }), "{error}");
            let mut without = certificate.clone();
            without.conditions.remove(name);
            let error = Certified::open(&without, &model, &resources, LABEL).unwrap_err();
            assert!(matches!(error, CertifiedError::NoCondition { .. } | CertifiedError::Unbound), "{error}");
        }
        let no_label = Certified::open(&certificate, &model, &resources, []).unwrap_err().to_string();
        assert!(no_label.contains("prompts was a, and is nothing here"), "{no_label}");
        let two = Certified::open(&certificate, &model, &resources, [LABEL[0], ("b", "c")]).unwrap_err();
        assert!(matches!(two, CertifiedError::NoCondition { .. }), "{two}");
        let other = Resources::new().texts(vec![vec![1, 2, 4]]);
        assert!(refused(&model, &other, "a").contains("calibration texts was"));
    }

    #[test]
    fn certificates_that_name_nothing_usable_are_refused() {
        let (model, resources) = (model(), Resources::new());
        let open = |certificate: &Certificate| Certified::open(certificate, &model, &resources, LABEL).unwrap_err();
        assert!(matches!(open(&issued("exit:2")), CertifiedError::Unbound));
        assert!(matches!(open(&issued("nothing")), CertifiedError::Spec { .. }));
        let mut none = issued("exit:2");
        none.candidates.iter_mut().for_each(|candidate| candidate.certified = false);
        assert!(matches!(open(&none), CertifiedError::NoneCertified));
        let mut settings = issued("exit:2");
        settings.conditions.insert("settings".to_owned(), "{}}".to_owned());
        assert!(matches!(open(&settings), CertifiedError::Settings(_)));
    }
}
