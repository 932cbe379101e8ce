//! The words of the refusals: each names the field, the rule with what was found, and the fix.

use crate::state::{App, State};
use events::manifest::ManifestError;
use events::{AppName, ProcessName, Refusal, RefusalCode};
use semver::Version;

/// Longest text of a refusal, in bytes: what a user sent must not come back whole, and outcomes are kept.
const TEXT_BYTES: usize = 512;

pub(crate) fn refusal(
    code: RefusalCode,
    field: &str,
    rule: impl Into<String>,
    fix: impl Into<String>,
) -> Refusal {
    Refusal { code, field: cut(field.to_owned()), rule: cut(rule.into()), fix: cut(fix.into()) }
}

fn cut(mut text: String) -> String {
    if text.len() > TEXT_BYTES {
        text.truncate(text.floor_char_boundary(TEXT_BYTES));
        text.push('…');
    }
    text
}

/// The app, or the refusal that says that there is none.
pub(crate) fn known_app<'a>(state: &'a State, name: &AppName) -> Result<&'a App, Refusal> {
    state.apps.get(name).ok_or_else(|| {
        refusal(
            RefusalCode::Unknown,
            "app",
            format!("there is no app {name:?}"),
            format!("push it with Git to /git/{name}.git, or see `kingctl app ls`"),
        )
    })
}

/// The process type that a bare count means, or the refusal that asks for a name.
pub(crate) fn one_process<'a>(
    processes: impl Iterator<Item = &'a ProcessName> + Clone,
    named: Option<&ProcessName>,
) -> Result<ProcessName, Refusal> {
    let list = || processes.clone().map(ProcessName::as_str).collect::<Vec<_>>().join(", ");
    let web = ProcessName::web();
    match named {
        Some(name) if processes.clone().any(|known| known == name) => Ok(name.clone()),
        Some(name) => Err(refusal(
            RefusalCode::Unknown,
            "process",
            format!("the app has no process type {name:?}"),
            format!("name one of: {}", list()),
        )),
        None if processes.clone().any(|known| *known == web) => Ok(web),
        None => match (processes.clone().next(), processes.clone().nth(1)) {
            (Some(only), None) => Ok(only.clone()),
            _ => Err(refusal(
                RefusalCode::Invalid,
                "process",
                "the app has no process type `web` and more than one other, so a bare count means none of them",
                format!("name one of: {}", list()),
            )),
        },
    }
}

pub(crate) fn version_unknown(app: &AppName, known: &App, version: &Version) -> Refusal {
    let newest: Vec<String> = known.versions.keys().rev().take(5).map(ToString::to_string).collect();
    let fix = if newest.is_empty() {
        format!("publish it: git tag v{version} && git push king v{version}")
    } else {
        format!(
            "choose one of {} or publish it: git tag v{version} && git push king v{version}",
            newest.join(", ")
        )
    };
    refusal(RefusalCode::Unknown, "version", format!("the app {app:?} has no version {version}"), fix)
}

pub(crate) fn manifest(error: &ManifestError) -> Refusal {
    let field = format!("manifest.{}", error.field);
    refusal(RefusalCode::Invalid, &field, error.rule.clone(), "correct the manifest and publish it again")
}

pub(crate) fn too_many(field: &str, what: &str, most: usize) -> Refusal {
    refusal(RefusalCode::LimitReached, field, format!("more than {most} {what}"), "remove some first")
}
