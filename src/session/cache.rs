//! Cache of sessions by token hash, and of users, which their sessions share.
//!
//! A cached session refers to one version of its user and counts only with that version. So one step invalidates a user with
//! all sessions, however many there are.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use quick_cache::Weighter;
use quick_cache::sync::Cache as QuickCache;

use super::LiveSession;
use crate::db::{ForwardedSession, ForwardedUser, TokenHash};
use crate::domain::ObjectId;
use crate::identity_headers::IdentityHeaders;
use crate::util::clock::Moment;

/// Maximum number of cached sessions. Others are read from the database at each request.
const MAX_SESSIONS: usize = 100_000;
/// Maximum size of all cached users in bytes: enough for [`MAX_SESSIONS`] users in a few teams each.
const MAX_USER_BYTES: u64 = 160 * 1024 * 1024;
/// Number of recent invalidations that are known by user: more than occur while one query runs.
const MAX_RECENT_INVALIDATIONS: usize = 1_000;

#[derive(Clone)]
struct CachedSession {
    user: ObjectId,
    /// The version of the user that this session was read with.
    version: u64,
    read_at: Moment,
    auth_time: DateTime<Utc>,
    /// As in the row, on the wall clock.
    expires_at: DateTime<Utc>,
}

#[derive(Clone)]
struct CachedUser {
    version: u64,
    user: Arc<ForwardedUser>,
    headers: Arc<IdentityHeaders>,
}

#[derive(Clone)]
struct ByteWeighter;

impl Weighter<ObjectId, CachedUser> for ByteWeighter {
    /// Approximate bytes in memory.
    fn weight(&self, _: &ObjectId, cached: &CachedUser) -> u64 {
        let ForwardedUser { email, display_name, user_role, organizations, teams, .. } = &*cached.user;
        let teams = if Arc::ptr_eq(teams, organizations) { &[][..] } else { teams };
        let texts = [email, display_name, user_role].into_iter().flatten().chain(&**organizations).chain(teams);
        // Each text is an allocation of its own. The rest are the structures around the texts.
        let bytes = texts.map(|text| text.len() + 32).sum::<usize>() + cached.headers.total_length() + 600;
        bytes as u64
    }
}

pub(super) struct Cache {
    sessions: QuickCache<TokenHash, CachedSession>,
    users: QuickCache<ObjectId, CachedUser, ByteWeighter>,
    history: Mutex<History>,
}

/// Versions and recent invalidations. Insertions and invalidations lock it, so that their steps do not interleave. Lookups
/// do not.
#[derive(Default)]
struct History {
    last_version: u64,
    /// Number of invalidations so far.
    invalidations: u64,
    /// Users of the most recent invalidations, the latest last; `None` stands for all users.
    recent: VecDeque<Option<ObjectId>>,
}

impl History {
    fn record(&mut self, user: Option<ObjectId>) {
        self.invalidations += 1;
        self.recent.push_back(user);
        if self.recent.len() > MAX_RECENT_INVALIDATIONS {
            self.recent.pop_front();
        }
    }

    /// Whether this user may have been invalidated since `invalidations` had this value.
    fn may_have_invalidated(&self, since: u64, user: ObjectId) -> bool {
        let count = usize::try_from(self.invalidations - since).unwrap_or(usize::MAX);
        count > self.recent.len()
            || self.recent.iter().rev().take(count).any(|invalidated| invalidated.is_none_or(|id| id == user))
    }
}

/// A database read that will fill the cache. Users that are invalidated before it ends are not cached, because the rows may
/// be older than the invalidation.
pub(super) struct Fill<'a> {
    cache: &'a Cache,
    invalidations: u64,
}

impl Cache {
    pub(super) fn new() -> Self {
        Self {
            sessions: QuickCache::new(MAX_SESSIONS),
            users: QuickCache::with_weighter(MAX_SESSIONS, MAX_USER_BYTES, ByteWeighter),
            history: Mutex::default(),
        }
    }

    /// The session, if it was read less than `max_age` before `at` and has not expired by `now`.
    pub(super) fn get(
        &self,
        hash: &TokenHash,
        now: DateTime<Utc>,
        at: Moment,
        max_age: Duration,
    ) -> Option<LiveSession> {
        let session = self.sessions.get(hash)?;
        if session.expires_at <= now || session.read_at.age(at) >= max_age {
            return None;
        }
        let user = self.users.get(&session.user)?;
        let live = || LiveSession { user: user.user, headers: user.headers, auth_time: session.auth_time };
        (user.version == session.version).then(live)
    }

    pub(super) fn len(&self) -> usize {
        self.sessions.len()
    }

