//! A working day with kubectl, told once and lived by every version.

use crate::kubectl::Kubectl;

const WEB: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, labels: {app: web}}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: main, image: nginx:1}]}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 80}]}
";

const THINGS: &str = "
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: things.example.com}
spec:
  group: example.com
  scope: Namespaced
  names: {plural: things, singular: thing, kind: Thing, shortNames: [th], categories: [all]}
  versions:
  - name: v1
    served: true
    storage: true
    subresources: {status: {}, scale: {specReplicasPath: .spec.size, statusReplicasPath: .status.size}}
    additionalPrinterColumns: [{name: Size, type: integer, jsonPath: .spec.size}]
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec: {type: object, required: [size], properties: {size: {type: integer, minimum: 0}}}
          status: {type: object, properties: {size: {type: integer}}}
";

const THING: &str = "
apiVersion: example.com/v1
kind: Thing
metadata: {name: one}
spec: {size: 3}
";

const CONF: &str = "
apiVersion: v1
kind: ConfigMap
metadata: {name: conf}
data: {key: new}
";

pub(crate) async fn run(kubectl: &Kubectl) {
    looks_around(kubectl).await;
    creates(kubectl).await;
    deploys(kubectl).await;
    changes(kubectl).await;
    follows(kubectl).await;
    extends(kubectl).await;
    is_refused(kubectl).await;
    cleans_up(kubectl).await;
}

async fn looks_around(k: &Kubectl) {
    k.says("version", &["v1.36"]).await;
    k.says("cluster-info", &["is running at"]).await;
    k.says("api-versions", &["apps/v1", "v1"]).await;
    k.says("api-resources", &["deployments", "deploy", "customresourcedefinitions"]).await;
    k.says("api-resources --namespaced=false -o name", &["namespaces", "nodes"]).await;
    k.says("explain deployment.spec.strategy", &["DeploymentStrategy", "rollingUpdate"]).await;
    k.says("explain pod --recursive", &["containers"]).await;
    k.says("auth can-i create pods", &["yes"]).await;
    k.says("get ns", &["NAME", "STATUS", "AGE", "default", "Active"]).await;
    k.says("get nodes -o wide", &["INTERNAL-IP", "Ready"]).await;
    let node = k.ok("get nodes -o name").await;
    k.says(&format!("describe {}", node.lines().next().unwrap_or_default()), &["Name:", "Conditions:"]).await;
    k.says("describe ns default", &["Name:", "default", "Active"]).await;
}

async fn creates(k: &Kubectl) {
    k.says("create namespace space", &["namespace/space created"]).await;
    k.says("create configmap conf --from-literal=key=value", &["configmap/conf created"]).await;
    k.says("create secret generic hidden --from-literal=key=value", &["secret/hidden created"]).await;
    k.says("create serviceaccount robot", &["serviceaccount/robot created"]).await;
    k.says("create deployment plain --image=nginx:1", &["deployment.apps/plain created"]).await;
    k.says("create job once --image=busybox:1 -- true", &["job.batch/once created"]).await;
    k.says("get secret hidden -o jsonpath='{.data.key}'", &["dmFsdWU="]).await;
    k.says("get configmap conf -o yaml", &["key: value", "kind: ConfigMap"]).await;
    k.says("get cm,secret,sa", &["configmap/conf", "secret/hidden", "serviceaccount/robot"]).await;
    k.says("run alone --image=busybox:1 --restart=Never", &["pod/alone created"]).await;
    k.says(
        "wait pod/alone --for=jsonpath='{.spec.containers[0].name}'=alone --timeout=30s",
        &["condition met"],
    )
    .await;
}

async fn deploys(k: &Kubectl) {
    k.says_to("apply -f -", WEB, &["deployment.apps/web created", "service/web created"]).await;
    k.says_to("apply -f -", WEB, &["deployment.apps/web unchanged", "service/web unchanged"]).await;
    k.says("rollout status deployment/web --timeout=30s", &["successfully rolled out"]).await;
    k.says("wait deployment/web --for=condition=Available --timeout=30s", &["condition met"]).await;
    k.says("wait pod -l app=web --for=condition=Ready --timeout=30s", &["condition met"]).await;
    k.says("get deployment web", &["READY", "UP-TO-DATE", "2/2"]).await;
    k.says("get deploy web -o wide", &["CONTAINERS", "IMAGES", "SELECTOR", "app=web"]).await;
    k.says("get pods -l app=web", &["NAME", "READY", "STATUS", "RESTARTS", "1/1", "Running"]).await;
    k.says("get pods -l app=web -o wide", &["IP", "NODE", "NOMINATED NODE", "READINESS GATES"]).await;
    k.says("get pods -A", &["NAMESPACE", "default"]).await;
    k.says("get all", &["pod/web-", "service/web", "deployment.apps/web", "replicaset.apps/web-"]).await;
    k.says("get svc", &["TYPE", "CLUSTER-IP", "EXTERNAL-IP", "PORT(S)", "80/TCP"]).await;
    k.says("get endpointslices", &["ADDRESSTYPE", "web-"]).await;
    k.says("describe deployment web", &["Name:", "Replicas:", "2 desired", "NewReplicaSet:"]).await;
    k.says("describe pods -l app=web", &["Controlled By:", "Containers:", "Conditions:"]).await;
    k.says("describe svc web", &["Selector:", "app=web", "Endpoints:"]).await;
    k.says("rollout history deployment/web", &["REVISION"]).await;
}

