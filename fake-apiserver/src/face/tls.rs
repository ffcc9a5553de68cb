//! Certificates of one server: its own authority, a server certificate, an administrator's client certificate.

use std::net::IpAddr;
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};

/// Cluster IP of the service `default/kubernetes`.
const SERVICE_ADDRESS: [u8; 4] = [10, 96, 0, 1];

/// Certificates could not be made or do not fit together.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A certificate could not be made.
    #[error("cannot make a certificate: {0}")]
    Certificate(#[from] rcgen::Error),
    /// The TLS set-up was refused.
    #[error("cannot set up TLS: {0}")]
    Config(String),
    /// What was given is no certificate or no key.
    #[error("{0}: give PEM")]
    Pem(String),
}

/// Everything TLS needs on both sides. Made anew for each server, kept in memory only.
pub struct Identity {
    /// Certificate of the authority, PEM: what clients trust.
    pub authority: String,
    /// The administrator's client certificate, PEM.
    pub client_certificate: String,
    /// Its key, PEM.
    pub client_key: String,
    /// The server's certificate, PEM: for a server that reads it from a file.
    pub server_certificate: String,
    /// Its key, PEM.
    pub server_key: String,
    /// The administrator's client certificate, DER: what the server recognises.
    pub client_der: Vec<u8>,
    server_chain: Vec<CertificateDer<'static>>,
    server_key_der: PrivateKeyDer<'static>,
    /// Whose client certificates are accepted.
    client_authorities: Vec<CertificateDer<'static>>,
}

impl Identity {
    /// New keys and certificates for a server reached at `addresses` (and as `localhost` and `kubernetes.default.svc`).
    pub fn new(addresses: &[IpAddr]) -> Result<Self, TlsError> {
        let authority_key = KeyPair::generate()?;
        let mut authority = named("fake-apiserver-ca");
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        authority.key_usages =
            vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
        let authority_certificate = authority.self_signed(&authority_key)?;
        let issuer = Issuer::new(authority, authority_key);

        let server_key = KeyPair::generate()?;
        let names = [
            "localhost",
            "kubernetes",
            "kubernetes.default",
            "kubernetes.default.svc",
            "kubernetes.default.svc.cluster.local",
        ];
        let mut server = CertificateParams::new(names.map(str::to_owned).to_vec())?;
        server.distinguished_name.push(DnType::CommonName, "fake-apiserver");
        // Pods reach the server by the address of its service.
        let service = [IpAddr::from(SERVICE_ADDRESS)];
        let addresses = addresses.iter().chain(&service);
        server.subject_alt_names.extend(addresses.map(|address| SanType::IpAddress(*address)));
        server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        server.use_authority_key_identifier_extension = true;
        let server_certificate = server.signed_by(&server_key, &issuer)?;

        let client_key = KeyPair::generate()?;
        let mut client = named("kubernetes-admin");
        client.distinguished_name.push(DnType::OrganizationName, "system:masters");
        client.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        client.use_authority_key_identifier_extension = true;
        let client_certificate = client.signed_by(&client_key, &issuer)?;

        Ok(Self {
            authority: authority_certificate.pem(),
            client_certificate: client_certificate.pem(),
            client_key: client_key.serialize_pem(),
            client_der: client_certificate.der().to_vec(),
            server_certificate: server_certificate.pem(),
            server_key: server_key.serialize_pem(),
            server_chain: vec![server_certificate.der().clone(), authority_certificate.der().clone()],
            server_key_der: PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(server_key.serialize_der())),
            client_authorities: vec![authority_certificate.der().clone()],
        })
    }

    /// Serves with a certificate, its chain and its key (PEM) that somebody else has made; clients are told to trust that chain.
    ///
    /// # Errors
    /// When either is not PEM.
    pub fn serving(mut self, certificate: &str, key: &str) -> Result<Self, TlsError> {
        self.server_chain = certificates(certificate, "the server's certificate")?;
        self.server_key_der = PrivateKeyDer::from_pem_slice(key.as_bytes())
            .map_err(|error| TlsError::Pem(format!("the server's key cannot be read ({error})")))?;
        certificate.clone_into(&mut self.authority);
        certificate.clone_into(&mut self.server_certificate);
        key.clone_into(&mut self.server_key);
        Ok(self)
    }

    /// Accepts client certificates of these authorities (PEM) too.
    ///
    /// # Errors
    /// When they are not PEM.
    pub fn trusting(mut self, authorities: &str) -> Result<Self, TlsError> {
        self.client_authorities.extend(certificates(authorities, "the authority of clients")?);
        Ok(self)
    }

    /// Accepts TLS connections; client certificates are verified where they are shown, and not demanded.
    pub fn acceptor(&self) -> Result<TlsAcceptor, TlsError> {
        self.accepting(false)
    }

    /// Accepts TLS connections of those who show a client certificate of this authority.
    pub fn demanding_acceptor(&self) -> Result<TlsAcceptor, TlsError> {
        self.accepting(true)
    }

    fn accepting(&self, demanding: bool) -> Result<TlsAcceptor, TlsError> {
        let config = |error: &dyn std::fmt::Display| TlsError::Config(error.to_string());
        let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
        let mut roots = RootCertStore::empty();
        for authority in &self.client_authorities {
            roots.add(authority.clone()).map_err(|error| config(&error))?;
        }
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
        let verifier = if demanding { verifier } else { verifier.allow_unauthenticated() };
        let verifier = verifier.build().map_err(|error| config(&error))?;
        let mut server = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| config(&error))?
            .with_client_cert_verifier(verifier)
            .with_single_cert(self.server_chain.clone(), self.server_key_der.clone_key())
            .map_err(|error| config(&error))?;
        server.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(TlsAcceptor::from(Arc::new(server)))
    }
}

/// At least one certificate; `what` says whose for the message.
fn certificates(pem: &str, what: &str) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        Ok(_) => Err(TlsError::Pem(format!("{what} is missing"))),
        Err(error) => Err(TlsError::Pem(format!("{what} cannot be read ({error})"))),
    }
}

fn named(common_name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, common_name);
    params
}
