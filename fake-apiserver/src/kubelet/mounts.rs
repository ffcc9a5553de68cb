//! A container's view of the files: the host's own, with volumes and small files mounted over them.
//!
//! A mount point that does not exist on the host is never made there. Its nearest existing parent is *shadowed*: replaced,
//! in the container's mount namespace alone, by an empty file system to which every original entry is bound again.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _, symlink};
use std::path::{Component, Path, PathBuf};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::statvfs::{FsFlags, fstatvfs};
use nix::unistd::pivot_root;
use serde::{Deserialize, Serialize};

/// One file or directory of the host that appears at another place.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Mount {
    /// Where it appears.
    pub(super) target: PathBuf,
    /// What appears there.
    pub(super) source: PathBuf,
    /// Whether writing is refused.
    pub(super) read_only: bool,
}

/// Why a container's files could not be put together.
#[derive(Debug, thiserror::Error)]
pub(super) enum MountError {
    /// A mount point is relative or leaves the tree.
    #[error("mount path {0:?} must be absolute and without \"..\"")]
    BadTarget(PathBuf),
    /// The system refused.
    #[error("cannot {what} {path:?}: {source}")]
    Refused {
        /// What was tried.
        what: &'static str,
        /// With what.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
}

fn refused<E: Into<io::Error>>(what: &'static str, path: &Path) -> impl FnOnce(E) -> MountError {
    move |error| MountError::Refused { what, path: path.to_owned(), source: error.into() }
}

/// What would be hidden of these paths, shown at its place again: in a container of a real node it would be part of the
/// image, at a path where no volume lies. A volume at the path itself is meant to hide it.
pub(super) fn hidden(mounts: &[Mount], needed: impl Iterator<Item = PathBuf>) -> BTreeSet<Mount> {
    let covered = |path: &PathBuf| {
        let above = |mount: &Mount| path.starts_with(&mount.target) && *path != mount.target;
        mounts.iter().any(above) && !mounts.iter().any(|mount| mount.target == *path)
    };
    let again = |path: PathBuf| Mount { target: path.clone(), source: path, read_only: false };
    needed.filter(covered).map(again).collect()
}

const NONE: Option<&str> = None;

/// Mounts everything in this process's mount namespace, which must be private, and makes the working directory exist.
/// `staging` is an empty directory that outlives the call.
pub(super) fn build(mounts: &[Mount], working_dir: &Path, staging: &Path) -> Result<(), MountError> {
    let targets: Vec<&Path> =
        mounts.iter().map(|mount| mount.target.as_path()).chain([working_dir]).collect();
    for target in &targets {
        check_target(target)?;
    }
    let mut view = View { staging, ours: Vec::new() };
    let missing = missing_roots(&targets, |path| path.symlink_metadata().is_ok());
    if !missing.is_empty() {
        view.new_root(&missing)?;
    }
    // Opened before anything is covered: a volume may hide the directory that another volume's content is in.
    let mut ordered: Vec<&Mount> = mounts.iter().collect();
    ordered.sort();
    let mut opened = Vec::new();
    for mount in ordered {
        let mut options = OpenOptions::new();
        let source = options.read(true).custom_flags(nix::fcntl::OFlag::O_PATH.bits()).open(&mount.source);
        opened.push((mount, source.map_err(refused("open", &mount.source))?));
    }
    let mut places = Vec::new();
    for (mount, source) in &opened {
        let is_dir = source.metadata().map_err(refused("look at", &mount.source))?.is_dir();
        places.push((mount.target.as_path(), is_dir));
    }
    // Shadows come before mounts, which may hide the staging directory. What lies in a volume is made there later.
    for (place, is_dir) in places.iter().chain([&(working_dir, true)]) {
        if !places.iter().any(|(outer, _)| outer != place && place.starts_with(outer)) {
            view.ensure(place, *is_dir)?;
        }
    }
    for ((mount, source), (_, is_dir)) in opened.iter().zip(&places) {
        view.bind(mount, source, *is_dir)?;
    }
    view.ensure(working_dir, true)
}

fn check_target(target: &Path) -> Result<(), MountError> {
    let plain = |part| matches!(part, Component::RootDir | Component::Normal(_));
    if target.is_absolute() && target.components().all(plain) {
        Ok(())
    } else {
        Err(MountError::BadTarget(target.to_owned()))
    }
}

/// The entries of `/` that the targets need and the host does not have.
fn missing_roots(targets: &[&Path], exists: impl Fn(&Path) -> bool) -> BTreeSet<OsString> {
    let first = |target: &&Path| match target.components().nth(1) {
        Some(Component::Normal(name)) => Some(name.to_owned()),
        _ => None,
    };
    targets.iter().filter_map(first).filter(|name| !exists(&Path::new("/").join(name))).collect()
}

struct View<'a> {
    staging: &'a Path,
    /// Directories that belong to the container alone, so that mount points may simply be made in them.
    ours: Vec<PathBuf>,
}

