//! The token of a login, shared by all commands that work on one state.
//!
//! Each login ends the token before it at once (notes FIRST LINE 1.2), so commands beside each other must not each log in
//! (docs/adr/0014). `<state>.login` holds the token, for its owner alone. Whoever uses it holds a shared lock of the operating
//! system on it, which the kernel frees however its holder dies: what stands in a file that nobody holds is a left-over, and is
//! emptied; the last one takes the file away. Whoever logs in has the turn meanwhile, a lock on `<state>.login-turn`.

use std::fs::{self, File, Permissions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::beside;
use crate::domain::hash::HashKey;
use crate::http::Secret;

/// Between two tries to get a lock.
const PAUSE: Duration = Duration::from_millis(20);
/// Others have the whole file to themselves for microseconds only.
const TRIES: u32 = 250;
/// Not to hide anything: it only keeps apart what is digested here and elsewhere.
const KEY: [u8; 32] = *b"deskferry: who shares this login";
/// Longer than any token.
const LONGEST: u64 = 64 * 1024;

/// Behind the name of the state: the token, ..
const TOKEN: &str = ".login";
/// .. and the turn to log in.
const TURN: &str = ".login-turn";

/// Where commands of the same state find each other's token, and whose it has to be.
#[derive(Clone, Debug)]
pub struct SharedLogin {
    state: PathBuf,
    account: String,
}

/// A token as it stands in the file.
#[derive(Serialize, Deserialize)]
pub(super) struct Lent {
    account: String,
    pub(super) token: String,
    /// Milliseconds since 1970.
    pub(super) renew_at: i64,
}

/// The file, in use.
pub(super) struct InUse {
    of: SharedLogin,
    file: File,
}

impl SharedLogin {
    /// The login of this account, for all who work on this state.
    pub fn beside(state: &Path, base_url: &str, name: &Secret) -> Self {
        let account = HashKey::new(KEY).digest(base_url, name.expose()).to_string();
        Self { state: state.to_owned(), account }
    }

    /// The file.
    pub(super) fn path(&self) -> PathBuf {
        beside::path(&self.state, TOKEN)
    }

    /// Joins whoever uses the file, or begins it.
    pub(super) async fn join(&self) -> io::Result<InUse> {
        for _ in 0..TRIES {
            let file = self.open()?;
            if file.metadata()?.permissions().mode() & 0o077 != 0 {
                file.set_permissions(Permissions::from_mode(0o600))?;
            }
            match file.try_lock() {
                // Nobody is there: what it holds was left by a process that was killed.
                Ok(()) => {
                    file.set_len(0)?;
                    file.unlock()?;
                }
                Err(TryLockError::WouldBlock) => {}
                Err(TryLockError::Error(error)) => return Err(error),
            }
            // The last one may have taken it away meanwhile.
            if file.try_lock_shared().is_ok() && beside::is_at(&file, &self.path()).unwrap_or(false) {
                return Ok(InUse { of: self.clone(), file });
            }
            tokio::time::sleep(PAUSE).await;
        }
        Err(io::ErrorKind::WouldBlock.into())
    }

    /// Opens the file. One that cannot be read, because another user left it, is taken away where that is allowed: whoever may
    /// be using it notices when it needs the next token, and joins the one that stands here by then.
    fn open(&self) -> io::Result<File> {
        match beside::open(&self.state, TOKEN) {
            Err(error)
                if matches!(error.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::InvalidInput)
                    && fs::remove_file(self.path()).is_ok() =>
            {
                beside::open(&self.state, TOKEN)
            }
            opened => opened,
        }
    }
}

impl InUse {
    /// Whether the file still stands where others look for it: a person may have taken it away.
    pub(super) fn is_there(&self) -> bool {
        beside::is_at(&self.file, &self.of.path()).unwrap_or(false)
    }

    /// The turn to log in, for as long as the file is kept; `None` when another command has it for longer than this, which
    /// means that it waits for a platform that is down.
    pub(super) async fn turn(&self, at_most: Duration) -> Option<File> {
        let file = beside::open(&self.of.state, TURN).ok()?;
        let until = Instant::now() + at_most;
        loop {
            match file.try_lock() {
                Ok(()) => return Some(file),
                Err(TryLockError::WouldBlock) if Instant::now() < until => tokio::time::sleep(PAUSE).await,
                Err(_) => return None,
            }
        }
    }

    /// The token that the others use, if it is one for this account.
    pub(super) fn read(&self) -> Option<Lent> {
        let (mut file, mut text) = (&self.file, String::new());
        file.rewind().ok()?;
        file.take(LONGEST).read_to_string(&mut text).ok()?;
        serde_json::from_str::<Lent>(&text).ok().filter(|lent| lent.account == self.of.account)
    }

    /// Leaves a token to the others.
    pub(super) fn write(&self, token: &str, renew_at: i64) {
        let lent = Lent { account: self.of.account.clone(), token: token.to_owned(), renew_at };
        let mut file = &self.file;
        let written = serde_json::to_vec(&lent).map_err(io::Error::from).and_then(|text| {
            file.rewind()?;
            file.set_len(0)?;
            file.write_all(&text)
        });
        if let Err(error) = written {
            tracing::warn!(%error, "the login cannot be shared with other commands: each of them ends this one's token");
        }
    }

    /// Leaves none: the one that is there was refused.
    pub(super) fn empty(&self) {
        if let Err(error) = self.file.set_len(0) {
            tracing::warn!(%error, "a refused login cannot be taken out of the file that commands share");
        }
    }
}

impl Drop for InUse {
    fn drop(&mut self) {
        // The last one has it alone.
        if self.file.try_lock().is_ok() && self.is_there() {
            let turn = beside::path(&self.of.state, TURN);
            let _emptied_by_the_next = fs::remove_file(turn).and(fs::remove_file(self.of.path()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[tokio::test]
    async fn a_token_is_for_those_of_the_same_account_who_are_there_and_gone_with_the_last() {
        let folder = tempfile::tempdir().unwrap();
        let of = |name: &str| SharedLogin::beside(&folder.path().join("state.db"), "https://a", &Secret::new(name));
        let first = of("robot").join().await.unwrap();
        assert!(first.read().is_none());
        first.write("tok", 7);
        let mode = fs::metadata(folder.path().join("state.db.login")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let second = of("robot").join().await.unwrap();
        assert!(second.read().is_some_and(|lent| lent.token == "tok" && lent.renew_at == 7));
        assert!(of("somebody else").join().await.unwrap().read().is_none());
        let text = fs::read_to_string(folder.path().join("state.db.login")).unwrap();
        assert!(!text.contains("robot"), "the account is not named");
        drop(first);
        assert!(second.read().is_some(), "who comes later does not need who was first");
        drop(second);
        assert_eq!(names(folder.path()), Vec::<String>::new());
    }

    #[tokio::test]
    async fn one_logs_in_at_a_time_and_nobody_waits_for_ever() {
        let folder = tempfile::tempdir().unwrap();
        let login = SharedLogin::beside(&folder.path().join("state.db"), "https://a", &Secret::new("robot"));
        let (one, other) = (login.join().await.unwrap(), login.join().await.unwrap());
        let turn = one.turn(PAUSE).await.unwrap();
        assert!(other.turn(PAUSE).await.is_none());
        drop(turn);
        assert!(other.turn(PAUSE).await.is_some());
    }

    #[tokio::test]
    async fn a_left_over_is_emptied_and_a_folder_that_is_not_there_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.db.login");
        let login = SharedLogin::beside(&folder.path().join("state.db"), "https://a", &Secret::new("robot"));
        let killed =
            serde_json::to_vec(&Lent { account: login.account.clone(), token: "old".into(), renew_at: i64::MAX });
        fs::write(&path, killed.unwrap()).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        let joined = login.join().await.unwrap();
        assert!(joined.read().is_none());
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        // A file that a person took away is nobody's: whoever comes next begins another, and keeps it.
        fs::remove_file(&path).unwrap();
        assert!(!joined.is_there());
        let next = login.join().await.unwrap();
        drop(joined);
        assert!(next.is_there());
        let nowhere = SharedLogin::beside(Path::new("/nowhere/state.db"), "https://a", &Secret::new("robot"));
        assert!(nowhere.join().await.is_err());
    }
}