    /// Call before the database is read.
    pub(super) fn begin_fill(&self) -> Fill<'_> {
        Fill { cache: self, invalidations: self.history().invalidations }
    }

    /// Invalidates a user and all their sessions.
    pub(super) fn invalidate(&self, user: ObjectId) {
        let mut history = self.history();
        history.record(Some(user));
        self.users.remove(&user);
    }

    pub(super) fn clear(&self) {
        let mut history = self.history();
        history.record(None);
        self.users.clear();
        self.sessions.clear();
    }

    fn history(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Fill<'_> {
    /// Caches a session that was read, unless its user was invalidated meanwhile. Returns the session in either case.
    pub(super) fn insert(&self, hash: TokenHash, row: ForwardedSession, read_at: Moment) -> LiveSession {
        let ForwardedSession { user, created_at: auth_time, expires_at, .. } = row;
        let Self { cache, invalidations } = *self;
        let id = user.identity.object_id;
        let headers = Arc::new(IdentityHeaders::new(&user));
        let user = Arc::new(user);
        let mut history = cache.history();
        if history.may_have_invalidated(invalidations, id) {
            return LiveSession { user, headers, auth_time };
        }
        // An unchanged user retains the version, so that the user's other cached sessions still count.
        let cached = cache.users.get(&id).filter(|cached| cached.user == user).unwrap_or_else(|| {
            history.last_version += 1;
            CachedUser { version: history.last_version, user, headers }
        });
        cache.users.insert(id, cached.clone());
        let CachedUser { version, user, headers } = cached;
        cache.sessions.insert(hash, CachedSession { user: id, version, read_at, auth_time, expires_at });
        LiveSession { user, headers, auth_time }
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;
    use crate::domain::Identity;
    use crate::util::clock::Clock;

    const MINUTE: TimeDelta = TimeDelta::minutes(1);
    const MAX_AGE: Duration = Duration::from_mins(1);

    fn session(role: &str, expires_at: DateTime<Utc>) -> ForwardedSession {
        let user = ForwardedUser {
            identity: Identity { tenant_id: uuid::Uuid::from_u128(1).into(), object_id: user_id() },
            email: None,
            display_name: None,
            user_role: Some(role.to_owned()),
            organizations: [].into(),
            teams: [].into(),
        };
        ForwardedSession { user, created_at: expires_at, last_seen_at: expires_at, expires_at }
    }

    fn user_id() -> ObjectId {
        uuid::Uuid::from_u128(7).into()
    }

    fn role(found: Option<LiveSession>) -> Option<String> {
        found.and_then(|session| session.user.user_role.as_deref().map(str::to_owned))
    }

    #[test]
    fn invalidation_drops_all_sessions_of_the_user() {
        let (cache, now, at) = (Cache::new(), DateTime::<Utc>::UNIX_EPOCH, Clock::system().moment());
        let (a, b) = ([1; 32], [2; 32]);
        cache.begin_fill().insert(a, session("x", now + MINUTE * 9), at);
        cache.begin_fill().insert(b, session("x", now + MINUTE * 9), at);
        for hash in [a, b, a] {
            assert_eq!(role(cache.get(&hash, now, at, MAX_AGE)).as_deref(), Some("x"), "session {}", hash[0]);
        }
        cache.invalidate(user_id());
        for hash in [a, b] {
            assert!(cache.get(&hash, now, at, MAX_AGE).is_none(), "session {} was invalidated", hash[0]);
        }
        // A new read of one session does not restore the other, which may have been revoked.
        cache.begin_fill().insert(a, session("y", now + MINUTE * 9), at);
        assert_eq!(role(cache.get(&a, now, at, MAX_AGE)).as_deref(), Some("y"));
        assert!(cache.get(&b, now, at, MAX_AGE).is_none(), "the other session has to be read again");
    }

    #[test]
    fn fill_does_not_cache_user_invalidated_meanwhile() {
        let (cache, now, at) = (Cache::new(), DateTime::<Utc>::UNIX_EPOCH, Clock::system().moment());
        let fill = cache.begin_fill();
        cache.invalidate(user_id());
        assert_eq!(role(Some(fill.insert([1; 32], session("x", now + MINUTE), at))).as_deref(), Some("x"));
        assert!(cache.get(&[1; 32], now, at, MAX_AGE).is_none(), "the row may be older than the invalidation");

        // Nor does it replace what a later read of the same user cached.
        let late = cache.begin_fill();
        cache.invalidate(user_id());
        cache.begin_fill().insert([2; 32], session("x", now + MINUTE), at);
        late.insert([1; 32], session("x", now + MINUTE), at);
        assert!(cache.get(&[1; 32], now, at, MAX_AGE).is_none(), "a late read of a revoked session");
        assert!(cache.get(&[2; 32], now, at, MAX_AGE).is_some(), "the other session is still cached");
    }

    #[test]
    fn fill_caches_user_if_only_others_were_invalidated() {
        let (cache, now, at) = (Cache::new(), DateTime::<Utc>::UNIX_EPOCH, Clock::system().moment());
        let others = |n: u128| (0..n).for_each(|n| cache.invalidate(uuid::Uuid::from_u128(1_000 + n).into()));
        let is_cached = || cache.get(&[1; 32], now, at, MAX_AGE).is_some();
        let fill = cache.begin_fill();
        others(1_000);
        fill.insert([1; 32], session("x", now + MINUTE), at);
        assert!(is_cached(), "a thousand others were invalidated");
        cache.clear();

        let fill = cache.begin_fill();
        cache.invalidate(user_id());
        others(999);
        fill.insert([1; 32], session("x", now + MINUTE), at);
        assert!(!is_cached(), "invalidated, then 999 others");

        for users in ["more than the history has", "all"] {
            let fill = cache.begin_fill();
            if users == "all" {
                cache.clear();
            } else {
                others(1_001);
            }
            fill.insert([1; 32], session("x", now + MINUTE), at);
            assert!(!is_cached(), "{users}");
        }
    }

    #[test]
    fn lookup_ignores_old_and_expired_sessions() {
        let (cache, now, at) = (Cache::new(), DateTime::<Utc>::UNIX_EPOCH, Clock::system().moment());
        let found = |now, at, max_age| cache.get(&[1; 32], now, at, max_age).is_some();
        cache.begin_fill().insert([1; 32], session("x", now + MINUTE * 2), at);
        assert!(!found(now, at, Duration::ZERO), "an age of zero means never");
        assert!(found(now, at.after(Duration::from_millis(59_999)), MAX_AGE));
        assert!(!found(now, at.after(MAX_AGE), MAX_AGE), "a minute old");
        assert!(!found(now - MINUTE * 60, at.after(MAX_AGE), MAX_AGE), "the age is on the monotonic clock");
        assert!(!found(now + MINUTE * 2, at, MAX_AGE), "expired");
    }
}
