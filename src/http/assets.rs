//! The few files that pages load, compiled in; and the operator's logo. Each has a URL that holds a hash of its content,
//! so that browsers keep it for as long as it is the same.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use sha2::{Digest as _, Sha256};

use super::App;
use super::error::WebError;
use crate::config::{Logo, LogoKind};

/// Of the URL that pages name: its content never changes (RFC 8246).
const IMMUTABLE: &str = "public, max-age=31536000, immutable";
/// Of the URL without a version.
const ONE_HOUR: &str = "public, max-age=3600";
/// Of another version's URL, as during a rollout: what is sent is not what the URL names, so it is not kept.
const REVALIDATE: &str = "no-cache";

/// The name of the operator's logo.
const LOGO: &str = "logo";

/// All assets.
pub(super) struct Assets(Vec<Asset>);

struct Asset {
    name: &'static str,
    content_type: &'static str,
    body: Bytes,
    /// The beginning of the SHA-256 of the body, in hexadecimal.
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
        Self(assets)
    }

    /// The path of an asset with its version, below the public URL's own path.
    pub(super) fn path(&self, name: &str) -> String {
        match self.find(name) {
            Some(asset) => format!("/assets/{}/{name}", asset.version),
            None => format!("/assets/{name}"),
        }
    }

    /// The picture beside the brand: the operator's logo, or ours.
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
        let mut beginning = [0; 8];
        beginning.copy_from_slice(&Sha256::digest(&body)[..8]);
        let version = format!("{:016x}", u64::from_be_bytes(beginning));
        Self { name, content_type, body, version }
    }
}

/// `GET /assets/{version}/{name}`. Scripts in a logo do not run, even if it is opened by itself: the policy of every
/// answer allows none.
pub(super) async fn get_version(
    State(app): State<Arc<App>>,
    Path((version, name)): Path<(String, String)>,
) -> Result<Response, WebError> {
    app.assets.response(&name, |asset| if asset.version == version { IMMUTABLE } else { REVALIDATE })
}

/// `GET /assets/{name}`, for pages of older versions and for other programs.
pub(super) async fn get(State(app): State<Arc<App>>, Path(name): Path<String>) -> Result<Response, WebError> {
    app.assets.response(&name, |_| ONE_HOUR)
}
