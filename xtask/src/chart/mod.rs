//! `cargo xtask chart`: the chart does what its values say.
//!
//! | module | what it is |
//! |---|---|
//! | [`argo`] | the health check for Argo CD |
//! | [`case`] | `snapshots/chart/*.case`: a set of values, and what Helm makes of it |
//! | [`cluster`] | an API server in memory for Helm |
//! | [`kubeconform`] | a check of manifests that many have in CI |
//! | [`objects`] | the objects of a rendered chart, judged by the API server in memory |

mod argo;
mod case;
pub(crate) mod cluster;
mod kubeconform;
mod objects;
#[cfg(test)]
mod schema;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use self::case::Case;
use self::cluster::Cluster;
use self::kubeconform::Kubeconform;
use crate::codegen::chart::CHART;
use crate::{shell, tools};

/// Fewer cases than this were found in the wrong folder.
const CASES_MIN: usize = 12;

/// Render the chart with each set of values in snapshots/chart and compare it with what was reviewed.
#[derive(clap::Args)]
pub(crate) struct Chart {
    /// Write what is rendered now, to be reviewed.
    #[arg(long)]
    update: bool,
}

impl Chart {
    pub(crate) fn run(self) -> Result<()> {
        let helm = tools::HELM.ready()?;
        let (lua, kubeconform) = (tools::GLUA.ready()?, tools::KUBECONFORM.ready()?);
        let checked = check(&helm, Some(&lua), Some(&kubeconform), self.update)?;
        for problem in &checked.problems {
            eprintln!("{problem}\n");
        }
        ensure!(checked.problems.is_empty(), "{} of the chart's checks failed", checked.problems.len());
        println!("the chart is as reviewed: {} checks passed", checked.passed);
        Ok(())
    }
}

/// What the checks found.
#[derive(Debug, Default)]
pub(crate) struct Checked {
    /// Checks that found nothing.
    pub(crate) passed: usize,
    /// What the others found, for people.
    pub(crate) problems: Vec<String>,
    /// Checks that this machine cannot run, each with the reason.
    pub(crate) skipped: Vec<String>,
}

/// Lints the chart and renders all cases; with `update` what is rendered counts as reviewed. Without `lua` the health check for
/// Argo CD is left out, without `kubeconform` what that finds.
pub(crate) fn check(
    helm: &Path,
    lua: Option<&Path>,
    kubeconform: Option<&Path>,
    update: bool,
) -> Result<Checked> {
    let mut checked = Checked::default();
    let kubeconform = kubeconform.map(Kubeconform::new).transpose()?;
    match &kubeconform {
        Some(kubeconform) => checked.note("kubeconform", kubeconform.finds_mistakes()),
        None => checked.skipped.push("what is rendered, by its schemas: kubeconform was not built".into()),
    }
    match lua {
        Some(lua) => checked.note("files/argocd-health.lua", argo::check(lua)),
        None => checked
            .skipped
            .push("the health check for Argo CD: glua is not on the path and could not be built".into()),
    }
    checked.note("helm lint", lint(helm));
    let cases = cases()?;
    let cluster = Cluster::up(objects::server()?)?;
    ensure!(cases.len() >= CASES_MIN, "only {} cases are in {}", cases.len(), folder().display());
    for path in cases {
        let name = path.file_stem().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        checked.note(&name, one(helm, &cluster, kubeconform.as_ref(), &path, update));
    }
    Ok(checked)
}

impl Checked {
    fn note(&mut self, name: &str, result: Result<()>) {
        match result {
            Ok(()) => self.passed += 1,
            Err(error) => self.problems.push(format!("{name}: {error:#}")),
        }
    }
}

fn folder() -> PathBuf {
    shell::root().join("snapshots/chart")
}

/// The cases in the order of their names.
fn cases() -> Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder()).with_context(|| format!("cannot read {}", folder().display()))? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "case") {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

fn lint(helm: &Path) -> Result<()> {
    let output = Command::new(helm).args(["lint", "--strict"]).arg(shell::root().join(CHART)).output()?;
    if !output.status.success() {
        bail!("{}", String::from_utf8_lossy(&output.stdout));
    }
    Ok(())
}

fn one(
    helm: &Path,
    cluster: &Cluster,
    kubeconform: Option<&Kubeconform>,
    path: &Path,
    update: bool,
) -> Result<()> {
    let text = fs::read_to_string(path)?;
    let case: Case = serde_yaml::from_str(&text).context("the case is not understood")?;
    let rendered = match (case.render(helm)?, &case.refused) {
        (Err(refusal), Some(expected)) => {
            ensure!(refusal.contains(expected), "is refused, but not for {expected:?}: {refusal}");
            return Ok(());
        }
        (Err(refusal), None) => bail!("cannot be rendered: {refusal}"),
        (Ok(_), Some(expected)) => bail!("is rendered, and should be refused for {expected:?}"),
        (Ok(rendered), None) => rendered,
    };
    objects::accepted(cluster.server(), &objects::parse(&rendered)?)?;
    kubeconform.map_or(Ok(()), |kubeconform| kubeconform.check(&rendered))?;
    let shown = objects::without_definitions(&rendered)? + &case.notes(helm, cluster.kubeconfig())?;
    let reviewed = path.with_extension("yaml");
    if update {
        fs::write(&reviewed, shown).with_context(|| format!("cannot write {}", reviewed.display()))?;
        return Ok(());
    }
    let expected = fs::read_to_string(&reviewed).unwrap_or_default();
    let differs = expected.lines().zip(shown.lines()).position(|(a, b)| a != b);
    let line = differs.unwrap_or_else(|| expected.lines().count().min(shown.lines().count()));
    ensure!(
        expected == shown,
        "differs from {} in line {}: {:?}; run `cargo xtask chart --update` and review the change",
        reviewed.strip_prefix(shell::root()).unwrap_or(&reviewed).display(),
        line + 1,
        shown.lines().nth(line).unwrap_or_default()
    );
    Ok(())
}
