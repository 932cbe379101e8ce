//! References: which ones a push may move, and which of them are versions. Pure.
//!
//! All that Git itself would refuse after its hook has run is refused here, before anything is stored.

use super::RepositoryState;
use events::CommitHash;
use events::limits::{REF_BYTES, REFS_PER_APP, VERSION_BYTES, VERSIONS_PER_PUSH};
use semver::Version;
use std::collections::BTreeSet;

/// Longest part of a reference's name between two slashes: it is a file name, and Git appends to it.
const COMPONENT_BYTES: usize = 200;
const NONE: &str = "0000000000000000000000000000000000000000";

/// A reference that a push wants to move.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    pub name: String,
    pub old: Option<CommitHash>,
    pub new: Option<CommitHash>,
}

impl Change {
    /// From a line of the hook's input: `<old> <new> <name>`.
    pub fn parse(line: &[u8]) -> Result<Self, String> {
        let text = std::str::from_utf8(line).map_err(|_| {
            format!("the reference {:?} is not UTF-8; rename it", String::from_utf8_lossy(line))
        })?;
        let mut words = text.splitn(3, ' ');
        let (Some(old), Some(new), Some(name)) = (words.next(), words.next(), words.next()) else {
            return Err(format!(
                "Git's line {text:?} is not understood; only SHA-1 repositories can be pushed"
            ));
        };
        Ok(Self { name: name.to_owned(), old: hash(old)?, new: hash(new)? })
    }

    /// The version that it names, if it is a tag that is one: `refs/tags/v1.2.3` or `refs/tags/1.2.3`.
    pub fn version(&self) -> Option<Version> {
        version(&self.name)
    }
}

fn hash(text: &str) -> Result<Option<CommitHash>, String> {
    if text == NONE { Ok(None) } else { text.parse().map(Some).map_err(|error| format!("{error}")) }
}

/// The version that a reference names.
pub fn version(name: &str) -> Option<Version> {
    let tag = name.strip_prefix("refs/tags/")?;
    if tag.len() > VERSION_BYTES {
        return None;
    }
    Version::parse(tag.strip_prefix('v').unwrap_or(tag)).ok()
}

/// The first rule that a push breaks by its references alone.
pub fn check(changes: &[Change], state: &RepositoryState) -> Result<(), String> {
    changes.iter().try_for_each(|change| check_name(&change.name))?;
    for change in changes {
        if let Some(version) = change.version().filter(|_| change.new.is_none())
            && state.versions.contains_key(&version)
        {
            return Err(format!(
                "version {version} is published; versions never change and cannot be deleted"
            ));
        }
    }
    let published: BTreeSet<Version> =
        changes.iter().filter(|change| change.new.is_some()).filter_map(Change::version).collect();
    let fresh = published.iter().filter(|version| !state.versions.contains_key(version)).count();
    if fresh > VERSIONS_PER_PUSH {
        return Err(format!(
            "{fresh} new versions in one push; at most {VERSIONS_PER_PUSH}: push some of the tags first"
        ));
    }
    check_together(changes, state)
}

fn check_name(name: &str) -> Result<(), String> {
    let shown: String = name.chars().take(80).collect();
    let short = name.strip_prefix("refs/heads/").or_else(|| name.strip_prefix("refs/tags/"));
    let Some(short) = short else {
        return Err(format!(
            "{shown:?} is neither a branch nor a tag; push only refs/heads/* and refs/tags/*"
        ));
    };
    if name.len() > REF_BYTES {
        return Err(format!("the reference {shown:?} is {} bytes long; at most {REF_BYTES}", name.len()));
    }
    let sound = |part: &str| {
        !part.is_empty()
            && !part.starts_with('.')
            && !part.ends_with(".lock")
            && !part.ends_with('.')
            && part.len() <= COMPONENT_BYTES
    };
    let plain = |letter: char| !letter.is_control() && !" ~^:?*[\\".contains(letter);
    let whole = !short.contains("..") && !short.contains("@{") && short != "@" && short != "HEAD";
    if short.split('/').all(sound) && short.chars().all(plain) && whole && !short.starts_with('-') {
        Ok(())
    } else {
        Err(format!(
            "{shown:?} is no name that a reference may have (see `git help check-ref-format`); rename it"
        ))
    }
}

