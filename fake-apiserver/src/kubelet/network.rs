//! The node's network: a bridge for the pods, and a range of addresses on which services listen.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::{Mutex, PoisonError};

use rtnetlink::packet_route::route::{RouteScope, RouteType};
use rtnetlink::{Error, Handle, LinkBridge, LinkUnspec, LinkVeth, RouteMessageBuilder};

use super::helper::sandbox::index_of;

/// The kernel's table of addresses that are the machine's own.
const LOCAL_TABLE: u32 = 255;

/// The usual port of an API server.
const API_PORT: u16 = 6443;

/// Addresses of the node that this process has become.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeNetwork {
    /// Name of the bridge.
    pub(super) bridge: String,
    /// The node's address on the bridge; it is also the pods' gateway.
    pub(super) node_address: Ipv4Addr,
    /// Length of the pod network's prefix.
    pub(super) pod_prefix: u8,
    /// First address of the service range.
    pub(super) service_network: Ipv4Addr,
    /// Length of the service range's prefix.
    pub(super) service_prefix: u8,
}

impl Default for NodeNetwork {
    /// 10.244.0.0/16 for pods and 10.96.0.0/16 for services, as kubeadm has them.
    fn default() -> Self {
        Self {
            bridge: "pods0".into(),
            node_address: Ipv4Addr::new(10, 244, 0, 1),
            pod_prefix: 16,
            service_network: Ipv4Addr::new(10, 96, 0, 0),
            service_prefix: 16,
        }
    }
}

impl NodeNetwork {
    /// The link address of the pods' gateway: locally administered, and the node's address in it.
    ///
    /// A bridge that is given none takes the lowest of its ports', so that it changes as pods come and go; the others then send
    /// to an address that nobody has until they ask again, which takes a minute.
    fn gateway_link_address(&self) -> [u8; 6] {
        let [a, b, c, d] = self.node_address.octets();
        [0x02, 0, a, b, c, d]
    }

    /// The node's address.
    pub fn node_address(&self) -> Ipv4Addr {
        self.node_address
    }

    /// Brings the network up before a kubelet does: for programs that are to run in it, for instance an API server.
    ///
    /// # Errors
    /// When links cannot be made.
    pub async fn bring_up(&self) -> std::io::Result<()> {
        Links::prepare(self).await.map(drop).map_err(std::io::Error::other)
    }

    /// Where pods find the API server behind its cluster IP, if the program that embeds the kubelet serves it there: on
    /// this port of every address of the node (see [`Server::publish`](crate::Server::publish)).
    pub fn api_address(&self) -> SocketAddrV4 {
        SocketAddrV4::new(self.node_address, API_PORT)
    }
}

/// The node's links, addresses and routes.
#[derive(Clone, Debug)]
pub(super) struct Links {
    handle: Handle,
    bridge: u32,
}

impl Links {
    /// Brings the node's network up. What is there already (from an earlier kubelet of this process) is kept.
    pub(super) async fn prepare(network: &NodeNetwork) -> Result<Self, Error> {
        let (connection, handle, _) =
            rtnetlink::new_connection().map_err(|error| Error::NamespaceError(error.to_string()))?;
        tokio::spawn(connection);
        let loopback = index_of(&handle, "lo").await?;
        handle.link().set(LinkUnspec::new_with_index(loopback).up().build()).execute().await?;
        let services = RouteMessageBuilder::<Ipv4Addr>::new()
            .destination_prefix(network.service_network, network.service_prefix)
            .output_interface(loopback)
            .table_id(LOCAL_TABLE)
            .kind(RouteType::Local)
            .scope(RouteScope::Host)
            .build();
        or_exists(handle.route().add(services).execute().await)?;
        let bridge = LinkBridge::new(&network.bridge).address(network.gateway_link_address().to_vec());
        or_exists(handle.link().add(bridge.build()).execute().await)?;
        let bridge = index_of(&handle, &network.bridge).await?;
        let address = handle.address().add(bridge, network.node_address.into(), network.pod_prefix);
        or_exists(address.execute().await)?;
        handle.link().set(LinkUnspec::new_with_index(bridge).up().build()).execute().await?;
        Ok(Self { handle, bridge })
    }

