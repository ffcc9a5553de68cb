//! How a simulated pod lives: what its containers do, from rules and from the pod's own annotations.

use jiff::SignedDuration;
use serde_json::Value;

use super::super::object::{items, text};
use super::super::options::{Options, Rule};

/// Prefix of the annotations that describe a pod's life: `fake-apiserver.dev/start-after: 5s`.
///
/// | annotation | value |
/// |---|---|
/// | `start-after` | how long a container takes to start |
/// | `ready-after` | how long a running container takes to become ready |
/// | `never-ready` | `true`: it runs and never becomes ready |
/// | `exit-after` | how long a container runs; without it, for ever |
/// | `exit-code` | with which code it then ends; alone it means `exit-after: 0s` |
/// | `pull-error` | `true`, or the message: the image cannot be pulled |
/// | `start-error` | exit code (127, 128) of a container that cannot be started |
/// | `evict-after` | how long until the node evicts the pod |
/// | `terminate-after` | how long a deleted pod takes to end |
/// | `log` | lines a container writes when it starts |
pub const ANNOTATION_PREFIX: &str = "fake-apiserver.dev/";

/// How a pod on a simulated node lives. The default runs and is ready at once, for ever.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Life {
    /// How long a container takes to start.
    pub start_after: SignedDuration,
    /// How long a running container takes to become ready.
    pub ready_after: SignedDuration,
    /// It runs and never becomes ready.
    pub never_ready: bool,
    /// How long a container runs; `None` is for ever.
    pub exit_after: Option<SignedDuration>,
    /// With which code it then ends.
    pub exit_code: i32,
    /// Its image cannot be pulled, with the runtime's words.
    pub pull_error: Option<String>,
    /// It cannot be started: the exit code, 127 or 128.
    pub start_error: Option<i32>,
    /// How long until the node evicts the pod.
    pub evict_after: Option<SignedDuration>,
    /// How long a deleted pod takes to end; never longer than its grace period.
    pub terminate_after: SignedDuration,
    /// Lines a container writes when it starts.
    pub log: Vec<String>,
}

impl Life {
    /// The life of a pod: the first rule that matches, then its annotations.
    pub(crate) fn of(pod: &Value, options: &Options) -> Self {
        let rule = options.rules.iter().find(|rule| matches(rule, pod));
        let mut life = rule.map_or(&options.life, |rule| &rule.life).clone();
        life.annotate(pod);
        life
    }

    fn annotate(&mut self, pod: &Value) {
        let annotations = &pod["metadata"]["annotations"];
        let said = |name: &str| annotations[format!("{ANNOTATION_PREFIX}{name}")].as_str();
        let lasts = |name: &str| said(name).and_then(duration);
        if let Some(after) = lasts("start-after") {
            self.start_after = after;
        }
        if let Some(after) = lasts("ready-after") {
            self.ready_after = after;
        }
        if let Some(never) = said("never-ready") {
            self.never_ready = never == "true";
        }
        if let Some(code) = said("exit-code").and_then(|code| code.parse().ok()) {
            self.exit_code = code;
            self.exit_after.get_or_insert(SignedDuration::ZERO);
        }
        if let Some(after) = lasts("exit-after") {
            self.exit_after = Some(after);
        }
        match said("pull-error") {
            Some("" | "false") => self.pull_error = None,
            Some("true") => self.pull_error = Some("not found".into()),
            Some(words) => self.pull_error = Some(words.into()),
            None => {}
        }
        if let Some(code) = said("start-error") {
            self.start_error = Some(code.parse().unwrap_or(128));
        }
        if let Some(after) = lasts("evict-after") {
            self.evict_after = Some(after);
        }
        if let Some(after) = lasts("terminate-after") {
            self.terminate_after = after;
        }
        if let Some(lines) = said("log") {
            self.log = lines.lines().map(str::to_owned).collect();
        }
    }
}

fn matches(rule: &Rule, pod: &Value) -> bool {
    let image = rule.image.as_deref().is_none_or(|pattern| {
        items(&pod["spec"]["containers"]).iter().any(|c| glob(pattern, text(&c["image"])))
    });
    let labels = rule.labels.iter().all(|(name, value)| text(&pod["metadata"]["labels"][name]) == value);
    let owner = rule.owner_kind.as_deref().is_none_or(|kind| {
        items(&pod["metadata"]["ownerReferences"])
            .iter()
            .any(|o| o["kind"] == kind && o["controller"] == true)
    });
    image && labels && owner
}

/// Whether `text` has the form of `pattern`, in which `*` stands for any text.
fn glob(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|first| text.strip_prefix(first)) else { return false };
    let Some(last) = pattern.rsplit_once('*').map(|(_, last)| last) else { return rest.is_empty() };
    for part in parts {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    text.ends_with(last)
}

/// A Go duration: `300ms`, `1.5s`, `1m30s`; a bare number is seconds.
pub(crate) fn duration(text: &str) -> Option<SignedDuration> {
    if let Ok(seconds) = text.parse::<f64>() {
        return (0.0..1e9).contains(&seconds).then(|| SignedDuration::from_secs_f64(seconds));
    }
    let mut total = 0.0_f64;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let unit_end = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let unit = match &rest[..unit_end] {
            "ms" => 0.001,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return None,
        };
        total += number * unit;
        rest = &rest[unit_end..];
    }
    (!text.is_empty() && total < 1e9).then(|| SignedDuration::from_secs_f64(total))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn durations_are_written_as_in_go() {
        assert_eq!(duration("1m30s"), Some(SignedDuration::from_secs(90)));
        assert_eq!(duration("300ms"), Some(SignedDuration::from_millis(300)));
        assert_eq!(duration("5"), Some(SignedDuration::from_secs(5)));
        assert_eq!(duration("5x"), None);
        assert_eq!(duration("-1s"), None);
        assert_eq!(duration(""), None);
    }

    #[test]
    fn a_star_stands_for_any_text() {
        assert!(glob("registry.example/team/app:*", "registry.example/team/app:2026"));
        assert!(glob("*/busybox:*", "docker.io/library/busybox:1"));
        assert!(glob("a", "a") && !glob("a", "ab") && !glob("a*c", "ab") && glob("*", ""));
    }

    #[test]
    fn annotations_come_on_top_of_the_first_matching_rule() {
        let crash = Life { exit_after: Some(SignedDuration::ZERO), exit_code: 3, ..Life::default() };
        let rule = Rule { image: Some("bad:*".into()), life: crash.clone(), ..Rule::default() };
        let options = Options { rules: vec![rule], ..Options::default() };
        let mut pod = json!({"spec": {"containers": [{"image": "bad:1"}]}});
        assert_eq!(Life::of(&pod, &options), crash);
        pod["metadata"]["annotations"]["fake-apiserver.dev/exit-code"] = "0".into();
        assert_eq!(Life::of(&pod, &options).exit_code, 0);
        pod["spec"]["containers"][0]["image"] = "good:1".into();
        pod["metadata"]["annotations"] = json!({});
        assert_eq!(Life::of(&pod, &options), Life::default());
    }
}
