//! Room on the state's disk, and what the state takes of it.

use std::path::Path;

use crate::beside;

/// Bytes of the state's files and of its disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Disk {
    /// Database, write-ahead log and shared memory together.
    pub(super) state: Option<u64>,
    /// Free for this user on the file system that holds them.
    pub(super) free: Option<u64>,
}

/// Looks. May block on a network file system that is away: call it where that is harmless.
pub(super) fn look(state: &Path) -> Disk {
    // On the disk that it really is on, whichever links lead there.
    let state = &beside::resolved(state);
    let size = |suffix: &str| std::fs::metadata(beside::path(state, suffix)).map(|file| file.len());
    let rest = ["-wal", "-shm"].map(|suffix| size(suffix).unwrap_or(0)).iter().sum::<u64>();
    Disk {
        state: size("").ok().map(|database| database + rest),
        // Blocks that an ordinary user may take; what is reserved for root does not help us.
        free: rustix::fs::statvfs(beside::folder(state))
            .ok()
            .map(|found| found.f_bavail.saturating_mul(found.f_frsize)),
    }
}

#[cfg(test)]
mod tests {
    use super::look;

    #[test]
    fn the_state_is_as_large_as_its_files_and_its_disk_has_room() {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("state.db");
        assert_eq!(look(&state).state, None);
        std::fs::write(&state, [0; 100]).unwrap();
        std::fs::write(folder.path().join("state.db-wal"), [0; 11]).unwrap();
        let found = look(&state);
        assert_eq!(found.state, Some(111));
        assert!(found.free.is_some_and(|free| free > 0));
        assert_eq!(look(std::path::Path::new("/nowhere/at/all.db")).free, None);
    }
}
