//! What a page of the documentation says to do, in its order. Pure.
//!
//! | block | what is done |
//! |---|---|
//! | ```` ```sh ```` | is run |
//! | ```` ```sh skip="why" ```` | is not, and the page's verdict says why |
//! | ```` ```LANGUAGE file=NAME ```` | is written to the folder in which the commands run |
//! | `<!-- sh` … `-->` | is run and not shown: what the reader has done before |
//!
//! Other blocks are shown only, and may not begin like a command.

use anyhow::{Result, bail};

/// Programs by which a command is told from an example of output.
const PROGRAMS: [&str; 6] = ["kubectl ", "helm ", "dask-operator ", "kopf ", "cargo ", "pip "];

/// What is to be done with a block.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum What {
    /// A script for the shell.
    Run(String),
    /// The reason why it is not run.
    Skip(String),
    /// A file's name and text.
    File(String, String),
}

/// A block and the line in which it begins.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Block {
    pub(super) line: usize,
    pub(super) what: What,
}

/// The blocks of a page that something is done with.
pub(super) fn blocks(text: &str) -> Result<Vec<Block>> {
    let mut found = Vec::new();
    let mut lines = text.lines().enumerate();
    while let Some((index, first)) = lines.next() {
        let (info, end) = match (first.strip_prefix("```"), first) {
            (Some(info), _) => (info, "```"),
            (None, "<!-- sh") => ("sh", "-->"),
            (None, _) => continue,
        };
        let line = index + 1;
        let mut body = String::new();
        loop {
            match lines.next() {
                Some((_, text)) if text == end => break,
                Some((_, text)) => body.extend([text, "\n"]),
                None => bail!("line {line}: the block has no end"),
            }
        }
        let what = if let Some((_, name)) = info.split_once(" file=") {
            What::File(name.trim().to_owned(), body)
        } else if info == "sh" {
            What::Run(body)
        } else if let Some(reason) = info.strip_prefix("sh skip=") {
            What::Skip(reason.trim_matches('"').to_owned())
        } else if PROGRAMS.iter().any(|program| body.starts_with(program)) {
            bail!("line {line}: commands stand in a block of the language `sh`, so that they are run");
        } else {
            continue;
        };
        found.push(Block { line, what });
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_block_is_what_its_first_line_says() {
        let page = "# a\n<!-- sh\nkubectl get x\n-->\n```sh\nhelm list\n```\n```sh skip=\"no network\"\nhelm repo\n```\n\
                    ```yaml file=a/b.yaml\nk: v\n```\n```\nNAME  READY\n```\n";
        let found: Vec<_> = blocks(page).unwrap().into_iter().map(|block| (block.line, block.what)).collect();
        let expected = [
            (2, What::Run("kubectl get x\n".into())),
            (5, What::Run("helm list\n".into())),
            (8, What::Skip("no network".into())),
            (11, What::File("a/b.yaml".into(), "k: v\n".into())),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn a_command_that_would_not_be_run_is_refused() {
        assert!(blocks("```\nkubectl get pods\n```\n").unwrap_err().to_string().contains("line 1"));
        assert!(blocks("```sh\nno end\n").unwrap_err().to_string().contains("no end"));
    }
}
