//! Every page there is. A page that is in this list is looked at by axe, on a phone, with the keyboard, and in pictures.

/// Who looks at it: somebody of the demo's tenant, or nobody yet.
pub(super) type Who = Option<&'static str>;

const NOBODY: Who = None;
const ADMIN: Who = Some("Alice Arden");
const IN_NOTHING: Who = Some("Erin Ellis");

pub(super) struct Page {
    /// In messages and in the names of pictures.
    pub(super) name: &'static str,
    pub(super) path: &'static str,
    pub(super) who: Who,
    /// That this page was shown and not another, such as an error: its title begins with this.
    pub(super) title: &'static str,
}

const fn page(name: &'static str, path: &'static str, who: Who, title: &'static str) -> Page {
    Page { name, path, who, title }
}

/// Those of one person beside each other, since each other person is a sign-in.
pub(super) const PAGES: &[Page] = &[
    page("sign-in", "/", NOBODY, "Sign in"),
    page("signed-out", "/signed-out", NOBODY, "Signed out"),
    page("error", "/sso/callback?error=access_denied&state=x", NOBODY, "This sign-in cannot be finished"),
    page("not-found", "/nothing-here", NOBODY, "No such page"),
    page("me", "/", ADMIN, "Alice Arden"),
    page("me-without-teams", "/", IN_NOTHING, "Erin Ellis"),
];
