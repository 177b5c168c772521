//! Sends spans by OTLP over HTTP, as OpenTelemetry's variables say. A thread of the library's own collects them and sends
//! them now and then; where it cannot keep up, spans are dropped, and no request waits.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use http::{Request, Response};
use opentelemetry::trace::TracerProvider as _;
use opentelemetry::{Key, KeyValue};
use opentelemetry_http::{Bytes, HttpClient, HttpError};
use opentelemetry_otlp::{SpanExporter, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tokio::runtime::Handle;
use tracing_subscriber::Layer as _;
use tracing_subscriber::filter::filter_fn;
use url::Url;

use super::BoxedLayer;
use crate::observability::spans;
use crate::util::http_client;

/// After the last request, what was not sent yet gets this long.
const LAST_WORDS: Duration = Duration::from_secs(2);

const SAMPLER: &str = "OTEL_TRACES_SAMPLER";
const SAMPLER_ARGUMENT: &str = "OTEL_TRACES_SAMPLER_ARG";

/// Where the library would silently do something else than it is asked for: what it can do.
const POSSIBLE: [(&str, &[&str]); 5] = [
    ("OTEL_EXPORTER_OTLP_PROTOCOL", &["http/protobuf"]),
    ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", &["http/protobuf"]),
    ("OTEL_EXPORTER_OTLP_COMPRESSION", &["none"]),
    ("OTEL_EXPORTER_OTLP_TRACES_COMPRESSION", &["none"]),
    (
        SAMPLER,
        &[
            "always_on",
            "always_off",
            "traceidratio",
            "parentbased_always_on",
            "parentbased_always_off",
            "parentbased_traceidratio",
        ],
    ),
];

/// Where spans go.
pub(crate) struct Sender(SdkTracerProvider);

impl Sender {
    /// `variable` is the one that names the collector; `set` gives what a variable is set to. The library reads the
    /// others for itself.
    pub(super) fn new<'a>(variable: &str, set: impl Fn(&str) -> Option<&'a str>) -> anyhow::Result<Self> {
        let text = set(variable).unwrap_or_default();
        let url = Url::parse(text).ok().filter(|url| ["http", "https"].contains(&url.scheme()));
        let url = url.with_context(|| format!("{variable} is no http or https address"))?;
        for (name, possible) in POSSIBLE {
            let Some(value) = set(name) else { continue };
            anyhow::ensure!(
                possible.contains(&value),
                "{name} is {value:?}, where this can be: {}",
                possible.join(", ")
            );
        }
        if set(SAMPLER).is_some_and(|sampler| sampler.ends_with("traceidratio")) {
            let ratio = set(SAMPLER_ARGUMENT).unwrap_or_default();
            let part = ratio.parse().is_ok_and(|ratio: f64| (0.0..=1.0).contains(&ratio));
            anyhow::ensure!(
                part,
                "{SAMPLER_ARGUMENT} is {ratio:?}, where a number from 0 to 1 has to be, such as 0.01"
            );
        }
        let client = Client {
            http: http_client::HttpClient::to(&url).context("the HTTP client for traces could not be made")?,
            runtime: Handle::current(),
            failing: AtomicBool::new(false),
        };
        let exporter = SpanExporter::builder().with_http().with_http_client(client).build();
        let exporter = exporter.context("traces cannot be sent as the variables OTEL_EXPORTER_OTLP_… say")?;
        let provider = SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource()).build();
        Ok(Self(provider))
    }

    /// Takes the spans of `trace`, and nothing else.
    pub(super) fn layer(&self) -> BoxedLayer {
        tracing_opentelemetry::layer()
            .with_tracer(self.0.tracer(env!("CARGO_PKG_NAME")))
            // The library's own additions, which tell nothing here.
            .with_location(false)
            .with_threads(false)
            .with_target(false)
            .with_tracked_inactivity(false)
            .with_context_activation(false)
            .with_filter(filter_fn(|metadata| metadata.is_span() && metadata.target() == spans::TARGET))
            .boxed()
    }

    /// Sends what is left, if that goes quickly.
    pub(crate) async fn end(self) {
        // It waits for the library's thread, which in turn needs this runtime to send.
        let ended = tokio::task::spawn_blocking(move || self.0.shutdown_with_timeout(LAST_WORDS)).await;
        if !matches!(ended, Ok(Ok(()))) {
            tracing::warn!("the last spans were not sent");
        }
    }
}

/// Who the spans are of: what the operator says, else this program.
fn resource() -> Resource {
    let builder = Resource::builder().with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")));
    let resource = builder.build();
    let name = resource.get(&Key::from_static_str("service.name"));
    if name.is_some_and(|name| !name.as_str().starts_with("unknown_service")) {
        return resource;
    }
    let attributes = resource.iter().map(|(key, value)| KeyValue::new(key.clone(), value.clone()));
    let named = Resource::builder_empty().with_attributes(attributes);
    named.with_service_name(env!("CARGO_PKG_NAME")).build()
}

/// The one way out, for the library's thread.
#[derive(Debug)]
struct Client {
    http: http_client::HttpClient,
    runtime: Handle,
    /// Whether the last attempt failed: an outage is told once, and its end.
    failing: AtomicBool,
}

impl Client {
    fn note(&self, failure: Option<&str>) {
        let failed_before = self.failing.swap(failure.is_some(), Ordering::Relaxed);
        match failure {
            Some(why) if !failed_before => tracing::warn!("traces cannot be sent, and are dropped meanwhile: {why}"),
            None if failed_before => tracing::info!("traces are sent again"),
            _ => {}
        }
    }

    async fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let http = self.http.clone();
        // The thread has no runtime of its own.
        let answer = self.runtime.spawn(async move { http.exchange(request.map(|body| body.to_vec())).await });
        // Cut off only where the program ends.
        let answer = answer.await?;
        match &answer {
            Ok(answer) if answer.status().is_success() => self.note(None),
            Ok(answer) => self.note(Some(&format!("the collector answers {}", answer.status()))),
            Err(error) => self.note(Some(&error.to_string())),
        }
        Ok(answer?.map(Bytes::from))
    }
}

impl HttpClient for Client {
    fn send_bytes<'a, 'f>(
        &'a self,
        request: Request<Bytes>,
    ) -> Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send + 'f>>
    where
        'a: 'f,
        Self: 'f,
    {
        Box::pin(self.send(request))
    }
}
