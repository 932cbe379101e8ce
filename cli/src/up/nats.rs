//! The configuration of the kingdom's own nats-server: on loopback, durable, and with a user who can prove it.

use crate::failure::Failure;
use anyhow::Context;
use service::data::write_synced;
use std::fs::File;
use std::io::Read;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

const TEMPLATE: &str = include_str!("nats.conf");
/// The user of the system account.
pub const SYSTEM_USER: &str = "system";

/// A nats-server that is ready to be started.
#[derive(Debug)]
pub struct Server {
    pub config: PathBuf,
    pub system_password_file: PathBuf,
}

/// Writes the configuration, and the passwords when they are not there yet.
///
/// # Errors
/// When a file cannot be written.
pub fn prepare(data: &Path, listen: SocketAddr) -> Result<Server, Failure> {
    let folder = data.join("nats");
    std::fs::create_dir_all(&folder)
        .with_context(|| format!("could not make the folder {}", folder.display()))?;
    let system_password_file = folder.join("system-password");
    let text = fill(&Values {
        listen: listen.to_string(),
        store_dir: folder.join("jetstream").display().to_string(),
        king_password: password(&folder.join("king-password"))?,
        system_password: password(&system_password_file)?,
    });
    let config = folder.join("nats.conf");
    write_synced(&config, text.as_bytes(), 0o600)
        .context("could not write the configuration of nats-server")?;
    Ok(Server { config, system_password_file })
}

struct Values {
    listen: String,
    store_dir: String,
    king_password: String,
    system_password: String,
}

fn fill(values: &Values) -> String {
    TEMPLATE
        .replace("{listen}", &quoted(&values.listen))
        .replace("{store_dir}", &quoted(&values.store_dir))
        .replace("{king_password}", &values.king_password)
        .replace("{system_user}", SYSTEM_USER)
        .replace("{system_password}", &values.system_password)
}

/// As it stands between double quotes.
fn quoted(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"")
}

/// The password in a file; drawn and stored when the file is missing.
fn password(path: &Path) -> Result<String, Failure> {
    match std::fs::read_to_string(path) {
        Ok(text) if !text.trim().is_empty() => return Ok(text.trim().to_owned()),
        Ok(_) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => {
            return Err(Failure::Failed(
                anyhow::Error::new(error).context(format!("could not read {}", path.display())),
            ));
        }
    }
    let mut random = [0_u8; 24];
    File::open("/dev/urandom")
        .and_then(|mut source| source.read_exact(&mut random))
        .context("could not draw a password from /dev/urandom")?;
    let text: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
    write_synced(path, text.as_bytes(), 0o600).context("could not store a password")?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn the_configuration_is_durable_and_private() {
        let data = tempfile::tempdir().expect("a temporary folder");
        let listen = "127.0.0.1:4333".parse().expect("an address");
        let first = prepare(data.path(), listen).expect("written");
        let text = std::fs::read_to_string(&first.config).expect("readable");
        assert!(
            text.contains("sync_interval: always") && text.contains("listen: \"127.0.0.1:4333\""),
            "{text}"
        );
        assert!(!text.contains("{listen}") && !text.contains("password: \"\""), "{text}");
        let mode = first.system_password_file.metadata().expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        prepare(data.path(), listen).expect("written again");
        assert_eq!(std::fs::read_to_string(&first.config).expect("readable"), text);
    }

    #[test]
    fn odd_paths_stay_inside_their_quotes() {
        assert_eq!(quoted(r#"a"b\c"#), r#"a\"b\\c"#);
    }
}
