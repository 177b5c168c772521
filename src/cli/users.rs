//! `entraway users`: confirms user rows that other programs created.

use std::process::ExitCode;

use anyhow::Context as _;

use super::output::{errln, outln};
use crate::config::Config;
use crate::db::{AdoptionState, Db};
use crate::domain::{ObjectId, StoreKind, is_control_or_bidi};
use crate::util::clock::Clock;

pub(super) async fn adopt(user: ObjectId, config: &Config) -> anyhow::Result<ExitCode> {
    if config.store == StoreKind::Native {
        errln!(
            "entraway: store: native has no user rows of other programs, so there is nothing to confirm. Give the \
             configuration of a service with store: litellm"
        );
        return Ok(ExitCode::FAILURE);
    }
    let db = Db::new(config.store, &config.database.url, 1)?;
    let adoption = db.adopt(user, Clock::system().now()).await.context("failed to confirm the user's row")?;
    db.close().await;
    let Some(adoption) = adoption else {
        errln!(
            "entraway: user {user}: LiteLLM's user table has no row with this id as its user_id or sso_user_id. Check \
             the object id in the Entra admin center; a user without a row needs no confirmation"
        );
        return Ok(ExitCode::FAILURE);
    };
    let row = printable(&adoption.user_id);
    match adoption.state {
        AdoptionState::Confirmed => {
            let created = adoption.created_at.map(|at| at.format(", created %Y-%m-%dT%H:%M:%SZ").to_string());
            let role = printable(adoption.user_role.as_deref().unwrap_or_default());
            outln!(
                "user {user}: confirmed row {row} (role {}{})",
                if role.is_empty() { "none" } else { &role },
                created.unwrap_or_default()
            )?;
            outln!("The next sign-in sets the role from Entra or access.admin_user_ids.")?;
        }
        AdoptionState::AlreadyConfirmed(at) => {
            outln!("user {user}: row {row} was already confirmed at {}", at.format("%Y-%m-%dT%H:%M:%SZ"))?;
        }
        AdoptionState::NotNeeded => outln!("user {user}: row {row} needs no confirmation")?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Text of other programs without control characters, which could manipulate the terminal.
fn printable(text: &str) -> String {
    text.chars().filter(|c| !is_control_or_bidi(*c)).collect()
}
