//! Browsers that sign users in.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use entra_simulator::ObjectId;
use reqwest::header::{COOKIE, LOCATION, SET_COOKIE};
use reqwest::{Client, Response};
use tokio::task::JoinSet;

use crate::service::{PUBLIC_URL, Service};
use crate::simulator::Simulator;

/// A successful sign-in.
pub(crate) struct SignIn {
    /// The session cookie as a request sends it.
    pub(crate) cookie: String,
    /// Time from the callback request to the response with the session.
    pub(crate) callback: Duration,
}

/// Runs a whole sign-in: start, account picker, callback.
pub(crate) async fn sign_in(entra: &Simulator, service: &Service, person: ObjectId) -> anyhow::Result<SignIn> {
    let client = service.client();
    let begun = client.get(format!("{}/sso/login", service.url())).send().await?;
    let cookie = cookies(&begun).next().context("no cookie")?;
    let picked = client.get(entra.pick_url(&location(&begun)?.parse()?, person)).send().await?;
    let address = location(&picked)?.replacen(PUBLIC_URL, &service.url(), 1);
    let came_back = Instant::now();
    let done = client.get(address).header(COOKIE, cookie).send().await?;
    let callback = came_back.elapsed();
    ensure!(done.status() == 303, "sign-in returned {}", done.status());
    let session = cookies(&done).find(|cookie| cookie.starts_with("entraway="));
    Ok(SignIn { cookie: session.context("no session")?, callback })
}

/// The cookies that a response sets, in the form of a request's `Cookie` header.
pub(crate) fn cookies(response: &Response) -> impl Iterator<Item = String> {
    let lines = response.headers().get_all(SET_COOKIE).iter();
    lines.filter_map(|cookie| Some(cookie.to_str().ok()?.split(';').next()?.to_owned()))
}

pub(crate) fn location(response: &Response) -> anyhow::Result<&str> {
    Ok(response.headers().get(LOCATION).context("no redirect")?.to_str()?)
}

/// A client that does not follow redirects.
pub(crate) fn client() -> anyhow::Result<Client> {
    Ok(Client::builder().redirect(reqwest::redirect::Policy::none()).no_proxy().build()?)
}

/// Results of a storm of sign-ins.
pub(crate) struct Storm {
    pub(crate) a_second: f64,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
}

/// Runs sign-ins with a limit of concurrent ones.
pub(crate) async fn storm(
    entra: &Arc<Simulator>,
    service: &Arc<Service>,
    count: usize,
    at_once: usize,
) -> anyhow::Result<Storm> {
    let people = entra.people();
    let next = Arc::new(AtomicUsize::new(0));
    let begin = Instant::now();
    let mut workers = JoinSet::new();
    for _ in 0..at_once {
        let (entra, service, people, next) = (entra.clone(), service.clone(), people.clone(), next.clone());
        workers.spawn(async move {
            let mut times = Vec::new();
            loop {
                let n = next.fetch_add(1, Ordering::Relaxed);
                if n >= count {
                    return anyhow::Ok(times);
                }
                let begin = Instant::now();
                sign_in(&entra, &service, people[n % people.len()]).await?;
                times.push(ms(begin.elapsed()));
            }
        });
    }
    let mut times = Vec::new();
    while let Some(worker) = workers.join_next().await {
        times.extend(worker??);
    }
    let a_second = f64::from(u32::try_from(times.len())?) / begin.elapsed().as_secs_f64();
    Ok(Storm { a_second, p50_ms: share(&times, 0.5), p99_ms: share(&times, 0.99) })
}

pub(crate) fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1_000.0
}

pub(crate) fn median(values: &[f64]) -> f64 {
    share(values, 0.5)
}

/// The given quantile of the values.
pub(crate) fn share(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "an index"
    )]
    sorted[(((sorted.len() as f64) * share) as usize).min(sorted.len() - 1)]
}
