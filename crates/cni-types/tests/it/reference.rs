//! What the reference's binaries printed (testdata/cni-types/README.md says how it was obtained).

use cni_types::{CniResult, SpecVersion};
use serde_json::Value;

use crate::{list, testdata};

/// The members of an object whose keys are versions.
fn by_version(forms: &Value) -> impl Iterator<Item = (SpecVersion, &Value)> {
    let forms = forms.as_object().expect("an object");
    forms.iter().map(|(version, form)| (version.parse().expect("a known version"), form))
}

#[test]
fn a_result_has_the_reference_s_form_in_each_version() {
    for case in list(&testdata("downgrades.json")) {
        let newest = &case["forms"]["1.1.0"];
        let result = CniResult::from_json(newest, SpecVersion::V1_1_0).expect("a result");
        for (version, form) in by_version(&case["forms"]) {
            let ours = result.to_json(version).unwrap_or(Value::Null);
            assert_eq!(ours, *form, "{} at {version}", case["case"]);
        }
    }
}

#[test]
fn a_result_is_read_and_passed_on_as_the_reference_does() {
    for case in list(&testdata("passed-on.json")) {
        for (version, printed) in by_version(&case["printed"]) {
            let result = CniResult::from_json(&case["given"], version).expect("a result");
            let ours = result.to_json(version).expect("it has a form");
            assert_eq!(ours, *printed, "{} at {version}", case["case"]);
        }
    }
}
