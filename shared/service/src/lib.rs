//! What every service of the kingdom needs to be one: its flags, its log lines, its end, its data folder, and the
//! rule that nothing leaves this machine. It knows no bus and no domain; the services put it together in `main`.

pub mod args;
pub mod telemetry;
pub mod shutdown;
pub mod loopback;
pub mod data;
pub mod identity;
pub mod clock;
pub mod chain;
pub mod files;
pub mod memory;

pub use args::CommonArgs;
pub use chain::chain;
pub use shutdown::Shutdown;
