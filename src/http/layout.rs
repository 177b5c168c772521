//! What every page has around it.

use std::sync::Arc;

use super::App;
use super::assets::Assets;
use super::current_user::CurrentUser;

/// What every page needs.
pub(super) struct Frame {
    /// What all links begin with: the public URL's path, or the whole of it.
    pub(super) base: String,
    /// What the page is called by: the operator's name for it.
    pub(super) brand: String,
    pub(super) assets: Arc<Assets>,
    /// Whoever is signed in, where a page knows.
    pub(super) who: Option<Who>,
}

/// Whoever looks at a page, and where they may go.
pub(super) struct Who {
    pub(super) name: String,
    pub(super) places: Vec<Place>,
}

/// An entry of the navigation.
pub(super) struct Place {
    pub(super) path: &'static str,
    pub(super) name: &'static str,
    /// Whether the page is this one, or one below it.
    pub(super) here: bool,
}

/// The places of the navigation, and who has each.
const PLACES: [(&str, &str, Sees); 6] = [
    ("/", "Me", Sees::Everybody),
    ("/teams", "Teams", Sees::Everybody),
    ("/organizations", "Organizations", Sees::Everybody),
    ("/people", "People", Sees::WhoSeesOthers),
    ("/syncs", "Syncs", Sees::Everybody),
    ("/settings", "Settings", Sees::Operators),
];

/// Who has a place in the navigation.
#[derive(Clone, Copy)]
enum Sees {
    Everybody,
    WhoSeesOthers,
    Operators,
}

impl Frame {
    /// For a page that anybody may see.
    pub(super) fn new(app: &App) -> Self {
        let pages = &app.config.pages;
        let brand = pages.name.clone().unwrap_or_else(|| "Entraway".to_owned());
        let base = app.config.server.public_url.base_path().to_owned();
        Self { base, brand, assets: app.assets.clone(), who: None }
    }

    /// For a page that a proxy shows under another host's address.
    pub(super) fn elsewhere(app: &App) -> Self {
        let base = app.config.server.public_url.as_url().as_str().trim_end_matches('/').to_owned();
        Self { base, ..Self::new(app) }
    }

    /// For somebody who is signed in, at a page of this place.
    pub(super) fn of(app: &App, visit: &CurrentUser, place: &str) -> Self {
        let seen = |sees| match sees {
            Sees::Everybody => true,
            Sees::WhoSeesOthers => visit.rights.sees_others(),
            Sees::Operators => visit.rights.operator,
        };
        let places = PLACES.into_iter().filter(|(_, _, sees)| seen(*sees));
        let places = places.map(|(path, name, _)| Place { path, name, here: path == place }).collect();
        Self { who: Some(Who { name: visit.viewer.name().to_owned(), places }), ..Self::new(app) }
    }
}
