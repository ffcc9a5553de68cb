//! Which Python to make the environment with.

use std::fmt;
use std::process::{Command, Stdio};

use super::PythonError;

/// The oldest Python that the pinned Dask runs on.
pub(super) const OLDEST: Version = Version(3, 10);

/// Where to look after `python3`, newest first: an old distribution often has a newer one beside its own.
const OTHERS: [&str; 5] = ["python3.14", "python3.13", "python3.12", "python3.11", "python3.10"];

/// Prints the interpreter's own path (not a launcher's) and its version.
const PROBE: &str = "import sys; print(sys.executable); print('.'.join(map(str, sys.version_info[:3])))";

/// Major and minor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Version(u32, u32);

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0, self.1)
    }
}

/// A Python on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Interpreter {
    /// Its path.
    pub(super) program: String,
    /// Its full version, such as `3.12.4`.
    pub(super) version: String,
}

/// The named one, or the first on the path that is new enough.
pub(super) fn find() -> Result<Interpreter, PythonError> {
    let named = std::env::var("DASK_OPERATOR_PYTHON").ok().filter(|name| !name.is_empty());
    let candidates = named.map_or_else(
        || std::iter::once("python3").chain(OTHERS).map(str::to_owned).collect::<Vec<_>>(),
        |name| vec![name],
    );
    choose(candidates.iter().filter_map(|name| probe(name)))
}

/// The first that is new enough; without one, the error names the first that is not.
fn choose(found: impl Iterator<Item = Interpreter>) -> Result<Interpreter, PythonError> {
    let mut old = None;
    for interpreter in found {
        if version(&interpreter.version).is_some_and(|version| version >= OLDEST) {
            return Ok(interpreter);
        }
        old.get_or_insert(interpreter);
    }
    Err(old.map_or(PythonError::Missing, |Interpreter { program, version }| PythonError::TooOld {
        program,
        version,
    }))
}

fn probe(name: &str) -> Option<Interpreter> {
    let out = Command::new(name).args(["-c", PROBE]).stdin(Stdio::null()).output().ok()?;
    let text = String::from_utf8(out.stdout).ok()?;
    let mut lines = text.lines();
    Some(Interpreter { program: lines.next()?.to_owned(), version: lines.next()?.to_owned() })
}

fn version(text: &str) -> Option<Version> {
    let mut parts = text.split('.').map(|part| part.parse().ok());
    Some(Version(parts.next()??, parts.next()??))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is chosen from Pythons of these versions: its version, or what the error says.
    fn check(found: &[&str], expected: &str) {
        let found =
            found.iter().map(|version| Interpreter { program: "python3".into(), version: (*version).into() });
        let chosen = choose(found).map_or_else(|error| error.to_string(), |interpreter| interpreter.version);
        assert!(chosen.starts_with(expected), "{chosen:?} is not {expected:?}");
    }

    #[test]
    fn the_first_that_is_new_enough_is_chosen() {
        check(&["3.9.2", "3.11.4", "3.14.0"], "3.11.4");
    }

    #[test]
    fn an_old_one_is_named() {
        check(&["2.7.18", "3.9.2"], "python3 is Python 2.7.18, and Dask needs 3.10 or newer");
    }

    #[test]
    fn none_at_all_says_what_to_install() {
        check(&[], "no python3 was found: install Python 3.10");
    }
}
