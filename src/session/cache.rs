//! What is remembered: sessions by the hash of their token, and people, whom their sessions share. To forget a person is
//! one step however many sessions they have: a session counts only together with the very reading of the person that it
//! came with.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use quick_cache::Weighter;
use quick_cache::sync::Cache as QuickCache;

use super::LiveSession;
use super::headers::SignedIn;
use crate::db::{ForwardedSession, TokenHash};
use crate::domain::ObjectId;
use crate::util::clock::Moment;

/// More than anybody has at once; the rest is read from the database.
const SESSIONS: usize = 100_000;
/// Bytes. People in very many teams take more of it.
const PEOPLE: u64 = 64 * 1024 * 1024;

#[derive(Clone)]
struct Session {
    person: ObjectId,
    /// The reading of the person that this session came with.
    reading: u64,
    read_at: Moment,
    auth_time: DateTime<Utc>,
    /// As the row has it, on the wall clock.
    expires_at: DateTime<Utc>,
}

#[derive(Clone)]
struct CachedUser {
    reading: u64,
    signed_in: Arc<SignedIn>,
}

#[derive(Clone)]
struct Bytes;

impl Weighter<ObjectId, CachedUser> for Bytes {
    fn weight(&self, _: &ObjectId, person: &CachedUser) -> u64 {
        person.signed_in.weight()
    }
}

pub(super) struct Cache {
    sessions: QuickCache<TokenHash, Session>,
    people: QuickCache<ObjectId, CachedUser, Bytes>,
    counts: Mutex<Counts>,
}

/// How many of those who were forgotten are known by name: more than there are during a reading.
const LATELY: usize = 1_000;

/// Held by whoever keeps or forgets something, so that nothing of the one comes in between the other's steps. Looking up
/// needs it not.
#[derive(Default)]
struct Counts {
    readings: u64,
    /// How often somebody was forgotten.
    forgotten: u64,
    /// Who that was the last times, the latest last; `None`: everybody.
    lately: VecDeque<Option<ObjectId>>,
}

impl Counts {
    fn forget(&mut self, whom: Option<ObjectId>) {
        self.forgotten += 1;
        self.lately.push_back(whom);
        if self.lately.len() > LATELY {
            self.lately.pop_front();
        }
    }

    /// Whether this person may have been forgotten since the count was this.
    fn forgot_since(&self, count: u64, person: ObjectId) -> bool {
        let since = usize::try_from(self.forgotten - count).unwrap_or(usize::MAX);
        since > self.lately.len()
            || self.lately.iter().rev().take(since).any(|whom| whom.is_none_or(|whom| whom == person))
    }
}

/// A reading of the database that has begun. Whoever is forgotten before it ends may be older in it than that.
pub(super) struct Reading<'a> {
    cache: &'a Cache,
    forgotten: u64,
}

impl Cache {
    pub(super) fn new() -> Self {
        Self {
            sessions: QuickCache::new(SESSIONS),
            people: QuickCache::with_weighter(SESSIONS, PEOPLE, Bytes),
            counts: Mutex::default(),
        }
    }