impl View<'_> {
    /// Replaces `/` by a file system of the container's own that has these entries too.
    fn new_root(&mut self, missing: &BTreeSet<OsString>) -> Result<(), MountError> {
        self.replicate(Path::new("/"))?;
        for name in missing {
            let path = self.staging.join(name);
            fs::create_dir(&path).map_err(refused("make", &path))?;
            self.ours.push(Path::new("/").join(name));
        }
        let old = self.staging.join(".host");
        fs::create_dir(&old).map_err(refused("make", &old))?;
        pivot_root(self.staging, &old).map_err(refused("change the root to", self.staging))?;
        let old = Path::new("/.host");
        std::env::set_current_dir("/").map_err(refused("enter", Path::new("/")))?;
        umount2(old, MntFlags::MNT_DETACH).map_err(refused("leave", old))?;
        fs::remove_dir(old).map_err(refused("remove", old))
    }

    /// Replaces a directory by a copy that is the container's own.
    fn shadow(&mut self, directory: &Path) -> Result<(), MountError> {
        self.replicate(directory)?;
        mount(Some(self.staging), directory, NONE, MsFlags::MS_MOVE, NONE)
            .map_err(refused("shadow", directory))?;
        mount(NONE, directory, NONE, MsFlags::MS_PRIVATE, NONE).map_err(refused("shadow", directory))?;
        self.ours.push(directory.to_owned());
        Ok(())
    }

    /// Fills a new file system on `staging` with what is in a directory.
    fn replicate(&self, directory: &Path) -> Result<(), MountError> {
        let entries = fs::read_dir(directory).map_err(refused("read", directory))?;
        let mode = directory.metadata().map_err(refused("look at", directory))?.permissions().mode() & 0o7777;
        let entries: Vec<_> = entries.filter_map(Result::ok).collect();
        let options = format!("mode={mode:o}");
        mount(Some("tmpfs"), self.staging, Some("tmpfs"), MsFlags::MS_NOSUID, Some(options.as_str()))
            .map_err(refused("mount a tmpfs on", self.staging))?;
        // Unbindable, so that binding a parent of the staging directory does not copy it into itself.
        mount(NONE, self.staging, NONE, MsFlags::MS_UNBINDABLE, NONE)
            .map_err(refused("isolate", self.staging))?;
        for entry in entries {
            let copy = self.staging.join(entry.file_name());
            // What cannot be bound (it vanished, or may not be seen) is left out or stays empty.
            let _ = replicate_entry(&entry, &copy);
        }
        Ok(())
    }

    fn bind(&mut self, wanted: &Mount, source: &File, is_dir: bool) -> Result<(), MountError> {
        self.ensure(&wanted.target, is_dir)?;
        let target = fs::canonicalize(&wanted.target).map_err(refused("resolve", &wanted.target))?;
        let from = format!("/proc/self/fd/{}", source.as_raw_fd());
        mount(Some(from.as_str()), &target, NONE, MsFlags::MS_BIND | MsFlags::MS_REC, NONE)
            .map_err(refused("mount over", &target))?;
        if wanted.read_only {
            let file = File::open(&target).map_err(refused("open", &target))?;
            let kept = fstatvfs(&file).map_or(FsFlags::empty(), |stat| stat.flags());
            let flags = MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY | locked(kept);
            mount(NONE, &target, NONE, flags, NONE).map_err(refused("make read-only", &target))?;
        } else if is_dir {
            self.ours.push(target);
        }
        Ok(())
    }

    /// Makes a mount point, or any directory, exist.
    fn ensure(&mut self, target: &Path, is_dir: bool) -> Result<(), MountError> {
        if target.metadata().is_ok() {
            return Ok(());
        }
        let ancestor = target.ancestors().skip(1).find(|path| path.metadata().is_ok());
        let ancestor = ancestor.unwrap_or(Path::new("/"));
        let real = fs::canonicalize(ancestor).map_err(refused("resolve", ancestor))?;
        if !self.ours.iter().any(|own| real.starts_with(own)) {
            self.shadow(&real)?;
        }
        let rest = target.strip_prefix(ancestor).unwrap_or(target);
        let target = real.join(rest);
        if is_dir {
            return fs::create_dir_all(&target).map_err(refused("make", &target));
        }
        if let Some(parent) = target.parent() {
            fs::create_dir_all(parent).map_err(refused("make", parent))?;
        }
        File::create(&target).map(drop).map_err(refused("make", &target))
    }
}

