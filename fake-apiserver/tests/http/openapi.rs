//! What `kubectl explain` reads.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::Client;
use kube::api::{Api, PostParams};
use serde_json::{Value, json};

use crate::server;

#[tokio::test]
async fn what_every_custom_resource_has_is_described() {
    let client = Client::new(server().service(), "default");
    let definition = json!({
        "metadata": {"name": "gadgets.example.com"},
        "spec": {"group": "example.com", "scope": "Namespaced", "names": {"plural": "gadgets", "kind": "Gadget"},
            "versions": [{"name": "v1", "served": true, "storage": true,
                "schema": {"openAPIV3Schema": {"type": "object", "description": "A gadget."}}}]},
    });
    let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
    definitions.create(&PostParams::default(), &serde_json::from_value(definition).unwrap()).await.unwrap();
    let request = http::Request::get("/openapi/v3/apis/example.com/v1").body(Vec::new()).unwrap();
    let document: Value = client.request(request).await.unwrap();
    let schema = &document["components"]["schemas"]["com.example.v1.Gadget"];
    assert_eq!(schema["description"], "A gadget.");
    for (field, begins) in [
        ("apiVersion", "APIVersion defines the versioned schema"),
        ("kind", "Kind is a string value"),
        ("metadata", "Standard object's metadata. "),
    ] {
        let description = schema["properties"][field]["description"].as_str().unwrap();
        assert!(description.starts_with(begins), "{description}");
    }
}
