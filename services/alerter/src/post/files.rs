//! Mails as files: `<time>-<mail>.eml` in a folder, each whole or not there. The same mail has the same name, so a
//! second attempt leaves one file.

use super::{chain, mailbox};
use crate::courier::{Letter, Taken};
use crate::mail::Sender;
use lettre::message::Mailbox;
use service::data::write_synced;
use std::io;
use std::path::PathBuf;

/// Why mails cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("could not make the folder for mails {}", path.display())]
pub struct FilesError {
    path: PathBuf,
    #[source]
    source: io::Error,
}

/// The folder.
#[derive(Debug)]
pub struct Files {
    folder: PathBuf,
}

impl Files {
    /// Makes the folder where it is missing.
    ///
    /// # Errors
    /// When the file system refuses.
    pub fn open(folder: PathBuf) -> Result<Self, FilesError> {
        std::fs::create_dir_all(&folder).map_err(|source| FilesError { path: folder.clone(), source })?;
        Ok(Self { folder })
    }

    pub(super) fn write(&self, sender: &Sender, letter: &Letter, to: &[String]) -> Taken {
        let boxes: Result<Vec<Mailbox>, Taken> = to.iter().map(|recipient| mailbox(recipient)).collect();
        let boxes = match boxes {
            Ok(boxes) => boxes,
            Err(taken) => return taken,
        };
        let mail = match sender.compose(letter, &boxes) {
            Ok(mail) => mail,
            Err(error) => return Taken::No { reason: chain(&error) },
        };
        let path = self.path(letter);
        match write_synced(&path, &mail.formatted(), 0o600) {
            Ok(()) => Taken::Yes { via: path.display().to_string() },
            Err(error) => Taken::Later { reason: chain(&error) },
        }
    }

    /// `20261120T104700.123Z-<mail>.eml`
    fn path(&self, letter: &Letter) -> PathBuf {
        let time = letter.at.to_string().replace(['-', ':', ' '], "");
        self.folder.join(format!("{time}-{}.eml", letter.mail))
    }
}
