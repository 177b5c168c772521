//! A reconciliation of 1,000 groups and 100,000 memberships: with nothing to change, and with 10,000 removals.

use std::fmt::Write as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use entraway::domain::StoreKind;
use pg_sandbox::PrivateCluster;
use sqlx::{AssertSqlSafe, PgPool};

use crate::browser::{median, ms, sign_in};
use crate::service::{Folder, config, name, peak_memory, processor_ms};
use crate::sign_in::{drop_database, start};
use crate::simulator::{Scene, Simulator};

/// 100,000 memberships.
const SCENE: Scene = Scene { people: 10_000, groups: 1_000, in_groups: 10, operator: false };
/// Memberships of the database that Entra does not give.
const ENDED: usize = 10_000;
/// Sign-ins alone, before the runs.
const SIGN_INS: usize = 60;

/// Managed memberships ($1 users, $2 groups) in all tables, with organizations. TENANT and SOURCE are replaced.
const NATIVE: &str = "
    create temporary table m as select * from unnest($1::text[], $2::text[]) as m(user_id, team_id);
    insert into entraway.organizations (organization_id, organization_alias)
        select distinct team_id, 'Organization' from m on conflict do nothing;
    insert into entraway.teams (team_id, team_alias, organization_id)
        select distinct team_id, 'Team', team_id from m on conflict do nothing;
    insert into entraway.users (user_id, object_id, tenant_id, user_alias)
        select distinct user_id, user_id::uuid, 'TENANT'::uuid, 'User' from m on conflict do nothing;
    insert into entraway.team_members (user_id, team_id, source, sources)
        select user_id, team_id, 'entra', array['SOURCE:' || team_id] from m on conflict do nothing;
    insert into entraway.organization_members (user_id, organization_id, source)
        select user_id, team_id, 'entra' from m on conflict do nothing;
    drop table m";

const LITELLM: &str = r#"
    create temporary table m as select * from unnest($1::text[], $2::text[]) as m(user_id, team_id);
    insert into public."LiteLLM_BudgetTable" (budget_id, created_by, updated_by) values ('b', 'x', 'x') on conflict do nothing;
    insert into public."LiteLLM_OrganizationTable" (organization_id, organization_alias, budget_id, models, created_by, updated_by)
        select distinct team_id, 'Organization', 'b', '{}'::text[], 'x', 'x' from m on conflict do nothing;
    insert into public."LiteLLM_TeamTable"
            (team_id, team_alias, organization_id, admins, members, members_with_roles, models)
        select distinct team_id, 'Team', team_id, '{}'::text[], '{}'::text[], '[]'::jsonb, '{}'::text[] from m
        on conflict do nothing;
    update public."LiteLLM_TeamTable" t set members_with_roles = members_with_roles || roster
        from (select team_id, jsonb_agg(jsonb_build_object('user_id', user_id, 'role', 'user')) as roster
              from m group by team_id) r where r.team_id = t.team_id;
    insert into public."LiteLLM_UserTable" (user_id, user_alias, models, teams)
        select distinct user_id, 'User', '{}'::text[], '{}'::text[] from m on conflict do nothing;
    update public."LiteLLM_UserTable" u set teams = u.teams || own
        from (select user_id, array_agg(team_id) as own from m group by user_id) t where t.user_id = u.user_id;
    insert into public."LiteLLM_TeamMembership" (user_id, team_id) select user_id, team_id from m;
    insert into public."LiteLLM_OrganizationMembership" (user_id, organization_id) select user_id, team_id from m;
    insert into entraway.litellm_users (object_id, tenant_id, user_id, row_created_at)
        select user_id, 'TENANT'::uuid, user_id, created_at from public."LiteLLM_UserTable" on conflict do nothing;
    insert into entraway.litellm_team_members (user_id, team_id, created_at, sources)
        select user_id, team_id, now(), array['SOURCE:' || team_id] from m;
    insert into entraway.litellm_organization_members (user_id, organization_id, row_created_at, created_at)
        select user_id, organization_id, created_at, now() from public."LiteLLM_OrganizationMembership"
        on conflict do nothing;
    drop table m"#;

/// Measurements of one run.
struct Run {
    took: Duration,
    simulator: Duration,
    peak_mib: f64,
    output: String,
}

