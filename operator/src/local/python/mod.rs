//! The Python environment that stands for the Dask image on a machine without containers.
//!
//! A virtual environment of its own, named by a hash of the pinned requirements and of the Python it was made with, so
//! that it is made once and never changed. Half-made ones are recognised (no marker) and made again.

mod interpreter;

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use sha2::{Digest, Sha256};

use self::interpreter::Interpreter;

/// The one place where versions of Dask and what it needs are pinned.
const REQUIREMENTS: &str = include_str!("requirements.txt");
/// The versions of Dask the operator is held to, a line each, oldest first.
const VERSIONS: &str = include_str!("versions.txt");
/// The packages that come in Dask's version.
const DASK: [&str; 2] = ["dask", "distributed"];
/// Needed by Dask's collections, and heavy.
const HEAVY: &str = "numpy";
/// Fetches pip where Python came without it.
const FETCH_PIP: &str = include_str!("pip.py");
/// The file that is written last.
const MARKER: &str = "complete";

/// A ready environment.
#[derive(Clone, Debug)]
pub struct Python {
    /// The environment's folder.
    pub folder: PathBuf,
    /// Where its programs are: `python`, `dask`.
    pub bin: PathBuf,
}

/// Why there is no environment, each with what to do.
#[derive(Debug, thiserror::Error)]
pub enum PythonError {
    /// None on the path.
    #[error(
        "no python3 was found: install Python {} or newer, or name one in DASK_OPERATOR_PYTHON",
        interpreter::OLDEST
    )]
    Missing,
    /// Dask does not run on it.
    #[error(
        "{program} is Python {version}, and Dask needs {} or newer: install one, or name it in DASK_OPERATOR_PYTHON",
        interpreter::OLDEST
    )]
    TooOld {
        /// The one that was found.
        program: String,
        /// Its version.
        version: String,
    },
    /// The environment cannot be made with this Python.
    #[error(
        "{program} cannot make a virtual environment: install its venv module (Debian, Ubuntu: apt-get install python3-venv); {detail}"
    )]
    Venv {
        /// The Python that was asked.
        program: String,
        /// Its own words.
        detail: String,
    },
    /// pip failed.
    #[error("Dask could not be installed; the last words of pip were: {detail} (all of them: {})", log.display())]
    Install {
        /// The last line of its output.
        detail: String,
        /// All of its output.
        log: PathBuf,
    },
    /// A file could not be written or a program not be started.
    #[error("cannot {what}")]
    Io {
        /// What was being done.
        what: String,
        /// Why it failed.
        #[source]
        source: std::io::Error,
    },
}

/// The folder of this user for such things: `DASK_OPERATOR_CACHE`, else the platform's cache folder.
pub fn cache_folder() -> PathBuf {
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    variable("DASK_OPERATOR_CACHE")
        .or_else(|| Some(variable("XDG_CACHE_HOME")?.join("dask-operator")))
        .or_else(|| Some(variable("HOME")?.join(".cache/dask-operator")))
        .unwrap_or_else(|| std::env::temp_dir().join("dask-operator"))
}

/// What an environment holds.
#[derive(Clone, Debug)]
struct Contents {
    requirements: String,
    /// A line of Python that works once all is there.
    works: &'static str,
}

impl Contents {
    /// The Dask image.
    fn image() -> Self {
        Self { requirements: REQUIREMENTS.to_owned(), works: "import distributed, dask.array" }
    }

    /// A version of Dask without what only collections need.
    fn light(version: &str) -> Self {
        let pinned =
            |line: &&str, name: &str| line.strip_prefix(name).is_some_and(|rest| rest.starts_with("=="));
        let lines = REQUIREMENTS.lines().filter(|line| !pinned(line, HEAVY)).map(|line| {
            match DASK.iter().find(|name| pinned(&line, name)) {
                Some(name) => format!("{name}=={version}\n"),
                None => format!("{line}\n"),
            }
        });
        Self { requirements: lines.collect(), works: "import distributed" }
    }
}

