//! Programs of other projects: taken from the path, or built once from their released sources below `target/tools`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::shell;

/// A program, in the version that the project is checked with.
pub(crate) struct Tool {
    /// Name of the program.
    program: &'static str,
    /// What it is built from.
    source: Source,
    /// Version that is built.
    pub(crate) version: &'static str,
    /// How the program is asked for its version.
    ask: &'static [&'static str],
    /// How the answer of one that will do begins.
    answer: &'static str,
}

/// Where the registries have a program's source.
#[derive(Clone, Copy)]
enum Source {
    /// The Go package of its `main`.
    Go(&'static str),
    /// The crate of its name.
    Crate,
}

/// Helm 3: renders and checks the chart.
pub(crate) const HELM: Tool = Tool {
    program: "helm",
    source: Source::Go("helm.sh/helm/v3/cmd/helm"),
    version: "v3.22.0",
    ask: &["version", "--short"],
    answer: "v3.",
};

/// Helm 4: installs the charts that Helm 3 does.
pub(crate) const HELM_4: Tool = Tool {
    program: "helm",
    source: Source::Go("helm.sh/helm/v4/cmd/helm"),
    version: "v4.3.1",
    ask: &["version", "--short"],
    answer: "v4.",
};

/// actionlint: checks the workflows of GitHub Actions.
pub(crate) const ACTIONLINT: Tool = Tool {
    program: "actionlint",
    source: Source::Go("github.com/rhysd/actionlint/cmd/actionlint"),
    version: "v1.7.7",
    ask: &["-version"],
    answer: "",
};

/// kubeconform: checks manifests by schemas, without a cluster.
pub(crate) const KUBECONFORM: Tool = Tool {
    program: "kubeconform",
    source: Source::Go("github.com/yannh/kubeconform/cmd/kubeconform"),
    version: "v0.8.0",
    ask: &["-v"],
    // One that was built from its module says `development`, one from a release its version.
    answer: "",
};

/// GopherLua, which Argo CD judges health with: checks the chart's script for it.
pub(crate) const GLUA: Tool = Tool {
    program: "glua",
    source: Source::Go("github.com/yuin/gopher-lua/cmd/glua"),
    version: "v1.1.1",
    ask: &["-v"],
    answer: "GopherLua",
};

/// cargo-deny: what dependencies may be, by `deny.toml`.
pub(crate) const CARGO_DENY: Tool = Tool {
    program: "cargo-deny",
    source: Source::Crate,
    version: "0.18.5",
    ask: &["--version"],
    answer: "cargo-deny",
};

impl Tool {
    /// Where the program is, if it is there: on the path in a version that will do, or built before.
    pub(crate) fn found(&self) -> Option<PathBuf> {
        [PathBuf::from(self.program), self.built()].into_iter().find(|program| self.will_do(program))
    }

    /// Where the program is; builds it if it is not there, which takes minutes and may need Go.
    pub(crate) fn ready(&self) -> Result<PathBuf> {
        if let Some(program) = self.found() {
            return Ok(program);
        }
        let folder = self.folder();
        fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let (program, version) = (self.program, self.version);
        match self.source {
            Source::Go(package) => {
                println!("building {program} {version} from {package}");
                let mut build = Command::new("go");
                build.args(["install", "-trimpath", "-ldflags=-s -w", &format!("{package}@{version}")]);
                build.env("GOBIN", &folder).env("CGO_ENABLED", "0").env_remove("GOFLAGS");
                shell::run(&mut build).with_context(|| {
                    format!("{program} is not on the path and cannot be built: install it, or Go")
                })?;
            }
            Source::Crate => {
                println!("building {program} {version} from its crate");
                let mut build = Command::new("cargo");
                build.args(["install", "--locked", &format!("{program}@{version}"), "--root"]).arg(&folder);
                shell::run(&mut build)
                    .with_context(|| format!("{program} is not on the path and cannot be built"))?;
            }
        }
        Ok(self.built())
    }

    /// Where the program is, for a test that is skipped without it: built if it is not there, where there is Go.
    ///
    /// # Errors
    /// Why it cannot be had on this machine.
    pub(crate) fn or_reason(&self) -> Result<PathBuf, String> {
        if let Some(program) = self.found() {
            return Ok(program);
        }
        if matches!(self.source, Source::Go(_)) && !has_go() {
            let (program, version) = (self.program, self.version);
            return Err(format!(
                "{program} {version} is not on the path, and there is no Go to build it with"
            ));
        }
        self.ready().map_err(|error| format!("{error:#}"))
    }

    /// Where the program lies when it was built.
    fn built(&self) -> PathBuf {
        let inside = match self.source {
            Source::Go(_) => "",
            Source::Crate => "bin",
        };
        self.folder().join(inside).join(self.program)
    }

    fn folder(&self) -> PathBuf {
        shell::target().join("tools").join(format!("{}-{}", self.program, self.version))
    }

    fn will_do(&self, program: &Path) -> bool {
        let Ok(output) = Command::new(program).args(self.ask).output() else { return false };
        output.status.success()
            && String::from_utf8_lossy(&output.stdout).trim_start().starts_with(self.answer)
    }
}

/// Whether programs can be built from Go modules here.
pub(crate) fn has_go() -> bool {
    Command::new("go").arg("version").output().is_ok_and(|output| output.status.success())
}
