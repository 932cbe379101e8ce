//! The brake: when most of a domain falls silent at one moment, the likeliest cause is not that all hosts died. So
//! their loss is told a further period later, once, and what is heard meanwhile counts.

use std::fmt;

/// Fewer servants than this plus one are told at once: half of so few says nothing.
const FEW: usize = 3;

/// Why reports are held back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hold {
    pub silent: usize,
    pub of: usize,
    /// For how long, in milliseconds.
    pub for_ms: u64,
}

impl fmt::Display for Hold {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { silent, of, for_ms } = self;
        write!(
            formatter,
            "{silent} of {of} servants fell silent at once; a network or this host is likelier to blame than all \
             of them, so none is called lost for a further {for_ms} ms"
        )
    }
}

/// Whether the brake is pressed.
#[derive(Debug, Default)]
pub(super) enum Brake {
    #[default]
    Off,
    Held {
        until: u64,
    },
}

impl Brake {
    /// Looks at how many are silent; says so when the brake is pressed by it. It stays pressed or spent until most
    /// are heard, or told, so one silence is held once.
    pub(super) fn press(&mut self, silent: usize, of: usize, period_ms: u64, now: u64) -> Option<Hold> {
        let most = of > FEW && 2 * silent > of;
        match self {
            Self::Off if most => {
                // A third of the period is left until the first would be told; then the further one.
                *self = Self::Held { until: now + period_ms / 3 + period_ms };
                Some(Hold { silent, of, for_ms: period_ms })
            }
            Self::Held { .. } if !most => {
                *self = Self::Off;
                None
            }
            Self::Off | Self::Held { .. } => None,
        }
    }

    /// Whether nobody may be called lost now.
    pub(super) fn holds(&self, now: u64) -> bool {
        match self {
            Self::Off => false,
            Self::Held { until } => now < *until,
        }
    }
}
