//! What every page has around it.

use super::App;

/// What every page needs.
pub(super) struct Frame {
    /// The public URL's path, which all links begin with.
    pub(super) base: String,
}

impl Frame {
    pub(super) fn new(app: &App) -> Self {
        Self { base: app.config.server.public_url.base_path().to_owned() }
    }
}
