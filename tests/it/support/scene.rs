//! Test setup: assigned groups and their members; and waiting for a sign-in to reach a lock.

use std::time::{Duration, Instant};

use entra_simulator::{GroupId, ObjectId};

use super::World;

/// Far longer than any step takes on a busy machine.
pub(crate) const LONG: Duration = Duration::from_mins(1);

/// Creates groups and assigns them to the app.
pub(crate) fn assigned<const N: usize>(world: &World, names: [&str; N]) -> [GroupId; N] {
    world.simulator.edit(|directory| {
        names.map(|name| {
            let group = directory.group(name);
            directory.assign(group);
            group
        })
    })
}

/// Creates this many groups and assigns them to the app.
pub(crate) fn many_assigned(world: &World, count: usize) -> Vec<GroupId> {
    world.simulator.edit(|directory| {
        let make = |n| {
            let group = directory.group(&format!("Group {n}"));
            directory.assign(group);
            group
        };
        (0..count).map(make).collect()
    })
}

/// Creates a user in these groups.
pub(crate) fn person(world: &World, name: &str, groups: &[GroupId]) -> ObjectId {
    world.simulator.edit(|directory| {
        let person = directory.person(name, |_| {});
        for group in groups {
            directory.put(person, *group);
        }
        person
    })
}

/// Polls until `is_so` holds.
#[track_caller]
pub(crate) fn until<'a>(what: &'a str, mut is_so: impl AsyncFnMut() -> bool + 'a) -> impl Future<Output = ()> + 'a {
    let caller = std::panic::Location::caller();
    async move {
        let begin = Instant::now();
        while !is_so().await {
            assert!(begin.elapsed() < LONG, "{what}: not after {LONG:?}, at {caller}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

/// Waits until a connection of the service waits for a lock.
pub(crate) async fn until_it_waits(world: &World) {
    for _ in 0..2_000 {
        let waiting: bool = sqlx::query_scalar(
            "select exists (select from pg_stat_activity where datname = current_database()
                            and application_name = 'entraway' and wait_event_type = 'Lock')",
        )
        .fetch_one(&world.pool)
        .await
        .unwrap();
        if waiting {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("the sign-in did not reach the lock that the test holds: does the store still acquire it?");
}