/// The versions of Dask that the operator is held to, oldest first.
pub fn versions() -> impl Iterator<Item = &'static str> {
    VERSIONS.lines().filter(|line| !line.starts_with('#'))
}

/// The environment of the Dask image below `cache`, made if it is not there; `tell` hears what is going on, a line at a time.
///
/// Needs the network only when something is to be made. Several processes may call it at once: one makes, the others wait.
pub fn prepare(cache: &Path, tell: &mut dyn FnMut(&str)) -> Result<Python, PythonError> {
    prepare_contents(cache, &Contents::image(), tell)
}

/// Likewise an environment with a given version of Dask, without what only its collections need.
pub fn prepare_version(
    cache: &Path,
    version: &str,
    tell: &mut dyn FnMut(&str),
) -> Result<Python, PythonError> {
    prepare_contents(cache, &Contents::light(version), tell)
}

fn prepare_contents(
    cache: &Path,
    contents: &Contents,
    tell: &mut dyn FnMut(&str),
) -> Result<Python, PythonError> {
    let interpreter = interpreter::find()?;
    let cache = std::path::absolute(cache).map_err(io("find the cache folder"))?;
    fs::create_dir_all(&cache).map_err(io(&format!("make {}", cache.display())))?;
    let folder = cache.join(format!("python-{}", fingerprint(&interpreter, contents)));
    let python = Python { bin: folder.join("bin"), folder };
    if python.is_complete() {
        return Ok(python);
    }
    let lock = File::create(python.folder.with_extension("lock")).map_err(io("make a lock file"))?;
    lock.lock().map_err(io("take the lock of the Python environment"))?;
    if !python.is_complete() {
        python.make(&interpreter, contents, tell)?;
    }
    Ok(python)
}

impl Python {
    /// The environment's own interpreter.
    pub fn program(&self) -> PathBuf {
        self.bin.join("python")
    }

    /// It was finished, and the Python it leans on is still there.
    fn is_complete(&self) -> bool {
        let works =
            || Command::new(self.program()).arg("--version").output().is_ok_and(|out| out.status.success());
        self.folder.join(MARKER).exists() && works()
    }

    fn make(
        &self,
        interpreter: &Interpreter,
        contents: &Contents,
        tell: &mut dyn FnMut(&str),
    ) -> Result<(), PythonError> {
        tell(&format!(
            "preparing Dask with Python {} in {} (once)",
            interpreter.version,
            self.folder.display()
        ));
        if self.folder.exists() {
            fs::remove_dir_all(&self.folder).map_err(io("remove a half-made Python environment"))?;
        }
        let pip = self.make_venv(interpreter)?;
        self.install(&pip, contents, tell)?;
        fs::write(self.folder.join(MARKER), &contents.requirements)
            .map_err(io("mark the Python environment as complete"))
    }

    /// An empty environment; the words that start pip in it.
    fn make_venv(&self, interpreter: &Interpreter) -> Result<Vec<PathBuf>, PythonError> {
        let make = |arguments: &[&OsStr]| {
            output(Command::new(&interpreter.program).args(["-m", "venv"]).args(arguments))
        };
        let folder = self.folder.as_os_str();
        if make(&[folder])?.is_ok() {
            return Ok(vec![self.program(), "-m".into(), "pip".into()]);
        }
        // Debian and Ubuntu keep the copy of pip that venv needs in a package of its own.
        let refused = |detail| PythonError::Venv { program: interpreter.program.clone(), detail };
        make(&[OsStr::new("--clear"), OsStr::new("--without-pip"), folder])?.map_err(refused)?;
        let wheel = output(Command::new(self.program()).args(["-c", FETCH_PIP]).arg(&self.folder))?
            .map_err(refused)?;
        // A wheel of pip runs as it lies there.
        Ok(vec![self.program(), PathBuf::from(wheel.trim()).join("pip")])
    }

