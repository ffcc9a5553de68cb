use serde_json::json;

use super::*;

/// A minimal writer: enough to say each case in one line.
fn field(number: u8, content: &[u8]) -> Vec<u8> {
    let mut out = vec![number << 3 | 2];
    let mut length = content.len();
    while length >= 0x80 {
        out.push((length & 0x7f) as u8 | 0x80);
        length >>= 7;
    }
    out.push(length as u8);
    out.extend_from_slice(content);
    out
}

fn number(field: u8, value: u8) -> Vec<u8> {
    vec![field << 3, value]
}

fn body(api_version: &str, kind: &str, raw: &[u8]) -> Vec<u8> {
    let type_meta = [field(1, api_version.as_bytes()), field(2, kind.as_bytes())].concat();
    [MAGIC.to_vec(), field(1, &type_meta), field(2, raw), field(3, b""), field(4, b"")].concat()
}

#[test]
fn a_config_map_keeps_its_data_and_drops_what_is_empty() {
    let metadata = [field(1, b"conf"), field(2, b""), field(8, b""), number(7, 0)].concat();
    let entry = [field(1, b"key"), field(2, b"value")].concat();
    let decoded = decode(&body("v1", "ConfigMap", &[field(1, &metadata), field(2, &entry)].concat()));
    assert_eq!(
        decoded,
        Ok(
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "conf"}, "data": {"key": "value"}})
        )
    );
}

#[test]
fn secret_data_is_base64_and_embedded_structs_are_flattened() {
    let entry = [field(1, b"key"), field(2, &[0xff, 0x00])].concat();
    let decoded = decode(&body("v1", "Secret", &field(2, &entry))).unwrap();
    assert_eq!(decoded["data"]["key"], "/wA=");

    let volume = [field(1, b"cache"), field(2, &field(2, b""))].concat();
    let pod = field(2, &field(1, &volume));
    let decoded = decode(&body("v1", "Pod", &pod)).unwrap();
    assert_eq!(decoded["spec"]["volumes"], json!([{"name": "cache", "emptyDir": {}}]));
}

#[test]
fn a_zero_behind_a_pointer_is_kept() {
    let options = [number(1, 0), field(4, b"Background")].concat();
    let decoded = decode(&body("apps/v1", "DeleteOptions", &options)).unwrap();
    assert_eq!(decoded["gracePeriodSeconds"], 0);
    assert_eq!(decoded["propagationPolicy"], "Background");
}

#[test]
fn times_quantities_and_durations_are_written_as_in_json() {
    assert_eq!(
        special::decode("k8s.io.apimachinery.pkg.apis.meta.v1.Time", &number(1, 60)),
        Ok(Some(json!("1970-01-01T00:01:00Z")))
    );
    let micro = special::decode("k8s.io.apimachinery.pkg.apis.meta.v1.MicroTime", &number(1, 60));
    assert_eq!(micro, Ok(Some(json!("1970-01-01T00:01:00.000000Z"))));
    assert_eq!(
        special::decode("k8s.io.apimachinery.pkg.api.resource.Quantity", &field(1, b"1Gi")),
        Ok(Some(json!("1Gi")))
    );
    let port = [number(1, 1), number(2, 0), field(3, b"http")].concat();
    assert_eq!(
        special::decode("k8s.io.apimachinery.pkg.util.intstr.IntOrString", &port),
        Ok(Some(json!("http")))
    );
}

#[test]
fn broken_bytes_are_refused() {
    assert_eq!(decode(b"{}").unwrap_err().code, 400);
    let whole = body("v1", "ConfigMap", &field(1, &field(1, b"conf")));
    for end in MAGIC.len() + 1..whole.len() - 4 {
        let name = decode(&whole[..end]).map(|value| value["metadata"]["name"].clone());
        assert_ne!(name, Ok(json!("conf")), "cut at {end}");
    }
    assert_eq!(decode(&body("stable.example.com/v1", "CronTab", b"")).unwrap_err().code, 415);
}

/// The same objects in both forms, as a real kube-apiserver 1.36 served them.
#[test]
fn objects_are_those_the_real_server_serves_as_json() {
    use base64::Engine as _;
    let rows: Vec<Value> = serde_json::from_str(include_str!("recorded.json")).unwrap();
    for row in &rows {
        let body =
            base64::engine::general_purpose::STANDARD.decode(row["protobuf"].as_str().unwrap()).unwrap();
        assert_eq!(
            decode(&body).unwrap(),
            row["json"],
            "{} {}",
            row["json"]["kind"],
            row["json"]["metadata"]["name"]
        );
    }
}

proptest::proptest! {
    #[test]
    fn no_bytes_make_the_decoder_panic(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200)) {
        let _ = decode(&bytes);
        for kind in ["Pod", "Secret", "Status"] {
            let _ = decode(&body("v1", kind, &bytes));
        }
    }
}