    /// The person of a session that was read less than `max_age` before `at`, and has not expired by `now`.
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
        let person = self.people.get(&session.person)?;
        let live = || LiveSession { user: person.signed_in, auth_time: session.auth_time };
        (person.reading == session.reading).then(live)
    }

    pub(super) fn len(&self) -> usize {
        self.sessions.len()
    }

    pub(super) fn begin(&self) -> Reading<'_> {
        Reading { cache: self, forgotten: self.counts().forgotten }
    }

    pub(super) fn forget(&self, person: ObjectId) {
        let mut counts = self.counts();
        counts.forget(Some(person));
        self.people.remove(&person);
    }

    pub(super) fn clear(&self) {
        let mut counts = self.counts();
        counts.forget(None);
        self.people.clear();
        self.sessions.clear();
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Reading<'_> {
    /// Keeps what was read, unless it may be out of date already; gives the session.
    pub(super) fn keep(&self, hash: TokenHash, session: &ForwardedSession, read_at: Moment) -> LiveSession {
        let ForwardedSession { user: caller, created_at, expires_at, .. } = session;
        let Self { cache, forgotten } = *self;
        let id = caller.identity.object_id;
        let signed_in = SignedIn::new(caller);
        let mut counts = cache.counts();
        if counts.forgot_since(forgotten, id) {
            return LiveSession { user: Arc::new(signed_in), auth_time: *created_at };
        }
        // The same person as another session found: both go on with one reading, and neither undoes the other's.
        let person = cache.people.get(&id).filter(|known| *known.signed_in == signed_in).unwrap_or_else(|| {
            counts.readings += 1;
            CachedUser { reading: counts.readings, signed_in: Arc::new(signed_in) }
        });
        let CachedUser { reading, signed_in } = person.clone();
        cache.people.insert(id, person);
        let (auth_time, expires_at) = (*created_at, *expires_at);
        cache.sessions.insert(hash, Session { person: id, reading, read_at, auth_time, expires_at });
        LiveSession { user: signed_in, auth_time }
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;
    use crate::db::ForwardedUser;
    use crate::domain::Identity;
    use crate::util::clock::Clock;

    const MINUTE: TimeDelta = TimeDelta::minutes(1);
    const MAX_AGE: Duration = Duration::from_mins(1);

    fn session(role: &str, expires_at: DateTime<Utc>) -> ForwardedSession {
        let caller = ForwardedUser {
            identity: Identity { tenant_id: uuid::Uuid::from_u128(1).into(), object_id: person() },
            email: None,
            display_name: None,
            user_role: Some(role.to_owned()),
            organizations: vec![],
            teams: vec![],
        };
        ForwardedSession { user: caller, created_at: expires_at, last_seen_at: expires_at, expires_at }
    }

    fn person() -> ObjectId {
        uuid::Uuid::from_u128(7).into()
    }

    fn role(found: Option<LiveSession>) -> Option<String> {
        found.and_then(|session| session.user.person().user_role.map(str::to_owned))
    }

    #[test]
    fn two_sessions_of_a_person_are_remembered_side_by_side_and_forgotten_together() {
        let (cache, now, at) = (Cache::new(), DateTime::<Utc>::UNIX_EPOCH, Clock::system().moment());
        let (a, b) = ([1; 32], [2; 32]);
        cache.begin().keep(a, &session("x", now + MINUTE * 9), at);
        cache.begin().keep(b, &session("x", now + MINUTE * 9), at);
        for hash in [a, b, a] {
            assert_eq!(role(cache.get(&hash, now, at, MAX_AGE)).as_deref(), Some("x"), "session {}", hash[0]);
        }
        cache.forget(person());
        for hash in [a, b] {
            assert!(cache.get(&hash, now, at, MAX_AGE).is_none(), "session {} was forgotten", hash[0]);
        }
        // What one of them finds out does not bring the other back: that one may have been ended.
        cache.begin().keep(a, &session("y", now + MINUTE * 9), at);
        assert_eq!(role(cache.get(&a, now, at, MAX_AGE)).as_deref(), Some("y"));
        assert!(cache.get(&b, now, at, MAX_AGE).is_none(), "the other session has to be read again");
    }

    #[test]
    fn a_reading_during_which_something_was_forgotten_is_used_once_and_not_kept() {
        let (cache, now, at) = (Cache::new(), DateTime::<Utc>::UNIX_EPOCH, Clock::system().moment());
        let reading = cache.begin();
        cache.forget(person());
        assert_eq!(reading.keep([1; 32], &session("x", now + MINUTE), at).user.person().user_role, Some("x"));
        assert!(cache.get(&[1; 32], now, at, MAX_AGE).is_none(), "it may be older than what was told");

        // Nor does it bring back, for others, what they have read of the same person since.
        let late = cache.begin();
        cache.forget(person());
        cache.begin().keep([2; 32], &session("x", now + MINUTE), at);
        late.keep([1; 32], &session("x", now + MINUTE), at);
        assert!(cache.get(&[1; 32], now, at, MAX_AGE).is_none(), "a late reading of a session that was ended");
        assert!(cache.get(&[2; 32], now, at, MAX_AGE).is_some(), "and it takes nothing of the others' away");
    }

    #[test]
    fn a_reading_is_kept_of_whoever_was_not_forgotten_meanwhile() {
        let (cache, now, at) = (Cache::new(), DateTime::<Utc>::UNIX_EPOCH, Clock::system().moment());
        let others = |n: u128| (0..n).for_each(|n| cache.forget(uuid::Uuid::from_u128(1_000 + n).into()));
        let kept = || cache.get(&[1; 32], now, at, MAX_AGE).is_some();
        let reading = cache.begin();
        others(1_000);
        reading.keep([1; 32], &session("x", now + MINUTE), at);
        assert!(kept(), "a thousand others were forgotten");
        cache.clear();

        let reading = cache.begin();
        cache.forget(person());
        others(999);
        reading.keep([1; 32], &session("x", now + MINUTE), at);
        assert!(!kept(), "forgotten, a thousand ago");

        for more in ["more than are known by name", "everybody"] {
            let reading = cache.begin();
            if more == "everybody" {
                cache.clear();
            } else {
                others(1_001);
            }
            reading.keep([1; 32], &session("x", now + MINUTE), at);
            assert!(!kept(), "{more}");
        }
    }

    #[test]
    fn what_is_too_old_or_over_does_not_count() {
        let (cache, now, at) = (Cache::new(), DateTime::<Utc>::UNIX_EPOCH, Clock::system().moment());
        let found = |now, at, max_age| cache.get(&[1; 32], now, at, max_age).is_some();
        cache.begin().keep([1; 32], &session("x", now + MINUTE * 2), at);
        assert!(!found(now, at, Duration::ZERO), "an age of zero means never");
        assert!(found(now, at.after(Duration::from_millis(59_999)), MAX_AGE));
        assert!(!found(now, at.after(MAX_AGE), MAX_AGE), "a minute old");
        assert!(!found(now - MINUTE * 60, at.after(MAX_AGE), MAX_AGE), "whatever the wall clock says");
        assert!(!found(now + MINUTE * 2, at, MAX_AGE), "over");
    }
}