    fn install(
        &self,
        pip: &[PathBuf],
        contents: &Contents,
        tell: &mut dyn FnMut(&str),
    ) -> Result<(), PythonError> {
        let requirements = self.folder.join("requirements.txt");
        fs::write(&requirements, &contents.requirements).map_err(io("write the requirements"))?;
        let log = self.folder.with_extension("log");
        let mut record = File::create(&log).map_err(io("write pip's log"))?;
        let errors = record.try_clone().map_err(io("write pip's log"))?;
        let mut child = Command::new(&pip[0])
            .args(&pip[1..])
            .args([
                "install",
                "--no-input",
                "--disable-pip-version-check",
                "--progress-bar=off",
                "--no-deps",
                "-r",
            ])
            .arg(&requirements)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(errors)
            .spawn()
            .map_err(io("start pip"))?;
        if let Some(out) = child.stdout.take() {
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                writeln!(record, "{line}").map_err(io("write pip's log"))?;
                if let Some(package) = line.strip_prefix("Collecting ") {
                    tell(&format!("  {}", package.split([';', ' ']).next().unwrap_or(package)));
                } else if line.starts_with("Installing") {
                    tell("  installing");
                }
            }
        }
        let installed = child.wait().map_err(io("wait for pip"))?.success();
        if installed && output(Command::new(self.program()).args(["-c", contents.works]))?.is_ok() {
            return Ok(());
        }
        let text = fs::read_to_string(&log).unwrap_or_default();
        let last = text.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("nothing").to_owned();
        Err(PythonError::Install { detail: last, log })
    }
}

/// Sixteen hexadecimal digits that change when anything in the environment would.
fn fingerprint(interpreter: &Interpreter, contents: &Contents) -> String {
    let mut hash = Sha256::new();
    for part in [&contents.requirements, FETCH_PIP, &interpreter.version, &interpreter.program] {
        hash.update(part);
        hash.update([0]);
    }
    let digest = hash.finalize();
    let first = digest.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes));
    format!("{first:016x}")
}

/// Runs a program without a terminal: what it wrote, or its last words if it failed.
fn output(command: &mut Command) -> Result<Result<String, String>, PythonError> {
    let what = format!("start {}", command.get_program().to_string_lossy());
    let out = command.stdin(Stdio::null()).output().map_err(io(&what))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    if out.status.success() {
        return Ok(Ok(text(&out.stdout)));
    }
    let words = [text(&out.stdout), text(&out.stderr)].join("\n");
    Ok(Err(words.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("it said nothing").to_owned()))
}

fn io(what: &str) -> impl FnOnce(std::io::Error) -> PythonError {
    let what = what.to_owned();
    move |source| PythonError::Io { what, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_requirement_is_pinned() {
        for line in REQUIREMENTS.lines().filter(|line| !line.starts_with('#')) {
            let requirement = line.split(';').next().unwrap_or_default().trim();
            let (name, version) = requirement.split_once("==").unwrap_or_default();
            assert!(
                !name.is_empty() && version.starts_with(|c: char| c.is_ascii_digit()),
                "{line:?} is not pinned"
            );
        }
    }

    #[test]
    fn another_version_of_dask_differs_in_dask_alone() {
        let newest = versions().last().unwrap();
        assert!(REQUIREMENTS.contains(&format!("distributed=={newest}\n")), "{newest} is not the image's");
        let old = Contents::light("2023.9.3").requirements;
        let all: Vec<&str> = REQUIREMENTS.lines().collect();
        let changed: Vec<&str> = old.lines().filter(|line| !all.contains(line)).collect();
        assert_eq!(changed, ["dask==2023.9.3", "distributed==2023.9.3"]);
        assert!(!old.contains("numpy"));
    }

    #[test]
    fn another_python_gets_another_environment() {
        let mk = |version: &str| Interpreter { program: "/usr/bin/python3".into(), version: version.into() };
        let print = |version: &str| fingerprint(&mk(version), &Contents::image());
        assert_eq!(print("3.12.1"), print("3.12.1"));
        assert_ne!(print("3.12.1"), print("3.12.2"));
    }

    #[test]
    fn a_half_made_environment_is_not_complete() {
        let cache = tempfile::tempdir().unwrap();
        let python = Python { folder: cache.path().into(), bin: cache.path().join("bin") };
        assert!(!python.is_complete());
    }
}
