//! Runs futures concurrently on the test's own task, so that they can borrow.

use std::task::Poll;

/// Runs all futures concurrently; returns their results in order.
pub(crate) async fn join_all<F: Future>(all: impl IntoIterator<Item = F>) -> Vec<F::Output> {
    let mut running: Vec<_> = all.into_iter().map(|one| (Box::pin(one), None)).collect();
    std::future::poll_fn(|context| {
        for (one, outcome) in &mut running {
            if outcome.is_none()
                && let Poll::Ready(value) = one.as_mut().poll(context)
            {
                *outcome = Some(value);
            }
        }
        if running.iter().all(|(_, outcome)| outcome.is_some()) { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    running.into_iter().filter_map(|(_, outcome)| outcome).collect()
}
