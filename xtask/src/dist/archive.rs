//! Images as OCI archives (image layout 1.0), which docker, podman, containerd and skopeo read.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::path::Path;

use anyhow::{Context, Result, ensure};
use flate2::{Compression, GzBuilder};
use serde_json::{Value, json};

use super::containerfile::Containerfile;
use super::program::Source;
use super::sums::sha256;

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

/// The image of one architecture.
pub(super) struct Image {
    /// Its entry in an index.
    descriptor: Value,
    /// Content by its sum: the manifest, the configuration and the layer.
    blobs: BTreeMap<String, Vec<u8>>,
}

impl Image {
    /// One layer with the files that the Containerfile names.
    pub(super) fn new(
        file: &Containerfile,
        context: &Path,
        architecture: &str,
        source: &Source,
    ) -> Result<Self> {
        let mut files = Vec::new();
        for (from, to) in &file.copies {
            let path = context.join(from);
            let bytes = std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
            files.push((to.clone(), bytes));
        }
        let layer = tar(&files, 0o755, source.time)?;
        let packed = gzip(&layer)?;
        let config = json!({
            "created": rfc3339(source.time)?,
            "architecture": architecture,
            "os": "linux",
            "config": {
                "User": file.user, "Entrypoint": file.entrypoint, "Cmd": file.command,
                "WorkingDir": "/", "Labels": file.labels,
            },
            "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{}", sha256(&layer))]},
            "history": [{"created": rfc3339(source.time)?, "created_by": "cargo xtask dist image"}],
        });
        let config = serde_json::to_vec(&config)?;
        let manifest = serde_json::to_vec(&json!({
            "schemaVersion": 2, "mediaType": MANIFEST,
            "config": described(CONFIG, &config), "layers": [described(LAYER, &packed)],
        }))?;
        let mut descriptor = described(MANIFEST, &manifest);
        descriptor["platform"] = json!({"architecture": architecture, "os": "linux"});
        let blobs = [manifest, config, packed].map(|bytes| (sha256(&bytes), bytes)).into();
        Ok(Self { descriptor, blobs })
    }
}

impl Image {
    /// `manifest.json` of `docker save`: where configuration and layers are in the archive.
    fn dockers_manifest(&self, reference: &str) -> Result<Value> {
        let sum = |descriptor: &Value| {
            descriptor["digest"].as_str().unwrap_or_default().trim_start_matches("sha256:").to_owned()
        };
        let manifest = self.blobs.get(&sum(&self.descriptor)).context("the image has no manifest")?;
        let manifest: Value = serde_json::from_slice(manifest)?;
        let path = |descriptor: &Value| format!("blobs/sha256/{}", sum(descriptor));
        let layers: Vec<String> = manifest["layers"].as_array().into_iter().flatten().map(path).collect();
        Ok(json!([{"Config": path(&manifest["config"]), "RepoTags": [reference], "Layers": layers}]))
    }
}

/// The archive of an image: of one architecture, or an index of several.
pub(super) fn write(reference: &str, images: &[Image]) -> Result<Vec<u8>> {
    let descriptors: Vec<&Value> = images.iter().map(|image| &image.descriptor).collect();
    let mut blobs: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    for image in images {
        blobs.extend(image.blobs.clone());
    }
    let mut top = if let [one] = images {
        one.descriptor.clone()
    } else {
        let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": descriptors});
        let bytes = serde_json::to_vec(&index)?;
        let descriptor = described(INDEX, &bytes);
        blobs.insert(sha256(&bytes), bytes);
        descriptor
    };
    let tag = reference.rsplit(':').next().unwrap_or_default();
    top["annotations"] = json!({
        "io.containerd.image.name": reference,
        "org.opencontainers.image.ref.name": tag,
    });
    let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [top]});
    let mut files = vec![
        ("oci-layout".to_owned(), br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec()),
        ("index.json".to_owned(), serde_json::to_vec(&index)?),
    ];
    // Docker before 25 knows only its own list of one image's parts.
    if let [one] = images {
        files.push(("manifest.json".to_owned(), serde_json::to_vec(&one.dockers_manifest(reference)?)?));
    }
    files.extend(blobs.into_iter().map(|(sum, bytes)| (format!("blobs/sha256/{sum}"), bytes)));
    tar(&files, 0o644, 0)
}

