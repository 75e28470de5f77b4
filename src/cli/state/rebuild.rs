//! `deskferry state rebuild`: the links of a lost state, found again; and the way on where all linked customers were deleted.

use serde_json::json;

use crate::cli::output::{DONE, Failure, LEFT_OVER, say};
use crate::cli::{Context, session};
use crate::sync::engine::RunError;
use crate::sync::rebuild::Rebuilt;

/// Runs the command. `gone`: so many linked customers are said to be deleted.
pub(super) async fn run(gone: Option<u64>, context: &Context) -> Result<u8, Failure> {
    let loaded = context.load_to_connect()?;
    let options = gone.map_or_else(|| json!({}), |gone| json!({ "gone": gone }));
    let (session, mapping) = session::begin(context, loaded, "rebuild", &options).await?;
    let engine = session.engine(mapping).await?;
    let looked = async {
        let mut rebuilt = engine.rebuild().await?;
        rebuilt.all_gone = engine.all_gone(&rebuilt).await?;
        if gone == Some(rebuilt.all_gone) && rebuilt.all_gone > 0 {
            engine.mark_all_gone().await?;
            rebuilt.marked = rebuilt.all_gone;
        }
        Ok::<_, RunError>(rebuilt)
    };
    let rebuilt = match looked.await {
        Ok(rebuilt) => rebuilt,
        Err(error) => return Err(session.refuse(Failure::from(error)).await),
    };
    if let Some(said) = gone.filter(|_| rebuilt.marked == 0) {
        return Err(session.refuse(Failure::new(unlike(said, &rebuilt))).await);
    }
    session.bar.finish();
    let settled = rebuilt.proven && rebuilt.twins + rebuilt.foreign == 0 && rebuilt.all_gone == rebuilt.marked;
    let exit = if settled { DONE } else { LEFT_OVER };
    if context.json {
        say(json!(rebuilt));
    } else {
        tell(&rebuilt, &session.settings.firstline.base_url);
    }
    session.close(exit, None, json!(rebuilt)).await?;
    Ok(exit)
}

/// Why a person's word is not taken.
fn unlike(said: u64, rebuilt: &Rebuilt) -> String {
    match rebuilt.all_gone {
        0 if !rebuilt.proven => {
            format!(
                "--gone says {said}, and FIRST LINE's list could not be read completely; nothing was marked, run it again"
            )
        }
        0 => format!(
            "--gone says {said}, and not all of the customers that this state links to are gone from FIRST LINE; nothing was \
             marked. A backfill finds out which are (`--deletes-ceiling` where they are many)"
        ),
        gone => format!(
            "--gone says {said}, and this state links to {gone} customers, none of which is there any more; nothing was marked"
        ),
    }
}

fn tell(rebuilt: &Rebuilt, firstline: &impl std::fmt::Display) {
    say(format_args!(
        "{} links found again, {} known already; {} customers without a stamp",
        rebuilt.linked, rebuilt.known, rebuilt.unstamped
    ));
    if rebuilt.relinked > 0 {
        say(format_args!(
            "{} links led to customers that are gone: now to those that carry the stamp",
            rebuilt.relinked
        ));
    }
    if rebuilt.forgotten > 0 {
        say(format_args!("{} customers are of people who were forgotten: not linked", rebuilt.forgotten));
    }
    if rebuilt.twins > 0 {
        say(format_args!(
            "{} contacts are stamped on more than one customer; see `deskferry conflicts list`",
            rebuilt.twins
        ));
    }
    if rebuilt.foreign > 0 {
        say(format_args!(
            "{} customers hold something else where our stamp would stand, or another contact's",
            rebuilt.foreign
        ));
    }
    if !rebuilt.proven {
        say("FIRST LINE's list could not be read completely: links may be missing, run it again");
    }
    if rebuilt.marked > 0 {
        say(format_args!(
            "{} links are marked gone: nothing is written through them, and their contacts are not made again by \
             themselves. `deskferry undo RUN` takes back the run that made them, and a backfill then carries their contacts \
             anew; so does `deskferry retry ID --recreate` for single ones",
            rebuilt.marked
        ));
    } else if rebuilt.all_gone > 0 {
        let gone = rebuilt.all_gone;
        let listed = rebuilt.unstamped + rebuilt.foreign + rebuilt.forgotten;
        say(format_args!(
            "none of the {gone} customers that this state links to is there any more: none is listed, and each answers 404. \
             FIRST LINE lists {listed} customers to this account at {firstline}.\nIf that is another tenant, or a role that \
             sees less, mend firstline.base_url or the credentials. If they were deleted there, say so with `deskferry state \
             rebuild --gone {gone}`: their links are marked gone, and nothing is written to FIRST LINE"
        ));
    }
}
