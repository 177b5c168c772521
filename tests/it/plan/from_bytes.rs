//! Runs a sign-in generated from arbitrary bytes, and checks the rules. The target in `fuzz/` includes this file, the
//! generator and the model.

use std::collections::BTreeSet;

use entraway::plan::GroupList;
use proptest::strategy::{Strategy as _, ValueTree as _};
use proptest::test_runner::{RngAlgorithm, TestRng, TestRunner};

use super::generate::{Case, case, config, identity};
use super::model::apply_to;

/// Applying a plan leaves nothing to do, removes nothing, and creates nothing from an unknown list.
pub(super) fn plan_and_apply(data: &[u8]) {
    // The bytes only seed the generator. As its random numbers they would not suffice: it splits them among its parts,
    // and a part that runs out draws zeros, of which no valid number is built.
    let mut seed = [0; 32];
    for (index, byte) in data.iter().enumerate() {
        seed[index % 32] ^= byte.rotate_left(u32::try_from(index / 32 % 8).unwrap_or_default());
    }
    let dice = TestRng::from_seed(RngAlgorithm::ChaCha, &seed);
    let Ok(tree) = case().new_tree(&mut TestRunner::new_with_rng(config(), dice)) else { return };
    let case = tree.current();

    let plan = case.plan();
    let after = apply_to(&case.current, &plan, identity().tenant_id);
    let again = Case { current: after.clone(), ..case.clone() }.plan();
    assert!(again.is_empty(), "after {plan:#?}\na second sign-in still plans {again:#?}");

    let before = &case.current;
    assert!(before.organizations.is_subset(&after.organizations), "organizations were removed: {plan:#?}");
    assert!(before.team_members.is_subset(&after.team_members), "team memberships were removed: {plan:#?}");
    for (id, change) in &plan.team_models {
        let set = |models: &[String]| models.iter().cloned().collect::<BTreeSet<String>>();
        let ours = before.team_models[id].expanded.as_deref().is_some_and(|ours| set(ours) == set(&change.from));
        assert!(
            ours || change.from == ["all-org-models"],
            "models that the sync did not write are replaced: {plan:#?}"
        );
    }
    let same = before.teams.iter().all(|(id, organization)| after.teams.get(id) == Some(organization));
    assert!(same, "teams were removed or moved: {plan:#?}");
    for (id, member) in &before.organization_members {
        let now = after.organization_members.get(id);
        let by_hand = member.sso_user_role.is_none();
        assert!(now.is_some_and(|now| !by_hand || now == member), "the membership of {id} changed: {plan:#?}");
    }

    let unknown = |reading: Option<&GroupList>| matches!(reading, Some(GroupList::Unknown(_)));
    if unknown(case.directory.assigned.as_ref()) {
        assert!(plan.organizations.is_empty() && plan.teams.is_empty(), "created from an unknown list: {plan:#?}");
    }
    if unknown(case.directory.assigned.as_ref()) || unknown(Some(&case.directory.member_of)) {
        let joins = !plan.add_to_organizations.is_empty() || !plan.add_to_teams.is_empty();
        assert!(!joins, "added from an unknown list: {plan:#?}");
    }
}