/// The images of an archive that [`write`] made; their sums are checked.
pub(super) fn read(archive: &[u8]) -> Result<Vec<Image>> {
    let mut files = BTreeMap::new();
    for entry in tar::Archive::new(archive).entries()? {
        let mut entry = entry?;
        let name = entry.path()?.to_string_lossy().into_owned();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes)?;
        files.insert(name, bytes);
    }
    let blob = |descriptor: &Value| {
        let sum = descriptor["digest"].as_str().unwrap_or_default().trim_start_matches("sha256:").to_owned();
        let bytes = files.get(&format!("blobs/sha256/{sum}")).with_context(|| format!("{sum} is missing"))?;
        ensure!(sha256(bytes) == sum, "{sum} has other content");
        anyhow::Ok((sum, bytes.clone()))
    };
    let index: Value = serde_json::from_slice(files.get("index.json").context("there is no index.json")?)?;
    let mut images = Vec::new();
    for descriptor in index["manifests"].as_array().context("the index names no image")? {
        let manifest = blob(descriptor)?;
        let parts: Value = serde_json::from_slice(&manifest.1)?;
        let mut blobs = BTreeMap::from([blob(&parts["config"])?]);
        for layer in parts["layers"].as_array().context("the archive is an index already")? {
            blobs.extend([blob(layer)?]);
        }
        blobs.extend([manifest]);
        let mut descriptor = descriptor.clone();
        if let Some(fields) = descriptor.as_object_mut() {
            fields.remove("annotations");
        }
        images.push(Image { descriptor, blobs });
    }
    Ok(images)
}

fn described(media_type: &str, bytes: &[u8]) -> Value {
    json!({"mediaType": media_type, "digest": format!("sha256:{}", sha256(bytes)), "size": bytes.len()})
}

/// Files in this order, of user and group 0, so that nothing of this machine is in it.
fn tar(files: &[(String, Vec<u8>)], mode: u32, time: i64) -> Result<Vec<u8>> {
    let mut archive = tar::Builder::new(Vec::new());
    for (name, bytes) in files {
        let mut header = tar::Header::new_ustar();
        header.set_size(bytes.len() as u64);
        header.set_mode(mode);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(u64::try_from(time)?);
        archive.append_data(&mut header, name, bytes.as_slice())?;
    }
    Ok(archive.into_inner()?)
}

/// Without name and time.
fn gzip(bytes: &[u8]) -> Result<Vec<u8>> {
    let mut packed = GzBuilder::new().write(Vec::new(), Compression::best());
    packed.write_all(bytes)?;
    Ok(packed.finish()?)
}

fn rfc3339(time: i64) -> Result<String> {
    Ok(jiff::Timestamp::from_second(time).context("the time of the sources is out of range")?.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(architecture: &str, content: &[u8]) -> Image {
        let folder = shell_folder(architecture, content);
        let file = Containerfile {
            copies: vec![("program".into(), "program".into())],
            user: "1000:1000".into(),
            entrypoint: vec!["/program".into()],
            ..Containerfile::default()
        };
        Image::new(&file, &folder, architecture, &Source { revision: "abc".into(), time: 1_700_000_000 })
            .unwrap()
    }

    fn shell_folder(architecture: &str, content: &[u8]) -> std::path::PathBuf {
        let name = format!("{architecture}-{}", sha256(content));
        let folder = crate::shell::target().join("tests/dist").join(name);
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("program"), content).unwrap();
        folder
    }

    #[test]
    fn the_same_files_give_the_same_bytes() {
        let once = write("a/b:1", &[image("amd64", b"x")]).unwrap();
        assert_eq!(once, write("a/b:1", &[image("amd64", b"x")]).unwrap());
        assert_ne!(once, write("a/b:1", &[image("amd64", b"y")]).unwrap());
    }

    #[test]
    fn images_of_two_architectures_become_one_index() {
        let archives =
            ["amd64", "arm64"].map(|name| write("a/b:1", &[image(name, name.as_bytes())]).unwrap());
        let images: Vec<Image> = archives.iter().flat_map(|archive| read(archive).unwrap()).collect();
        let index = write("a/b:1", &images).unwrap();
        let mut names = Vec::new();
        for entry in tar::Archive::new(index.as_slice()).entries().unwrap() {
            names.push(entry.unwrap().path().unwrap().to_string_lossy().into_owned());
        }
        // Two manifests, two configurations, two layers and the index.
        assert_eq!(names.iter().filter(|name| name.starts_with("blobs/sha256/")).count(), 7);
    }

    #[test]
    fn a_changed_archive_is_not_read() {
        let archive = write("a/b:1", &[image("amd64", b"content")]).unwrap();
        assert!(read(&archive).is_ok());
        let config = br#""User":"1000:1000""#;
        let at = archive.windows(config.len()).position(|part| part == config).unwrap();
        let mut changed = archive.clone();
        changed[at + 8] = b'0';
        assert!(read(&changed).is_err());
    }
}