/// What must hold of all references after the push: not too many, and none is a folder of another.
fn check_together(changes: &[Change], state: &RepositoryState) -> Result<(), String> {
    let mut names: BTreeSet<&str> = state.refs.keys().map(String::as_str).collect();
    for change in changes {
        match change.new {
            Some(_) => names.insert(&change.name),
            None => names.remove(change.name.as_str()),
        };
    }
    if names.len() > REFS_PER_APP {
        return Err(format!("the app would have {} references; at most {REFS_PER_APP}", names.len()));
    }
    for change in changes.iter().filter(|change| change.new.is_some()) {
        let mut parent = change.name.as_str();
        while let Some((shorter, _)) = parent.rsplit_once('/') {
            if names.contains(shorter) {
                return Err(format!("{:?} cannot be beside {shorter:?}: delete or rename one", change.name));
            }
            parent = shorter;
        }
        let folder = format!("{}/", change.name);
        if let Some(inner) = names.range(folder.as_str()..).next().filter(|name| name.starts_with(&folder)) {
            return Err(format!("{:?} cannot be beside {inner:?}: delete or rename one", change.name));
        }
    }
    Ok(())
}

/// Why a version cannot be this commit, if the version is known already.
pub fn check_version(version: &Version, commit: CommitHash, state: &RepositoryState) -> Result<(), String> {
    match state.versions.get(version) {
        None => Ok(()),
        Some(Some(known)) if *known == commit => Ok(()),
        Some(known) => {
            let next = Version::new(version.major, version.minor, version.patch + 1);
            let known = match known {
                Some(known) => format!("is commit {}", short(*known)),
                None => "was published without Git".to_owned(),
            };
            Err(format!(
                "version {version} {known}, not {}; versions never change; publish {next}",
                short(commit)
            ))
        }
    }
}

/// A commit id as people read it.
pub fn short(commit: CommitHash) -> String {
    commit.to_string()[..10].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(name: &str, new: bool) -> Change {
        let hash = CommitHash::from_bytes([7; 20]);
        Change { name: name.into(), old: None, new: new.then_some(hash) }
    }

    #[test]
    fn tags_that_are_versions() {
        assert_eq!(version("refs/tags/v1.2.3"), Some(Version::new(1, 2, 3)));
        assert_eq!(version("refs/tags/1.2.3"), Some(Version::new(1, 2, 3)));
        assert!(version("refs/tags/1.2.3-rc.1+x").is_some());
        for name in ["refs/heads/v1.2.3", "refs/tags/v1", "refs/tags/vv1.2.3", "refs/tags/1.2", "refs/tags/"]
        {
            assert_eq!(version(name), None, "{name}");
        }
    }

    #[test]
    fn names_that_git_or_the_kingdom_refuse() {
        let state = RepositoryState::default();
        let long = format!("refs/heads/{}", "x".repeat(300));
        let wide = format!("refs/heads/{}", "x".repeat(220));
        let bad = [
            "refs/notes/x",
            "refs/heads/",
            "refs/heads/a..b",
            "refs/heads/.a",
            "refs/heads/a.lock",
            "refs/heads/a b",
            "refs/heads/a//b",
            "refs/heads/a/",
            "refs/heads/@{x",
            "refs/heads/-x",
            "HEAD",
            "refs/heads/HEAD",
            "refs/heads/a\u{7}",
            "refs/heads/a*",
            "refs/heads/a^",
            "refs/tags/../x",
            long.as_str(),
            wide.as_str(),
        ];
        for name in bad {
            assert!(check(&[change(name, true)], &state).is_err(), "{name}");
        }
        check(&[change("refs/heads/feature/ü-1", true)], &state).expect("it is a name");
    }

    #[test]
    fn no_reference_is_a_folder_of_another() {
        let hash = CommitHash::from_bytes([1; 20]);
        let mut state = RepositoryState::default();
        state.refs.insert("refs/heads/a/b".into(), hash);
        assert!(check(&[change("refs/heads/a/b/c", true)], &state).is_err());
        assert!(check(&[change("refs/heads/x", true), change("refs/heads/x/y", true)], &state).is_err());
        check(&[change("refs/heads/a/b", false), change("refs/heads/a/b/c", true)], &state).expect("b goes");
    }

    #[test]
    fn versions_stay_what_they_are() {
        let mut state = RepositoryState::default();
        state.versions.insert(Version::new(1, 0, 0), Some(CommitHash::from_bytes([1; 20])));
        check_version(&Version::new(1, 0, 0), CommitHash::from_bytes([1; 20]), &state)
            .expect("it is the same");
        let refusal =
            check_version(&Version::new(1, 0, 0), CommitHash::from_bytes([2; 20]), &state).unwrap_err();
        assert_eq!(
            refusal,
            "version 1.0.0 is commit 0101010101, not 0202020202; versions never change; publish 1.0.1"
        );
        assert!(check(&[change("refs/tags/v1.0.0", false)], &state).is_err());
    }
}
