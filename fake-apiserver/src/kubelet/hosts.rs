//! Hosts and resolver files: names work without a DNS server.

use std::fs::{File, OpenOptions};
use std::io;
use std::net::Ipv4Addr;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

/// A service's address and names.
pub(super) type Line = (Ipv4Addr, Vec<String>);

/// A pod's hosts file: itself, its `hostAliases`, and every service.
pub(super) fn pod_file(own: &[Line], aliases: &[(String, Vec<String>)], services: &[Line]) -> String {
    let mut text = String::from(
        "# Written by the kubelet: services appear and disappear here.\n127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n",
    );
    let known = own.iter().chain(services).map(|(address, names)| (address.to_string(), names));
    let stated = aliases.iter().map(|(address, names)| (address.clone(), names));
    for (address, names) in known.chain(stated) {
        text.extend([address.as_str(), "\t", names.join(" ").as_str(), "\n"]);
    }
    text
}

/// The resolver file: the search list of a pod, and a name server that refuses at once, since only the hosts file answers.
pub(super) fn resolver_file(namespace: &str, domain: &str) -> String {
    format!("search {namespace}.svc.{domain} svc.{domain} {domain}\nnameserver 127.0.0.1\noptions ndots:5\n")
}

/// Replaces the content of a file that is mounted elsewhere, so that it must stay the same file.
///
/// One write, never shorter than before: a reader at the same time sees the old or the new lines, never none.
pub(super) fn rewrite(path: &Path, text: &str) -> io::Result<()> {
    let file: File = OpenOptions::new().write(true).create(true).truncate(false).open(path)?;
    let old = usize::try_from(file.metadata()?.len()).unwrap_or(0);
    let mut bytes = text.as_bytes().to_vec();
    if bytes.len() < old {
        bytes.resize(old, b'\n');
    }
    file.write_all_at(&bytes, 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_s_own_names_come_before_services_and_aliases() {
        let own = [(Ipv4Addr::new(10, 244, 0, 2), vec!["p".to_owned()])];
        let services = [(Ipv4Addr::new(10, 96, 0, 7), vec!["web.ns".to_owned(), "web".to_owned()])];
        let aliases = [("10.1.1.1".to_owned(), vec!["alias".to_owned()])];
        let text = pod_file(&own, &aliases, &services);
        assert!(text.ends_with("10.244.0.2\tp\n10.96.0.7\tweb.ns web\n10.1.1.1\talias\n"), "{text}");
    }

    #[test]
    fn a_shorter_text_leaves_no_part_of_the_old_one() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("hosts");
        rewrite(&path, "10.0.0.1 long-name\n").unwrap();
        rewrite(&path, "10.0.0.2 x\n").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap().trim_end(), "10.0.0.2 x");
    }
}
