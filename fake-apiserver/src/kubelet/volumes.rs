//! A pod's volumes as directories and files of the node.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{
    ConfigMap, Container, DownwardAPIVolumeFile, HostPathVolumeSource, KeyToPath, Pod, Secret,
    ServiceAccount, Volume, VolumeProjection,
};
use kube::{Api, Client};
use tokio::task::JoinHandle;

use super::environment::{Facts, expand, field, resource};
use super::mounts::Mount;

/// A pod's volume, ready to be mounted.
#[derive(Clone, Debug)]
pub(super) struct Prepared {
    /// The volume's content.
    path: PathBuf,
    /// Its kind is never written to by containers.
    read_only: bool,
    /// Keeps its tokens fresh while somebody holds the volume.
    renewal: Option<Arc<Renewal>>,
}

impl Prepared {
    fn new(path: PathBuf, read_only: bool) -> Self {
        Self { path, read_only, renewal: None }
    }
}

/// A task that ends with the volume.
#[derive(Debug)]
struct Renewal(JoinHandle<()>);

impl Drop for Renewal {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Files of a volume by relative path: content and mode.
type Files = BTreeMap<String, (Vec<u8>, u32)>;

const FILE_MODE: i32 = 0o644;
/// Life of a token for which nothing is said.
const TOKEN_SECONDS: i64 = 3600;
/// Between tries to renew a token.
const RENEWAL_RETRY: Duration = Duration::from_secs(10);

/// Makes all volumes of a pod below `root`. An error is the message of a `FailedMount` event; it may be tried again.
pub(super) async fn prepare(
    client: &Client,
    pod: &Pod,
    facts: &Facts,
    root: &Path,
) -> Result<BTreeMap<String, Prepared>, String> {
    let mut all = BTreeMap::new();
    for volume in pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten()) {
        let maker = Maker { client, pod, facts };
        let path = root.join(&volume.name);
        let made = maker.volume(volume, &path).await;
        let mut made =
            made.map_err(|why| format!("MountVolume.SetUp failed for volume {:?} : {why}", volume.name))?;
        made.renewal = token_seconds(volume).map(|seconds| {
            let kept = (client.clone(), pod.clone(), facts.clone(), volume.clone());
            Arc::new(Renewal(tokio::spawn(renew(kept, path, seconds))))
        });
        all.insert(volume.name.clone(), made);
    }
    Ok(all)
}

/// How long the shortest-lived token of a volume lives.
fn token_seconds(volume: &Volume) -> Option<u64> {
    let sources = volume.projected.iter().flat_map(|projected| projected.sources.iter().flatten());
    let tokens = sources.filter_map(|source| source.service_account_token.as_ref());
    let seconds = tokens.map(|token| token.expiration_seconds.unwrap_or(TOKEN_SECONDS));
    seconds.min().map(|seconds| u64::try_from(seconds).unwrap_or_default())
}

/// Writes a volume's files anew whenever four fifths of the life of its token are over, as the kubelet does.
async fn renew(kept: (Client, Pod, Facts, Volume), path: PathBuf, seconds: u64) {
    let (client, pod, facts, volume) = &kept;
    let mut wait = Duration::from_secs(seconds) * 4 / 5;
    loop {
        tokio::time::sleep(wait.max(RENEWAL_RETRY)).await;
        let maker = Maker { client, pod, facts };
        match maker.volume(volume, &path).await {
            Ok(_) => wait = Duration::from_secs(seconds) * 4 / 5,
            Err(why) => {
                tracing::warn!(volume = volume.name, %why, "a token could not be renewed; trying again");
                wait = RENEWAL_RETRY;
            }
        }
    }
}

struct Maker<'a> {
    client: &'a Client,
    pod: &'a Pod,
    facts: &'a Facts,
}

