//! The listener with TLS, and who may pass.

use std::net::{IpAddr, Ipv4Addr};

use fake_apiserver::face::kubeconfig::Kubeconfig;
use fake_apiserver::face::serve::serve;
use fake_apiserver::face::tls::{Identity, TlsError};
use fake_apiserver::face::{Authentication, HttpService};
use fake_apiserver::request::User;
use k8s_openapi::api::authentication::v1::{SelfSubjectReview, TokenRequest};
use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use kube::api::{Api, ListParams, PostParams};
use kube::config::KubeConfigOptions;
use kube::{Client, Config};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use crate::server;

struct Listening {
    kubeconfig: Kubeconfig,
    stop: oneshot::Sender<()>,
    served: tokio::task::JoinHandle<std::io::Result<()>>,
}

async fn listening() -> Listening {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let identity = Identity::new(&[IpAddr::from(Ipv4Addr::LOCALHOST)]).unwrap();
    let known = Authentication::default()
        .certificate(identity.client_der.clone(), User::default())
        .token("secret", User::default());
    let service = HttpService::new(server(), Some(known));
    let (stop, stopped) = oneshot::channel();
    let acceptor = identity.acceptor().unwrap();
    let served = tokio::spawn(serve(listener, service, Some(acceptor), async move {
        let _ = stopped.await;
    }));
    Listening { kubeconfig: Kubeconfig::secure(format!("https://{address}"), &identity), stop, served }
}

pub(crate) async fn client(kubeconfig: &Kubeconfig) -> Client {
    let parsed = serde_json::from_value(kubeconfig.to_value()).unwrap();
    let config = Config::from_custom_kubeconfig(parsed, &KubeConfigOptions::default()).await.unwrap();
    Client::try_from(config).unwrap()
}

async fn namespaces(kubeconfig: &Kubeconfig) -> kube::Result<usize> {
    let namespaces: Api<Namespace> = Api::all(client(kubeconfig).await);
    Ok(namespaces.list(&ListParams::default()).await?.items.len())
}

#[tokio::test]
async fn a_certificate_or_a_token_is_let_in_and_nobody_else() {
    let Listening { kubeconfig, stop, served } = listening().await;
    assert!(namespaces(&kubeconfig).await.unwrap() >= 4);
    let bearer = |token: Option<&str>| Kubeconfig {
        client: None,
        token: token.map(str::to_owned),
        ..kubeconfig.clone()
    };
    assert!(namespaces(&bearer(Some("secret"))).await.unwrap() >= 4);
    for refused in [bearer(Some("wrong")), bearer(None)] {
        let error = namespaces(&refused).await.unwrap_err();
        assert!(matches!(&error, kube::Error::Api(status) if status.code == 401), "{error:?}");
    }
    let accounts: Api<ServiceAccount> = Api::default_namespaced(client(&kubeconfig).await);
    let asked = accounts
        .create_token_request("default", &PostParams::default(), &TokenRequest::default())
        .await
        .unwrap();
    assert!(namespaces(&bearer(Some(&asked.status.unwrap().token))).await.unwrap() >= 4);
    assert_eq!(client(&bearer(None)).await.apiserver_version().await.unwrap().major, "1");
    stop.send(()).unwrap();
    served.await.unwrap().unwrap();
}

/// As envtest sets its API server up: certificate, key and the authority of clients are its own.
#[tokio::test]
async fn others_certificates_are_served_with_and_name_their_users() {
    let loopback = IpAddr::from(Ipv4Addr::LOCALHOST);
    let (given, others) = (Identity::new(&[loopback]).unwrap(), Identity::new(&[]).unwrap());
    let own = Identity::new(&[loopback]).unwrap();
    let identity = own.serving(&given.server_certificate, &given.server_key).unwrap();
    let identity = identity.trusting(&given.authority).unwrap();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let service = HttpService::new(server(), Some(Authentication::default().subjects()));
    let acceptor = identity.acceptor().unwrap();
    let serving = tokio::spawn(serve(listener, service, Some(acceptor), std::future::pending()));

    let kubeconfig = Kubeconfig::secure(format!("https://{address}"), &given);
    let reviews: Api<SelfSubjectReview> = Api::all(client(&kubeconfig).await);
    let review = reviews.create(&PostParams::default(), &SelfSubjectReview::default()).await.unwrap();
    let user = review.status.unwrap().user_info.unwrap();
    assert_eq!(user.username.as_deref(), Some("kubernetes-admin"));
    assert_eq!(user.groups, Some(vec!["system:masters".into(), "system:authenticated".into()]));

    let stranger = Some((others.client_certificate, others.client_key));
    namespaces(&Kubeconfig { client: stranger, ..kubeconfig }).await.unwrap_err();
    serving.abort();
}

#[test]
fn what_is_no_certificate_is_refused() {
    let refused = |result: Result<Identity, TlsError>| result.err().unwrap().to_string();
    let new = || Identity::new(&[]).unwrap();
    let key = new().server_key;
    assert_eq!(refused(new().serving("", &key)), "the server's certificate is missing: give PEM");
    assert_eq!(refused(new().trusting("x")), "the authority of clients is missing: give PEM");
    let certificate = new().server_certificate;
    assert!(refused(new().serving(&certificate, "x")).starts_with("the server's key cannot be read"));
}

#[tokio::test]
async fn a_written_kubeconfig_is_readable_by_its_owner_only() {
    let identity = Identity::new(&[]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("deep/kubeconfig");
    Kubeconfig::secure("https://127.0.0.1:1", &identity).write(&path).unwrap();
    let read = kube::config::Kubeconfig::read_from(&path).unwrap();
    assert_eq!(read.current_context.as_deref(), Some("fake-apiserver"));
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }
}

#[tokio::test]
async fn shutdown_ends_watches_too() {
    let Listening { kubeconfig, stop, served } = listening().await;
    let namespaces: Api<Namespace> = Api::all(client(&kubeconfig).await);
    let watch = namespaces.watch(&kube::api::WatchParams::default(), "0").await.unwrap();
    stop.send(()).unwrap();
    served.await.unwrap().unwrap();
    drop(watch);
}
