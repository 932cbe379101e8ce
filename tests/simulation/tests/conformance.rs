//! The model behaves as the cases say, with one replica and with three. Real servers: `tests/tests/conformance.rs`.

use simulation::conformance::{Model, cases};
use simulation::jetstream::Replicas;

#[test]
fn the_model_conforms() {
    for replicas in [Replicas::One, Replicas::Three] {
        for case in cases() {
            println!("{} with {replicas:?}", case.name);
            (case.run)(&mut Model::new(replicas));
        }
    }
}

#[test]
fn no_case_is_there_twice() {
    let mut names: Vec<_> = cases().iter().map(|case| case.name).collect();
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count);
    assert!(count >= 60, "{count}");
}
