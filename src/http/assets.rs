//! The files of the page, embedded in the binary. Nothing is ever read from a file system.

use std::borrow::Cow;
use std::io::Write as _;
use std::sync::LazyLock;

use flate2::Compression;
use flate2::write::GzEncoder;
use sha2::{Digest as _, Sha256};

/// One file.
#[derive(Debug)]
pub struct Asset {
    /// Its path on the server.
    pub path: &'static str,
    /// Its `Content-Type`.
    pub content_type: &'static str,
    plain: Encoded,
    /// Only where it is shorter than `plain`.
    gzip: Option<Encoded>,
}

/// The form of an asset that one client gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Representation<'a> {
    /// The bytes to send.
    pub body: &'a [u8],
    /// Their strong entity tag, with its quotes (RFC 9110, 8.8.3).
    pub etag: &'a str,
    /// Whether they are compressed.
    pub is_gzip: bool,
}

#[derive(Debug)]
struct Encoded {
    body: Cow<'static, [u8]>,
    etag: String,
}

/// The asset of a decoded path.
pub fn find(path: &str) -> Option<&'static Asset> {
    ASSETS.iter().find(|asset| asset.path == path)
}

/// Compresses all assets, a few milliseconds of work that the first [`find`] would do otherwise.
pub fn prepare() {
    LazyLock::force(&ASSETS);
}

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const JS: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";

/// Every file of the page: its path, its content type, its bytes.
const FILES: [(&str, &str, &[u8]); 11] = [
    ("/", HTML, include_bytes!("../web/index.html")),
    ("/style.css", CSS, include_bytes!("../web/style.css")),
    ("/app.js", JS, include_bytes!("../web/app.js")),
    ("/view.js", JS, include_bytes!("../web/view.js")),
    ("/model.js", JS, include_bytes!("../web/model.js")),
    ("/memory.js", JS, include_bytes!("../web/memory.js")),
    ("/link.js", JS, include_bytes!("../web/link.js")),
    ("/outbox.js", JS, include_bytes!("../web/outbox.js")),
    ("/store.js", JS, include_bytes!("../web/store.js")),
    ("/roomcast.js", JS, include_bytes!("../web/roomcast.js")),
    ("/favicon.svg", SVG, include_bytes!("../web/favicon.svg")),
];

static ASSETS: LazyLock<[Asset; FILES.len()]> =
    LazyLock::new(|| FILES.map(|(path, content_type, body)| Asset::new(path, content_type, body)));

impl Asset {
    fn new(path: &'static str, content_type: &'static str, body: &'static [u8]) -> Asset {
        let gzip = gzip(body).filter(|gzip| gzip.len() < body.len());
        let gzip = gzip.map(|gzip| Encoded::new(gzip.into()));
        Asset {
            path,
            content_type,
            plain: Encoded::new(body.into()),
            gzip,
        }
    }

    /// The form for a client that takes gzip or does not.
    pub fn representation(&self, accepts_gzip: bool) -> Representation<'_> {
        let gzip = self.gzip.as_ref().filter(|_| accepts_gzip);
        let Encoded { body, etag } = gzip.unwrap_or(&self.plain);
        Representation {
            body,
            etag,
            is_gzip: gzip.is_some(),
        }
    }
}

impl Encoded {
    fn new(body: Cow<'static, [u8]>) -> Encoded {
        let hash = Sha256::digest(&body);
        let hex: String = hash
            .iter()
            .take(16)
            .map(|byte| format!("{byte:02x}"))
            .collect();
        Encoded {
            body,
            etag: format!("\"{hex}\""),
        }
    }
}

fn gzip(body: &[u8]) -> Option<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(body).and_then(|()| encoder.finish()).ok()
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use flate2::read::GzDecoder;

    use super::*;

    #[test]
    fn both_forms_hold_the_same_file_under_different_tags() {
        for asset in ASSETS.iter() {
            let plain = asset.representation(false);
            assert!(!plain.is_gzip && !plain.body.is_empty(), "{}", asset.path);

            let other = asset.representation(true);
            assert_eq!(other.is_gzip, asset.gzip.is_some());
            if other.is_gzip {
                let mut unpacked = Vec::new();
                GzDecoder::new(other.body)
                    .read_to_end(&mut unpacked)
                    .unwrap();
                assert!(unpacked == plain.body && other.body.len() < plain.body.len());
                assert_ne!(plain.etag, other.etag);
            }
        }
    }

    #[test]
    fn tags_are_made_from_the_bytes() {
        let short = Asset::new("/a", "text/plain", b"abc");
        let form = short.representation(true);
        assert_eq!(form.etag, "\"ba7816bf8f01cfea414140de5dae2223\"");
        assert!(!form.is_gzip, "three bytes do not become shorter");
        assert!(
            Asset::new("/a", "text/plain", &[b'a'; 999])
                .representation(true)
                .is_gzip
        );
    }

    #[test]
    fn every_file_of_the_page_is_there() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/web");
        let mut count = 0;
        for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
            if entry.file_type().unwrap().is_file() {
                let name = entry.file_name().into_string().unwrap();
                let path = if name == "index.html" {
                    "/".into()
                } else {
                    format!("/{name}")
                };
                assert!(find(&path).is_some(), "{path}");
                count += 1;
            }
        }
        assert_eq!(count, FILES.len());
    }

    #[test]
    fn the_page_has_nothing_that_its_policy_blocks() {
        let page = find("/").unwrap().representation(false).body;
        let page = str::from_utf8(page).unwrap();
        assert!(!page.contains("<style") && !page.contains(" style="));
        for script in page.split("<script").skip(1) {
            let (attributes, body) = script.split_once('>').unwrap();
            assert!(
                attributes.contains(" src=") && body.starts_with("</script"),
                "{script}"
            );
        }
    }
}
