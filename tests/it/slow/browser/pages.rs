//! All pages. Each page of this list is checked with axe, on a phone and by keyboard, and is captured in screenshots.

/// The signed-in user of the demo's tenant, if any.
pub(super) type Who = Option<&'static str>;

const NOBODY: Who = None;
const ADMIN: Who = Some("Alice Arden");
const MEMBER: Who = Some("Bob Birch");
const IN_NOTHING: Who = Some("Erin Ellis");

pub(super) struct Page {
    /// Used in messages and in names of screenshots.
    pub(super) name: &'static str,
    pub(super) path: &'static str,
    pub(super) who: Who,
    /// Start of the expected title, to detect error pages.
    pub(super) title: &'static str,
}

const fn page(name: &'static str, path: &'static str, who: Who, title: &'static str) -> Page {
    Page { name, path, who, title }
}

/// Pages grouped by user, because each change of user costs a sign-in. IDs are those of the sample directory: Alice's
/// ends with 1, Bob's with 2, Dave's with 4; the group "Data Science" ends with 2, and "Prompt Analysts", whose team is
/// standalone, with 7.
pub(super) const PAGES: &[Page] = &[
    page("sign-in", "/", NOBODY, "Sign in"),
    page("signed-out", "/signed-out", NOBODY, "Signed out"),
    page("error", "/sso/callback?error=access_denied&state=x", NOBODY, "This sign-in cannot be finished"),
    page("not-found", "/nothing-here", NOBODY, "Page not found"),
    page("not-signed-in", "/teams?search=data", NOBODY, "Not signed in"),
    page("me", "/", ADMIN, "Alice Arden"),
    page("teams", "/teams", ADMIN, "Teams"),
    page("teams-none-found", "/teams?search=unheard-of", ADMIN, "Teams"),
    page("team", "/teams/50000000-0000-4000-8000-000000000002", ADMIN, "Data Science"),
    page("team-standalone", "/teams/50000000-0000-4000-8000-000000000007", ADMIN, "Prompt Analysts"),
    page("organizations", "/organizations", ADMIN, "Organizations"),
    page("organization", "/organizations/50000000-0000-4000-8000-000000000002", ADMIN, "Data Science"),
    page("people", "/people", ADMIN, "Users"),
    page("person", "/people/40000000-0000-4000-8000-000000000002", ADMIN, "Bob Birch"),
    page("end-sessions", "/people/40000000-0000-4000-8000-000000000002/sessions/end", ADMIN, "End all sessions"),
    page("invalid-parameter", "/teams?limit=1000", ADMIN, "Invalid parameter"),
    page("explain", "/people/40000000-0000-4000-8000-000000000001/explain", ADMIN, "Explain Alice Arden"),
    page(
        "explain-team",
        "/people/40000000-0000-4000-8000-000000000004/explain?team=Platform+Engineering",
        ADMIN,
        "Explain Dave Diallo",
    ),
    page("syncs", "/syncs", ADMIN, "Syncs"),
    page("syncs-with-trouble", "/syncs?trouble=1", ADMIN, "Syncs"),
    page("failed-sign-ins", "/syncs/failed", ADMIN, "Failed sign-ins"),
    page("changes", "/changes", ADMIN, "Changes"),
    page("changes-run", "/changes/0193a5b0-0000-7000-8000-00000000000a", ADMIN, "Run of"),
    page(
        "approve",
        "/changes/plans/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa/approve",
        ADMIN,
        "Approve the held plan",
    ),
    page("audit", "/audit", ADMIN, "Audit log"),
    page("audit-none-found", "/audit?user=unheard-of&action=access_lost", ADMIN, "Audit log"),
    page("settings", "/settings", ADMIN, "Settings"),
    page("no-such-person", "/people/nobody", ADMIN, "Page not found"),
    page("member-me", "/", MEMBER, "Bob Birch"),
    page("member-teams", "/teams", MEMBER, "Teams"),
    page("member-team", "/teams/50000000-0000-4000-8000-000000000001", MEMBER, "Production LLM Evals"),
    page("member-syncs", "/syncs", MEMBER, "Syncs"),
    page("member-refused", "/settings", MEMBER, "Page not found"),
    page("me-without-teams", "/", IN_NOTHING, "Erin Ellis"),
];
