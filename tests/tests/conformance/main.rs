//! The cases of `simulation::conformance` against real servers, one and three: the model that the simulation rests on
//! behaves as they do.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod real;
mod servers;

use kingdom_tests::ports::Ports;
use real::Real;
use servers::Servers;
use simulation::conformance::{Bus, cases};
use simulation::jetstream::Replicas;
use std::panic::{AssertUnwindSafe, catch_unwind};

#[test]
fn one_real_server_conforms() {
    conforms(Replicas::One);
}

#[test]
fn three_real_servers_conform() {
    conforms(Replicas::Three);
}

/// All cases are tried, so that one run tells everything in which the model and the servers differ.
fn conforms(replicas: Replicas) {
    let ports = Ports::reserve();
    let mut real = Real::new(Servers::start(replicas, ports.nats()));
    let mut failed = Vec::new();
    for case in cases() {
        real.begin_anew();
        let began = std::time::Instant::now();
        let bus: &mut dyn Bus = &mut real;
        if catch_unwind(AssertUnwindSafe(|| (case.run)(bus))).is_err() {
            failed.push(case.name);
        }
        println!("{} with {replicas:?}: {:?}", case.name, began.elapsed());
    }
    assert_eq!(failed, [""; 0], "cases in which {replicas:?} real servers behave otherwise");
}
