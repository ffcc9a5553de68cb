//! The server in memory: in process, and behind `kube::Client`.

use dask_operator::store::{FakeStore, KubeStore, Store};
use fake_apiserver::{Config, Server};
use futures::{FutureExt, future::BoxFuture};

use super::{Started, Starting, with_definitions};

/// One server for all bodies.
struct Shared<S>(S);

impl<S: Store + Clone + 'static> Started for Shared<S> {
    fn store(&mut self) -> BoxFuture<'_, Box<dyn Store>> {
        let store = self.0.clone();
        async { Box::new(store) as Box<dyn Store> }.boxed()
    }
}

/// Installs the CRDs; a server of our own that refuses them has failed, not merely been skipped.
async fn ready<S: Store + Clone + 'static>(store: S) -> Box<dyn Started> {
    Box::new(Shared(with_definitions(store).await.expect("the definitions install")))
}

pub(super) fn in_process() -> Starting {
    async { Ok(ready(FakeStore::new(Server::new(Config::default()))).await) }.boxed()
}

pub(super) fn through_tower() -> Starting {
    async {
        let server = Server::new(Config::default());
        let client = kube::Client::new(server.service(), "default");
        Ok(ready(KubeStore::new(client)).await)
    }
    .boxed()
}

/// The server with TLS, client certificate and all, as `fake-apiserver serve` has it.
#[cfg(feature = "local")]
pub(super) fn over_http() -> Starting {
    async {
        let client = serve().await.expect("the server in memory can be served");
        Ok(ready(KubeStore::new(client)).await)
    }
    .boxed()
}

#[cfg(feature = "local")]
async fn serve() -> Result<kube::Client, Box<dyn std::error::Error>> {
    use fake_apiserver::{
        face::{Authentication, HttpService, kubeconfig::Kubeconfig, serve::serve, tls::Identity},
        request::User,
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let server = Server::new(Config::default());
    let identity = Identity::new(&[address.ip()])?;
    let authentication = Authentication::default().certificate(identity.client_der.clone(), User::default());
    let service = HttpService::new(server.clone(), Some(authentication));
    let acceptor = identity.acceptor()?;
    tokio::spawn(async move { serve(listener, service, Some(acceptor), std::future::pending()).await });
    tokio::spawn(async move { server.run().await });
    let kubeconfig = Kubeconfig::secure(format!("https://{address}"), &identity).to_value();
    let config = kube::Config::from_custom_kubeconfig(
        serde_json::from_value(kubeconfig)?,
        &kube::config::KubeConfigOptions::default(),
    )
    .await?;
    Ok(kube::Client::try_from(config)?)
}
