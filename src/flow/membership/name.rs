//! What a process is called in its flow's group.
//!
//! The name survives the process: killed and started in place it gets its partitions back at once,
//! instead of after a session (KIP-345). So two processes must never share one. It is `instance` of the
//! configuration, else the host's name and a *slot*: the lowest number whose file nobody has locked.

use std::{
    io,
    path::{Path, PathBuf},
};

use host::{Host, Lock};

/// Processes of one flow on one host that get a name by slot.
const MAX_SLOTS: usize = 256;

/// A name, and what keeps others from taking it.
#[derive(Debug)]
pub struct Name {
    text: String,
    _slot: Option<Box<dyn Lock>>,
}

impl Name {
    /// The name of this process in the group of `flow`: `instance` if it is given, else by a slot in
    /// `folder`, else one that is never used again.
    pub fn choose(host: &Host, flow: &str, instance: Option<&str>, folder: Option<&Path>) -> Self {
        if let Some(instance) = instance {
            return Self::without_slot(instance.to_owned());
        }
        let machine = rustix::system::uname()
            .nodename()
            .to_string_lossy()
            .into_owned();
        let folder = folder.map_or_else(default_folder, Path::to_owned);
        let reason = match Self::by_slot(host, &folder, flow, &machine) {
            Ok(Some(name)) => return name,
            Ok(None) => format!("all {MAX_SLOTS} slots in {} are taken", folder.display()),
            Err(error) => format!("{}: {error}", folder.display()),
        };
        tracing::warn!(
            %flow, reason,
            "no slot for this process's name, so its partitions wait for others if it is killed; set \
             `instance`, or [limits] state_dir to a folder that it may write to"
        );
        let mut random = [0; 8];
        host.random.fill(&mut random);
        Self::without_slot(format!("{machine}-{:016x}", u64::from_be_bytes(random)))
    }

    /// As the group knows it.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    fn without_slot(text: String) -> Self {
        Self { text, _slot: None }
    }

    fn by_slot(host: &Host, folder: &Path, flow: &str, machine: &str) -> io::Result<Option<Self>> {
        host.files.create_dir_all(folder)?;
        for slot in 0..MAX_SLOTS {
            let path = folder.join(format!("{flow}.slot-{slot}"));
            if let Some(lock) = host.files.lock(&path)? {
                return Ok(Some(Self {
                    text: format!("{machine}-{slot}"),
                    _slot: Some(lock),
                }));
            }
        }
        Ok(None)
    }
}

/// Where slots are unless the operator says: of this user, and kept while the machine is up.
fn default_folder() -> PathBuf {
    match std::env::var_os("XDG_RUNTIME_DIR").filter(|folder| !folder.is_empty()) {
        Some(folder) => Path::new(&folder).join("strait"),
        None => {
            let user = rustix::process::getuid().as_raw();
            std::env::temp_dir().join(format!("strait-{user}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choose(folder: &Path, flow: &str) -> Name {
        Name::choose(&Host::real(), flow, None, Some(folder))
    }

    #[test]
    fn processes_on_one_host_differ_and_a_restarted_one_is_called_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().join("slots");
        let (first, second) = (choose(&folder, "f"), choose(&folder, "f"));
        let text = first.as_str().to_owned();
        assert!(text.ends_with("-0") && second.as_str().ends_with("-1"));
        drop(first);
        let again = choose(&folder, "f");
        assert_eq!(again.as_str(), text);
        assert!(choose(&folder, "f").as_str().ends_with("-2"));
        // Other flows have other groups.
        assert!(choose(&folder, "g").as_str().ends_with("-0"));
    }

    #[test]
    fn without_a_folder_a_name_is_never_used_again() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let (first, second) = (choose(file.path(), "f"), choose(file.path(), "f"));
        assert_ne!(first.as_str(), second.as_str());
    }

    #[test]
    fn the_operators_name_is_taken_as_it_is() {
        let name = Name::choose(&Host::real(), "f", Some("a"), None);
        assert_eq!(name.as_str(), "a");
    }
}
