//! What `Containerfile` says: the few instructions that an image from scratch needs.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail, ensure};

/// The image as the file describes it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Containerfile {
    /// Files: where they are in the context, and in the image.
    pub(super) copies: Vec<(String, String)>,
    /// User and group.
    pub(super) user: String,
    pub(super) entrypoint: Vec<String>,
    pub(super) command: Vec<String>,
    pub(super) labels: BTreeMap<String, String>,
}

impl Containerfile {
    /// Reads the file; `arguments` are the values of its `ARG`s. What is not understood is an error.
    pub(super) fn parse(text: &str, arguments: &[(&str, &str)]) -> Result<Self> {
        let mut file = Self::default();
        let mut declared = Vec::new();
        for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let (instruction, rest) = line.split_once(' ').context("an instruction says nothing")?;
            let mut rest = rest.trim().to_owned();
            for (name, value) in
                arguments.iter().filter(|(name, _)| declared.iter().any(|known| known == name))
            {
                rest = rest.replace(&format!("${name}"), value);
            }
            ensure!(!rest.contains('$'), "{line}: the argument is not known");
            match instruction {
                "FROM" => ensure!(rest == "scratch", "{line}: only images from scratch are made"),
                "ARG" => declared.push(rest),
                "LABEL" => {
                    let (name, value) =
                        rest.split_once('=').with_context(|| format!("{line}: has no value"))?;
                    file.labels.insert(name.to_owned(), value.trim_matches('"').to_owned());
                }
                "COPY" => {
                    let (from, to) =
                        rest.split_once(' ').with_context(|| format!("{line}: names no place"))?;
                    file.copies.push((from.to_owned(), to.trim_start_matches('/').to_owned()));
                }
                "USER" => file.user = rest,
                "ENTRYPOINT" => file.entrypoint = words(&rest)?,
                "CMD" => file.command = words(&rest)?,
                _ => bail!("{line}: the instruction is not known here"),
            }
        }
        Ok(file)
    }
}

fn words(text: &str) -> Result<Vec<String>> {
    serde_json::from_str(text).with_context(|| format!("{text} is not a JSON list of words"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_projects_own_file_is_understood() {
        let text = std::fs::read_to_string(crate::shell::root().join("Containerfile")).unwrap();
        let file = Containerfile::parse(&text, &[("VERSION", "1.2.3"), ("REVISION", "abc")]).unwrap();
        assert_eq!(file.copies, [("dask-operator".to_owned(), "dask-operator".to_owned())]);
        assert_eq!(file.user, "1000:1000");
        assert_eq!(file.entrypoint, ["/dask-operator", "run"]);
        assert_eq!(file.labels["org.opencontainers.image.version"], "1.2.3");
        assert_eq!(file.labels["org.opencontainers.image.revision"], "abc");
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for text in ["FROM debian", "RUN true", "LABEL a=\"$B\"", "ENTRYPOINT /a"] {
            assert!(Containerfile::parse(text, &[]).is_err(), "{text}");
        }
    }
}
