//! Captures the service's log during a test.

use std::cell::RefCell;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, Once};

use tracing_subscriber::filter::{LevelFilter, dynamic_filter_fn};
use tracing_subscriber::prelude::*;
use tracing_subscriber::{fmt, registry};

thread_local! {
    static KEPT: RefCell<Option<Arc<Mutex<Vec<u8>>>>> = const { RefCell::new(None) };
}

/// Captures everything that is logged on this test's thread while this value lives, at level DEBUG. A test's runtime
/// has one thread, so the lines come only from its own instances of the service.
pub(crate) struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    pub(crate) fn new() -> Self {
        static STARTED: Once = Once::new();
        STARTED.call_once(|| {
            // Evaluated for each line, because most threads capture none.
            let kept = dynamic_filter_fn(|_, _| KEPT.try_with(|kept| kept.borrow().is_some()).unwrap_or(false));
            let lines = fmt::layer().with_ansi(false).with_target(false).with_writer(|| Here);
            registry().with(lines.with_filter(kept).with_filter(LevelFilter::DEBUG)).init();
        });
        let log = Arc::default();
        KEPT.set(Some(Arc::clone(&log)));
        Self(log)
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        KEPT.set(None);
    }
}

/// Writes to this thread's log.
struct Here;

impl Write for Here {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        KEPT.with_borrow(|kept| kept.iter().for_each(|log| log.lock().unwrap().extend_from_slice(line)));
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
