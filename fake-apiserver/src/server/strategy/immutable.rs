//! Fields that no update may change, and the name under which the real server speaks of each.

/// Path of the field, and how it is named in a cause.
type Fields = &'static [(&'static str, &'static str)];

const KINDS: &[(&str, &str, Fields)] = &[
    ("discovery.k8s.io", "endpointslices", &[("addressType", "addressType")]),
    ("apps", "controllerrevisions", &[("data", "data")]),
    ("node.k8s.io", "runtimeclasses", &[("handler", "handler")]),
    ("networking.k8s.io", "ingressclasses", &[("spec.controller", "spec.controller")]),
    (
        "storage.k8s.io",
        "storageclasses",
        &[
            ("parameters", "parameters"),
            ("provisioner", "provisioner"),
            ("reclaimPolicy", "reclaimPolicy"),
            ("volumeBindingMode", "volumeBindingMode"),
        ],
    ),
    (
        "batch",
        "jobs",
        &[
            ("spec.completionMode", "spec.completionMode"),
            ("spec.podFailurePolicy", "spec.podFailurePolicy"),
            ("spec.backoffLimitPerIndex", "spec.backoffLimitPerIndex"),
            ("spec.managedBy", "spec.managedBy"),
            ("spec.successPolicy", "spec.successPolicy"),
        ],
    ),
    ("", "persistentvolumeclaims", &[("spec.volumeMode", "volumeMode")]),
    ("", "persistentvolumes", &[("spec.volumeMode", "volumeMode")]),
];

/// The fields of a kind.
pub(super) fn fields(group: &str, resource: &str) -> Fields {
    KINDS.iter().find(|(g, r, _)| (*g, *r) == (group, resource)).map_or(&[], |(.., fields)| fields)
}
