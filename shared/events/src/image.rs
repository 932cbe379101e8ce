//! Images and volumes: what a process type says when it runs as a container. The shapes, and the rules that hold both
//! where a manifest is pushed and where a servant makes the container.

use crate::limits::{IMAGE_NAME_BYTES, PATH_BYTES};
use crate::name::cut;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;

/// Where the image of a process type comes from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Image {
    /// One that the kingdom holds, that the engine has, or that a registry gives.
    Named(ImageName),
    /// Built from a Dockerfile in the version's own archive.
    Built {
        /// The path of the Dockerfile in the archive.
        build: String,
    },
}

impl Image {
    /// The rule that it breaks.
    pub fn rule_broken(&self) -> Option<String> {
        match self {
            Self::Named(_) => None,
            Self::Built { build } if is_inside(build) => None,
            Self::Built { build } => Some(format!(
                "builds from {:?}; name a file inside the version, such as Dockerfile or docker/web.Dockerfile",
                cut(build)
            )),
        }
    }
}

impl fmt::Display for Image {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Named(name) => name.fmt(formatter),
            Self::Built { build } => write!(formatter, "built from {build}"),
        }
    }
}

/// A relative path that does not leave its root.
fn is_inside(path: &str) -> bool {
    let part = |part: &str| !part.is_empty() && part != "." && part != "..";
    let plain = path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    plain && path.len() <= PATH_BYTES && path.split('/').all(part)
}

/// The name of an image as registries write it: `[host[:port]/]path[:tag][@sha256:digest]`, or the id of one in the
/// engine, `sha256:…`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ImageName(String);

/// Why a text is no name of an image.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{found:?} names no image; write one such as nginx:1.27, registry.example:5000/shop/web:1 or name@sha256:…"
)]
pub struct ImageNameError {
    /// What was found, cut to a length that can be printed.
    pub found: String,
}

impl ImageName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ImageName {
    type Err = ImageNameError;

    fn from_str(text: &str) -> Result<Self, ImageNameError> {
        if text.len() <= IMAGE_NAME_BYTES && is_image_name(text) {
            Ok(Self(text.to_owned()))
        } else {
            Err(ImageNameError { found: cut(text) })
        }
    }
}

/// The grammar of references (<https://pkg.go.dev/github.com/distribution/reference>), without its rarest forms.
fn is_image_name(text: &str) -> bool {
    if text.starts_with("sha256:") {
        return is_digest(text);
    }
    let (name, digest) = match text.split_once('@') {
        Some((name, digest)) => (name, Some(digest)),
        None => (text, None),
    };
    if digest.is_some_and(|digest| !is_digest(digest)) {
        return false;
    }
    let (host, path) = match name.split_once('/') {
        Some((host, path)) if host.contains(['.', ':']) || host == "localhost" => (Some(host), path),
        Some(_) | None => (None, name),
    };
    let (path, tag) = match path.rsplit_once(':') {
        Some((path, tag)) => (path, Some(tag)),
        None => (path, None),
    };
    host.is_none_or(is_host) && path.split('/').all(is_component) && tag.is_none_or(is_tag)
}

fn is_digest(text: &str) -> bool {
    let hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    text.strip_prefix("sha256:").is_some_and(|digits| digits.len() == 64 && digits.bytes().all(hex))
}

fn is_host(text: &str) -> bool {
    let (name, port) = match text.split_once(':') {
        Some((name, port)) => (name, Some(port)),
        None => (text, None),
    };
    let plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.');
    plain && !name.is_empty() && port.is_none_or(|port| port.parse::<u16>().is_ok())
}

fn is_component(text: &str) -> bool {
    let edge = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = text.as_bytes();
    bytes.first().is_some_and(edge)
        && bytes.last().is_some_and(edge)
        && bytes.iter().all(|byte| edge(byte) || b"._-".contains(byte))
}

fn is_tag(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    !text.is_empty() && text.len() <= 128 && !text.starts_with(['.', '-']) && text.bytes().all(plain)
}

impl fmt::Display for ImageName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(&self.0)
    }
}

impl fmt::Debug for ImageName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, formatter)
    }
}

