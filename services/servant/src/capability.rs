//! Capabilities: which tools this host has, in which versions. Each is asked by running it, all at once, each with a
//! limit on its time.

use crate::container::Engine;
use std::collections::BTreeMap;
use std::process::Stdio;
use std::time::Duration;
use tokio::process::Command;
use tokio::task::JoinSet;

/// How long a tool may take to say its version.
const LIMIT: Duration = Duration::from_secs(2);
/// How often the host is looked at again.
pub const LOOK_AGAIN: Duration = Duration::from_secs(300);

/// The tools, and how each is asked.
const TOOLS: &[(&str, &[&str])] = &[
    ("bun", &["bun", "--version"]),
    ("cargo", &["cargo", "--version"]),
    ("deno", &["deno", "--version"]),
    ("dotnet", &["dotnet", "--version"]),
    ("elixir", &["elixir", "--version"]),
    ("gcc", &["gcc", "--version"]),
    ("git", &["git", "--version"]),
    ("go", &["go", "version"]),
    ("java", &["java", "-version"]),
    ("make", &["make", "--version"]),
    ("node", &["node", "--version"]),
    ("npm", &["npm", "--version"]),
    ("perl", &["perl", "--version"]),
    ("php", &["php", "--version"]),
    ("pip", &["pip3", "--version"]),
    ("pnpm", &["pnpm", "--version"]),
    ("python3", &["python3", "--version"]),
    ("ruby", &["ruby", "--version"]),
    ("rustc", &["rustc", "--version"]),
    ("yarn", &["yarn", "--version"]),
];

/// The engine's name among the tools: its version, not a client's.
const ENGINE: &str = "docker";

/// The tools that answer, with their versions in three parts; empty where the answer holds none.
pub async fn detect(engine: &Engine) -> BTreeMap<String, String> {
    let mut asked = JoinSet::new();
    let engine = engine.clone();
    asked.spawn(async move {
        let version = engine.version().await.ok()?;
        Some((ENGINE.to_owned(), version_in(&version).unwrap_or_default()))
    });
    for (tool, command) in TOOLS {
        asked.spawn(async move { ask(command).await.map(|version| ((*tool).to_owned(), version)) });
    }
    asked.join_all().await.into_iter().flatten().collect()
}

async fn ask(command: &[&str]) -> Option<String> {
    let (program, arguments) = command.split_first()?;
    let mut child = Command::new(program);
    child.args(arguments).stdin(Stdio::null()).kill_on_drop(true).current_dir("/");
    let output = match tokio::time::timeout(LIMIT, child.output()).await {
        // Mostly it is not installed.
        Ok(Err(_)) => return None,
        Err(_) => {
            tracing::warn!(program, "does not say its version within 2 s; not reported");
            return None;
        }
        Ok(Ok(output)) => output,
    };
    if !output.status.success() {
        return None;
    }
    let mut said = String::from_utf8_lossy(&output.stdout).into_owned();
    // Java says it there.
    said.push_str(&String::from_utf8_lossy(&output.stderr));
    Some(version_in(&said).unwrap_or_default())
}

/// The first number with a dot in a text, in three parts: `go1.22` is 1.22.0.
fn version_in(text: &str) -> Option<String> {
    let is_part = |c: char| c.is_ascii_digit() || c == '.';
    let found =
        text.split(|c| !is_part(c)).map(|word| word.trim_matches('.')).find(|word| word.contains('.'))?;
    let mut parts = found.split('.').map(|part| part.parse::<u32>().unwrap_or(0));
    let mut next = || parts.next().unwrap_or(0);
    Some(format!("{}.{}.{}", next(), next(), next()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_have_three_parts() {
        for (said, version) in [
            ("v20.20.2\n", "20.20.2"),
            ("Python 3.11.7", "3.11.7"),
            ("go version go1.22 linux/amd64", "1.22.0"),
            ("git version 2.39.5", "2.39.5"),
            ("openjdk version \"17.0.12\" 2024-07-16", "17.0.12"),
            ("This is perl 5, version 36, subversion 0 (v5.36.0) built for x86_64", "5.36.0"),
            ("GNU Make 4.3\n", "4.3.0"),
            ("ruby 3.1.2p20 (2022-04-12 revision 4491bb740a)", "3.1.2"),
            ("gcc (Debian 12.2.0-14+deb12u1) 12.2.0", "12.2.0"),
        ] {
            assert_eq!(version_in(said).as_deref(), Some(version), "{said}");
        }
        assert_eq!(version_in("no number"), None);
    }

    #[tokio::test]
    async fn what_is_installed_is_found_and_what_is_not_is_not() {
        assert!(ask(&["git", "--version"]).await.is_some_and(|version| version.contains('.')));
        assert_eq!(ask(&["no-such-tool-anywhere", "--version"]).await, None);
        assert_eq!(ask(&["false"]).await, None);
    }
}
