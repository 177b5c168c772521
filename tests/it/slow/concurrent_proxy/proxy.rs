//! LiteLLM 1.109.1's writes: its locks and statements in its order, with the same computations between them. Short
//! pauses let other transactions interleave.

use std::time::Duration;

use serde_json::{Value, json};
use sqlx::postgres::PgPoolOptions;
use sqlx::{PgPool, PgTransaction};

use crate::support::World;

/// LiteLLM's `TEAM_ADVISORY_LOCK_SQL`.
pub(super) const LOCK_TEAM: &str = "select pg_advisory_xact_lock(hashtext($1)) is null as locked";
/// LiteLLM's `USER_ROWS_LOCK_SQL`.
const LOCK_USERS: &str = r#"select user_id from "LiteLLM_UserTable" where user_id = any($1::text[])
    order by user_id collate "C" for update"#;
/// The upsert that Prisma generates for `_upsert_user_row`.
pub(super) const UPSERT_USER: &str = r#"insert into "LiteLLM_UserTable" (user_id, teams, models, user_role)
    values ($1, array[$2], '{}', 'internal_user')
    on conflict (user_id) do update set user_id = $1, updated_at = now()"#;
const ROSTER: &str = r#"select members_with_roles from "LiteLLM_TeamTable" where team_id = $1"#;
const WRITE_ROSTER: &str =
    r#"update "LiteLLM_TeamTable" set members_with_roles = $2, updated_at = now() where team_id = $1"#;

/// A proxy worker with its own connections.
#[derive(Clone)]
pub(super) struct Proxy {
    pool: PgPool,
}

async fn breath() {
    tokio::time::sleep(Duration::from_millis(1)).await;
}

impl Proxy {
    pub(super) async fn of(world: &World) -> Self {
        let options = (*world.pool.connect_options()).clone().application_name("litellm");
        Self { pool: PgPoolOptions::new().max_connections(6).connect_with(options).await.unwrap() }
    }

