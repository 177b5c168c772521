//! What every page has around it.

use std::sync::Arc;

use super::App;
use super::assets::Assets;
use super::current_user::CurrentUser;

/// What every page needs.
pub(super) struct Layout {
    /// What all links begin with: the public URL's path, or the whole of it.
    pub(super) base: String,
    /// What the page is called by: the operator's name for it.
    pub(super) brand: String,
    pub(super) assets: Arc<Assets>,
    /// Whoever is signed in, where a page knows.
    pub(super) signed_in: Option<SignedIn>,
}

/// Whoever looks at a page, and where they may go.
pub(super) struct SignedIn {
    pub(super) name: String,
    pub(super) nav_items: Vec<NavItem>,
}

/// An entry of the navigation.
pub(super) struct NavItem {
    pub(super) path: &'static str,
    pub(super) name: &'static str,
    /// Whether the page is this one, or one below it.
    pub(super) current: bool,
}

/// The nav_items of the navigation, and who has each.
const NAV_ITEMS: [(&str, &str, VisibleTo); 6] = [
    ("/", "Me", VisibleTo::All),
    ("/teams", "Teams", VisibleTo::All),
    ("/organizations", "Organizations", VisibleTo::All),
    ("/people", "People", VisibleTo::SeesOthers),
    ("/syncs", "Syncs", VisibleTo::All),
    ("/settings", "Settings", VisibleTo::Operators),
];

/// SignedIn has a place in the navigation.
#[derive(Clone, Copy)]
enum VisibleTo {
    All,
    SeesOthers,
    Operators,
}

impl Layout {
    /// For a page that anybody may see.
    pub(super) fn new(app: &App) -> Self {
        let pages = &app.config.pages;
        let brand = pages.name.clone().unwrap_or_else(|| "Entraway".to_owned());
        let base = app.config.server.public_url.base_path().to_owned();
        Self { base, brand, assets: app.assets.clone(), signed_in: None }
    }

    /// For a page that a proxy shows under another host's address.
    pub(super) fn with_absolute_urls(app: &App) -> Self {
        let base = app.config.server.public_url.as_url().as_str().trim_end_matches('/').to_owned();
        Self { base, ..Self::new(app) }
    }

    /// For somebody who is signed in, at a page of this place.
    pub(super) fn for_user(app: &App, current: &CurrentUser, path: &str) -> Self {
        let visible = |to| match to {
            VisibleTo::All => true,
            VisibleTo::SeesOthers => current.permissions.sees_others(),
            VisibleTo::Operators => current.permissions.operator,
        };
        let nav_items = NAV_ITEMS.into_iter().filter(|(_, _, to)| visible(*to));
        let nav_items = nav_items.map(|(item, name, _)| NavItem { path: item, name, current: item == path }).collect();
        Self { signed_in: Some(SignedIn { name: current.user.name().to_owned(), nav_items }), ..Self::new(app) }
    }
}
