//! Labels and all their values.

use crate::config::NotificationType;

/// One label.
pub trait Label: Copy + 'static {
    const NAME: &'static str;
    /// All variants with their label value, in order of declaration.
    const VALUES: &'static [(Self, &'static str)];

    fn index(self) -> usize;

    /// The variant with this label value.
    fn named(text: &str) -> Option<Self> {
        Self::VALUES.iter().find(|(_, value)| *value == text).map(|(label, _)| *label)
    }
}

/// The labels of a metric: none, one, or two.
pub trait Labels: Copy {
    /// Index among all combinations of label values; the last label varies fastest.
    fn index(self) -> usize;
    /// Each label with its values.
    fn values() -> Vec<(&'static str, Vec<&'static str>)>;
}

impl Labels for () {
    fn index(self) -> usize {
        0
    }

    fn values() -> Vec<(&'static str, Vec<&'static str>)> {
        Vec::new()
    }
}

impl<A: Label> Labels for A {
    fn index(self) -> usize {
        Label::index(self)
    }

    fn values() -> Vec<(&'static str, Vec<&'static str>)> {
        vec![(A::NAME, A::VALUES.iter().map(|(_, value)| *value).collect())]
    }
}

impl<A: Label, B: Label> Labels for (A, B) {
    fn index(self) -> usize {
        Label::index(self.0) * B::VALUES.len() + Label::index(self.1)
    }

    fn values() -> Vec<(&'static str, Vec<&'static str>)> {
        [<A as Labels>::values(), <B as Labels>::values()].concat()
    }
}

macro_rules! labels {
    ($($(#[$doc:meta])* $name:ident, $label:literal: $($variant:ident = $text:literal),+ $(,)?;)+) => { $(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name { $($variant),+ }

        impl Label for $name {
            const NAME: &'static str = $label;
            const VALUES: &'static [(Self, &'static str)] = &[$((Self::$variant, $text)),+];

            fn index(self) -> usize {
                self as usize
            }
        }
    )+ };
}

