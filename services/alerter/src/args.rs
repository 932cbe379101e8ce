//! The flags of an Alerter.

use crate::post::SmtpUrl;
use clap::Parser;
use lettre::message::Mailbox;
use service::CommonArgs;
use std::str::FromStr;

/// Turns events into alert mails: a crash, a crash loop, an instance that cannot be started and a lost servant each
/// give one mail when it begins and one when it ends.
#[derive(Clone, Debug, Parser)]
#[command(name = "alerter", version, after_help = EXAMPLES)]
pub struct Args {
    /// The mail server: smtp://, starttls:// or smtps://, with user:password@ where it asks for them. Without it mails
    /// are written as files below the data folder, in alerter/mail/.
    #[arg(long, env = "KING_SMTP", value_name = "URL", hide_env_values = true)]
    pub smtp: Option<SmtpUrl>,

    /// Who the mails are from.
    #[arg(long, env = "KING_MAIL_FROM", value_name = "ADDRESS", default_value = "King <king@localhost>")]
    pub from: Mailbox,

    /// Who gets the mails; several are separated by commas, or the flag is repeated.
    #[arg(
        long,
        env = "KING_MAIL_TO",
        value_name = "ADDRESS",
        value_delimiter = ',',
        default_value = "admin@localhost"
    )]
    pub to: Vec<Mailbox>,

    /// How long a crashed instance must stay healthy until its incident ends, in milliseconds.
    #[arg(long, env = "KING_RESOLVE_AFTER_MS", value_name = "MS", default_value_t = 10_000)]
    pub resolve_after_ms: u64,

    /// How long no error like it must be printed until an error in the output of an app is over, in milliseconds.
    #[arg(long, env = "KING_ERRORS_QUIET_MS", value_name = "MS", default_value_t = 600_000)]
    pub errors_quiet_ms: u64,

    /// How long a mail is tried before it is given up, in milliseconds.
    #[arg(long, env = "KING_MAIL_PATIENCE_MS", value_name = "MS", default_value_t = 3_600_000)]
    pub mail_patience_ms: u64,

    /// How long the mail server may take for one mail, in milliseconds; one that is too slow gets up to four times as long.
    #[arg(long, env = "KING_SMTP_TIMEOUT_MS", value_name = "MS", default_value_t = 30_000)]
    pub smtp_timeout_ms: u64,

    /// The name of this kingdom, for subjects and Message-IDs.
    #[arg(long, env = "KING_KINGDOM", value_name = "NAME", default_value = "king")]
    pub kingdom: Kingdom,

    #[command(flatten)]
    pub common: CommonArgs,
}

const EXAMPLES: &str = "\
Examples:
  alerter                                     mails as files in .kingdom/alerter/mail/
  alerter --smtp smtp://127.0.0.1:25 --to ops@example.org
  KING_SMTP=starttls://king:secret@mail.example.org:587 alerter --kingdom prod \\
      --from 'King <king@example.org>' --to ops@example.org,night@example.org";

/// The name of a kingdom: a DNS label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kingdom(String);

impl Kingdom {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Kingdom {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let edge = |byte: Option<&u8>| byte.is_some_and(|byte| *byte != b'-');
        let bytes = text.as_bytes();
        let sound = bytes.iter().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'));
        if sound && edge(bytes.first()) && edge(bytes.last()) && bytes.len() <= 63 {
            Ok(Self(text.to_owned()))
        } else {
            Err("a kingdom's name is 1 to 63 of a-z, 0-9 and '-', starting and ending with a letter or a digit"
                .to_owned())
        }
    }
}
