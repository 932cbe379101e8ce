//! Ends what a test leaves behind when it is killed itself (by Ctrl-C, or because its time is over) and can clean up
//! nothing any more: a small process beside it that waits for the end of its pipe.

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// Learns the folder from the first line, so that it is in none of its own arguments; the second line is the clean end.
const SCRIPT: &str = r#"
read -r folder
read -r clean && exit 0
for round in 1 2 3 4 5; do
  for place in /proc/[0-9]*; do
    if grep -qsF "$folder" "$place/environ" "$place/cmdline" || readlink "$place/cwd" | grep -qsF "$folder"; then
      kill -9 "${place#/proc/}" 2>/dev/null
    fi
  done
done
rm -rf "$folder"
"#;

/// Watches over one folder.
#[derive(Debug)]
pub struct Reaper(Child);

impl Reaper {
    /// Starts to watch.
    ///
    /// # Panics
    /// When there is no shell.
    pub fn of(folder: &Path) -> Self {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", SCRIPT]).current_dir("/").stdin(Stdio::piped()).process_group(0);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = command.spawn().expect("there is a shell");
        let stdin = child.stdin.as_mut().expect("it is piped");
        writeln!(stdin, "{}", folder.display()).expect("the shell reads");
        Self(child)
    }
}

impl Drop for Reaper {
    fn drop(&mut self) {
        if let Some(mut stdin) = self.0.stdin.take() {
            // Should it be gone, there is nothing left to tell it.
            let _ = writeln!(stdin, "clean");
        }
        let _ = self.0.wait();
    }
}
