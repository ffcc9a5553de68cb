//! Follows the configuration of the plugins. A new one that cannot be used changes nothing, and is told once.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::config::{ConfigError, Loaded, load};
use super::native::Plugin;
use super::registry::{Entry, How, Registry};
use super::roster::Roster;

/// Between two looks. The kubelet takes longer to bring a changed ConfigMap to a pod.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// The plugins of this program and those of a file, from now on.
#[derive(Debug)]
pub struct Following {
    path: PathBuf,
    natives: Vec<Entry>,
    content: Vec<u8>,
    told: Option<String>,
    sender: watch::Sender<Registry>,
}

/// The plugins that are linked into this program, before those of a file.
pub fn natives(plugins: &[Arc<dyn Plugin>]) -> Vec<Entry> {
    let entry = |plugin: &Arc<dyn Plugin>| Entry {
        declaration: plugin.declaration(),
        how: How::Native(plugin.clone()),
    };
    plugins.iter().map(entry).collect()
}

/// Reads a file for the first time; what is wrong with it then is an error.
pub fn begin(path: &Path, natives: Vec<Entry>) -> Result<(Following, Roster), ConfigError> {
    let loaded = load(path)?;
    let registry = together(&natives, &loaded)?;
    let (sender, roster) = Roster::new(registry);
    let following = Following { path: path.to_owned(), natives, content: loaded.content, told: None, sender };
    Ok((following, roster))
}

fn together(natives: &[Entry], loaded: &Loaded) -> Result<Registry, ConfigError> {
    Ok(Registry::new(natives.iter().chain(&loaded.entries).cloned().collect())?)
}

impl Following {
    /// Looks at the file and what it refers to every few seconds; never ends.
    pub async fn run(mut self) {
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            self.look();
        }
    }

    /// Looks once; gives whether the plugins are others now.
    pub fn look(&mut self) -> bool {
        let read =
            load(&self.path).and_then(|loaded| Ok((together(&self.natives, &loaded)?, loaded.content)));
        match read {
            Ok((_, content)) if content == self.content => {
                self.told = None;
                false
            }
            Ok((registry, content)) => {
                self.content = content;
                self.told = None;
                self.sender.send_replace(registry);
                true
            }
            Err(error) => {
                let text = anyhow::Error::from(error);
                let text = format!("{text:#}");
                if self.told.as_ref() != Some(&text) {
                    tracing::error!("the plugins stay as they were: {text}");
                    self.told = Some(text);
                }
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(roster: &mut Roster) -> Vec<String> {
        roster.current().entries().iter().map(|entry| entry.declaration.name.clone()).collect()
    }

    #[test]
    fn a_changed_file_changes_the_plugins_and_a_broken_one_does_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("plugins.yaml");
        let write = |text: &str| std::fs::write(&path, text).unwrap();
        write("plugins: [{name: one, edits: []}]");
        let (mut following, mut roster) = begin(&path, Vec::new()).unwrap();
        assert_eq!(names(&mut roster), ["one"]);
        assert!(!following.look());
        write("plugins: [{name: one, edits: []}, {name: two, url: 'http://two.example/'}]");
        assert!(following.look());
        assert_eq!(names(&mut roster), ["one", "two"]);
        write("plugins: [{name: one}]");
        assert!(!following.look());
        assert!(following.told.as_ref().unwrap().contains("neither url nor edits"), "{:?}", following.told);
        assert_eq!(names(&mut roster), ["one", "two"]);
        write(
            "plugins: [{name: one, removed: true, edits: [], kinds: [{apiVersion: v1, kind: ConfigMap, plural: configmaps}]}]",
        );
        assert!(following.look());
        let registry = roster.current();
        assert_eq!(registry.of(crate::observe::Kind::Cluster).count(), 0, "it is not asked");
        assert_eq!(registry.rights().len(), 1, "and needs its rights");
        write("");
        assert!(following.look());
        assert_eq!(names(&mut roster), [""; 0]);
    }

    #[test]
    fn what_is_wrong_with_a_file_is_said_with_its_place() {
        let check = |text: &str, said: &str| {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("plugins.yaml");
            std::fs::write(&path, text).unwrap();
            let error = begin(&path, Vec::new()).unwrap_err();
            let text = format!("{:#}", anyhow::Error::from(error));
            assert!(text.contains(said), "{text}");
        };
        check("plugins: [{name: a, ur: x}]", "plugins[0]");
        check("plugins: [{name: a, ur: x}]", "unknown field `ur`");
        check("plugins: [{name: A, edits: []}]", "lower-case letters");
        check("plugins: [{name: a, edits: []}, {name: a, edits: []}]", "two of this name");
        check("plugins: [{name: a, url: 'https://x/'}]", "caBundle");
        check("plugins: [{name: a, url: 'ftp://x/'}]", "http://");
        check("plugins: [{name: a, url: 'http://x/', timeout: 2m}]", "at most 30 s");
        check("plugins: [{name: a, url: 'http://x/', edits: []}]", "both url and edits");
        check("plugins: [{name: a, url: 'http://x/', when: [{at: /a}]}]", "when goes with edits");
        check("plugins: [{name: a, edits: [{op: add, object: {a: '${b}'}}]}]", "is no place");
        check("plugins: [{name: a, edits: [{op: merge, child: nobody, patch: {}}]}]", "unknown variant");
        let client = "clientCertificate: {certificate: tls.crt, key: tls.key}";
        check(&format!("plugins: [{{name: a, url: 'https://x/', {client}}}]"), "cannot read");
    }
}