impl Maker<'_> {
    async fn volume(&self, volume: &Volume, path: &Path) -> Result<Prepared, String> {
        let io = |error: std::io::Error| error.to_string();
        if let Some(host) = &volume.host_path {
            return host_path(host);
        }
        if volume.empty_dir.is_some() || volume.ephemeral.is_some() {
            fs::create_dir_all(path).map_err(io)?;
            fs::set_permissions(path, fs::Permissions::from_mode(0o777)).map_err(io)?;
            return Ok(Prepared::new(path.to_owned(), false));
        }
        let files = if let Some(source) = &volume.config_map {
            let mode = source.default_mode.unwrap_or(FILE_MODE);
            self.config_map(&source.name, source.items.as_deref(), source.optional, mode).await?
        } else if let Some(source) = &volume.secret {
            let name = source.secret_name.clone().unwrap_or_default();
            let mode = source.default_mode.unwrap_or(FILE_MODE);
            self.secret(&name, source.items.as_deref(), source.optional, mode).await?
        } else if let Some(source) = &volume.downward_api {
            self.downward(source.items.as_deref(), source.default_mode.unwrap_or(FILE_MODE))?
        } else if let Some(source) = &volume.projected {
            let mut files = Files::new();
            for projection in source.sources.iter().flatten() {
                files.extend(self.projection(projection, source.default_mode.unwrap_or(FILE_MODE)).await?);
            }
            files
        } else {
            return Err("this kind of volume is not supported by the process kubelet".into());
        };
        write(path, &files).map_err(io)?;
        Ok(Prepared::new(path.to_owned(), true))
    }

    fn namespaced<K>(&self) -> Api<K>
    where
        K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.client.clone(), self.pod.metadata.namespace.as_deref().unwrap_or("default"))
    }

    async fn config_map(
        &self,
        name: &str,
        items: Option<&[KeyToPath]>,
        optional: Option<bool>,
        mode: i32,
    ) -> Result<Files, String> {
        let found = self.namespaced::<ConfigMap>().get_opt(name).await.map_err(|error| error.to_string())?;
        let mut data = BTreeMap::new();
        match found {
            Some(map) => {
                let text = map.data.into_iter().flatten().map(|(key, value)| (key, value.into_bytes()));
                data.extend(text);
                data.extend(map.binary_data.into_iter().flatten().map(|(key, value)| (key, value.0)));
            }
            None if optional == Some(true) => {}
            None => return Err(format!("configmap {name:?} not found")),
        }
        select(&data, items, optional, mode)
    }

    async fn secret(
        &self,
        name: &str,
        items: Option<&[KeyToPath]>,
        optional: Option<bool>,
        mode: i32,
    ) -> Result<Files, String> {
        let found = self.namespaced::<Secret>().get_opt(name).await.map_err(|error| error.to_string())?;
        let data = match found {
            Some(secret) => secret.data.into_iter().flatten().map(|(key, value)| (key, value.0)).collect(),
            None if optional == Some(true) => BTreeMap::new(),
            None => return Err(format!("secret {name:?} not found")),
        };
        select(&data, items, optional, mode)
    }

    async fn projection(&self, projection: &VolumeProjection, mode: i32) -> Result<Files, String> {
        let mut files = Files::new();
        if let Some(source) = &projection.config_map {
            files
                .extend(self.config_map(&source.name, source.items.as_deref(), source.optional, mode).await?);
        }
        if let Some(source) = &projection.secret {
            files.extend(self.secret(&source.name, source.items.as_deref(), source.optional, mode).await?);
        }
        if let Some(source) = &projection.downward_api {
            files.extend(self.downward(source.items.as_deref(), mode)?);
        }
        if let Some(source) = &projection.service_account_token {
            let token = self.token(source.audience.as_deref(), source.expiration_seconds).await?;
            files.insert(checked(&source.path)?, (token.into_bytes(), mode as u32));
        }
        Ok(files)
    }

    async fn token(&self, audience: Option<&str>, seconds: Option<i64>) -> Result<String, String> {
        let account = self.pod.spec.as_ref().and_then(|spec| spec.service_account_name.as_deref());
        let request = TokenRequest {
            spec: TokenRequestSpec {
                audiences: audience.map(str::to_owned).into_iter().collect(),
                expiration_seconds: seconds,
                bound_object_ref: Some(BoundObjectReference {
                    api_version: Some("v1".into()),
                    kind: Some("Pod".into()),
                    name: self.pod.metadata.name.clone(),
                    uid: self.pod.metadata.uid.clone(),
                }),
            },
            ..TokenRequest::default()
        };
        let accounts = self.namespaced::<ServiceAccount>();
        let (account, params) = (account.unwrap_or("default"), kube::api::PostParams::default());
        let made = accounts.create_token_request(account, &params, &request).await;
        let made = made.map_err(|error| format!("failed to fetch token: {error}"))?;
        Ok(made.status.map(|status| status.token).unwrap_or_default())
    }

    fn downward(&self, items: Option<&[DownwardAPIVolumeFile]>, mode: i32) -> Result<Files, String> {
        let mut files = Files::new();
        let containers = self.pod.spec.iter().flat_map(|spec| &spec.containers);
        for item in items.unwrap_or_default() {
            let value = if let Some(reference) = &item.field_ref {
                field(self.pod, self.facts, &reference.field_path)
            } else if let Some(reference) = &item.resource_field_ref {
                let owner = containers.clone().find(|c| Some(&c.name) == reference.container_name.as_ref());
                resource(owner.unwrap_or(&Container::default()), self.facts, reference)
            } else {
                continue;
            };
            let value = value.map_err(|error| error.to_string())?;
            files.insert(checked(&item.path)?, (value.into_bytes(), item.mode.unwrap_or(mode) as u32));
        }
        Ok(files)
    }
}

