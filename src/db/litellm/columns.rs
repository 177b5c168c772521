//! The tables, columns and privileges that this service needs in a LiteLLM database. Other columns are never named and
//! keep their defaults.

use std::collections::BTreeMap;

use crate::db::DbError;
use crate::db::connection::DbConnection;

/// Columns by table, with type and use: `r`ead, `i`nsert, `u`pdate.
const TABLES: &[(&str, &[Column])] = &[
    (
        "LiteLLM_BudgetTable",
        &[
            ("budget_id", TEXT, "ri"),
            ("max_budget", NUMBER, "ri"),
            ("budget_duration", TEXT, "ri"),
            ("budget_reset_at", TIME, "ri"),
            ("tpm_limit", WHOLE, "ri"),
            ("rpm_limit", WHOLE, "ri"),
            ("allowed_models", TEXTS, "i"),
            ("created_at", TIME, "i"),
            ("created_by", TEXT, "i"),
            ("updated_at", TIME, "i"),
            ("updated_by", TEXT, "i"),
        ],
    ),
    (
        "LiteLLM_OrganizationTable",
        &[
            ("organization_id", TEXT, "ri"),
            ("organization_alias", TEXT, "ri"),
            ("budget_id", TEXT, "ri"),
            ("models", TEXTS, "ri"),
            ("created_at", TIME, "ri"),
            ("created_by", TEXT, "i"),
            ("updated_at", TIME, "i"),
            ("updated_by", TEXT, "i"),
        ],
    ),
    (
        "LiteLLM_TeamTable",
        &[
            ("team_id", TEXT, "ri"),
            ("team_alias", TEXT, "ri"),
            ("organization_id", TEXT, "ri"),
            ("admins", TEXTS, "i"),
            ("members", TEXTS, "i"),
            ("members_with_roles", JSON, "riu"),
            ("metadata", JSON, "ri"),
            ("max_budget", NUMBER, "ri"),
            ("models", TEXTS, "riu"),
            ("tpm_limit", WHOLE, "ri"),
            ("rpm_limit", WHOLE, "ri"),
            ("budget_duration", TEXT, "ri"),
            ("budget_reset_at", TIME, "ri"),
            ("team_member_permissions", TEXTS, "i"),
            ("access_group_ids", TEXTS, "i"),
            ("default_team_member_models", TEXTS, "r"),
            ("created_at", TIME, "ri"),
            ("updated_at", TIME, "iu"),
        ],
    ),
    (
        "LiteLLM_UserTable",
        &[
            ("user_id", TEXT, "ri"),
            ("sso_user_id", TEXT, "ri"),
            ("user_email", TEXT, "riu"),
            ("user_alias", TEXT, "riu"),
            ("user_role", TEXT, "riu"),
            ("teams", TEXTS, "riu"),
            ("models", TEXTS, "ri"),
            ("max_budget", NUMBER, "ri"),
            ("budget_duration", TEXT, "ri"),
            ("budget_reset_at", TIME, "ri"),
            ("tpm_limit", WHOLE, "ri"),
            ("rpm_limit", WHOLE, "ri"),
            ("metadata", JSON, "i"),
            ("created_at", TIME, "ri"),
            ("updated_at", TIME, "iu"),
        ],
    ),
    (
        "LiteLLM_OrganizationMembership",
        &[
            ("user_id", TEXT, "ri"),
            ("organization_id", TEXT, "ri"),
            ("user_role", TEXT, "riu"),
            ("created_at", TIME, "ri"),
            ("updated_at", TIME, "iu"),
        ],
    ),
    ("LiteLLM_TeamMembership", &[("user_id", TEXT, "ri"), ("team_id", TEXT, "ri"), ("budget_id", TEXT, "riu")]),
];

const TEXT: &str = "text";
const TEXTS: &str = "text[]";
const JSON: &str = "jsonb";
const NUMBER: &str = "double precision";
const WHOLE: &str = "bigint";
const TIME: &str = "timestamp without time zone";

/// Name, type, uses.
type Column = (&'static str, &'static str, &'static str);

/// A column found in the database.
#[derive(sqlx::FromRow)]
struct Found {
    table_name: String,
    column_name: String,
    type_name: String,
    /// Privileges, of `r`, `i`, `u`.
    privileges: String,
    /// Inserting a row requires a value for it.
    requires_value: bool,
    /// Whether we may use the schema; without that, column privileges have no effect.
    schema_usable: bool,
    /// Whether row-level security applies to us.
    rows_hidden: bool,
}

/// Compares the real columns and privileges with [`TABLES`]. Fails with all problems at once.
pub(in crate::db) async fn check(connection: &mut DbConnection) -> Result<(), DbError> {
    let tables: Vec<&str> = TABLES.iter().map(|(table, _)| *table).collect();
    // With `quote_all_identifiers`, Postgres quotes type names.
    let found: Vec<Found> = sqlx::query_as(
        "select c.relname::text as table_name, a.attname::text as column_name,
                replace(format_type(a.atttypid, null), '\"', '') as type_name,
                case when has_column_privilege(c.oid, a.attnum, 'select') then 'r' else '' end
                || case when has_column_privilege(c.oid, a.attnum, 'insert') then 'i' else '' end
                || case when has_column_privilege(c.oid, a.attnum, 'update') then 'u' else '' end as privileges,
                a.attnotnull and not a.atthasdef and a.attidentity = '' as requires_value,
                has_schema_privilege(n.oid, 'usage') as schema_usable,
                row_security_active(c.oid) as rows_hidden
         from pg_class c join pg_namespace n on n.oid = c.relnamespace join pg_attribute a on a.attrelid = c.oid
         where n.nspname = 'public' and c.relname = any($1) and c.relkind in ('r', 'p')
           and a.attnum > 0 and not a.attisdropped",
    )
    .bind(tables)
    .fetch_all(connection)
    .await?;
    let problems = problems(&found);
    if problems.is_empty() { Ok(()) } else { Err(DbError::NotLiteLlm(problems)) }
}

fn problems(found: &[Found]) -> Vec<String> {
    let mut problems = Vec::new();
    if found.iter().any(|found| !found.schema_usable) {
        problems.push("missing privilege USAGE on schema public".to_owned());
    }
    for (table, columns) in TABLES {
        let columns_found: BTreeMap<&str, &Found> =
            found.iter().filter(|found| found.table_name == *table).map(|found| (&*found.column_name, found)).collect();
        if columns_found.is_empty() {
            problems.push(format!("missing table public.\"{table}\""));
            continue;
        }
        if columns_found.values().any(|found| found.rows_hidden) {
            problems.push(format!(
                "row-level security hides rows of {table}: create a policy for this user, or grant BYPASSRLS"
            ));
        }
        for (column, type_name, uses) in *columns {
            let Some(found) = columns_found.get(column) else {
                problems.push(format!("missing column {table}.{column}"));
                continue;
            };
            if found.type_name != *type_name {
                problems.push(format!("{table}.{column} is of type {}, not {type_name}", found.type_name));
            }
            for (privilege, name) in [('r', "SELECT"), ('i', "INSERT"), ('u', "UPDATE")] {
                if uses.contains(privilege) && !found.privileges.contains(privilege) {
                    problems.push(format!("missing privilege {name} on {table}.{column}"));
                }
            }
        }
        let known = |name: &str| columns.iter().any(|(column, _, uses)| *column == name && uses.contains('i'));
        let unknown = columns_found.values().filter(|found| found.requires_value && !known(&found.column_name));
        problems.extend(unknown.map(|found| {
            format!("{table}.{} is required, but this version of Entraway does not know it", found.column_name)
        }));
    }
    problems
}
