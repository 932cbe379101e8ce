//! The disk of a servant, as reports and events tell of it: how full it is, and what was removed to make room.

use serde::{Deserialize, Serialize};
use std::fmt;

/// How full the disk is that a servant keeps its data on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Disk {
    pub level: DiskLevel,
    /// As `df` tells it: of what the servant may use.
    pub used_percent: u8,
    pub free_bytes: u64,
}

/// What that means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DiskLevel {
    #[default]
    Normal,
    /// Old things are removed until it is no more.
    High,
    /// Nothing new is placed or unpacked there; what runs goes on.
    Critical,
}

impl fmt::Display for DiskLevel {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(match self {
            Self::Normal => "normal",
            Self::High => "high",
            Self::Critical => "critical",
        })
    }
}

/// What was removed, grouped: the largest by name, and the rest as a number.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cleaned {
    pub removed: Vec<Removed>,
    /// So many more were removed than are named.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub more: u64,
    /// What all of them took.
    pub bytes: u64,
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// One thing that was removed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Removed {
    pub what: Removable,
    /// `shop release 3`, or the id of an instance.
    pub name: String,
    pub bytes: u64,
    pub why: RemovalReason,
}

/// What may be removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Removable {
    /// An unpacked and built release that nothing runs of.
    Release,
    /// An image that nothing runs of.
    Image,
    /// Output of an instance that is gone, not stored anywhere else yet.
    Output,
}

/// Why it was removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RemovalReason {
    /// It was not used for as long as such things are kept.
    Age,
    /// Newer ones of the same app are kept.
    Count,
    /// The disk was too full.
    Room,
    /// More of it waited than is kept.
    Cap,
}

impl fmt::Display for RemovalReason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Age => "not used for long",
            Self::Count => "newer ones are kept",
            Self::Room => "the disk was too full",
            Self::Cap => "more waited than is kept",
        })
    }
}