async fn changes(k: &Kubectl) {
    k.says("scale deployment web --replicas=3", &["scaled"]).await;
    k.says("rollout status deployment/web --timeout=30s", &["successfully rolled out"]).await;
    k.says("get deployment web -o jsonpath='{.status.readyReplicas}'", &["3"]).await;
    k.says("label deployment web tier=front", &["labeled"]).await;
    k.says("get deployment -l tier=front -o name", &["deployment.apps/web"]).await;
    k.says("annotate deployment web note=text", &["annotate"]).await;
    k.says("patch deployment web -p '{\"spec\":{\"replicas\":1}}'", &["patched"]).await;
    k.says(
        "patch deployment web --type=merge -p '{\"metadata\":{\"labels\":{\"merged\":\"yes\"}}}'",
        &["patched"],
    )
    .await;
    let json = "[{\"op\":\"replace\",\"path\":\"/spec/replicas\",\"value\":2}]";
    k.says(&format!("patch deployment web --type=json -p '{json}'"), &["patched"]).await;
    k.says("set image deployment/web main=nginx:2", &["image updated"]).await;
    k.says("rollout status deployment/web --timeout=30s", &["successfully rolled out"]).await;
    k.says("get rs -l app=web", &["DESIRED", "CURRENT"]).await;
    let changed = WEB.replace("replicas: 2", "replicas: 4").replace("nginx:1", "nginx:2");
    k.says_to(
        "apply --server-side --force-conflicts -f -",
        &changed,
        &["deployment.apps/web serverside-applied"],
    )
    .await;
    k.refuses("diff -f -", &changed.replace("replicas: 4", "replicas: 5"), "replicas: 5").await;
    k.says_to("replace -f -", CONF, &["replaced"]).await;
    k.says("rollout restart deployment/web", &["restarted"]).await;
}

async fn follows(k: &Kubectl) {
    let mut watch = k.follow("get configmaps -w --no-headers");
    watch.line_with(&["conf"]).await;
    k.ok("create configmap seen").await;
    watch.line_with(&["seen", "0"]).await;
    k.says("run talker --image=busybox:1 --restart=Never", &["created"]).await;
    k.ok("wait pod/talker --for=condition=Ready --timeout=30s").await;
    k.ok("logs talker").await;
    k.ok("logs deployment/web --tail=5").await;
    let mut logs = k.follow("logs -f talker");
    logs.line_with(&[]).await;
    k.says("delete pod talker --grace-period=0 --force --wait=false", &["deleted"]).await;
    logs.ends().await;
    k.says("get events", &["LAST SEEN", "REASON"]).await;
}

async fn extends(k: &Kubectl) {
    k.says_to("apply -f -", THINGS, &["created"]).await;
    k.says("wait crd/things.example.com --for=condition=Established --timeout=30s", &["condition met"]).await;
    k.says_to("apply -f -", THING, &["thing.example.com/one created"]).await;
    k.says("get th", &["NAME", "SIZE", "one", "3"]).await;
    k.says("get all", &["thing.example.com/one"]).await;
    k.says("explain thing.spec", &["size", "integer"]).await;
    k.says("scale thing one --replicas=5", &["scaled"]).await;
    k.says("get thing one -o jsonpath='{.spec.size}'", &["5"]).await;
    let broken = THING.replace("size: 3", "size: many");
    k.refuses("apply -f -", &broken, "spec.size").await;
    k.says("delete crd things.example.com", &["deleted"]).await;
    k.refuses("get things", "", "NotFound").await;
}

async fn is_refused(k: &Kubectl) {
    k.refuses("get pod nobody", "", "NotFound").await;
    k.refuses("create namespace space", "", "AlreadyExists").await;
    k.refuses("create configmap UPPER", "", "RFC 1123").await;
    let unknown = CONF.replace("data:", "dat:");
    k.refuses("create -f -", &unknown, "unknown field").await;
    k.refuses("get pods --field-selector=spec.nothing=x", "", "field label not supported").await;
}

async fn cleans_up(k: &Kubectl) {
    k.says_to("delete -f -", WEB, &["deployment.apps \"web\" deleted", "service \"web\" deleted"]).await;
    k.says("wait pod -l app=web --for=delete --timeout=60s", &[]).await;
    k.says("delete configmap,secret,job --all", &["deleted"]).await;
    k.says("delete namespace space", &["namespace \"space\" deleted"]).await;
    k.refuses("get namespace space", "", "NotFound").await;
}
