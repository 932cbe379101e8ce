//! Explanations: why an instance is where and how it is, and why an app is not on a servant.

use crate::query::{ChainLink, InstancePhase};
use crate::{AppName, InstanceId, ProcessName, ServantName};
use serde::{Deserialize, Serialize};

/// Why an instance is where and how it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WhyItem {
    pub instance: InstanceId,
    pub app: AppName,
    pub process: ProcessName,
    pub release: u32,
    pub servant: ServantName,
    pub phase: InstancePhase,
    /// Sentences, each a reason.
    pub reasons: Vec<String>,
    /// The newest event of its phase, then what led to it, up to the first that is known. Filled in by who knows the past.
    #[serde(default)]
    pub causes: Vec<ChainLink>,
    /// The servants as the scheduler would look at them now, in the order of its choice.
    pub candidates: Vec<CandidateItem>,
    /// How many servants are not listed.
    pub candidates_left_out: usize,
}

/// A servant as the scheduler looks at it for one process type.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CandidateItem {
    pub servant: ServantName,
    /// Every reason for which it cannot run another one; empty if it can.
    pub obstacles: Vec<String>,
    /// How many instances of the same process type it has: the fewest come first.
    pub same: usize,
    /// How many instances it has in all: the fewest come first among equals, then the name decides.
    pub all: usize,
}

/// Why a process type is, or is not, on a servant.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WhyNotItem {
    pub app: AppName,
    pub process: ProcessName,
    pub servant: ServantName,
    pub standing: Standing,
    /// Every reason, not only the first.
    pub reasons: Vec<String>,
}

/// How a servant stands to a process type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Standing {
    /// It runs there.
    Runs,
    /// It cannot run there.
    Cannot,
    /// It could run there, and others were chosen.
    NotChosen,
    /// None shall run anywhere.
    NotWanted,
}

impl std::fmt::Display for Standing {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.pad(match self {
            Self::Runs => "runs",
            Self::Cannot => "cannot",
            Self::NotChosen => "not chosen",
            Self::NotWanted => "not wanted",
        })
    }
}