fn replicate_entry(entry: &fs::DirEntry, copy: &Path) -> io::Result<()> {
    let kind = entry.file_type()?;
    let original = entry.path();
    if kind.is_symlink() {
        return symlink(fs::read_link(&original)?, copy);
    }
    if kind.is_dir() {
        fs::create_dir(copy)?;
    } else {
        File::create(copy)?;
    }
    Ok(mount(Some(&original), copy, NONE, MsFlags::MS_BIND | MsFlags::MS_REC, NONE)?)
}

/// Flags of the original that an unprivileged remount must repeat.
fn locked(flags: FsFlags) -> MsFlags {
    let pairs = [
        (FsFlags::ST_NOSUID, MsFlags::MS_NOSUID),
        (FsFlags::ST_NODEV, MsFlags::MS_NODEV),
        (FsFlags::ST_NOEXEC, MsFlags::MS_NOEXEC),
        (FsFlags::ST_NOATIME, MsFlags::MS_NOATIME),
        (FsFlags::ST_NODIRATIME, MsFlags::MS_NODIRATIME),
        (FsFlags::ST_RELATIME, MsFlags::MS_RELATIME),
    ];
    pairs
        .into_iter()
        .filter(|(seen, _)| flags.contains(*seen))
        .fold(MsFlags::empty(), |all, (_, flag)| all | flag)
}

/// Binds a file of ours over one of the node's own, in the kubelet's own mount namespace.
pub(super) fn bind_file(source: &Path, target: &Path) -> Result<(), MountError> {
    let target = fs::canonicalize(target).map_err(refused("resolve", target))?;
    mount(Some(source), &target, NONE, MsFlags::MS_BIND, NONE).map_err(refused("mount over", &target))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_top_level_names_that_the_host_lacks_need_a_new_root() {
        let targets = ["/data/a", "/data/b", "/etc/hosts", "/"].map(Path::new);
        let missing = missing_roots(&targets, |path| path == Path::new("/etc"));
        assert_eq!(missing.into_iter().collect::<Vec<_>>(), ["data"]);
    }

    #[test]
    fn what_a_volume_hides_is_shown_again_unless_the_volume_is_meant_for_it() {
        let mount = |target: &str| Mount { target: target.into(), source: "/v".into(), read_only: false };
        let mounts = [mount("/tmp"), mount("/opt/python"), mount("/opt/python/site")];
        let needed = ["/tmp/build/app", "/opt/python", "/opt/python/site", "/usr/bin/app"].map(PathBuf::from);
        let shown: Vec<_> =
            hidden(&mounts, needed.into_iter()).into_iter().map(|mount| mount.target).collect();
        assert_eq!(shown, [Path::new("/tmp/build/app")]);
    }

    #[test]
    fn a_target_that_leaves_the_tree_is_refused() {
        assert!(check_target(Path::new("/data/../etc")).is_err());
        assert!(check_target(Path::new("data")).is_err());
        assert!(check_target(Path::new("/data/x")).is_ok());
    }
}
