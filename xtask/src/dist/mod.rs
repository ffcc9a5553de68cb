//! `cargo xtask dist`: what a release consists of, in `target/shipped`.
//!
//! | module | what it is |
//! |---|---|
//! | [`program`] | static programs |
//! | [`containerfile`] | what `Containerfile` says |
//! | [`archive`] | the image as an OCI archive, without a container engine |
//! | [`check`] | the image at work |
//! | [`sbom`] | what the program is made of |
//! | [`sums`] | the sums of all files |

mod archive;
pub(crate) mod check;
mod containerfile;
mod program;
mod sbom;
mod sums;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use clap::Subcommand;

use self::archive::Image;
use self::containerfile::Containerfile;
use self::program::{Program, Recipe, Source};
use crate::codegen::chart::CHART;
use crate::{shell, tools};

/// What the chart asks for.
const IMAGE: &str = "ghcr.io/dask/dask-kubernetes-operator";

/// What `operator/examples/own-kind/deployment.yaml` asks for.
const OWN_KIND: &str = "registry.example.com/research-labs:1";

/// The largest image that is shipped.
const IMAGE_BYTES_MAX: u64 = 20_000_000;

/// Make what a release consists of, in target/shipped.
#[derive(clap::Args)]
pub(crate) struct Dist {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// The operator's image for this machine's architecture as an OCI archive, and its SBOM beside it.
    Image,
    /// The chart as Helm installs it.
    Chart,
    /// The definitions in one file.
    Crds,
    /// All of a release, from the images of both architectures that `image` made.
    Release {
        /// The tag that is released; it has to be the version of the sources.
        #[arg(long, env = "TAG")]
        tag: String,
    },
}

impl Dist {
    pub(crate) fn run(self) -> Result<()> {
        fs::create_dir_all(folder()).with_context(|| format!("cannot make {}", folder().display()))?;
        match self.what {
            What::Image => image().map(drop),
            What::Chart => chart(),
            What::Crds => crds(),
            What::Release { tag } => release(&tag),
        }
    }
}

fn folder() -> PathBuf {
    shell::target().join("shipped")
}

fn write(name: &str, contents: &[u8]) -> Result<()> {
    let path = folder().join(name);
    fs::write(&path, contents).with_context(|| format!("cannot write {}", path.display()))?;
    println!("{} ({} bytes)", path.display(), contents.len());
    Ok(())
}

fn version() -> &'static str {
    env!("CARGO_PKG_VERSION")
}

fn reference() -> String {
    format!("{IMAGE}:{}", version())
}

/// Makes the image for this machine; its archive.
pub(crate) fn image() -> Result<PathBuf> {
    fs::create_dir_all(folder()).with_context(|| format!("cannot make {}", folder().display()))?;
    let source = Source::find()?;
    let program = Program::build(&program::OPERATOR)?;
    // Where `Containerfile` finds it, for those who prefer an engine.
    let image = imaged(&program, &source, "Containerfile", &folder().join("image"))?;
    let archive = archive::write(&reference(), &[image])?;
    ensure!(
        (archive.len() as u64) < IMAGE_BYTES_MAX,
        "the image has {} bytes, more than {IMAGE_BYTES_MAX}",
        archive.len()
    );
    let bill = sbom::of(&program, &source)?;
    let name = format!("dask-operator-{}-{}", version(), program.architecture);
    write(&format!("{name}.oci.tar"), &archive)?;
    write(&format!("{name}.cdx.json"), bill.as_bytes())?;
    Ok(folder().join(format!("{name}.oci.tar")))
}

/// Makes the image of `operator/examples/own-kind`, which is tried and not shipped; its archive.
pub(crate) fn own_kind() -> Result<PathBuf> {
    let context = own_kind_archive().with_file_name("image");
    let source = Source::find()?;
    let program = Program::build(&Recipe { package: "own-kind", features: &[] })?;
    let image = imaged(&program, &source, "operator/examples/own-kind/Containerfile", &context)?;
    let path = own_kind_archive();
    fs::write(&path, archive::write(OWN_KIND, &[image])?)
        .with_context(|| format!("cannot write {}", path.display()))?;
    Ok(path)
}

