//! Tests that wait for time limits to pass.

mod outage;
