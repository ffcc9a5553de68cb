//! The listener with TLS, and who may pass.

use std::net::{IpAddr, Ipv4Addr};

use fake_apiserver::face::kubeconfig::Kubeconfig;
use fake_apiserver::face::serve::serve;
use fake_apiserver::face::tls::Identity;
use fake_apiserver::face::{Authentication, HttpService};
use fake_apiserver::request::User;
use k8s_openapi::api::authentication::v1::TokenRequest;
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
