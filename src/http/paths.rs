//! Paths that more than one part of the service has to recognize.

/// Path of forward auth, without the base path of the public URL.
pub(super) const VERIFY: &str = "/auth/verify";

/// Whether a path, with the base path, is one of forward auth.
pub(super) fn is_verify(path: &str) -> bool {
    path.split_once(VERIFY).is_some_and(|(_, rest)| rest.is_empty() || rest.starts_with('/'))
}