labels! {
    /// Outcome of a callback from Entra: signed in, or the error code.
    SignIn, "outcome":
        SignedIn = "signed_in", AlreadySignedIn = "already_signed_in", Restarted = "restarted",
        Canceled = "canceled", ConsentDeclined = "consent_declined", ConsentRequired = "consent_required",
        AttemptUnknown = "attempt_unknown", AttemptExpired = "attempt_expired", AttemptUsed = "attempt_used",
        CodeMissing = "code_missing", CodeRefused = "code_refused",
        InteractionRequired = "interaction_required", NotAssigned = "not_assigned",
        EntraRefused = "entra_refused", AppRefused = "app_refused", CredentialUnusable = "credential_unusable",
        EntraUnavailable = "entra_unavailable", TenantNotAllowed = "tenant_not_allowed", IdToken = "id_token",
        EmailDomain = "email_domain_not_allowed", NoGroup = "no_group", GroupsUnknown = "groups_unknown",
        OtherTenant = "other_tenant", DatabaseUnavailable = "database_unavailable", Busy = "busy",
        TooManySignIns = "too_many_sign_ins", TooManySignInsOfUser = "too_many_sign_ins_of_user",
        DuplicateParameter = "duplicate_parameter", Internal = "internal",
        Other = "other";

    /// A part of a sign-in.
    Part, "part": Entra = "entra", Graph = "graph", Plan = "plan", Postgres = "postgres";

    /// Kind of row that a sync writes.
    Row, "kind":
        Organization = "organization", Team = "team", OrganizationMember = "organization_member",
        TeamMember = "team_member", User = "person", PersonChange = "person_change";

    /// What a group is mapped to.
    GroupKind, "kind": Organization = "organization", Team = "team";

    /// Why a membership is kept although the user left the group.
    Kept, "reason":
        LastAdmin = "last_admin", ListedAdmin = "listed_admin", MissingPrivileges = "missing_privileges",
        OtherInstallation = "other_installation";

    /// A list of groups that a sign-in reads.
    GraphList, "list": Assigned = "assigned_groups", MemberOf = "member_of";

    /// What a request to Graph reads.
    GraphRead, "list":
        Assigned = "assigned_groups", MemberOf = "member_of", Groups = "groups", GroupMembers = "group_members",
        Accounts = "accounts", ServicePrincipal = "service_principal";

    /// Why a list is unknown: the codes in sync records.
    Unknown, "why":
        Unauthorized = "graph_unauthorized", Forbidden = "graph_forbidden", NotFound = "graph_not_found",
        Throttled = "graph_throttled", Unavailable = "graph_unavailable", Unexpected = "graph_unexpected",
        Unreachable = "graph_unreachable", Timeout = "graph_timeout", Malformed = "graph_malformed",
        ForeignLink = "graph_foreign_link", PageLoop = "graph_page_loop", AppToken = "app_token", Other = "other";

    /// Outcome of one request to Graph.
    GraphCall, "outcome":
        Ok = "ok", Unauthorized = "graph_unauthorized", Forbidden = "graph_forbidden", NotFound = "graph_not_found",
        Throttled = "graph_throttled", Unavailable = "graph_unavailable", Unexpected = "graph_unexpected",
        Unreachable = "graph_unreachable", Timeout = "graph_timeout", Malformed = "graph_malformed",
        MissingItem = "graph_missing_item";

    /// Kind of request to Entra.
    EntraCall, "call": Discovery = "discovery", Code = "code", AppToken = "app_token";

    /// Outcome of a request to Entra.
    EntraOutcome, "outcome": Ok = "ok", Refused = "refused", Failed = "failed";

    /// Why a session was revoked before it expired.
    SessionEnd, "why":
        SignedOut = "signed_out", One = "one_ended", All = "all_ended", Entra = "entra_signed_out",
        NewSignIn = "new_sign_in", Denied = "sign_in_refused";

    /// What a reconciliation run did with an account.
    AccountAction, "action": Disabled = "disabled", Restored = "restored", Skipped = "skipped";

    /// Where a session was found.
    Lookup, "answer": Memory = "memory", Database = "database", NotFound = "nobody", Failed = "failed";

    /// Group of routes. `Pages` is all others, including paths that do not exist.
    Route, "route":
        Verify = "verify", Login = "login", Callback = "callback", Logout = "logout", Api = "api", Assets = "assets",
        Keys = "keys", Health = "health", Pages = "pages";

    /// Class of the response status.
    StatusClass, "status": Informational = "1xx", Success = "2xx", Redirect = "3xx", Client = "4xx", Server = "5xx";

    /// Status of a forward-auth response.
    ForwardAuth, "status":
        Passed = "200", Redirect = "302", BadRequest = "400", NotSignedIn = "401", Refused = "403",
        Internal = "500", Unavailable = "503", Other = "other";

    /// The limit that a request exceeded.
    Limit, "limit":
        SignIns = "concurrent_sign_ins", PerAddress = "sign_ins_per_address", PerUser = "sign_ins_per_user",
        Target = "target", Headers = "headers", Cookies = "cookies", Body = "body";

    /// How a reconciliation run ended.
    RunResult, "status":
        Done = "done", Held = "held", Incomplete = "incomplete", Failed = "failed", Interrupted = "interrupted";

    /// What became of a notification, or of an attempt to deliver it.
    NotificationResult, "result":
        Delivered = "delivered", Retried = "retried", Failed = "failed", Dropped = "dropped";

    /// State of a connection in the pool.
    Connection, "state": InUse = "in_use", Idle = "idle";

    /// Why a request got no database connection.
    StoreRefusal, "why": Unavailable = "unavailable", Busy = "busy";
}

impl Label for NotificationType {
    const NAME: &'static str = "type";
    const VALUES: &'static [(Self, &'static str)] = &[
        (Self::RunHeld, Self::RunHeld.name()),
        (Self::RunFailed, Self::RunFailed.name()),
        (Self::PermissionMissing, Self::PermissionMissing.name()),
        (Self::AccountsDisabled, Self::AccountsDisabled.name()),
        (Self::SecretExpiring, Self::SecretExpiring.name()),
    ];

    fn index(self) -> usize {
        self as usize
    }
}

impl StatusClass {
    /// The class of an HTTP status.
    #[must_use]
    pub fn of(status: u16) -> Self {
        match status {
            0..200 => Self::Informational,
            200..300 => Self::Success,
            300..400 => Self::Redirect,
            400..500 => Self::Client,
            _ => Self::Server,
        }
    }
}

impl ForwardAuth {
    /// The label for an HTTP status.
    #[must_use]
    pub fn of(status: u16) -> Self {
        match status {
            200 => Self::Passed,
            302 => Self::Redirect,
            400 => Self::BadRequest,
            401 => Self::NotSignedIn,
            403 => Self::Refused,
            500 => Self::Internal,
            503 => Self::Unavailable,
            _ => Self::Other,
        }
    }
}