fn host_path(source: &HostPathVolumeSource) -> Result<Prepared, String> {
    let path = PathBuf::from(&source.path);
    let made = match source.type_.as_deref().unwrap_or_default() {
        "DirectoryOrCreate" => fs::create_dir_all(&path),
        "FileOrCreate" => fs::OpenOptions::new().append(true).create(true).open(&path).map(drop),
        _ => Ok(()),
    };
    made.map_err(|error| error.to_string())?;
    let meta =
        path.metadata().map_err(|_| format!("hostPath type check failed: {} does not exist", source.path))?;
    match source.type_.as_deref() {
        Some("Directory" | "DirectoryOrCreate") if !meta.is_dir() => {
            Err(format!("hostPath type check failed: {} is not a directory", source.path))
        }
        Some("File" | "FileOrCreate") if !meta.is_file() => {
            Err(format!("hostPath type check failed: {} is not a file", source.path))
        }
        _ => Ok(Prepared::new(path, false)),
    }
}

fn select(
    data: &BTreeMap<String, Vec<u8>>,
    items: Option<&[KeyToPath]>,
    optional: Option<bool>,
    mode: i32,
) -> Result<Files, String> {
    let Some(items) = items.filter(|items| !items.is_empty()) else {
        return Ok(data.iter().map(|(key, value)| (key.clone(), (value.clone(), mode as u32))).collect());
    };
    let mut files = Files::new();
    for item in items {
        match data.get(&item.key) {
            Some(value) => {
                files.insert(checked(&item.path)?, (value.clone(), item.mode.unwrap_or(mode) as u32));
            }
            None if optional == Some(true) => {}
            None => return Err(format!("references non-existent config key: {}", item.key)),
        }
    }
    Ok(files)
}

fn checked(path: &str) -> Result<String, String> {
    let plain = Path::new(path).components().all(|part| matches!(part, Component::Normal(_)));
    if plain && !path.is_empty() { Ok(path.to_owned()) } else { Err(format!("invalid path {path:?}")) }
}

/// The layout of the kubelet's `AtomicWriter`: programs watch for `..data` being replaced, and never see half a change.
fn write(directory: &Path, files: &Files) -> std::io::Result<()> {
    let data = directory.join("..data");
    let before = fs::read_link(&data).ok();
    let next = if before.as_deref() == Some(Path::new("..0")) { "..1" } else { "..0" };
    let fresh = directory.join(next);
    if fresh.exists() {
        fs::remove_dir_all(&fresh)?;
    }
    fs::create_dir_all(&fresh)?;
    for (path, (content, mode)) in files {
        let file = fresh.join(path);
        if let Some(parent) = file.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(&file, content)?;
        fs::set_permissions(&file, fs::Permissions::from_mode(*mode))?;
    }
    let link = directory.join("..data_tmp");
    if link.symlink_metadata().is_ok() {
        fs::remove_file(&link)?;
    }
    symlink(next, &link)?;
    fs::rename(&link, &data)?;
    for path in files.keys() {
        if let Some(Component::Normal(first)) = Path::new(path).components().next() {
            let link = directory.join(first);
            if link.symlink_metadata().is_err() {
                symlink(Path::new("..data").join(first), link)?;
            }
        }
    }
    if let Some(before) = before {
        fs::remove_dir_all(directory.join(before))?;
    }
    Ok(())
}

