//! What holds a plan besides its size, and what releases it: settings, earlier removals, approvals.

use std::collections::BTreeSet;

use entraway::domain::{StoreKind, TenantId};
use entraway::policy::{KeysOnRemoval, MembershipSync};
use entraway::reconciliation::{PlanHash, RemovalSettings, SettingsState, Tripped};
use proptest::prelude::*;
use rstest::rstest;
use serde_json::json;
use uuid::Uuid;

use super::super::generate::config;
use super::properties::scene;
use super::{Scene, group, tenant, user};

/// Ten members, of whom this many left.
fn with_removals(removals: u8) -> Scene {
    let users: Vec<u8> = (0..10).collect();
    Scene::new().with_group(1, &users, &users[usize::from(removals)..])
}

#[rstest]
#[case::accepted(SettingsState::Accepted, None)]
#[case::first(SettingsState::First, Some(Tripped::FirstRun))]
#[case::changed(SettingsState::Changed, Some(Tripped::SettingsChanged))]
fn new_settings_hold_every_removal(#[case] settings: SettingsState, #[case] tripped: Option<Tripped>) {
    let mut scene = with_removals(1);
    scene.gate.settings = settings;
    let plan = scene.plan();
    assert_eq!((plan.is_held(), &plan.tripped), (tripped.is_some(), &tripped.into_iter().collect()));
    let mut in_step = with_removals(0);
    in_step.gate.settings = settings;
    assert_eq!(in_step.plan().tripped, [], "without a removal there is nothing to hold");
}

#[test]
fn settings_state_compares_with_the_accepted_hash() {
    let states = [None, Some("a"), Some("b")].map(|accepted| SettingsState::of(accepted, "a"));
    assert_eq!(states, [SettingsState::First, SettingsState::Accepted, SettingsState::Changed]);
}

#[test]
fn settings_hash_changes_with_each_setting() {
    let home = BTreeSet::from([tenant()]);
    let two = BTreeSet::from([tenant(), TenantId::from(Uuid::from_u128(7))]);
    let settings = RemovalSettings {
        tenants: &home,
        client_id: "app",
        service_principal_id: Some("principal"),
        memberships: MembershipSync::Follow,
        nested_groups: false,
        store: StoreKind::Native,
        keys_on_removal: KeysOnRemoval::Keep,
    };
    let changed = [
        settings,
        RemovalSettings { tenants: &two, ..settings },
        RemovalSettings { client_id: "other", ..settings },
        RemovalSettings { service_principal_id: Some("other"), ..settings },
        RemovalSettings { service_principal_id: None, ..settings },
        RemovalSettings { memberships: MembershipSync::Additive, ..settings },
        RemovalSettings { nested_groups: true, ..settings },
        RemovalSettings { store: StoreKind::LiteLlm, ..settings },
        RemovalSettings { keys_on_removal: KeysOnRemoval::Block, ..settings },
    ];
    let hashes: BTreeSet<String> = changed.iter().map(RemovalSettings::hash).collect();
    assert_eq!(hashes.len(), changed.len());
    // Stored in the database: another value would hold the next run of every installation.
    let stable = "1d8e872bd076ee0b9ec93f726d3ba493a08740b056381e3995b93aca3b1af15a";
    assert_eq!(settings.hash(), stable);
}

/// 3 of 80 memberships end, after this many on the last day: 30 % of all are exceeded by 34.
#[rstest]
#[case::none(0, false)]
#[case::at_the_limit(30, false)]
#[case::above_the_limit(31, true)]
fn removals_of_the_last_day_count(#[case] removed: usize, #[case] held: bool) {
    let users: Vec<u8> = (0..80).collect();
    let mut scene = Scene::new().with_group(1, &users, &users[3..]);
    scene.gate.removed_last_day = removed;
    let plan = scene.plan();
    assert_eq!((plan.changes.len(), plan.is_held()), (3, held), "{:?}", plan.tripped);
    let tripped = Tripped::Day { removals: 3, unknown: 0, removed, memberships: 80 + removed };
    assert_eq!(plan.tripped, if held { vec![tripped] } else { vec![] });
}

#[test]
fn few_removals_of_a_day_are_not_held() {
    let mut scene = with_removals(1);
    scene.gate.removed_last_day = 8;
    assert!(!scene.plan().is_held(), "9 are fewer than run_minimum");
    scene.gate.removed_last_day = 9;
    assert!(scene.plan().is_held());
    let mut in_step = with_removals(0);
    in_step.gate.removed_last_day = 9;
    assert!(in_step.plan().tripped.is_empty(), "this plan removes nothing");
}

