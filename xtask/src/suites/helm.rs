//! Helm 3 and Helm 4, as they are: a script of commands (`suites/helm/script.yaml`) and what each must say.
//!
//! The charts are a sample with hooks of every kind, the Python operator's (from its source distribution) and ours.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use super::cluster::kubectl;
use super::ledger::{Ending, Results};
use super::{Run, Suite, dask_kubernetes, data, python};
use crate::codegen::chart::CHART;
use crate::{shell, tools};

pub(super) const NAME: &str = "helm";
pub(super) const THREE: &str = "3";
pub(super) const FOUR: &str = "4";

/// Where the chart of the Python operator is in its source distribution.
const PYTHON_OPERATOR: &str = "dask_kubernetes/operator/deployment/helm/dask-kubernetes-operator";

/// One command and what is expected of it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Step {
    test: String,
    /// Words of the command, split at blanks that no backslash precedes.
    run: String,
    /// It must fail.
    #[serde(default)]
    fails: bool,
    /// Texts of its output, blanks of any length counting as one.
    #[serde(default)]
    says: Vec<String>,
    /// Texts that must not be in it.
    #[serde(default)]
    silent: Vec<String>,
    /// The arm that it is for, if not for all.
    only: Option<String>,
}

/// The version that an arm runs.
pub(super) const fn version(arm: &str) -> &'static str {
    match arm.as_bytes() {
        b"4" => tools::HELM_4.version,
        _ => tools::HELM.version,
    }
}

/// Helm and Go, with which it could be built.
pub(super) fn lacks(suite: &Suite) -> Option<&'static str> {
    let there = tool(suite).found().is_some() || tools::has_go();
    (!there).then_some("there is neither Helm of this version on the path nor Go to build it with")
}

fn tool(suite: &Suite) -> &'static tools::Tool {
    if suite.arm == FOUR { &tools::HELM_4 } else { &tools::HELM }
}

pub(super) fn run(run: &Run<'_>) -> Result<Results> {
    ensure!(
        run.filter.is_none(),
        "each step of Helm's script builds on those before it: run it without --filter"
    );
    let requirements = data(dask_kubernetes::NAME).join("requirements.txt");
    let python = python::environment(run.cache, &requirements)?;
    let source = python::source(run.cache, &python, "dask_kubernetes", dask_kubernetes::VERSION)?;
    let charts: BTreeMap<&str, PathBuf> = [
        ("<chart>", data(NAME).join("chart")),
        ("<python-operator>", source.join(PYTHON_OPERATOR)),
        ("<operator>", shell::root().join(CHART)),
    ]
    .into();
    let programs: BTreeMap<&str, PathBuf> =
        [("helm", tool(&run.suite).ready()?), ("kubectl", kubectl()?)].into();
    let script = data(NAME).join("script.yaml");
    let text =
        std::fs::read_to_string(&script).with_context(|| format!("cannot read {}", script.display()))?;
    let steps: Vec<Step> =
        serde_yaml::from_str(&text).with_context(|| format!("{} is no script", script.display()))?;
    let mut results = Results::new();
    for step in steps.iter().filter(|step| step.only.as_deref().is_none_or(|arm| arm == run.suite.arm)) {
        let ending = step.play(run, &programs, &charts)?;
        println!("{} {}", if ending == Ending::Passed { "passed " } else { "FAILED " }, step.test);
        if let Ending::Failed(why) = &ending {
            println!("    {}\n    {}", step.run, why.replace('\n', "\n    "));
        }
        let known = results.insert(step.test.clone(), ending);
        ensure!(known.is_none(), "{} names {:?} twice", script.display(), step.test);
    }
    Ok(results)
}

impl Step {
    fn play(
        &self,
        run: &Run<'_>,
        programs: &BTreeMap<&str, PathBuf>,
        charts: &BTreeMap<&str, PathBuf>,
    ) -> Result<Ending> {
        let words = words(&self.run);
        let (name, arguments) = words.split_first().context("a step has no command")?;
        let program =
            programs.get(name.as_str()).with_context(|| format!("{name} is no program of the script"))?;
        let arguments =
            arguments.iter().map(|word| charts.get(word.as_str()).map_or(Path::new(word), |chart| chart));
        let output = Command::new(program)
            .args(arguments)
            .env("KUBECONFIG", &run.cluster()?.kubeconfig)
            .env("HELM_CACHE_HOME", run.cache.join("home"))
            .env("HELM_CONFIG_HOME", run.cache.join("home"))
            .env("HELM_DATA_HOME", run.cache.join("home"))
            .output()
            .with_context(|| format!("cannot start {}", program.display()))?;
        let said =
            format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        Ok(self.judge(output.status.success(), &said))
    }

    fn judge(&self, success: bool, said: &str) -> Ending {
        let plain = plain(said);
        let missing = self.says.iter().find(|text| !plain.contains(&self::plain(text)));
        let unwanted = self.silent.iter().find(|text| plain.contains(&self::plain(text)));
        let why = match (missing, unwanted) {
            _ if success == self.fails => {
                if success {
                    "it should have failed".to_owned()
                } else {
                    "it failed".to_owned()
                }
            }
            (Some(text), _) => format!("it does not say {text:?}"),
            (None, Some(text)) => format!("it says {text:?}"),
            (None, None) => return Ending::Passed,
        };
        Ending::Failed(format!("{why}: {}", said.trim()))
    }
}

/// With one blank for many: tables are as wide as what is in them.
fn plain(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn words(line: &str) -> Vec<String> {
    line.replace("\\ ", "\0").split(' ').map(|word| word.replace('\0', " ")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a step with these expectations makes of an output.
    fn check(step: &str, success: bool, said: &str, expected: Option<&str>) {
        let step: Step = serde_yaml::from_str(&format!("{{test: t, run: helm list, {step}}}")).unwrap();
        let found = match step.judge(success, said) {
            Ending::Failed(why) => Some(why),
            _ => None,
        };
        assert_eq!(found.as_deref(), expected);
    }

    #[test]
    fn a_step_is_judged_by_its_end_and_its_words() {
        check("says: [a b]", true, "a   b\n", None);
        check("says: [a b]", true, "ab", Some("it does not say \"a b\": ab"));
        check("silent: [a]", true, "a", Some("it says \"a\": a"));
        check("says: [a]", false, "a", Some("it failed: a"));
        check("fails: true", true, "a", Some("it should have failed: a"));
        check("fails: true, says: [a]", false, "a", None);
    }

    #[test]
    fn a_blank_may_be_part_of_a_word() {
        assert_eq!(words("helm --set a=exit\\ 3 x"), ["helm", "--set", "a=exit 3", "x"]);
    }
}