/// What a container mounts of its pod's volumes. An error is the message of `CreateContainerConfigError`.
pub(super) fn mounts(
    container: &Container,
    volumes: &BTreeMap<String, Prepared>,
    env: &BTreeMap<String, String>,
) -> Result<Vec<Mount>, String> {
    let mut all = Vec::new();
    for mount in container.volume_mounts.iter().flatten() {
        let volume =
            volumes.get(&mount.name).ok_or_else(|| format!("no volume {:?} in the pod", mount.name))?;
        let sub_path = match (&mount.sub_path, &mount.sub_path_expr) {
            (Some(path), _) => path.clone(),
            (None, Some(path)) => expand(path, |name| env.get(name)),
            (None, None) => String::new(),
        };
        let mut source = volume.path.clone();
        if !sub_path.is_empty() {
            source = source.join(checked(&sub_path)?);
            if !source.exists() {
                fs::create_dir_all(&source)
                    .map_err(|error| format!("failed to create subPath directory: {error}"))?;
            }
            source = source.canonicalize().map_err(|error| error.to_string())?;
        }
        all.push(Mount {
            target: Path::new("/").join(&mount.mount_path),
            source,
            read_only: volume.read_only || mount.read_only == Some(true),
        });
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_written_behind_a_link_that_can_be_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().join("v");
        let files = Files::from([
            ("a".to_owned(), (b"1".to_vec(), 0o600)),
            ("d/b".to_owned(), (b"2".to_vec(), 0o644)),
        ]);
        write(&root, &files).unwrap();
        assert_eq!(fs::read_to_string(root.join("a")).unwrap(), "1");
        assert_eq!(fs::read_to_string(root.join("d/b")).unwrap(), "2");
        assert_eq!(fs::read_link(root.join("a")).unwrap(), Path::new("..data/a"));
        assert_eq!(fs::metadata(root.join("a")).unwrap().permissions().mode() & 0o777, 0o600);
        for text in ["3", "4"] {
            let files = Files::from([("a".to_owned(), (text.as_bytes().to_vec(), 0o600))]);
            write(&root, &files).unwrap();
            assert_eq!(fs::read_to_string(root.join("a")).unwrap(), text);
        }
    }

    #[test]
    fn a_volume_lives_as_long_as_its_shortest_token() {
        let volume = |sources: serde_json::Value| -> Volume {
            serde_json::from_value(serde_json::json!({"name": "v", "projected": {"sources": sources}}))
                .unwrap()
        };
        let token = |seconds: i64| serde_json::json!({"serviceAccountToken": {"path": "t", "expirationSeconds": seconds}});
        assert_eq!(token_seconds(&volume(serde_json::json!([token(3607), token(700)]))), Some(700));
        assert_eq!(token_seconds(&volume(serde_json::json!([{"configMap": {"name": "x"}}]))), None);
    }

    #[test]
    fn items_choose_keys_and_a_missing_one_is_an_error_unless_optional() {
        let data = BTreeMap::from([("k".to_owned(), b"v".to_vec())]);
        let item = |key: &str| [KeyToPath { key: key.into(), path: "p".into(), mode: None }];
        assert_eq!(select(&data, Some(&item("k")), None, 0o644).unwrap()["p"].0, b"v");
        assert!(select(&data, Some(&item("x")), None, 0o644).is_err());
        assert!(select(&data, Some(&item("x")), Some(true), 0o644).unwrap().is_empty());
        assert!(checked("../x").is_err() && checked("/x").is_err());
    }
}
