//! `RuntimeClasses`, by `pkg/apis/node/validation`.

use serde_json::{Value, json};

use super::rules::{Rows, Rule, items};
use super::{placement, pod_spec, resources};
use crate::server::names;
use crate::status::Cause;

pub(super) const TABLE: Rows = &[
    ("handler", Rule::Required("")),
    ("handler", Rule::Text(names::dns_label)),
    ("overhead?.podFixed", Rule::Own(overhead)),
    ("scheduling?.nodeSelector", Rule::Own(pod_spec::labels)),
    ("scheduling?.tolerations", Rule::Own(tolerations)),
];

fn overhead(amounts: &Value, path: &str, causes: &mut Vec<Cause>) {
    // It is checked as if it were the limits of a container.
    let at = path.strip_suffix(".podFixed").unwrap_or(path);
    resources::faults(&json!({"limits": amounts}), at, &[], causes);
}

fn tolerations(list: &Value, path: &str, causes: &mut Vec<Cause>) {
    placement::toleration_faults(list, path, causes);
    let all = items(list);
    for (index, toleration) in all.iter().enumerate() {
        if all[..index].contains(toleration) {
            let text = |field: &str| json!(toleration[field].as_str().unwrap_or_default());
            let shown = format!(
                "{{\"Key\":{},\"Operator\":{},\"Value\":{},\"Effect\":{},\"TolerationSeconds\":{}}}",
                text("key"),
                text("operator"),
                text("value"),
                text("effect"),
                toleration["tolerationSeconds"]
            );
            let fault = format!("Duplicate value: {shown}");
            causes.push(Cause::new("FieldValueDuplicate", format!("{path}[{index}]"), fault));
        }
    }
}
