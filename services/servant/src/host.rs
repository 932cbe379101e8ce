//! Facts of the host, from `/proc` and sysinfo.

use std::io;
use sysinfo::{MemoryRefreshKind, RefreshKind, System};

/// The kernel's boot id: a new one means that no process of before runs.
///
/// # Errors
/// When `/proc` cannot be read.
pub fn boot_id() -> io::Result<String> {
    Ok(std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned())
}

/// When a process was started, in clock ticks since boot (proc(5), field 22 of `stat`). With the pid and the boot id
/// it names a process for ever. None when there is no such process, or only its zombie.
pub fn start_ticks(pid: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name of the program stands in brackets and may hold anything: the fields begin after the last bracket.
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
    let state = fields.next()?;
    let ticks = fields.nth(18)?.parse().ok()?;
    (state != "Z" && state != "X").then_some(ticks)
}

/// Processor threads of the host.
pub fn cpus() -> u32 {
    std::thread::available_parallelism().map_or(1, |count| u32::try_from(count.get()).unwrap_or(u32::MAX))
}

/// Memory of the host, in bytes.
pub fn memory_bytes() -> u64 {
    let kinds = RefreshKind::nothing().with_memory(MemoryRefreshKind::nothing().with_ram());
    System::new_with_specifics(kinds).map_or(0, |system| system.total_memory())
}

/// The host's name as a label: lower case, with `-` for what a name cannot hold; `local` if nothing is left.
pub fn label() -> String {
    let name = System::host_name().unwrap_or_default().to_ascii_lowercase();
    let first = name.split('.').next().unwrap_or_default();
    let plain: String =
        first.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).take(63).collect();
    let label = plain.trim_matches('-');
    if label.is_empty() { "local".to_owned() } else { label.to_owned() }
}
