//! Pods that reach each other.

use futures::FutureExt as _;
use k8s_openapi::api::core::v1::Service;
use kube::Api;
use kube::api::{LogParams, PostParams};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::suite::Body;
use crate::world::{NAMESPACE, World, program, until_processes};

pub(crate) const TESTS: &[(&str, Body)] = &[
    ("a_service_is_reached_by_every_name_form_from_pods_and_from_the_node", |world| names(world).boxed()),
    ("an_unready_pod_takes_no_part_in_a_service", |world| readiness(world).boxed()),
    ("the_gateway_keeps_its_link_address_whatever_pods_come_and_go", |world| gateway(world).boxed()),
    ("everything_dies_with_the_kubelet", |world| kubelet_killed(world).boxed()),
];

pub(crate) async fn service(world: &World, name: &str) {
    let object = json!({"metadata": {"name": name},
        "spec": {"selector": {"app": name}, "ports": [{"name": "http", "port": 80, "targetPort": "http"}]}});
    let service: Service = serde_json::from_value(object).expect("a service");
    let api: Api<Service> = Api::namespaced(world.client.clone(), NAMESPACE);
    api.create(&PostParams::default(), &service).await.expect("the service is created");
}

async fn server(world: &World, name: &str) {
    let probe =
        json!({"httpGet": {"path": "/health", "port": "http"}, "periodSeconds": 1, "failureThreshold": 1});
    world
        .pod(
            name,
            json!({"terminationGracePeriodSeconds": 2, "containers": [{"image": "tools:1", "args": ["answer", "8080", name],
                "ports": [{"name": "http", "containerPort": 8080}], "readinessProbe": probe}]}),
        )
        .await;
}

async fn names(world: World) {
    service(&world, "web").await;
    server(&world, "web").await;
    world.until_ready("web", true).await;
    let script = "set -e\n\
        for name in web web.default web.default.svc web.default.svc.cluster.local; do\n\
        until fetch $name:80; do sleep 0.2; done\ndone\n\
        fetch $WEB_SERVICE_HOST:$WEB_SERVICE_PORT\ntest -n \"$KUBERNETES_SERVICE_HOST\" && echo api";
    world
        .pod("asks", json!({"restartPolicy": "Never", "containers": [{"image": "tools:1", "args": ["/bin/sh", "-c", script]}]}))
        .await;
    world.until_phase("asks", "Succeeded").await;
    let log = world.log("asks", LogParams::default()).await;
    assert!(log.ends_with("web\nweb\nweb\nweb\nweb\napi\n"), "{log}");
    let from_node =
        tokio::process::Command::new(program()).args(["fetch", "web.default.svc.cluster.local:80"]).output();
    let from_node = from_node.await.expect("the program runs");
    assert_eq!(String::from_utf8_lossy(&from_node.stdout), "web\n");
}

async fn readiness(world: World) {
    service(&world, "web").await;
    server(&world, "web").await;
    world.until_ready("web", true).await;
    let breaks = world.shell("breaks", "Never", "true").await;
    assert!(breaks.metadata.uid.is_some());
    world.until_phase("breaks", "Succeeded").await;
    // The program answers 503 while its own /tmp has this file.
    let own = world.pods().get("web").await.expect("the pod").metadata.uid.expect("a uid");
    let tmp = world.state.path().join("pods").join(own).join("containers/main/tmp");
    // Made while the pod was ready, this one goes on, as with kube-proxy: a busy Dask scheduler misses a probe now and then.
    let services: Api<Service> = Api::namespaced(world.client.clone(), NAMESPACE);
    let address = services.get("web").await.expect("the service").spec.expect("a spec").cluster_ip;
    let address = format!("{}:80", address.expect("a cluster IP"));
    let mut before = tokio::net::TcpStream::connect(address).await.expect("the pod is ready");
    std::fs::write(tmp.join("broken"), "").expect("the file can be written");
    world.until_ready("web", false).await;
    before.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.expect("the connection goes on");
    let mut answer = String::new();
    before.read_to_string(&mut answer).await.expect("it is answered");
    assert!(answer.ends_with("web"), "{answer:?}");
    let script = "for i in 1 2 3 4 5 6 7 8 9 10; do fetch web:80 > /tmp/out 2>&1 || break; sleep 0.2; done; cat /tmp/out";
    world
        .pod("asks", json!({"restartPolicy": "Never", "containers": [{"image": "tools:1", "args": ["/bin/sh", "-c", script]}]}))
        .await;
    world.until_phase("asks", "Succeeded").await;
    let log = world.log("asks", LogParams::default()).await;
    assert!(log.contains("refused"), "{log}");
    std::fs::remove_file(tmp.join("broken")).expect("the file can be removed");
    world.until_ready("web", true).await;
}

/// A bridge's own choice is the lowest address of its ports: pods that stay lose everybody when that one goes.
async fn gateway(world: World) {
    let script = "fetch 10.244.0.1:1; grep '^10.244.0.1 ' /proc/net/arp";
    let asks = json!({"image": "tools:1", "args": ["/bin/sh", "-c", script]});
    world.pod("asks", json!({"restartPolicy": "Never", "containers": [asks]})).await;
    world.until_phase("asks", "Succeeded").await;
    let log = world.log("asks", LogParams::default()).await;
    assert!(log.contains(" 02:00:0a:f4:00:01 "), "{log}");
}

async fn kubelet_killed(world: World) {
    // Another node, in a process that can be killed; it is made by this very test, told so by the environment.
    if std::env::var_os("KUBELET_TO_KILL").is_some() {
        world.shell("p", "Always", "(sleep 84006 &) ; exec sleep 84006").await;
        world.until_ready("p", true).await;
        println!("ready");
        std::future::pending::<()>().await;
    }
    let mut command = tokio::process::Command::new(program());
    command.args(["run-one", "everything_dies_with_the_kubelet"]).env("KUBELET_TO_KILL", "1");
    let mut node = command
        .kill_on_drop(true)
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("the other node starts");
    let mut line = [0; 6];
    let stdout = node.stdout.as_mut().expect("its output");
    stdout.read_exact(&mut line).await.expect("the other node's pod runs");
    until_processes("84006", 2).await;
    node.kill().await.expect("the other node is killed");
    until_processes("84006", 0).await;
}
