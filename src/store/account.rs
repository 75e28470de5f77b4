//! Whose state this is: the key of its hashes, and the two accounts that it is bound to.

use crate::domain::hash::HashKey;

use super::Store;
use super::error::{Side, StoreError};

/// The identities of the two accounts, as texts without secrets that the caller makes: for example a base URL and
/// a digest of what the credentials say about themselves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accounts {
    /// The source.
    pub livedesk: String,
    /// The target.
    pub firstline: String,
}

impl Store {
    /// The key of this state's hashes. Made once, with the file.
    pub fn hash_key(&self) -> &HashKey {
        &self.inner.hash_key
    }

    /// Binds the state to these accounts the first time; later refuses every other account.
    pub async fn bind_accounts(&self, accounts: &Accounts) -> Result<(), StoreError> {
        let Accounts { livedesk, firstline } = accounts.clone();
        let bound = self
            .transact(move |conn| {
                Box::pin(async move {
                    // A side that is bound stays bound: coalesce keeps the first value.
                    let row = sqlx::query!(
                        r#"UPDATE account SET livedesk = coalesce(livedesk, ?1), firstline = coalesce(firstline, ?2)
                           RETURNING livedesk AS "livedesk!: String", firstline AS "firstline!: String""#,
                        livedesk,
                        firstline
                    )
                    .fetch_one(conn)
                    .await?;
                    Ok(Accounts { livedesk: row.livedesk, firstline: row.firstline })
                })
            })
            .await?;
        let other = |side, bound, given: &str| Err(StoreError::OtherAccount { side, bound, given: given.to_owned() });
        if bound.livedesk != accounts.livedesk {
            return other(Side::LiveDesk, bound.livedesk, &accounts.livedesk);
        }
        if bound.firstline != accounts.firstline {
            return other(Side::FirstLine, bound.firstline, &accounts.firstline);
        }
        Ok(())
    }

    /// The accounts that it is bound to, if it is.
    pub async fn bound_accounts(&self) -> Result<Option<Accounts>, StoreError> {
        let row = sqlx::query!("SELECT livedesk, firstline FROM account")
            .fetch_one(&mut *self.reader().await?)
            .await
            .map_err(|source| self.failed(source))?;
        Ok(row.livedesk.zip(row.firstline).map(|(livedesk, firstline)| Accounts { livedesk, firstline }))
    }
}
