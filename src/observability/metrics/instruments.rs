//! Counters, levels and times, each with a series for every value of its labels, made beforehand.

use std::marker::PhantomData;
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::labels::Labels;

/// The labels of one series.
type Set = Vec<(&'static str, &'static str)>;

/// Upper bounds in seconds: from a plan, which takes microseconds, to the longest that anything may take.
const BOUNDS: [f64; 16] =
    [0.0001, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

/// One metric, as it is told to those who read them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metric {
    /// As it is in the text; of a histogram without `_bucket`, `_sum` and `_count`.
    pub name: String,
    pub kind: Kind,
    /// Each with the values that it can have.
    pub labels: Vec<(&'static str, Vec<&'static str>)>,
    pub help: &'static str,
}

/// What a metric is to Prometheus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Counter,
    Gauge,
    Histogram,
}

/// How often something happened.
pub struct Counts<L> {
    cells: Box<[Counter]>,
    labels: PhantomData<fn(L)>,
}

impl<L: Labels> Counts<L> {
    /// Once more.
    pub fn add(&self, labels: L) {
        self.add_many(labels, 1);
    }

    pub fn add_many(&self, labels: L, count: usize) {
        if let Some(cell) = self.cells.get(labels.index()) {
            cell.inc_by(count as u64);
        }
    }
}

/// How much there is of something.
pub struct Levels<L> {
    cells: Box<[Gauge]>,
    labels: PhantomData<fn(L)>,
}

impl<L: Labels> Levels<L> {
    pub fn set(&self, labels: L, level: impl TryInto<i64>) {
        if let (Some(cell), Ok(level)) = (self.cells.get(labels.index()), level.try_into()) {
            cell.set(level);
        }
    }

    /// One more, until what is given is dropped.
    #[must_use]
    pub fn hold(&self, labels: L) -> Held {
        let cell = self.cells.get(labels.index()).cloned().unwrap_or_default();
        cell.inc();
        Held(cell)
    }
}

/// Counts in a level while it lives.
pub struct Held(Gauge);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// How long something took.
pub struct Seconds<L> {
    cells: Box<[Histogram]>,
    labels: PhantomData<fn(L)>,
}

impl<L: Labels> Seconds<L> {
    pub fn took(&self, labels: L, time: Duration) {
        if let Some(cell) = self.cells.get(labels.index()) {
            cell.observe(time.as_secs_f64());
        }
    }
}

/// Makes metrics, and lists them.
pub(super) struct Listing<'a> {
    pub(super) registry: &'a mut Registry,
    pub(super) list: Vec<Metric>,
}

impl Listing<'_> {
    pub(super) fn counts<L: Labels>(&mut self, name: &'static str, help: &'static str) -> Counts<L> {
        self.tell::<L>(format!("{name}_total"), Kind::Counter, help);
        let family = Family::<Set, Counter>::default();
        self.registry.register(name, help, family.clone());
        let cells = L::sets().iter().map(|set| family.get_or_create(set).clone()).collect();
        Counts { cells, labels: PhantomData }
    }

    pub(super) fn levels<L: Labels>(&mut self, name: &'static str, help: &'static str) -> Levels<L> {
        self.tell::<L>(name.to_owned(), Kind::Gauge, help);
        let family = Family::<Set, Gauge>::default();
        self.registry.register(name, help, family.clone());
        let cells = L::sets().iter().map(|set| family.get_or_create(set).clone()).collect();
        Levels { cells, labels: PhantomData }
    }

    pub(super) fn seconds<L: Labels>(&mut self, name: &'static str, help: &'static str) -> Seconds<L> {
        self.tell::<L>(name.to_owned(), Kind::Histogram, help);
        let make: fn() -> Histogram = || Histogram::new(BOUNDS);
        let family = Family::<Set, Histogram, _>::new_with_constructor(make);
        self.registry.register(name, help, family.clone());
        let cells = L::sets().iter().map(|set| family.get_or_create(set).clone()).collect();
        Seconds { cells, labels: PhantomData }
    }

    /// What does not change, told by its label.
    pub(super) fn fact(&mut self, name: &'static str, help: &'static str, label: [(&'static str, &'static str); 1]) {
        let labels = label.iter().map(|(name, value)| (*name, vec![*value])).collect();
        self.list.push(Metric { name: name.to_owned(), kind: Kind::Gauge, labels, help });
        let family = Family::<Set, Gauge>::default();
        self.registry.register(name, help, family.clone());
        family.get_or_create(&label.to_vec()).set(1);
    }

    fn tell<L: Labels>(&mut self, name: String, kind: Kind, help: &'static str) {
        self.list.push(Metric { name, kind, labels: L::values(), help });
    }
}