pub(crate) async fn run(cluster: &PrivateCluster) -> anyhow::Result<String> {
    let mut page = format!(
        "`entraway reconcile --once` with {} groups and {} memberships, organizations on. *Simulator* is the processor time of the\n\
         simulated Graph, which shares the cores. Sign-ins are repeats of one user, alone and while a run is in progress.\n\n\
         | store | run | seconds | of these simulator | peak memory, MiB | sign-in alone, ms | during the run, ms |\n\
         |---|---|---|---|---|---|---|\n",
        SCENE.groups,
        SCENE.people * SCENE.in_groups,
    );
    for store in [StoreKind::Native, StoreKind::LiteLlm] {
        let database = format!("reconciliation_{}", name(store));
        let (entra, service, pool) = start(cluster, &database, store, SCENE).await?;
        let url = cluster.url(&database);
        eprintln!("{database}: filling …");
        fill(&pool, store, &entra, 0).await?;
        reconcile(&url, store, &entra).await?;
        let user = entra.people()[0];
        let mut alone = Vec::new();
        for _ in 0..SIGN_INS {
            alone.push(ms(sign_in(&entra, &service, user).await?.callback));
        }
        let mut during = Vec::new();
        let unchanged = {
            let mut running = Box::pin(reconcile(&url, store, &entra));
            loop {
                tokio::select! {
                    run = &mut running => break run?,
                    signed_in = sign_in(&entra, &service, user) => during.push(ms(signed_in?.callback)),
                }
            }
        };
        ensure!(unchanged.output.contains("0 added, 0 removed"), "{}", unchanged.output);
        fill(&pool, store, &entra, ENDED).await?;
        let removal = reconcile(&url, store, &entra).await?;
        ensure!(removal.output.contains(&format!("{} removed", 2 * ENDED)), "{}", removal.output);
        for (what, run, sign_ins) in [
            ("nothing to change", unchanged, Some((median(&alone), median(&during)))),
            ("10,000 users removed from a team and its organization", removal, None),
        ] {
            let [alone, during] = sign_ins.map_or([String::new(), String::new()], |(alone, during)| {
                [alone, during].map(|time| format!("{time:.1}"))
            });
            writeln!(
                page,
                "| `{}` | {what} | {:.1} | {:.1} | {:.0} | {alone} | {during} |",
                name(store),
                run.took.as_secs_f64(),
                run.simulator.as_secs_f64(),
                run.peak_mib,
            )?;
        }
        drop(service);
        pool.close().await;
        drop_database(cluster, &database).await?;
    }
    Ok(page)
}

/// Adds the simulator's memberships to the database, or this many others.
async fn fill(pool: &PgPool, store: StoreKind, entra: &Simulator, others: usize) -> anyhow::Result<()> {
    let (people, groups) = (entra.people(), &entra.facts.groups);
    let step = SCENE.groups / SCENE.in_groups;
    let of_person = |n: usize, i: usize| (n * 7 + i * step) % SCENE.groups;
    let pairs: Vec<(String, String)> = if others == 0 {
        let pairs = (0..SCENE.people).flat_map(|n| (0..SCENE.in_groups).map(move |i| (n, of_person(n, i))));
        pairs.map(|(n, group)| (people[n].to_string(), groups[group].clone())).collect()
    } else {
        (0..others).map(|n| (people[n].to_string(), groups[(n * 7 + 1) % SCENE.groups].clone())).collect()
    };
    let sql = if store == StoreKind::Native { NATIVE } else { LITELLM };
    let sql = sql.replace("TENANT", &entra.facts.tenant_id).replace("SOURCE", &entra.facts.client_id);
    let (users, teams): (Vec<String>, Vec<String>) = pairs.into_iter().unzip();
    let mut connection = pool.acquire().await?;
    for statement in sql.split(";\n") {
        let query = sqlx::query(AssertSqlSafe(statement.to_owned()));
        let query = if statement.contains("$1") { query.bind(&users).bind(&teams) } else { query };
        query.execute(&mut *connection).await?;
    }
    sqlx::raw_sql("vacuum analyze").execute(&mut *connection).await?;
    Ok(())
}

/// Runs the command once.
async fn reconcile(database: &str, store: StoreKind, entra: &Simulator) -> anyhow::Result<Run> {
    let folder = Folder::new()?;
    let file = folder.file("config.yaml", &config(database, store, &entra.facts, 0))?;
    let simulator = processor_ms(entra.id())?;
    let begin = Instant::now();
    let mut child = Command::new(env!("CARGO_BIN_EXE_entraway"))
        .args(["reconcile", "--once", "--log-level", "error", "--config"])
        .arg(&file)
        .stdout(Stdio::piped())
        .spawn()?;
    let mut peak_mib = 0.0_f64;
    while child.try_wait()?.is_none() {
        peak_mib = peak_mib.max(peak_memory(child.id()).unwrap_or_default() / 1024.0 / 1024.0);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let took = begin.elapsed();
    let simulator = Duration::from_secs_f64((processor_ms(entra.id())? - simulator) / 1000.0);
    let output = child.wait_with_output()?;
    let text = String::from_utf8(output.stdout).context("output is not UTF-8")?;
    ensure!(output.status.success(), "{text}");
    Ok(Run { took, simulator, peak_mib, output: text })
}