/// Where [`own_kind`] leaves its archive.
pub(crate) fn own_kind_archive() -> PathBuf {
    shell::target().join("own-kind/own-kind.oci.tar")
}

/// The image of a program as a Containerfile describes it, from a folder that has nothing but the program.
fn imaged(program: &Program, source: &Source, containerfile: &str, context: &Path) -> Result<Image> {
    fs::create_dir_all(context).with_context(|| format!("cannot make {}", context.display()))?;
    fs::write(context.join(program.name), &program.bytes)?;
    let arguments = [("VERSION", version()), ("REVISION", source.revision.as_str())];
    let containerfile = Containerfile::parse(&read(&shell::root().join(containerfile))?, &arguments)?;
    Image::new(&containerfile, context, program.architecture, source)
}

fn release(tag: &str) -> Result<()> {
    let version = version();
    ensure!(
        tag.strip_prefix('v') == Some(version),
        "the tag {tag} is not v{version}, the version in Cargo.toml"
    );
    let mut images = Vec::new();
    for architecture in program::ARCHITECTURES {
        let path = folder().join(format!("dask-operator-{version}-{architecture}.oci.tar"));
        let bytes = fs::read(&path).with_context(|| {
            format!("cannot read {}: make it there with `cargo xtask dist image`", path.display())
        })?;
        images.extend(
            archive::read(&bytes).with_context(|| format!("{} is no image of ours", path.display()))?,
        );
    }
    write(&format!("dask-operator-{version}.oci.tar"), &archive::write(&reference(), &images)?)?;
    chart()?;
    crds()?;
    let changes = read(&shell::root().join("CHANGELOG.md"))?;
    write("NOTES.md", notes(&changes, version)?.as_bytes())?;
    write("SHA256SUMS", sums::of(&folder())?.as_bytes())
}

/// What the changelog says of a version.
fn notes(changes: &str, version: &str) -> Result<String> {
    let heading = format!("## [{version}]");
    let rest =
        changes.split_once(&heading).with_context(|| format!("CHANGELOG.md has no section {heading}"))?.1;
    let section = rest.split("\n## [").next().unwrap_or(rest);
    let text = section.split_once('\n').map_or("", |(_, text)| text).trim();
    ensure!(!text.is_empty(), "CHANGELOG.md says nothing of {version}");
    Ok(format!("{text}\n"))
}

fn chart() -> Result<()> {
    let mut package = Command::new(tools::HELM.ready()?);
    package.arg("package").arg(shell::root().join(CHART)).arg("--destination").arg(folder());
    shell::run(&mut package)
}

fn crds() -> Result<()> {
    let mut all = String::new();
    let mut paths: Vec<PathBuf> = Vec::new();
    for entry in fs::read_dir(shell::root().join("crds")).context("cannot read crds")? {
        paths.push(entry?.path());
    }
    paths.sort();
    for path in paths.iter().filter(|path| path.extension().is_some_and(|extension| extension == "yaml")) {
        all.push_str("---\n");
        all.push_str(&read(path)?);
    }
    write("crds.yaml", all.as_bytes())
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_notes_are_the_versions_section_of_the_changelog() {
        let changes = "# Changelog\n\n## [Unreleased]\n\n- c\n\n## [1.2.0] - 2026-01-01\n\n### Added\n\n- b\n\n## [1.1.0]\n\n- a\n";
        assert_eq!(notes(changes, "1.2.0").unwrap(), "### Added\n\n- b\n");
        assert_eq!(notes(changes, "1.1.0").unwrap(), "- a\n");
        assert!(notes(changes, "1.3.0").is_err());
    }
}