impl Serialize for ImageName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for ImageName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        crate::wire::parse_str(deserializer)
    }
}

/// A volume of the app that its containers see as a folder. It lives on the servant, under a name of the kingdom's own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Volume {
    /// Its name in the app. Checked where it is used: a servant refuses a path of its host whoever asks for it.
    pub name: String,
    /// The folder in the container.
    pub path: String,
    #[serde(default)]
    pub access: VolumeAccess,
}

/// What a container may do with a volume.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum VolumeAccess {
    #[default]
    ReadWrite,
    ReadOnly,
}

impl Volume {
    /// The rule that it breaks.
    pub fn rule_broken(&self) -> Option<String> {
        let name = cut(&self.name);
        if self.name.contains(['/', '\\']) || self.name.starts_with(['.', '~']) {
            return Some(format!(
                "mounts {name:?}, a path of the host; only named volumes may be mounted: write name:/path"
            ));
        }
        if self.name.parse::<crate::ProcessName>().is_err() {
            return Some(format!("has the volume {name:?}; a volume's name is 1 to 63 of a-z, 0-9 and '-'"));
        }
        let inside = self.path.strip_prefix('/').is_some_and(is_inside);
        (!inside || self.path.contains([':', ','])).then(|| {
            format!(
                "mounts {name} at {:?}; name an absolute path in the container, not its root",
                cut(&self.path)
            )
        })
    }
}

impl FromStr for Volume {
    type Err = String;

    /// `name:/path` or `name:/path:ro`.
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{:?} is no volume; write name:/path or name:/path:ro", cut(text));
        let mut parts = text.split(':');
        let (Some(name), Some(path), access, None) = (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(wrong());
        };
        let access = match access {
            None | Some("rw") => VolumeAccess::ReadWrite,
            Some("ro") => VolumeAccess::ReadOnly,
            Some(_) => return Err(wrong()),
        };
        Ok(Self { name: name.to_owned(), path: path.to_owned(), access })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_images_are_what_registries_take() {
        let id = format!("sha256:{}", "a".repeat(64));
        let pinned = format!("shop/web@{id}");
        for good in [
            "nginx",
            "nginx:1.27",
            "library/nginx:Latest_1",
            "r.example:5000/a/b-c:1",
            "localhost/x",
            &id,
            &pinned,
        ] {
            assert!(good.parse::<ImageName>().is_ok(), "{good}");
        }
        let long = "a".repeat(256);
        for bad in [
            "",
            ":1",
            "Nginx",
            "a b",
            "a/../b",
            "/etc",
            "a:",
            "a@sha256:12",
            "-a",
            "a:-b",
            "r.example:x/a",
            "--privileged",
            "a\n",
            &long,
        ] {
            assert!(bad.parse::<ImageName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn only_named_volumes_of_the_kingdom_may_be_mounted() {
        let broken = |text: &str| text.parse::<Volume>().unwrap().rule_broken();
        assert_eq!(broken("data:/var/lib/data"), None);
        assert_eq!(broken("data:/cache:ro"), None);
        for host in ["/etc:/etc", "./x:/x", "../x:/x", "~:/x", "/var/run/docker.sock:/sock"] {
            assert!(broken(host).unwrap().contains("a path of the host"), "{host}");
        }
        for wrong in ["Data:/x", "data:x", "data:/", "data:/a/../b", "data:/a//b"] {
            assert!(broken(wrong).is_some(), "{wrong}");
        }
        for unreadable in ["data", "data:/x:rx", "a:/b:ro:z"] {
            assert!(unreadable.parse::<Volume>().is_err(), "{unreadable}");
        }
    }

    #[test]
    fn a_build_reads_its_dockerfile_from_inside_the_version() {
        let rule = |build: &str| Image::Built { build: build.into() }.rule_broken();
        assert_eq!(rule("Dockerfile"), None);
        assert_eq!(rule("docker/web.Dockerfile"), None);
        for bad in ["", "/etc/passwd", "../Dockerfile", "a/../../b", "a b"] {
            assert!(rule(bad).is_some(), "{bad}");
        }
    }
}
