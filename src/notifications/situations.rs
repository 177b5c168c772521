//! Situations that last: told when they begin, then once a day.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::util::clock::Moment;

/// Interval at which a lasting situation is told again.
const REPEAT: Duration = Duration::from_hours(24);

/// Minimum time between notifications about a situation that ends and begins again.
const PAUSE: Duration = Duration::from_hours(1);

/// What can last over several reconciliation runs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Situation {
    /// Runs fail.
    RunFailed,
    /// The Graph permission of this name is missing.
    PermissionMissing(String),
}

/// When each situation was last told.
#[derive(Debug, Default)]
pub(super) struct Situations(BTreeMap<Situation, Told>);

#[derive(Debug)]
struct Told {
    at: Moment,
    /// Whether the situation ended since then.
    ended: bool,
}

impl Situations {
    /// Records that a situation was found. Returns whether to tell it.
    pub(super) fn begin(&mut self, situation: Situation, now: Moment) -> bool {
        let due = self.0.get(&situation).is_none_or(|told| {
            let pause = if told.ended { PAUSE } else { REPEAT };
            told.at.age(now) >= pause
        });
        if due {
            self.0.insert(situation, Told { at: now, ended: false });
        }
        due
    }

    /// Records that a situation is over.
    pub(super) fn end(&mut self, situation: &Situation) {
        if let Some(told) = self.0.get_mut(situation) {
            told.ended = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;
    use crate::util::clock::Clock;

    #[test]
    fn situation_is_told_at_its_begin_and_once_a_day() {
        let clock = Clock::system();
        let mut situations = Situations::default();
        let mut found = |after: TimeDelta| {
            clock.advance(after);
            situations.begin(Situation::RunFailed, clock.moment())
        };
        assert!(found(TimeDelta::zero()), "it begins");
        assert!(!found(TimeDelta::minutes(10)));
        assert!(!found(TimeDelta::hours(23)));
        assert!(found(TimeDelta::minutes(50)), "a day later");
        assert!(!found(TimeDelta::minutes(10)));
    }

    #[test]
    fn ended_situation_is_told_again_after_an_hour() {
        let clock = Clock::system();
        let mut situations = Situations::default();
        let missing = |name: &str| Situation::PermissionMissing(name.to_owned());
        assert!(situations.begin(missing("a"), clock.moment()));
        assert!(situations.begin(missing("b"), clock.moment()), "each permission is a situation");
        situations.end(&missing("a"));
        clock.advance(TimeDelta::minutes(59));
        assert!(!situations.begin(missing("a"), clock.moment()), "it comes and goes");
        clock.advance(TimeDelta::minutes(2));
        assert!(situations.begin(missing("a"), clock.moment()));
        assert!(!situations.begin(missing("b"), clock.moment()), "it never ended");
    }
}
