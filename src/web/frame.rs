//! What every page has around it.

use super::App;

/// What every page needs.
pub(super) struct Frame {
    /// What all links begin with: the public URL's path, or the whole of it.
    pub(super) base: String,
}

impl Frame {
    pub(super) fn new(app: &App) -> Self {
        Self { base: app.config.server.public_url.base_path().to_owned() }
    }

    /// For a page that a proxy shows under another host's address.
    pub(super) fn elsewhere(app: &App) -> Self {
        Self { base: app.config.server.public_url.as_url().as_str().trim_end_matches('/').to_owned() }
    }
}
