//! A collector that stores OTLP requests over HTTP.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use prost::Message as _;
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};

/// Status for a collector that never responds.
pub(super) const SILENCE: u16 = 0;

#[derive(Clone, Default)]
struct Kept {
    status: Arc<AtomicU16>,
    got: Arc<Mutex<Vec<(HeaderMap, ExportTraceServiceRequest)>>>,
}

pub(super) struct Collector {
    /// Base URL without the path, as the environment variable requires it.
    pub(super) endpoint: String,
    kept: Kept,
    _stop: DropGuard,
}

/// A span as the tests compare it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sent {
    pub(super) name: String,
    pub(super) trace_id: String,
    pub(super) span_id: String,
    /// Empty if it has none.
    pub(super) parent: String,
    pub(super) state: String,
    /// 1: internal, 2: server, 3: client.
    pub(super) kind: i32,
    pub(super) failed: bool,
    pub(super) attributes: BTreeMap<String, String>,
}

impl Collector {
    /// A collector that responds with this status.
    pub(super) async fn answering(status: u16) -> Self {
        let kept = Kept::default();
        kept.status.store(status, Ordering::SeqCst);
        let keep = kept.clone();
        let take = async move |headers: HeaderMap, body: Bytes| {
            let status = keep.status.load(Ordering::SeqCst);
            if status == SILENCE {
                tokio::time::sleep(Duration::from_mins(5)).await;
            }
            if status == 200 {
                let request = ExportTraceServiceRequest::decode(body).expect("the body is an OTLP request");
                keep.got.lock().unwrap().push((headers, request));
            }
            StatusCode::from_u16(status).unwrap()
        };
        let router = Router::new().route("/v1/traces", post(take));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        tokio::spawn(async move {
            tokio::select! {
                ended = axum::serve(listener, router) => ended.unwrap(),
                () = stopped.cancelled() => {}
            }
        });
        Self { endpoint, kept, _stop: stop.drop_guard() }
    }

    pub(super) fn answers(&self, status: u16) {
        self.kept.status.store(status, Ordering::SeqCst);
    }

    /// The variables that make a program send its spans here, all at shutdown.
    pub(super) fn variables(&self) -> Vec<(&'static str, String)> {
        vec![
            ("OTEL_EXPORTER_OTLP_ENDPOINT", self.endpoint.clone()),
            ("OTEL_BSP_SCHEDULE_DELAY", "600000".to_owned()),
            // A large batch is not sent earlier, either.
            ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "2048".to_owned()),
        ]
    }

    pub(super) fn headers(&self) -> Vec<HeaderMap> {
        self.kept.got.lock().unwrap().iter().map(|(headers, _)| headers.clone()).collect()
    }

    /// The resource attributes of the spans.
    pub(super) fn resources(&self) -> Vec<BTreeMap<String, String>> {
        let got = self.kept.got.lock().unwrap();
        let all = got.iter().flat_map(|(_, request)| &request.resource_spans);
        all.map(|spans| plain(&spans.resource.as_ref().expect("spans have a resource").attributes)).collect()
    }

    pub(super) fn spans(&self) -> Vec<Sent> {
        let got = self.kept.got.lock().unwrap();
        let scopes = got.iter().flat_map(|(_, request)| &request.resource_spans).flat_map(|spans| &spans.scope_spans);
        scopes
            .flat_map(|scope| &scope.spans)
            .map(|span| {
                assert!(span.events.is_empty() && span.links.is_empty(), "no events or links in {span:#?}");
                Sent {
                    name: span.name.clone(),
                    trace_id: hex(&span.trace_id),
                    span_id: hex(&span.span_id),
                    parent: hex(&span.parent_span_id),
                    state: span.trace_state.clone(),
                    kind: span.kind,
                    failed: span.status.as_ref().is_some_and(|status| status.code == 2),
                    attributes: plain(&span.attributes),
                }
            })
            .collect()
    }

    /// Everything received, without random values, which may contain any text.
    pub(super) fn text(&self) -> String {
        let mut got = self.kept.got.lock().unwrap().clone();
        let requests = got.iter_mut().map(|(_, request)| {
            let scopes = request.resource_spans.iter_mut().flat_map(|spans| &mut spans.scope_spans);
            for span in scopes.flat_map(|scope| &mut scope.spans) {
                for id in [&mut span.trace_id, &mut span.span_id, &mut span.parent_span_id] {
                    id.clear();
                }
                (span.start_time_unix_nano, span.end_time_unix_nano) = (0, 0);
            }
            format!("{request:#?}\n")
        });
        requests.collect()
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
}

fn plain(attributes: &[KeyValue]) -> BTreeMap<String, String> {
    let value = |value: &Option<AnyValue>| match value.as_ref().and_then(|value| value.value.as_ref()) {
        Some(Value::StringValue(text)) => text.clone(),
        Some(Value::IntValue(number)) => number.to_string(),
        other => panic!("an attribute of another kind: {other:?}"),
    };
    attributes.iter().map(|pair| (pair.key.clone(), value(&pair.value))).collect()
}
