//! How the kernel gives memory to this process.

/// Asks for small pages only, also in what this process starts. An allocator that gives memory back and takes it again
/// gets huge pages otherwise, each wiped as a whole for the little that is used of it: a fifth of a busy writer's time.
pub fn prefer_small_pages() {
    if let Err(error) = rustix::thread::disable_transparent_huge_pages(true) {
        tracing::debug!(%error, "memory may come in huge pages, which is slower");
    }
}
