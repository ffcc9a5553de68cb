//! Signals that this process was started to ignore, as a shell has its background commands ignore SIGINT: pods must not.

use std::io;

use tokio::signal::unix::{SignalKind, signal};

/// Takes back what is ignored, by catching it: an executed program begins with the default of what was caught, and goes on
/// ignoring what was ignored (`execve(2)`), so that a container could neither be interrupted nor trap it.
///
/// For this process itself nothing changes: what arrives is caught and dropped.
///
/// # Errors
/// When the kernel does not tell, or no handler can be installed.
pub(super) fn heed() -> io::Result<()> {
    let ignored = ignored(&std::fs::read_to_string("/proc/self/status")?);
    for kind in [SignalKind::hangup(), SignalKind::interrupt(), SignalKind::quit(), SignalKind::terminate()] {
        if ignored & (1 << (kind.as_raw_value() - 1)) != 0 {
            // Its handler stays when the receiver is dropped.
            drop(signal(kind)?);
        }
    }
    Ok(())
}

/// The set of ignored signals in `/proc/PID/status`: signal `n` is bit `n - 1`.
fn ignored(status: &str) -> u64 {
    let mut lines = status.lines();
    let set = lines.find_map(|line| line.strip_prefix("SigIgn:"));
    set.and_then(|set| u64::from_str_radix(set.trim(), 16).ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ignored_signals_are_read() {
        assert_eq!(
            ignored("Name:\tx\nSigBlk:\t0000000000000001\nSigIgn:\t0000000180000006\n"),
            0x1_8000_0006
        );
        assert_eq!(ignored(""), 0);
    }
}
