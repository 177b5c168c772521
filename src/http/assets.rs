//! Static files of the pages, compiled in, and the operator's logo. Each has a URL with a hash of its content, so that
//! browsers can cache it indefinitely.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use sha2::{Digest as _, Sha256};

use super::error::WebError;
use crate::config::{Logo, LogoKind};

/// `Cache-Control` of a versioned URL, whose content never changes (RFC 8246).
const IMMUTABLE: &str = "public, max-age=31536000, immutable";
/// `Cache-Control` of a URL without a version.
const ONE_HOUR: &str = "public, max-age=3600";
/// `Cache-Control` of the URL of another version, as during a rollout: the content is not the one that the URL names.
const REVALIDATE: &str = "no-cache";

/// The name of the operator's logo.
const LOGO: &str = "logo";

/// All assets. Clones are cheap.
#[derive(Clone)]
pub(super) struct Assets(Arc<[Asset]>);

struct Asset {
    name: &'static str,
    content_type: &'static str,
    body: Bytes,
    /// The first 8 bytes of the SHA-256 of the body, in hexadecimal.
    version: String,
}

impl Assets {
    pub(super) fn new(logo: Option<&Logo>) -> Self {
        let svg = "image/svg+xml";
        let mut assets = vec![
            Asset::of("entraway.css", "text/css; charset=utf-8", include_bytes!("../../assets/entraway.css")),
            Asset::of("microsoft.svg", svg, include_bytes!("../../assets/microsoft.svg")),
            Asset::of("entraway.svg", svg, include_bytes!("../../assets/entraway.svg")),
        ];
        assets.extend(logo.map(|logo| {
            let content_type = match logo.kind {
                LogoKind::Svg => svg,
                LogoKind::Png => "image/png",
            };
            Asset::new(LOGO, content_type, Bytes::from_owner(logo.bytes.clone()))
        }));
        Self(assets.into())
    }

    /// The versioned path of an asset, without the base path of the public URL.
    pub(super) fn path(&self, name: &str) -> String {
        match self.find(name) {
            Some(asset) => format!("/assets/{}/{name}", asset.version),
            None => format!("/assets/{name}"),
        }
    }

    /// The path of the logo: the operator's or ours.
    pub(super) fn brand(&self) -> String {
        self.path(if self.find(LOGO).is_some() { LOGO } else { "entraway.svg" })
    }

    fn find(&self, name: &str) -> Option<&Asset> {
        self.0.iter().find(|asset| asset.name == name)
    }

    fn response(&self, name: &str, cache: impl FnOnce(&Asset) -> &'static str) -> Result<Response, WebError> {
        let asset = self.find(name).ok_or(WebError::NotFound)?;
        let headers = [(CONTENT_TYPE, asset.content_type), (CACHE_CONTROL, cache(asset))];
        Ok((headers, asset.body.clone()).into_response())
    }
}

impl Asset {
    fn of(name: &'static str, content_type: &'static str, body: &'static [u8]) -> Self {
        Self::new(name, content_type, Bytes::from_static(body))
    }

    fn new(name: &'static str, content_type: &'static str, body: Bytes) -> Self {
        let mut prefix = [0; 8];
        prefix.copy_from_slice(&Sha256::digest(&body)[..8]);
        let version = format!("{:016x}", u64::from_be_bytes(prefix));
        Self { name, content_type, body, version }
    }
}

/// `GET /assets/{version}/{name}`. A logo opened directly cannot run scripts: the content security policy forbids it.
pub(super) async fn get_version(
    State(assets): State<Assets>,
    Path((version, name)): Path<(String, String)>,
) -> Result<Response, WebError> {
    assets.response(&name, |asset| if asset.version == version { IMMUTABLE } else { REVALIDATE })
}

/// `GET /assets/{name}`, for pages of older versions and for other programs.
pub(super) async fn get(State(assets): State<Assets>, Path(name): Path<String>) -> Result<Response, WebError> {
    assets.response(&name, |_| ONE_HOUR)
}
