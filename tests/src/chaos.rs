//! A whole kingdom under faults: three NATS servers, three Kings, two Foremen, three Servants with real apps, the
//! Alerter, and users who never stop sending commands. One round injects faults, heals them, and proves from the log
//! that nothing was lost, doubled or reordered.
//!
//! [`site`] is the kingdom, [`fault`] what is done to it, [`rot`] what is done to the files of a server and [`mend`] what
//! must come of that, [`users`] who sends commands and remembers what was told,
//! [`past`] the log as each server has it, compared with that, [`whole`] when everything is well again, [`run`] the
//! rounds, [`table`] what is printed. A run is chosen by its seed; what the machine does meanwhile is not.

pub mod dice;
pub mod disk;
pub mod site;
pub mod rot;
pub mod mend;
pub mod fault;
pub mod users;
pub mod past;
pub mod whole;
pub mod table;
pub mod run;
