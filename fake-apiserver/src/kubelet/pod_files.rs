//! The files of one pod below the state directory.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use k8s_openapi::api::core::v1::Pod;

use super::hosts;
use super::mounts::Mount;
use super::pod_worker::pods_directory;

/// Where a pod's files are.
#[derive(Clone, Debug)]
pub(super) struct PodFiles {
    root: PathBuf,
}

impl PodFiles {
    /// Nothing is made yet.
    pub(super) fn new(state_dir: &Path, pod: &Pod) -> Self {
        let uid = pod.metadata.uid.as_deref().unwrap_or("unknown");
        Self { root: pods_directory(state_dir).join(uid) }
    }

    /// The volumes' directory.
    pub(super) fn volumes(&self) -> PathBuf {
        self.root.join("volumes")
    }

    fn etc(&self, name: &str) -> PathBuf {
        self.root.join("etc").join(name)
    }

    /// Writes host name and resolver configuration.
    pub(super) fn write_etc(&self, hostname: &str, resolver: &str) -> io::Result<()> {
        fs::create_dir_all(self.root.join("etc"))?;
        fs::write(self.etc("hostname"), format!("{hostname}\n"))?;
        fs::write(self.etc("resolv.conf"), resolver)
    }

    /// Writes the hosts file, in place if it is mounted somewhere.
    pub(super) fn write_hosts(&self, text: &str) -> io::Result<()> {
        fs::create_dir_all(self.root.join("etc"))?;
        hosts::rewrite(&self.etc("hosts"), text)
    }

    /// The files of `/etc` that a container gets, where the host has them too.
    pub(super) fn etc_mounts(&self) -> Vec<Mount> {
        let names = ["hosts", "hostname", "resolv.conf"];
        let there = names.into_iter().filter(|name| Path::new("/etc").join(name).exists());
        there
            .map(|name| Mount {
                target: Path::new("/etc").join(name),
                source: self.etc(name),
                read_only: false,
            })
            .collect()
    }

    /// The directory of one run of a container, emptied: its writable layer. Its parts are `tmp`, `staging`, `scripts`.
    pub(super) fn container(&self, name: &str) -> io::Result<ContainerFiles> {
        let root = self.root.join("containers").join(name);
        if root.exists() {
            fs::remove_dir_all(&root)?;
        }
        let files = ContainerFiles { root };
        for directory in [files.tmp(), files.staging(), files.scripts()] {
            fs::create_dir_all(directory)?;
        }
        fs::set_permissions(files.tmp(), fs::Permissions::from_mode(0o1777))?;
        Ok(files)
    }

    /// The file in which a container may explain its end.
    pub(super) fn termination_message(&self, container: &str) -> PathBuf {
        self.root.join("containers").join(container).join("termination-log")
    }

    /// Removes everything.
    pub(super) fn remove(&self) {
        if self.root.exists()
            && let Err(error) = fs::remove_dir_all(&self.root)
        {
            tracing::warn!(path = %self.root.display(), %error, "a pod's files could not be removed");
        }
    }
}

/// Where the files of one run of a container are.
#[derive(Clone, Debug)]
pub(super) struct ContainerFiles {
    root: PathBuf,
}

impl ContainerFiles {
    /// Its `/tmp`.
    pub(super) fn tmp(&self) -> PathBuf {
        self.root.join("tmp")
    }

    /// Where its view of the files is built.
    pub(super) fn staging(&self) -> PathBuf {
        self.root.join("staging")
    }

    /// The scripts of its image.
    pub(super) fn scripts(&self) -> PathBuf {
        self.root.join("scripts")
    }

    /// Writes the image's scripts.
    pub(super) fn write_scripts<'a>(
        &self,
        scripts: impl Iterator<Item = (&'a String, &'a String)>,
    ) -> io::Result<()> {
        for (name, text) in scripts {
            let path = self.scripts().join(name);
            fs::write(&path, text)?;
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
        }
        Ok(())
    }
}
