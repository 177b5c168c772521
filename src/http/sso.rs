//! Sign-in and sign-out: `/sso/…`.

pub(super) mod callback;
mod failed_sign_in;
pub(super) mod login;
mod login_state;
pub(super) mod logout;
