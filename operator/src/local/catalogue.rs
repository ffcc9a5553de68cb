//! Which images pods may name on this machine, and what runs for each.

use fake_apiserver::kubelet::{Catalogue, Image};

use super::python::Python;

/// The Dask images: a Python environment whose programs are found first.
///
/// The real image's entry point only prepares and then runs its arguments, so the first argument is the program.
pub fn dask(python: &Python) -> Catalogue {
    let entry = |pattern: &str| Image {
        command: vec!["python".into()],
        path_prepend: vec![python.bin.clone()],
        env: [("VIRTUAL_ENV", python.folder.as_os_str())]
            .map(|(name, value)| (name.to_owned(), value.to_string_lossy().into_owned()))
            .into(),
        // Dask ≥ 2026.6 no longer installs these names, and every documented manifest uses them.
        scripts: [("dask-scheduler", "scheduler"), ("dask-worker", "worker")]
            .map(|(name, command)| (name.to_owned(), format!("#!/bin/sh\nexec dask {command} \"$@\"\n")))
            .into(),
        ..Image::new(pattern)
    };
    let mut catalogue = Catalogue { images: ["ghcr.io/dask/dask:*", "daskdev/dask:*"].map(entry).into() };
    catalogue.images.extend(Catalogue::shells().images);
    catalogue
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_tag_of_the_dask_image_runs_the_local_python() {
        let python = Python { folder: "/cache/python".into(), bin: "/cache/python/bin".into() };
        let catalogue = dask(&python);
        for name in ["ghcr.io/dask/dask:latest", "ghcr.io/dask/dask:2026.3.0-py3.11", "ghcr.io/dask/dask"] {
            let image = catalogue.find(name).unwrap();
            assert_eq!(image.path_prepend, std::slice::from_ref(&python.bin), "{name}");
            assert!(image.scripts["dask-worker"].contains("exec dask worker"), "{name}");
        }
        assert!(catalogue.find("example.org/mine:1").is_none());
    }
}
