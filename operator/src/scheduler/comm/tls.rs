//! Credentials for `tls://`, from a Secret in the cluster's namespace.
//!
//! Dask asks for certificates on both sides, issued by an authority that the user made for the cluster, and does not compare
//! names with certificates, since workers are addressed by IP (`distributed/security.py`). So is it here: the certificate
//! must be issued by that authority; whose name it carries does not matter.
//!
//! The Secret has the keys of `kubernetes.io/tls` and of cert-manager: `tls.crt`, `tls.key`, and the authority in `ca.crt`.
//! Reading it needs `get` on `secrets`, which is only used for clusters that name one.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kube::core::ApiResource;
use tokio_rustls::rustls::client::WebPkiServerVerifier;
use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use tokio_rustls::rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
};

use crate::scheduler::{SchedulerError, TlsSecret};
use crate::store::{ObjectKey, Store};

/// How long a Secret that was read is believed: certificates are renewed, and a poll must not cost a request.
const SECRET_TTL: Duration = Duration::from_mins(1);
/// Secrets kept at once; more begin anew.
const SECRETS_MAX: usize = 10_000;

/// Client configurations by Secret.
pub(super) struct Credentials {
    store: Option<Arc<dyn Store>>,
    known: Mutex<BTreeMap<TlsSecret, (Instant, Arc<ClientConfig>)>>,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").finish_non_exhaustive()
    }
}

impl Credentials {
    /// Reads Secrets from `store`; without one, no scheduler can be asked over TLS.
    pub(super) fn new(store: Option<Arc<dyn Store>>) -> Self {
        Self { store, known: Mutex::default() }
    }

    /// The configuration made of this Secret.
    pub(super) async fn of(&self, secret: &TlsSecret) -> Result<Arc<ClientConfig>, SchedulerError> {
        if let Some((_, config)) = self.known().get(secret).filter(|(read, _)| read.elapsed() < SECRET_TTL) {
            return Ok(config.clone());
        }
        let config = self
            .read(secret)
            .await
            .map_err(|reason| SchedulerError::Tls { secret: secret.clone(), reason })?;
        let mut known = self.known();
        if known.len() >= SECRETS_MAX {
            known.clear();
        }
        known.insert(secret.clone(), (Instant::now(), config.clone()));
        Ok(config)
    }

    fn known(&self) -> std::sync::MutexGuard<'_, BTreeMap<TlsSecret, (Instant, Arc<ClientConfig>)>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn read(&self, secret: &TlsSecret) -> Result<Arc<ClientConfig>, String> {
        let store = self.store.as_ref().ok_or("no Kubernetes to read it from")?;
        let resource = ApiResource {
            group: String::new(),
            version: "v1".into(),
            api_version: "v1".into(),
            kind: "Secret".into(),
            plural: "secrets".into(),
        };
        let key = ObjectKey::namespaced(&secret.namespace, &secret.name);
        // The whole object stays in here: nothing of it may get into a log.
        let object = store
            .get(&resource, &key)
            .await
            .map_err(|error| error.to_string())?
            .ok_or("it does not exist")?;
        let part = |name: &str| {
            let text = object.data["data"][name].as_str().ok_or_else(|| format!("it has no key {name}"))?;
            STANDARD.decode(text).map_err(|_| format!("its key {name} is not base64"))
        };
        client_config(&part("ca.crt")?, &part("tls.crt")?, &part("tls.key")?).map(Arc::new)
    }
}

/// A configuration from three texts in PEM.
fn client_config(authority: &[u8], certificate: &[u8], key: &[u8]) -> Result<ClientConfig, String> {
    let certificates = |pem: &[u8], name: &str| -> Result<Vec<CertificateDer<'static>>, String> {
        let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
        all.ok()
            .filter(|all| !all.is_empty())
            .ok_or_else(|| format!("its key {name} holds no certificate in PEM"))
    };
    let key =
        PrivateKeyDer::from_pem_slice(key).map_err(|_| "its key tls.key holds no private key in PEM")?;
    let provider = Arc::new(ring::default_provider());
    let verifier = Authority::new(certificates(authority, "ca.crt")?, provider.clone())?;
    ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_client_auth_cert(certificates(certificate, "tls.crt")?, key)
        .map_err(|error| format!("its certificate and key do not fit: {error}"))
}

/// Accepts certificates of one authority, whatever name they carry.
#[derive(Debug)]
struct Authority {
    /// The authority's own certificates: what `Security.temporary` of Dask makes is authority and scheduler in one.
    own: Vec<CertificateDer<'static>>,
    issued: Arc<WebPkiServerVerifier>,
}

impl Authority {
    fn new(own: Vec<CertificateDer<'static>>, provider: Arc<CryptoProvider>) -> Result<Self, String> {
        let mut roots = RootCertStore::empty();
        for certificate in &own {
            roots
                .add(certificate.clone())
                .map_err(|error| format!("its key ca.crt is no authority: {error}"))?;
        }
        let issued = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider)
            .build()
            .map_err(|error| format!("its key ca.crt cannot be used: {error}"))?;
        Ok(Self { own, issued })
    }
}

impl ServerCertVerifier for Authority {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if self.own.iter().any(|own| own == end_entity) {
            return Ok(ServerCertVerified::assertion());
        }
        match self.issued.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now) {
            // The name is compared last: everything else was found in order.
            Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            verdict => verdict,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.issued.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.issued.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.issued.supported_verify_schemes()
    }
}