#[test]
fn approval_is_for_exactly_the_held_changes() {
    let mut scene = with_removals(6).with_group(2, &[1, 2, 3, 4], &[2, 3, 4]);
    let plan = scene.plan();
    let hash = plan.hash.clone().unwrap();
    assert_eq!((plan.changes.len(), plan.approved.as_ref()), (7, None));
    scene.gate.approved = BTreeSet::from([hash.clone()]);
    let approved = scene.plan();
    assert_eq!((approved.is_held(), &approved.hash, &approved.approved), (false, &None, &Some(hash.clone())));
    assert_eq!(approved.tripped, plan.tripped, "the plan still says which limit was exceeded");

    let GroupChange { more_members, other_group, one_less } = GroupChange::of(&scene);
    assert_eq!(more_members.plan().approved, Some(hash.clone()), "evidence makes no other plan");
    assert_eq!(other_group.plan().approved, Some(hash), "changes that are not held make no other plan");
    let plan = one_less.plan();
    assert!(plan.is_held() && plan.approved.is_none(), "{plan:#?}");
}

/// The same scene with other facts.
struct GroupChange {
    more_members: Scene,
    other_group: Scene,
    one_less: Scene,
}

impl GroupChange {
    fn of(scene: &Scene) -> Self {
        let gate = scene.gate.clone();
        let users: Vec<u8> = (0..10).collect();
        let with = |listed: &[u8], second: &[u8]| {
            let scene = Scene::new().with_group(1, &users, listed).with_group(2, &[1, 2, 3, 4], second);
            Scene { gate: gate.clone(), ..scene }
        };
        Self {
            more_members: with(&[6, 7, 8, 9, 20, 21], &[2, 3, 4]),
            other_group: with(&[6, 7, 8, 9], &[1, 2, 3, 4]),
            one_less: with(&[5, 6, 7, 8, 9], &[2, 3, 4]).with_limit(10),
        }
    }
}

impl Scene {
    fn with_limit(mut self, group_percent: u32) -> Self {
        self.gate.limits.group_percent = group_percent;
        self
    }
}

#[test]
fn max_removals_lifts_the_limits_of_small_plans() {
    let mut scene = with_removals(10);
    scene.gate.settings = SettingsState::First;
    scene.gate.max_removals = Some(9);
    let plan = scene.plan();
    assert!(plan.is_held() && plan.max_removals.is_none() && plan.hash.is_some(), "{plan:#?}");
    scene.gate.max_removals = Some(10);
    let plan = scene.plan();
    assert_eq!((plan.is_held(), plan.max_removals, plan.hash), (false, Some(10), None));
}

#[test]
fn plan_hash_is_stable_and_reads_back() {
    let mut scene = Scene::new().with_group(1, &[1, 2, 3], &[]);
    let id = group(1).to_string();
    scene.put_in_organization(&id, 1, std::slice::from_ref(&id));
    let hash = scene.plan().hash.unwrap();
    // Stored in the database: another value would let all approvals lapse.
    assert_eq!(hash.as_str(), "9c3af5e8a9574762b8e5546f89d5d8270dfc7721e6b4b4d116fd003c6e07edd6");
    assert_eq!((hash.as_str().parse(), json!(hash)), (Ok(hash.clone()), json!(hash.as_str())));
    assert_eq!(serde_json::from_value::<PlanHash>(json!(hash)).unwrap(), hash);
    assert!("abc".parse::<PlanHash>().is_err() && serde_json::from_value::<PlanHash>(json!("ABC")).is_err());
    // Another cause is another plan.
    scene.facts.accounts.insert(user(1), entraway::entra_facts::AccountState::Deleted);
    assert_ne!(scene.plan().hash.unwrap(), hash);
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn held_plan_has_a_hash_and_approval_releases_it(scene in scene()) {
        let plan = scene.plan();
        prop_assert_eq!(plan.hash.is_some(), plan.is_held());
        prop_assert!(!plan.is_held() || !plan.tripped.is_empty(), "{:#?}", plan);
        let mut approved = scene;
        approved.gate.approved.extend(plan.hash.clone());
        let released = approved.plan();
        prop_assert!(!released.is_held() && released.hash.is_none(), "{:#?}", released);
        prop_assert_eq!(&released.approved, &plan.hash);
        // Neither the limits nor an approval decide what is removed.
        let removals = |changes: &[entraway::reconciliation::Change]| -> Vec<_> {
            changes.iter().map(|change| (change.target.clone(), change.user, change.cause)).collect()
        };
        prop_assert_eq!(removals(&plan.changes), removals(&released.changes));
    }

    #[test]
    fn max_removals_holds_nothing_or_all_that_was_held(scene in scene(), max in 0..8_usize) {
        let plan = scene.plan();
        let mut lifted = scene;
        lifted.gate.max_removals = Some(max);
        let lifted = lifted.plan();
        if plan.changes.len() <= max {
            prop_assert!(!lifted.is_held(), "{:#?}", lifted);
        } else {
            prop_assert_eq!(lifted, plan);
        }
    }
}
