//! Counters, gauges and histograms. Every combination of label values has a series, created at the start.

use std::fmt::Debug;
use std::marker::PhantomData;
use std::time::Duration;

use prometheus_client::encoding::EncodeMetric;
use prometheus_client::metrics::TypedMetric;
use prometheus_client::metrics::counter::Counter as CounterSeries;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge as GaugeSeries;
use prometheus_client::metrics::histogram::Histogram as HistogramSeries;
use prometheus_client::registry::Registry;

use super::labels::Labels;

/// The label names and values of one series.
type LabelSet = Vec<(&'static str, &'static str)>;

/// Upper bounds in seconds: from a plan, which takes microseconds, to the longest time limit.
const BUCKETS: [f64; 16] =
    [0.0001, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

/// Description of one metric.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metric {
    /// Name in the text format; for a histogram without `_bucket`, `_sum` and `_count`.
    pub name: String,
    pub kind: Kind,
    /// Each label with all its values.
    pub labels: Vec<(&'static str, Vec<&'static str>)>,
    pub help: &'static str,
}

/// Prometheus type of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Counter,
    Gauge,
    Histogram,
}

/// All series of a metric with the labels `L`.
pub struct Series<L, M> {
    series: Box<[M]>,
    labels: PhantomData<fn(L)>,
}

impl<L: Labels, M> Series<L, M> {
    fn of(&self, labels: L) -> &M {
        &self.series[labels.index()]
    }
}

/// Number of events.
pub type Counter<L> = Series<L, CounterSeries>;

impl<L: Labels> Counter<L> {
    pub fn add(&self, labels: L) {
        self.add_many(labels, 1);
    }

    pub fn add_many(&self, labels: L, count: usize) {
        self.of(labels).inc_by(count as u64);
    }
}

/// Current value.
pub type Gauge<L> = Series<L, GaugeSeries>;

impl<L: Labels> Gauge<L> {
    pub fn set(&self, labels: L, value: impl TryInto<i64>) {
        if let Ok(value) = value.try_into() {
            self.of(labels).set(value);
        }
    }

    /// Increments the gauge until the guard is dropped.
    #[must_use]
    pub fn guard(&self, labels: L) -> GaugeGuard {
        let series = self.of(labels).clone();
        series.inc();
        GaugeGuard(series)
    }
}

/// Decrements its gauge when dropped.
pub struct GaugeGuard(GaugeSeries);

impl Drop for GaugeGuard {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// Distribution of durations, in seconds.
pub type Histogram<L> = Series<L, HistogramSeries>;

impl<L: Labels> Histogram<L> {
    pub fn observe(&self, labels: L, duration: Duration) {
        self.of(labels).observe(duration.as_secs_f64());
    }
}

/// Registers metrics and lists them.
pub(super) struct Registrar<'a> {
    pub(super) registry: &'a mut Registry,
    pub(super) list: Vec<Metric>,
}

impl Registrar<'_> {
    pub(super) fn counter<L: Labels>(&mut self, name: &'static str, help: &'static str) -> Counter<L> {
        self.register(name, help, Kind::Counter, CounterSeries::default)
    }

    pub(super) fn gauge<L: Labels>(&mut self, name: &'static str, help: &'static str) -> Gauge<L> {
        self.register(name, help, Kind::Gauge, GaugeSeries::default)
    }

    pub(super) fn histogram<L: Labels>(&mut self, name: &'static str, help: &'static str) -> Histogram<L> {
        self.register(name, help, Kind::Histogram, || HistogramSeries::new(BUCKETS))
    }

    /// A gauge that is always 1 and has its information in a label.
    pub(super) fn info(&mut self, name: &'static str, help: &'static str, label: (&'static str, &'static str)) {
        let labels = vec![(label.0, vec![label.1])];
        self.list.push(Metric { name: name.to_owned(), kind: Kind::Gauge, labels, help });
        let family = Family::<LabelSet, GaugeSeries>::default();
        self.registry.register(name, help, family.clone());
        family.get_or_create(&vec![label]).set(1);
    }

    fn register<L, M>(&mut self, name: &str, help: &'static str, kind: Kind, create: fn() -> M) -> Series<L, M>
    where
        L: Labels,
        M: EncodeMetric + TypedMetric + Clone + Debug + Send + Sync + 'static,
    {
        let suffix = if kind == Kind::Counter { "_total" } else { "" };
        self.list.push(Metric { name: format!("{name}{suffix}"), kind, labels: L::values(), help });
        let family = Family::<LabelSet, M, fn() -> M>::new_with_constructor(create);
        self.registry.register(name, help, family.clone());
        let series = combinations(&L::values()).iter().map(|set| family.get_or_create(set).clone()).collect();
        Series { series, labels: PhantomData }
    }
}

/// All combinations of label values, in the order of [`Labels::index`].
fn combinations(labels: &[(&'static str, Vec<&'static str>)]) -> Vec<LabelSet> {
    labels.iter().fold(vec![LabelSet::new()], |sets, (name, values)| {
        let with = |set: &LabelSet, value| [&set[..], &[(*name, value)]].concat();
        sets.iter().flat_map(|set| values.iter().map(move |value| with(set, *value))).collect()
    })
}
