//! A team with as many members as a company.

use std::time::{Duration, Instant};

use super::support::{
    TEAM, TEAM_MEMBER, USER, assigned, by_hand, json, person, places, plain, team_by_hand, versions, world,
};

/// Far longer than a sign-in takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(5);

#[tokio::test]
async fn signin_joins_team_of_20000_members_within_time_limit() {
    let world = world().await;
    let [group] = assigned(&world, ["Everyone"]);
    let alice = person(&world, "Alice Arden", &[group]);
    team_by_hand(&world, &group, "", "").await;
    by_hand(
        &world,
        r#"update public."LiteLLM_TeamTable" set members_with_roles = (
               select jsonb_agg(jsonb_build_object('user_id', gen_random_uuid(), 'user_email', n || '@contoso.example',
                                                   'role', 'user') order by n) from generate_series(1, 20000) n)
           where team_id = $1"#,
        &[&group],
    )
    .await;
    let everyone = r#"select jsonb_build_array(count(*), md5(string_agg(member::text, '' order by n)))
        from public."LiteLLM_TeamTable" t, jsonb_array_elements(t.members_with_roles) with ordinality as m(member, n)
        where team_id = $1 and n <= 20000"#;
    let before = json(&world, everyone, &[&group]).await;
    assert_eq!(before[0], 20_000);
    let service = plain(&world, false).await;

    let begin = Instant::now();
    world.sign_in(&service, alice).await;
    let joining = begin.elapsed();
    assert_eq!(json(&world, everyone, &[&group]).await, before, "the others, in their order");
    assert_eq!(places(&world, &alice, &group).await, [1, 1, 1]);

    let versions_before = versions(&world, &[USER, TEAM, TEAM_MEMBER]).await;
    let begin = Instant::now();
    let mut browser = world.sign_in(&service, alice).await;
    let repeating = begin.elapsed();
    assert_eq!(
        versions(&world, &[USER, TEAM, TEAM_MEMBER]).await,
        versions_before,
        "a repeated sign-in writes nothing"
    );

    let begin = Instant::now();
    let me = browser.me(&service).await;
    let looking = begin.elapsed();
    assert_eq!(me.json()["teams"][0]["team_id"], group.to_string());
    println!("with 20,000 members: joined in {joining:?}, signed in again in {repeating:?}, /api/me in {looking:?}");
    assert!(
        joining < PATIENCE && repeating < PATIENCE && looking < PATIENCE,
        "{joining:?}, {repeating:?}, {looking:?}"
    );
}
