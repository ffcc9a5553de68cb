//! Names that Kubernetes draws at random, here from counters and hashes, in the same alphabet.

/// The letters of `k8s.io/apimachinery/pkg/util/rand`: no vowels, so that no words arise.
const ALPHABET: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";

/// Suffixes of five letters from a counter; scattered, so that neighbours do not look alike.
#[derive(Debug, Default)]
pub(crate) struct Suffixes {
    count: u64,
}

/// 27^5, the number of suffixes.
const SPACE: u64 = 14_348_907;

impl Suffixes {
    /// The next suffix; repeats after 14 million.
    pub(crate) fn next(&mut self) -> String {
        self.count += 1;
        // The factor shares no divisor with 27, so the map is one to one.
        let mut rest = (self.count.wrapping_mul(5_915_587)) % SPACE;
        let mut text = String::with_capacity(5);
        for _ in 0..5 {
            text.push(char::from(ALPHABET[(rest % 27) as usize]));
            rest /= 27;
        }
        text
    }
}

/// A hash as `pod-template-hash` writes it: FNV-1a 32 of the canonical JSON, its decimal digits in the safe alphabet.
///
/// Kubernetes hashes a Go dump instead, so the values differ; that equal templates have equal hashes does not.
pub(crate) fn template_hash(template: &serde_json::Value, collisions: i64) -> String {
    let mut hash: u32 = 0x811c_9dc5;
    let mut feed = |bytes: &[u8]| {
        for byte in bytes {
            hash = (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193);
        }
    };
    canonical(template, &mut feed);
    if collisions > 0 {
        feed(&collisions.to_le_bytes());
    }
    hash.to_string().bytes().map(|digit| char::from(ALPHABET[usize::from(digit) % 27])).collect()
}

/// Feeds JSON with sorted keys, whatever order the map type keeps.
fn canonical(value: &serde_json::Value, feed: &mut impl FnMut(&[u8])) {
    match value {
        serde_json::Value::Object(map) => {
            let mut keys: Vec<&String> = map.keys().collect();
            keys.sort();
            feed(b"{");
            for key in keys {
                feed(key.as_bytes());
                feed(b":");
                canonical(&map[key], feed);
                feed(b",");
            }
            feed(b"}");
        }
        serde_json::Value::Array(items) => {
            feed(b"[");
            for item in items {
                canonical(item, feed);
                feed(b",");
            }
            feed(b"]");
        }
        other => feed(other.to_string().as_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suffixes_do_not_repeat_early() {
        let mut suffixes = Suffixes::default();
        let drawn: std::collections::BTreeSet<String> = (0..10_000).map(|_| suffixes.next()).collect();
        assert_eq!(drawn.len(), 10_000);
    }

    #[test]
    fn the_hash_ignores_the_order_of_keys() {
        let one: serde_json::Value = serde_json::from_str(r#"{"a":1,"b":[2]}"#).unwrap();
        let two: serde_json::Value = serde_json::from_str(r#"{"b":[2],"a":1}"#).unwrap();
        assert_eq!(template_hash(&one, 0), template_hash(&two, 0));
        assert_ne!(template_hash(&one, 0), template_hash(&one, 1));
    }
}
