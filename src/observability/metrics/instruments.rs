//! Counters, gauges and histograms. Every combination of label values has a series, created at the start.

use std::marker::PhantomData;
use std::time::Duration;

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

/// Number of events.
pub struct Counter<L> {
    series: Box<[CounterSeries]>,
    labels: PhantomData<fn(L)>,
}

impl<L: Labels> Counter<L> {
    pub fn add(&self, labels: L) {
        self.add_many(labels, 1);
    }

    pub fn add_many(&self, labels: L, count: usize) {
        if let Some(series) = self.series.get(labels.index()) {
            series.inc_by(count as u64);
        }
    }
}

/// Current value.
pub struct Gauge<L> {
    series: Box<[GaugeSeries]>,
    labels: PhantomData<fn(L)>,
}

impl<L: Labels> Gauge<L> {
    pub fn set(&self, labels: L, value: impl TryInto<i64>) {
        if let (Some(series), Ok(value)) = (self.series.get(labels.index()), value.try_into()) {
            series.set(value);
        }
    }

    /// Increments the gauge until the guard is dropped.
    #[must_use]
    pub fn guard(&self, labels: L) -> GaugeGuard {
        let series = self.series.get(labels.index()).cloned().unwrap_or_default();
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
pub struct Histogram<L> {
    series: Box<[HistogramSeries]>,
    labels: PhantomData<fn(L)>,
}

impl<L: Labels> Histogram<L> {
    pub fn observe(&self, labels: L, duration: Duration) {
        if let Some(series) = self.series.get(labels.index()) {
            series.observe(duration.as_secs_f64());
        }
    }
}

/// Registers metrics and lists them.
pub(super) struct Registrar<'a> {
    pub(super) registry: &'a mut Registry,
    pub(super) list: Vec<Metric>,
}

impl Registrar<'_> {
    pub(super) fn counter<L: Labels>(&mut self, name: &'static str, help: &'static str) -> Counter<L> {
        self.describe::<L>(format!("{name}_total"), Kind::Counter, help);
        let family = Family::<LabelSet, CounterSeries>::default();
        self.registry.register(name, help, family.clone());
        let series = L::sets().iter().map(|set| family.get_or_create(set).clone()).collect();
        Counter { series, labels: PhantomData }
    }

    pub(super) fn gauge<L: Labels>(&mut self, name: &'static str, help: &'static str) -> Gauge<L> {
        self.describe::<L>(name.to_owned(), Kind::Gauge, help);
        let family = Family::<LabelSet, GaugeSeries>::default();
        self.registry.register(name, help, family.clone());
        let series = L::sets().iter().map(|set| family.get_or_create(set).clone()).collect();
        Gauge { series, labels: PhantomData }
    }

    pub(super) fn histogram<L: Labels>(&mut self, name: &'static str, help: &'static str) -> Histogram<L> {
        self.describe::<L>(name.to_owned(), Kind::Histogram, help);
        let create: fn() -> HistogramSeries = || HistogramSeries::new(BUCKETS);
        let family = Family::<LabelSet, HistogramSeries, _>::new_with_constructor(create);
        self.registry.register(name, help, family.clone());
        let series = L::sets().iter().map(|set| family.get_or_create(set).clone()).collect();
        Histogram { series, labels: PhantomData }
    }

    /// A gauge that is always 1 and has its information in a label.
    pub(super) fn info(&mut self, name: &'static str, help: &'static str, label: [(&'static str, &'static str); 1]) {
        let labels = label.iter().map(|(name, value)| (*name, vec![*value])).collect();
        self.list.push(Metric { name: name.to_owned(), kind: Kind::Gauge, labels, help });
        let family = Family::<LabelSet, GaugeSeries>::default();
        self.registry.register(name, help, family.clone());
        family.get_or_create(&label.to_vec()).set(1);
    }

    fn describe<L: Labels>(&mut self, name: String, kind: Kind, help: &'static str) {
        self.list.push(Metric { name, kind, labels: L::values(), help });
    }
}