    /// Begins a transaction for tests that execute single statements.
    pub(super) async fn begin(&self) -> sqlx::Result<PgTransaction<'static>> {
        self.pool.begin().await
    }

    /// `/team/member_add` for one user: `_add_team_members_to_team`.
    pub(super) async fn add(&self, team: &str, user: &str) -> sqlx::Result<()> {
        let mut tx = self.pool.begin().await?;
        sqlx::query(LOCK_TEAM).bind(team).execute(&mut *tx).await?;
        let mut roster = roster(&mut tx, team).await?;
        sqlx::query(LOCK_USERS).bind(vec![user]).execute(&mut *tx).await?;
        breath().await;
        sqlx::query(UPSERT_USER).bind(user).bind(team).execute(&mut *tx).await?;
        let push = r#"update "LiteLLM_UserTable" set teams = array_append(teams, $2), updated_at = now()
                      where user_id = $1 and not (teams @> array[$2])"#;
        sqlx::query(push).bind(user).bind(team).execute(&mut *tx).await?;
        // Prisma executes an upsert without updates as a select and an insert.
        let is_member = r#"select 1 from "LiteLLM_TeamMembership" where user_id = $1 and team_id = $2"#;
        if sqlx::query(is_member).bind(user).bind(team).fetch_optional(&mut *tx).await?.is_none() {
            let join = r#"insert into "LiteLLM_TeamMembership" (user_id, team_id) values ($1, $2)"#;
            sqlx::query(join).bind(user).bind(team).execute(&mut *tx).await?;
        }
        breath().await;
        if !roster.iter().any(|member| member["user_id"] == user) {
            roster.push(json!({ "user_id": user, "user_email": null, "role": "user" }));
        }
        sqlx::query(WRITE_ROSTER).bind(team).bind(Value::Array(roster)).execute(&mut *tx).await?;
        tx.commit().await
    }

    /// `/team/member_delete`: `_team_member_delete`.
    pub(super) async fn delete(&self, team: &str, user: &str) -> sqlx::Result<()> {
        let mut tx = self.pool.begin().await?;
        sqlx::query(LOCK_TEAM).bind(team).execute(&mut *tx).await?;
        let mut roster = roster(&mut tx, team).await?;
        roster.retain(|member| member["user_id"] != user);
        let teams: Vec<String> = sqlx::query_scalar(r#"select teams from "LiteLLM_UserTable" where user_id = $1"#)
            .bind(user)
            .fetch_one(&mut *tx)
            .await?;
        breath().await;
        sqlx::query(WRITE_ROSTER).bind(team).bind(Value::Array(roster)).execute(&mut *tx).await?;
        breath().await;
        let left: Vec<String> = teams.into_iter().filter(|one| one != team).collect();
        let set = r#"update "LiteLLM_UserTable" set teams = $2, updated_at = now() where user_id = $1"#;
        sqlx::query(set).bind(user).bind(left).execute(&mut *tx).await?;
        let leave = r#"delete from "LiteLLM_TeamMembership" where user_id = $1 and team_id = $2"#;
        sqlx::query(leave).bind(user).bind(team).execute(&mut *tx).await?;
        tx.commit().await
    }

    /// Flush of spend: one transaction each for users, teams and members, in the order of their IDs.
    pub(super) async fn flush(&self, teams: &[String], users: &[String]) -> sqlx::Result<()> {
        let mut tx = self.pool.begin().await?;
        for user in users {
            let spend = r#"update "LiteLLM_UserTable" set spend = spend + 0.5 where user_id = $1"#;
            sqlx::query(spend).bind(user).execute(&mut *tx).await?;
            breath().await;
        }
        tx.commit().await?;

        let mut tx = self.pool.begin().await?;
        for team in teams {
            let spend = r#"update "LiteLLM_TeamTable" set spend = spend + 0.5 where team_id = $1"#;
            sqlx::query(spend).bind(team).execute(&mut *tx).await?;
            breath().await;
        }
        tx.commit().await?;

        let mut tx = self.pool.begin().await?;
        for team in teams {
            sqlx::query(LOCK_TEAM).bind(team).execute(&mut *tx).await?;
        }
        breath().await;
        let spend = r#"insert into "LiteLLM_TeamMembership" (user_id, team_id, spend, total_spend)
            select member.user_id, member.team_id, 0.5, 0.5
            from (select * from unnest($1::text[]) user_id, unnest($2::text[]) team_id) member
            where exists (
                select 1 from "LiteLLM_TeamTable" t where t.team_id = member.team_id
                   and t.members_with_roles @> jsonb_build_array(jsonb_build_object('user_id', member.user_id)))
               or exists (
                select 1 from "LiteLLM_TeamMembership" m
                where m.user_id = member.user_id and m.team_id = member.team_id)
            on conflict (user_id, team_id) do update
            set spend = "LiteLLM_TeamMembership".spend + excluded.spend,
                total_spend = greatest("LiteLLM_TeamMembership".total_spend, "LiteLLM_TeamMembership".spend)
                              + excluded.total_spend"#;
        sqlx::query(spend).bind(users).bind(teams).execute(&mut *tx).await?;
        tx.commit().await
    }

    /// `/user/update` and `/team/update`: reads a row and writes its metadata back with one more key.
    pub(super) async fn edit(&self, team: &str, user: &str, key: &str) -> sqlx::Result<()> {
        let metadata: Option<Value> =
            sqlx::query_scalar(r#"select metadata from "LiteLLM_UserTable" where user_id = $1"#)
                .bind(user)
                .fetch_optional(&self.pool)
                .await?;
        breath().await;
        if let Some(mut metadata) = metadata {
            metadata[key] = json!(true);
            let write = r#"update "LiteLLM_UserTable" set metadata = $2, updated_at = now() where user_id = $1"#;
            sqlx::query(write).bind(user).bind(metadata).execute(&self.pool).await?;
        }
        let mut metadata: Value = sqlx::query_scalar(r#"select metadata from "LiteLLM_TeamTable" where team_id = $1"#)
            .bind(team)
            .fetch_one(&self.pool)
            .await?;
        breath().await;
        metadata[key] = json!(true);
        let write = r#"update "LiteLLM_TeamTable" set metadata = $2, updated_at = now() where team_id = $1"#;
        sqlx::query(write).bind(team).bind(metadata).execute(&self.pool).await?;
        Ok(())
    }
}

/// `/team/delete` for one team without the commit: `delete_validated_team_rows`.
pub(super) async fn delete_team(tx: &mut PgTransaction<'_>, team: &str) -> sqlx::Result<()> {
    sqlx::query(LOCK_TEAM).bind(team).execute(&mut **tx).await?;
    sqlx::query(r#"delete from "LiteLLM_TeamTable" where team_id = $1"#).bind(team).execute(&mut **tx).await?;
    let lock =
        r#"select user_id from "LiteLLM_UserTable" where teams @> array[$1] order by user_id collate "C" for update"#;
    sqlx::query(lock).bind(team).execute(&mut **tx).await?;
    let strip = r#"update "LiteLLM_UserTable" set teams = array_remove(teams, $1) where teams @> array[$1]"#;
    sqlx::query(strip).bind(team).execute(&mut **tx).await?;
    let sweep = r#"delete from "LiteLLM_TeamMembership" where team_id = $1"#;
    sqlx::query(sweep).bind(team).execute(&mut **tx).await?;
    Ok(())
}

async fn roster(tx: &mut PgTransaction<'_>, team: &str) -> sqlx::Result<Vec<Value>> {
    match sqlx::query_scalar(ROSTER).bind(team).fetch_one(&mut **tx).await? {
        Value::Array(members) => Ok(members),
        _ => Ok(Vec::new()),
    }
}
