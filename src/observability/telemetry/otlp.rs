//! Exports spans by OTLP over HTTP, configured with OpenTelemetry's environment variables.
//!
//! A thread of the library sends them in batches. If it cannot keep up, spans are dropped; no request waits.

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

/// Time limit for exporting the remaining spans after the last request.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(2);

const SAMPLER: &str = "OTEL_TRACES_SAMPLER";
const SAMPLER_ARG: &str = "OTEL_TRACES_SAMPLER_ARG";

/// Supported values of variables for which the library silently ignores other values.
const SUPPORTED_VALUES: [(&str, &[&str]); 5] = [
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

/// Exports spans to a collector.
pub(crate) struct TraceExporter(SdkTracerProvider);

impl TraceExporter {
    /// `variable` is the one that has the collector's URL; `set` returns the value of a variable. The library reads the
    /// other variables itself.
    ///
    /// # Errors
    /// Fails if a variable has an unsupported value, or if the exporter cannot be created.
    pub(super) fn new<'a>(variable: &str, set: impl Fn(&str) -> Option<&'a str>) -> anyhow::Result<Self> {
        let text = set(variable).unwrap_or_default();
        let url = Url::parse(text).ok().filter(|url| ["http", "https"].contains(&url.scheme()));
        let url = url.with_context(|| format!("{variable}: not an http or https URL"))?;
        for (name, supported) in SUPPORTED_VALUES {
            let Some(value) = set(name) else { continue };
            anyhow::ensure!(
                supported.contains(&value),
                "{name}: unsupported value {value:?}. Supported: {}",
                supported.join(", ")
            );
        }
        if set(SAMPLER).is_some_and(|sampler| sampler.ends_with("traceidratio")) {
            let ratio = set(SAMPLER_ARG).unwrap_or_default();
            let is_valid = ratio.parse().is_ok_and(|ratio: f64| (0.0..=1.0).contains(&ratio));
            anyhow::ensure!(is_valid, "{SAMPLER_ARG}: invalid ratio {ratio:?}. Use a number from 0 to 1, such as 0.01");
        }
        let client = Client {
            http: http_client::HttpClient::for_host(&url).context("failed to create the HTTP client for traces")?,
            runtime: Handle::current(),
            failing: AtomicBool::new(false),
        };
        let exporter = SpanExporter::builder().with_http().with_http_client(client).build();
        let exporter = exporter.context("failed to set up trace export from the OTEL_EXPORTER_OTLP_… variables")?;
        let provider = SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource()).build();
        Ok(Self(provider))
    }

    /// The layer that receives the spans of [`spans`], and nothing else.
    pub(super) fn layer(&self) -> BoxedLayer {
        tracing_opentelemetry::layer()
            .with_tracer(self.0.tracer(env!("CARGO_PKG_NAME")))
            // Attributes that the library adds by default.
            .with_location(false)
            .with_threads(false)
            .with_target(false)
            .with_tracked_inactivity(false)
            .with_context_activation(false)
            .with_filter(filter_fn(|metadata| metadata.is_span() && metadata.target() == spans::TARGET))
            .boxed()
    }

    /// Exports the remaining spans, within [`FLUSH_TIMEOUT`].
    pub(crate) async fn shut_down(self) {
        // Blocks until the library's thread has finished, which needs this runtime to send.
        let result = tokio::task::spawn_blocking(move || self.0.shutdown_with_timeout(FLUSH_TIMEOUT)).await;
        if !matches!(result, Ok(Ok(()))) {
            tracing::warn!("failed to export the last spans");
        }
    }
}

/// Resource attributes: the operator's `service.name`, else this program's name, and the version.
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

/// [`http_client::HttpClient`] as the exporter's client, callable from the library's thread.
#[derive(Debug)]
struct Client {
    http: http_client::HttpClient,
    runtime: Handle,
    /// Whether the last attempt failed, so that an outage and its end are logged once.
    failing: AtomicBool,
}

impl Client {
    fn log_outcome(&self, failure: Option<&str>) {
        let failed_before = self.failing.swap(failure.is_some(), Ordering::Relaxed);
        match failure {
            Some(error) if !failed_before => tracing::warn!(error, "failed to export traces; dropping them"),
            None if failed_before => tracing::info!("exporting traces again"),
            _ => {}
        }
    }

    async fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let http = self.http.clone();
        // The library's thread has no runtime.
        let task = self.runtime.spawn(async move { http.execute(request.map(|body| body.to_vec())).await });
        // Fails only if the program is ending.
        let result = task.await?;
        match &result {
            Ok(response) if response.status().is_success() => self.log_outcome(None),
            Ok(response) => self.log_outcome(Some(&format!("the collector answered {}", response.status()))),
            Err(error) => self.log_outcome(Some(&error.to_string())),
        }
        Ok(result?.map(Bytes::from))
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
