//! Layout of every page: brand, navigation, signed-in user.

use askama::Template;
use axum::response::Html;

use super::assets::Assets;
use super::error::WebError;
use super::extract::CurrentUser;
use super::state::App;

/// Data of the layout.
pub(super) struct Layout {
    /// Prefix of all links: the base path, or the whole public URL.
    pub(super) base: String,
    /// The name of the service (`pages.name`).
    pub(super) brand: String,
    pub(super) assets: Assets,
    /// The signed-in user; `None` on public pages.
    pub(super) signed_in: Option<NavUser>,
}

/// The signed-in user and the pages that they can open.
pub(super) struct NavUser {
    pub(super) name: String,
    pub(super) nav_items: Vec<NavItem>,
}

/// An entry of the navigation.
pub(super) struct NavItem {
    pub(super) path: &'static str,
    pub(super) name: &'static str,
    /// Whether this or a page below it is shown.
    pub(super) current: bool,
}

/// The navigation: path, name, and who sees it.
const NAV_ITEMS: [(&str, &str, VisibleTo); 8] = [
    ("/", "Me", VisibleTo::All),
    ("/teams", "Teams", VisibleTo::All),
    ("/organizations", "Organizations", VisibleTo::All),
    ("/people", "Users", VisibleTo::SeesOthers),
    ("/syncs", "Syncs", VisibleTo::All),
    ("/changes", "Changes", VisibleTo::Operators),
    ("/audit", "Audit log", VisibleTo::Operators),
    ("/settings", "Settings", VisibleTo::Operators),
];

/// Which users see an item of the navigation.
#[derive(Clone, Copy)]
enum VisibleTo {
    All,
    SeesOthers,
    Operators,
}

impl Layout {
    /// Layout of a public page.
    pub(super) fn new(app: &App) -> Self {
        let pages = &app.config.pages;
        let brand = pages.name.clone().unwrap_or_else(|| "Entraway".to_owned());
        let base = app.config.server.public_url.base_path().to_owned();
        Self { base, brand, assets: app.assets.clone(), signed_in: None }
    }

    /// Layout of a page that a proxy shows on another host.
    pub(super) fn with_absolute_urls(app: &App) -> Self {
        let base = app.config.server.public_url.as_url().as_str().trim_end_matches('/').to_owned();
        Self { base, ..Self::new(app) }
    }

    /// Layout for a signed-in user, with the item of this path highlighted.
    pub(super) fn for_user(app: &App, current: &CurrentUser, path: &str) -> Self {
        let visible = |to| match to {
            VisibleTo::All => true,
            VisibleTo::SeesOthers => current.permissions.sees_others(),
            VisibleTo::Operators => current.permissions.operator,
        };
        let nav_items = NAV_ITEMS.into_iter().filter(|(_, _, to)| visible(*to));
        let nav_items = nav_items.map(|(item, name, _)| NavItem { path: item, name, current: item == path }).collect();
        Self { signed_in: Some(NavUser { name: current.user.name().to_owned(), nav_items }), ..Self::new(app) }
    }
}

/// Renders a page.
pub(super) fn html(page: &impl Template) -> Result<Html<String>, WebError> {
    page.render().map(Html).map_err(|error| WebError::Internal(format!("failed to render a page: {error}")))
}
