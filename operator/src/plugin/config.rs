//! The file that says which plugins there are (`--plugins FILE`); the chart makes it from its value `plugins`.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::SignedDuration;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::contract::{ChildType, Declaration, Edit, OnError, Parent, Related};
use super::declarative::{self, Template, When};
use super::registry::{Entry, How, Registry, RegistryError};
use super::webhook::{TIMEOUT, Webhook};

/// The largest file that is read.
pub const FILE_BYTES_MAX: usize = 1 << 20;

/// What only the chart's list has: it makes other things of it.
const OF_THE_CHART: [&str; 2] = ["container", "clientCertificateSecret"];

/// The whole file.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Config {
    /// In the order in which their edits are applied.
    #[serde(default)]
    pub plugins: Vec<PluginConfig>,
}

/// One plugin: outside by its `url`, or as data by its `edits`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(
    rename_all = "camelCase",
    deny_unknown_fields,
    expecting = "a plugin: an object with a name and either url or edits"
)]
pub struct PluginConfig {
    /// A DNS label: conditions, metrics and the label of what it adds carry it.
    pub name: String,
    /// Whose children it is about; without it, DaskClusters.
    #[serde(default)]
    pub parents: Option<Vec<Parent>>,
    /// What becomes of a parent while the plugin cannot be asked or what it answers cannot be used.
    #[serde(default)]
    pub on_error: OnError,
    /// The kinds of the children that it adds.
    #[serde(default)]
    pub kinds: Vec<ChildType>,
    /// Objects that it wants to be shown.
    #[serde(default)]
    pub related: Vec<Related>,
    /// Where it is asked: `http://` or, with `caBundle`, `https://`.
    #[serde(default)]
    pub url: Option<String>,
    /// How long an answer may take, such as `2s`; without it 5 s, at most 30 s.
    #[serde(default, deserialize_with = "with_unit")]
    pub timeout: Option<String>,
    /// Certificates by which its server is known: PEM, in base64 as in Kubernetes' webhooks, or as it is.
    #[serde(default)]
    pub ca_bundle: Option<String>,
    /// Who the operator is to it, for mutual TLS.
    #[serde(default)]
    pub client_certificate: Option<ClientCertificate>,
    /// Which parents are meant by `edits`: those that have something at all these places.
    #[serde(default)]
    pub when: Vec<When>,
    /// What it wants, where it is data.
    #[serde(default)]
    pub edits: Option<Vec<Edit>>,
    /// It is not asked any more, and what it added of its `kinds` is taken back; the operator keeps the rights for that.
    #[serde(default)]
    pub removed: bool,
}

/// Two files in PEM, relative to the configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ClientCertificate {
    /// The certificate, with those that lead to its authority.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// It cannot be read.
    #[error("cannot read {path}")]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// It is too large.
    #[error("{path} has more than {FILE_BYTES_MAX} bytes")]
    TooLarge {
        /// Which file.
        path: PathBuf,
    },
    /// It is not what it should be.
    #[error("{path} is not a list of plugins: {why}")]
    Malformed {
        /// Which file.
        path: PathBuf,
        /// Where and why.
        why: String,
    },
    /// One plugin in it cannot be.
    #[error("plugin {name:?}: {why}")]
    Plugin {
        /// Which.
        name: String,
        /// Why.
        why: String,
    },
    /// They cannot live together.
    #[error(transparent)]
    Registry(#[from] RegistryError),
}

/// A configuration as read, with all that it refers to.
#[derive(Clone, Debug, Default)]
pub struct Loaded {
    /// The plugins, in order.
    pub entries: Vec<Entry>,
    /// All bytes that were read: another content is another configuration.
    pub content: Vec<u8>,
}

/// Reads a file and what it refers to.
pub fn load(path: &Path) -> Result<Loaded, ConfigError> {
    let mut content = read(path)?;
    let config = parse(&content, path)?;
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut entries = Vec::with_capacity(config.plugins.len());
    for plugin in config.plugins {
        let identity = match plugin.client_certificate.as_ref().filter(|_| !plugin.removed) {
            None => None,
            Some(files) => {
                let certificate = read(&folder.join(&files.certificate))?;
                let key = read(&folder.join(&files.key))?;
                content.extend(certificate.iter().chain(&key));
                Some((certificate, key))
            }
        };
        let name = plugin.name.clone();
        entries.push(entry(plugin, identity.as_ref()).map_err(|why| ConfigError::Plugin { name, why })?);
    }
    Registry::new(entries.clone())?;
    Ok(Loaded { entries, content })
}

fn read(path: &Path) -> Result<Vec<u8>, ConfigError> {
    let unreadable = |source| ConfigError::Unreadable { path: path.to_owned(), source };
    let size = std::fs::metadata(path).map_err(unreadable)?.len();
    if size > FILE_BYTES_MAX as u64 {
        return Err(ConfigError::TooLarge { path: path.to_owned() });
    }
    std::fs::read(path).map_err(unreadable)
}

