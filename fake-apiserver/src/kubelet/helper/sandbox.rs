//! The process that holds a pod's network namespace.

use std::os::fd::OwnedFd;

use futures::TryStreamExt as _;
use nix::sched::{CloneFlags, unshare};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use nix::unistd::setsid;
use rtnetlink::{LinkUnspec, RouteMessageBuilder};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};

use super::channel::Channel;
use super::{LOST, NetworkOrder, Reply, SandboxOrder};

/// Makes the namespace, does what is ordered in it, and lives until the kubelet closes the channel.
pub(super) fn run(mut channel: Channel) -> u8 {
    let entered = set_pdeathsig(Signal::SIGKILL)
        .and_then(|()| setsid().map(drop))
        .and_then(|()| unshare(CloneFlags::CLONE_NEWNET));
    if let Err(error) = entered {
        let message = format!("cannot make a network namespace: {error}");
        return channel.send(&Reply::Failed { message }).map_or(LOST, |()| 1);
    }
    if channel.send(&Reply::Ready).is_err() {
        return LOST;
    }
    while let Ok(Some(order)) = channel.receive::<SandboxOrder>() {
        let done = match order {
            SandboxOrder::Configure(order) => configure_blocking(&order).map(|()| None),
            SandboxOrder::Socket => socket().map(Some),
        };
        let sent = match done {
            Ok(None) => channel.send(&Reply::Ready),
            Ok(Some(socket)) => channel.send(&Reply::Ready).and_then(|()| channel.send_file(socket)),
            Err(message) => channel.send(&Reply::Failed { message }),
        };
        if sent.is_err() {
            return LOST;
        }
    }
    0
}

fn socket() -> Result<OwnedFd, String> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    socket_with(AddressFamily::INET, SocketType::STREAM, flags, None).map_err(|error| error.to_string())
}

fn configure_blocking(order: &NetworkOrder) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| error.to_string())?;
    runtime.block_on(async {
        let (connection, handle, _) = rtnetlink::new_connection().map_err(|error| error.to_string())?;
        let connection = tokio::spawn(connection);
        let configured = configure(&handle, order).await.map_err(|error| error.to_string());
        connection.abort();
        configured
    })
}

async fn configure(handle: &rtnetlink::Handle, order: &NetworkOrder) -> Result<(), rtnetlink::Error> {
    let loopback = index_of(handle, "lo").await?;
    handle.link().set(LinkUnspec::new_with_index(loopback).up().build()).execute().await?;
    let index = index_of(handle, &order.link).await?;
    handle.link().set(LinkUnspec::new_with_index(index).name("eth0").build()).execute().await?;
    handle.address().add(index, order.address.into(), order.prefix).execute().await?;
    handle.link().set(LinkUnspec::new_with_index(index).up().build()).execute().await?;
    let default = RouteMessageBuilder::<std::net::Ipv4Addr>::new().gateway(order.gateway).build();
    handle.route().add(default).execute().await
}

/// The index of the link of that name in this process's network.
pub(in super::super) async fn index_of(
    handle: &rtnetlink::Handle,
    name: &str,
) -> Result<u32, rtnetlink::Error> {
    let mut links = handle.link().get().match_name(name.to_owned()).execute();
    let link = links.try_next().await?.ok_or(rtnetlink::Error::RequestFailed)?;
    Ok(link.header.index)
}
