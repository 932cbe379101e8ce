//! The names in an archive of images. To load it gives these names to what it holds, and takes them from whoever had them:
//! which must be undone, for what else the engine has is not the kingdom's to change.

use serde::Deserialize;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// Most names that are looked at, and most bytes that tell of them.
const NAMES: usize = 32;
const MANIFEST_BYTES: u64 = 1 << 20;

/// An image in `manifest.json`, as `docker save` writes it.
#[derive(Deserialize)]
struct Saved {
    #[serde(rename = "RepoTags", default)]
    tags: Option<Vec<String>>,
}

/// The names that loading this archive gives; none when it does not say, which the engine will refuse or take as nameless.
///
/// # Errors
/// When the archive cannot be read.
pub fn of(archive: &Path) -> io::Result<Vec<String>> {
    let mut archive = tar::Archive::new(File::open(archive)?);
    for entry in archive.entries_with_seek()? {
        let entry = entry?;
        if entry.path()?.as_os_str() != "manifest.json" {
            continue;
        }
        let mut text = Vec::new();
        entry.take(MANIFEST_BYTES).read_to_end(&mut text)?;
        let images: Vec<Saved> = serde_json::from_slice(&text)?;
        return Ok(images.into_iter().flat_map(|image| image.tags.unwrap_or_default()).take(NAMES).collect());
    }
    Ok(Vec::new())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_wherever_the_manifest_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("image.tar");
        let mut archive = tar::Builder::new(File::create(&path).unwrap());
        let mut add = |name: &str, text: &[u8]| {
            let mut header = tar::Header::new_gnu();
            header.set_size(text.len() as u64);
            header.set_mode(0o644);
            archive.append_data(&mut header, name, text).unwrap();
        };
        add("layer.tar", &[7; 5000]);
        add("manifest.json", br#"[{"Config":"c","RepoTags":["shop:1","shop:2"],"Layers":[]}]"#);
        archive.into_inner().unwrap();
        assert_eq!(of(&path).unwrap(), ["shop:1", "shop:2"]);
    }

    #[test]
    fn an_archive_without_names_or_that_is_none_gives_none() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("image.tar");
        tar::Builder::new(File::create(&path).unwrap()).into_inner().unwrap();
        assert_eq!(of(&path).unwrap(), Vec::<String>::new());
        std::fs::write(&path, [1; 600]).unwrap();
        assert!(of(&path).is_err());
    }
}