/// Reads the text of a configuration, in YAML or JSON.
pub fn parse(text: &[u8], path: &Path) -> Result<Config, ConfigError> {
    let malformed = |why: String| ConfigError::Malformed { path: path.to_owned(), why };
    let value: serde_json::Value =
        serde_yaml::from_slice(text).map_err(|error| malformed(error.to_string()))?;
    if value.is_null() {
        return Ok(Config::default());
    }
    if value.is_array() {
        return Err(malformed("it is one, but the list belongs under the key `plugins`".into()));
    }
    serde_path_to_error::deserialize(value).map_err(|error| {
        let text = error.to_string();
        let of_the_chart =
            OF_THE_CHART.iter().any(|field| text.contains(&format!("unknown field `{field}`")));
        malformed(if of_the_chart {
            format!("{text}; that is a value of the chart alone: leave it out here")
        } else {
            text
        })
    })
}

/// The plugin of an entry; `identity` is its client certificate and key.
pub fn entry(plugin: PluginConfig, identity: Option<&(Vec<u8>, Vec<u8>)>) -> Result<Entry, String> {
    let declaration = Declaration {
        name: plugin.name,
        parents: plugin.parents.unwrap_or_else(|| vec![Parent::DaskCluster]),
        on_error: plugin.on_error,
        kinds: plugin.kinds,
        related: plugin.related,
    };
    if plugin.removed {
        return Ok(Entry { declaration, how: How::Removed });
    }
    let of_webhooks = plugin.timeout.is_some() || plugin.ca_bundle.is_some() || identity.is_some();
    match (plugin.url, plugin.edits) {
        (Some(url), None) => {
            if !plugin.when.is_empty() {
                return Err("when goes with edits: a webhook sees for itself which parents it means".into());
            }
            let timeout = plugin.timeout.as_deref().map_or(Ok(TIMEOUT), timeout)?;
            let tls = match (plugin.ca_bundle, identity) {
                (None, None) => None,
                (None, Some(_)) => return Err("clientCertificate needs caBundle".into()),
                (Some(bundle), identity) => Some(Arc::new(tls(&bundle, identity)?)),
            };
            Ok(Entry { declaration, how: How::Webhook(Arc::new(Webhook::new(&url, timeout, tls)?)) })
        }
        (None, Some(_)) if of_webhooks => {
            Err("timeout, caBundle and clientCertificate go with url, not with edits".into())
        }
        (None, Some(edits)) => {
            declarative::check(&edits)?;
            let template = Template::new(declaration.clone(), plugin.when, &edits);
            Ok(Entry { declaration, how: How::Native(Arc::new(template)) })
        }
        (Some(_), Some(_)) => Err("it has both url and edits: give one of them".into()),
        (None, None) => Err("it has neither url nor edits; of one that is to go say `removed: true`".into()),
    }
}

/// A time as text: a bare number leaves it open of what.
fn with_unit<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    match Option::<serde_json::Value>::deserialize(from)? {
        None => Ok(None),
        Some(serde_json::Value::String(text)) => Ok(Some(text)),
        Some(other) => {
            Err(serde::de::Error::custom(format!("a time has a unit, such as {other}s, and not {other}")))
        }
    }
}

fn timeout(text: &str) -> Result<Duration, String> {
    let time: SignedDuration =
        text.parse().map_err(|error| format!("its timeout {text:?} is no time: {error}"))?;
    Duration::try_from(time).map_err(|_| format!("its timeout {text:?} is negative"))
}

fn tls(bundle: &str, identity: Option<&(Vec<u8>, Vec<u8>)>) -> Result<ClientConfig, String> {
    // Not all have it in base64, as Kubernetes' own webhooks do.
    let pem = if bundle.contains("-----BEGIN") {
        bundle.as_bytes().to_vec()
    } else {
        let compact: String = bundle.split_whitespace().collect();
        STANDARD.decode(compact).map_err(|_| "its caBundle is neither PEM nor PEM in base64")?
    };
    let mut roots = RootCertStore::empty();
    for certificate in certificates(&pem, "its caBundle")? {
        roots.add(certificate).map_err(|error| format!("its caBundle: {error}"))?;
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots);
    match identity {
        None => Ok(builder.with_no_client_auth()),
        Some((certificate, key)) => {
            let chain = certificates(certificate, "its client certificate")?;
            let key =
                PrivateKeyDer::from_pem_slice(key).map_err(|_| "its key holds no private key in PEM")?;
            builder
                .with_client_auth_cert(chain, key)
                .map_err(|error| format!("its client certificate and key cannot be used together: {error}"))
        }
    }
}

fn certificates(pem: &[u8], what: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    all.ok().filter(|all| !all.is_empty()).ok_or_else(|| format!("{what} holds no certificate in PEM"))
}
