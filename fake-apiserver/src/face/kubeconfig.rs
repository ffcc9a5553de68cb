//! Kubeconfig files for kubectl and every client library.

use std::io::{self, Write as _};
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::tls::Identity;

/// What a client needs to reach a server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kubeconfig {
    /// Base address, for instance `https://127.0.0.1:6443`.
    pub server: String,
    /// Name of the cluster, the context and the user.
    pub name: String,
    /// Certificate of the authority, PEM; `None` for plain HTTP.
    pub authority: Option<String>,
    /// Client certificate and key, PEM.
    pub client: Option<(String, String)>,
    /// Bearer token.
    pub token: Option<String>,
}

impl Kubeconfig {
    /// For plain HTTP.
    pub fn plain(server: impl Into<String>) -> Self {
        Self { server: server.into(), name: "fake-apiserver".into(), ..Self::default() }
    }

    /// For HTTPS with the administrator's certificate.
    pub fn secure(server: impl Into<String>, identity: &Identity) -> Self {
        Self {
            authority: Some(identity.authority.clone()),
            client: Some((identity.client_certificate.clone(), identity.client_key.clone())),
            ..Self::plain(server)
        }
    }

    /// The file's content as a value.
    pub fn to_value(&self) -> Value {
        let mut cluster = json!({"server": self.server});
        if let Some(authority) = &self.authority {
            cluster["certificate-authority-data"] = json!(STANDARD.encode(authority));
        }
        let mut user = json!({});
        if let Some((certificate, key)) = &self.client {
            user["client-certificate-data"] = json!(STANDARD.encode(certificate));
            user["client-key-data"] = json!(STANDARD.encode(key));
        }
        if let Some(token) = &self.token {
            user["token"] = json!(token);
        }
        let name = &self.name;
        json!({
            "apiVersion": "v1", "kind": "Config", "preferences": {}, "current-context": name,
            "clusters": [{"name": name, "cluster": cluster}],
            "users": [{"name": name, "user": user}],
            "contexts": [{"name": name, "context": {"cluster": name, "user": name, "namespace": "default"}}],
        })
    }

    /// Writes the file, readable by its owner only; folders are made as needed.
    pub fn write(&self, path: &Path) -> io::Result<()> {
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            std::fs::create_dir_all(folder)?;
        }
        let text = serde_yaml::to_string(&self.to_value()).map_err(io::Error::other)?;
        let mut options = std::fs::OpenOptions::new();
        options.write(true).create(true).truncate(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        options.open(path)?.write_all(text.as_bytes())
    }
}