    /// Makes one more address the node's own.
    pub(super) async fn claim(&self, address: Ipv4Addr) -> Result<(), Error> {
        let loopback = index_of(&self.handle, "lo").await?;
        or_exists(self.handle.address().add(loopback, address.into(), 32).execute().await)
    }

    /// Makes a link whose far end is in the network namespace of a process.
    pub(super) async fn connect_pod(&self, link: &str, peer: &str, process: u32) -> Result<(), Error> {
        self.handle.link().add(LinkVeth::new(link, peer).build()).execute().await?;
        let far = index_of(&self.handle, peer).await?;
        let moved = LinkUnspec::new_with_index(far).setns_by_pid(process).build();
        self.handle.link().set(moved).execute().await?;
        let near = index_of(&self.handle, link).await?;
        let joined = LinkUnspec::new_with_index(near).controller(self.bridge).up().build();
        self.handle.link().set(joined).execute().await
    }

    /// Removes a link; one that is gone already is no error.
    pub(super) async fn remove(&self, link: &str) {
        if let Ok(index) = index_of(&self.handle, link).await
            && let Err(error) = self.handle.link().del(index).execute().await
        {
            tracing::debug!(link, %error, "the pod's link was gone");
        }
    }
}

fn or_exists(result: Result<(), Error>) -> Result<(), Error> {
    match result {
        Err(Error::NetlinkError(error)) if error.to_io().kind() == std::io::ErrorKind::AlreadyExists => {
            Ok(())
        }
        other => other,
    }
}

/// Whether bridges and pairs of links can be made in this network.
pub(super) fn check_links() -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| error.to_string())?;
    runtime.block_on(async {
        let links = Links::prepare(&NodeNetwork::default())
            .await
            .map_err(|error| format!("cannot make the node's network: {error}"))?;
        let made = links.handle.link().add(LinkVeth::new("check0", "check1").build()).execute().await;
        made.map_err(|error| format!("cannot make a pod's link: {error}"))
    })
}

/// Gives out pod addresses; one that was given back is used again as late as possible.
#[derive(Debug)]
pub(super) struct Addresses {
    first: u32,
    count: u32,
    state: Mutex<(u32, BTreeSet<u32>)>,
}

impl Addresses {
    /// The pod addresses of a network: all but the network's, the node's and the broadcast address.
    pub(super) fn new(network: &NodeNetwork) -> Self {
        let size = 1_u32 << (32 - u32::from(network.pod_prefix));
        let base = u32::from(network.node_address) & !(size - 1);
        Self { first: base + 2, count: size - 3, state: Mutex::default() }
    }

    /// The next free address; `None` when all are in use.
    pub(super) fn take(&self) -> Option<Ipv4Addr> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let (next, used) = &mut *state;
        for step in 0..self.count {
            let offset = (*next + step) % self.count;
            if used.insert(offset) {
                *next = (offset + 1) % self.count;
                return Some(Ipv4Addr::from(self.first + offset));
            }
        }
        None
    }

    /// Gives an address back.
    pub(super) fn release(&self, address: Ipv4Addr) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.1.remove(&(u32::from(address) - self.first));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_reused_only_after_all_others() {
        let network = NodeNetwork { pod_prefix: 29, ..NodeNetwork::default() };
        let addresses = Addresses::new(&network);
        let taken: Vec<_> = (0..5).filter_map(|_| addresses.take()).collect();
        assert_eq!(taken.first(), Some(&Ipv4Addr::new(10, 244, 0, 2)));
        assert_eq!(taken.last(), Some(&Ipv4Addr::new(10, 244, 0, 6)));
        assert_eq!(addresses.take(), None);
        addresses.release(taken[1]);
        assert_eq!(addresses.take(), Some(taken[1]));
    }
}
