//! `/auth/verify` with a cached session, compared with a bare route of the same process, with Apache and
//! `mod_auth_openidc`, and behind nginx.
pub(crate) mod beside;
mod cold;
mod peers;

use std::fmt::Write as _;
use std::process::Command;

use entraway::domain::StoreKind;
use pg_sandbox::PrivateCluster;

use crate::browser::sign_in;
use crate::service::Service;
use crate::simulator::{Scene, Simulator};
use crate::wrk::{self, Target, compare};

const SCENE: Scene = Scene { people: 1, groups: 5, in_groups: 5, operator: false };

pub(crate) use cold::{TOKENS, fill, run as cold};

pub(crate) async fn warm(cluster: &PrivateCluster) -> anyhow::Result<String> {
    cluster.create_database("forward_auth", None).await?;
    let entra = Simulator::start(SCENE)?;
    let mut program = Command::new(std::env::current_exe()?);
    let service =
        Service::run(program.arg(beside::COMMAND), &cluster.url("forward_auth"), StoreKind::Native, &entra.facts)
            .await?;
    let cookie = sign_in(&entra, &service, entra.people()[0]).await?.cookie;
    let apache = peers::Apache::start(&entra).await?;
    let nginx = peers::Nginx::start(&service.url(), &apache.url).await?;
    let target =
        |what: &str, url: String, cookie: &str| Target { what: what.to_owned(), url, cookie: cookie.to_owned() };
    let verify = format!("{}/auth/verify", service.url());
    let direct = [
        target("a bare axum route, 204", format!("{}/bare", service.bare_url()?), &cookie),
        target(
            "the same, 200 with as many and as long headers as `/auth/verify`",
            format!("{}/headers", service.bare_url()?),
            &cookie,
        ),
        target("`/auth/verify`", verify, &cookie),
        target("Apache, mod_auth_openidc, server cache", apache.url.clone(), &apache.cookie),
    ];
    let behind = [
        target("nginx, `auth_request` → nginx, 200", nginx.at("/stub"), ""),
        target("nginx, `auth_request` → `/auth/verify`", nginx.at("/entraway"), &cookie),
        target("nginx, `auth_request` → Apache, mod_auth_openidc", nginx.at("/apache"), &apache.cookie),
    ];
    let mut page = format!(
        "A user in {} teams, with the session in memory; {}.\nThe bare routes are on another listener of the same process. The second one shows the cost of the headers: writing, sending and parsing them.\n",
        SCENE.in_groups,
        wrk::how()
    );
    for (targets, of) in [(&direct[..], "the bare route"), (&behind[..], "nginx with nginx")] {
        let compared = compare(targets).await?;
        writeln!(page, "\n| what | requests/s | of {of} | p99, ms | of {of} |\n|---|---|---|---|---|")?;
        for (n, target) in targets.iter().enumerate() {
            let (load, ratio) = (compared.load(n), compared.ratio(n, 0));
            let Target { what, .. } = target;
            writeln!(
                page,
                "| {what} | {:.0} | {:.2} | {:.2} | {:.2} |",
                load.a_second, ratio.a_second, load.p99_ms, ratio.p99_ms
            )?;
        }
    }
    Ok(page)
}
