//! What happens in a simulated month, drawn from a seed. A list of these is all that a failure needs: it is printed as it
//! stands, shrunk by leaving parts out, and kept in `regressions.rs`.
//!
//! Whoever an operation is about is named by a number, which is taken modulo those that are there when it happens: what is
//! left of a list stays meaningful when other parts of it are taken away.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// Which platform.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Side {
    /// LiveDesk.
    Desk,
    /// FIRST LINE.
    Line,
}

/// What of a contact can change at the source and arrives at the target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Watched {
    /// `first_name`, owner by default.
    Name,
    /// cz_col 32, owner `source`.
    Vip,
    /// cz_col 33, owner `fill_blank`.
    City,
    /// cz_col 34, owner `target`.
    Note,
    /// cz_col 35, owner `union`.
    Interests,
    /// cz_col 36, owner by default; a message sets it.
    Topic,
    /// The e-mail.
    Email,
    /// The phone.
    Phone,
    /// The label `vip`.
    Label,
}

/// What becomes of a creating request whose answer is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It was applied.
    Applied,
    /// It never arrived.
    Lost,
    /// It is applied after so many seconds.
    Late(i64),
}

/// One thing that happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Op {
    /// Somebody writes for the first time.
    Create(u32),
    /// So many contacts of one instant, without activity.
    Import(u32),
    /// An edit in the console, which moves no time.
    Edit(u32, Watched),
    /// The same, to nothing.
    Clear(u32, Watched),
    /// A message, which moves `last_activity_at`.
    Message(u32),
    /// A contact is deleted.
    Delete(u32),
    /// The second is merged into the first.
    Merge(u32, u32),
    /// E-mail, phone and identifier are taken away: the list does not show it any more.
    Hide(u32),
    /// A hidden one gets an e-mail.
    Show(u32),
    /// Blocked, or not any more: `[select]`.
    Block(u32),
    /// A birthday that is none: the mapping rejects the contact until it is put right.
    Spoil(u32),
    /// It is put right; a forbidden name as well.
    Heal(u32),
    /// A name that FIRST LINE refuses.
    Forbid(u32),
    /// An agent changes a field.
    AgentEdit(u32, Watched),
    /// An agent empties a field.
    AgentClear(u32, Watched),
    /// An agent adds an e-mail or a phone.
    AgentAdds(u32, Watched),
    /// An agent edits the first one.
    AgentChanges(u32, Watched),
    /// An agent removes the first one.
    AgentRemoves(u32, Watched),
    /// An agent puts the tag on, or takes it off.
    AgentTags(u32),
    /// An agent makes a customer; of the e-mail or phone of a contact that is still to be imported, now and then.
    AgentCreates(u32),
    /// An agent merges the second customer into the first.
    AgentMerges(u32, u32),
    /// An agent deletes a customer.
    AgentDeletes(u32),
    /// A platform is down for so many minutes; requests wait for it, or give up.
    Outage(Side, u32, bool),
    /// A platform throttles for so many minutes.
    Throttle(Side, u32),
    /// The key of a platform is dead for so many minutes.
    Token(Side, u32),
    /// The next so many creating requests get no answer.
    Doubt(Fate, u32),
    /// The next so many updates are applied, and the platform goes away before it answers.
    Torn(u32),
    /// The disk is full for so many minutes.
    DiskFull(u32),
    /// The process is killed at the request after so many: before it is applied, after it, or so many commits later.
    Kill(u32, Moment),
    /// The process is asked to stop at the request after so many.
    Stop(u32),
}

/// When, at its request, a process is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Moment {
    /// Before the request is applied.
    Before,
    /// After it, before its answer.
    After,
    /// The answer comes; so many commits of the state later.
    Commits(u32),
}

/// One thing that happens, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Operation {
    /// Seconds since the month began.
    pub(super) at: i64,
    /// What.
    pub(super) op: Op,
}

/// How often runs are due.
pub(super) const SYNC_EVERY_S: i64 = 30 * 60;
/// How often sweeps are due.
pub(super) const SWEEP_EVERY_S: i64 = 8 * 60 * 60;
/// Days of a month.
pub(super) const DAYS: i64 = 30;

/// So many operations, in the order of their times.
pub(super) fn draw(seed: u64, count: usize) -> Vec<Operation> {
    let mut rng = StdRng::seed_from_u64(seed ^ 0x006d_6f6e_7468);
    let end = DAYS * 24 * 3600;
    let mut list: Vec<Operation> = (0..count)
        .map(|_| {
            // Half of it while a run is under way.
            let at = if rng.random_bool(0.5) {
                let every = if rng.random_bool(0.5) { SWEEP_EVERY_S } else { SYNC_EVERY_S };
                let due = rng.random_range(0..end / every) * every;
                due + rng.random_range(0..60)
            } else {
                rng.random_range(0..end)
            };
            Operation { at, op: op(&mut rng) }
        })
        .collect();
    list.sort_by_key(|operation| operation.at);
    list
}

fn op(rng: &mut StdRng) -> Op {
    let who = rng.random_range(0..1_000_000);
    let other = rng.random_range(0..1_000_000);
    match rng.random_range(0..1000) {
        0..60 => Op::Create(who),
        60..66 => Op::Import(rng.random_range(2..12)),
        66..270 => Op::Edit(who, watched(rng)),
        270..310 => Op::Clear(who, watched(rng)),
        310..420 | 943..1000 => Op::Message(who),
        420..445 => Op::Delete(who),
        445..465 => Op::Merge(who, other),
        465..475 => Op::Hide(who),
        475..487 => Op::Show(who),
        487..495 => Op::Block(who),
        495..505 => Op::Spoil(who),
        505..532 => Op::Heal(who),
        532..540 => Op::Forbid(who),
        540..650 => Op::AgentEdit(who, field(rng)),
        650..680 => Op::AgentClear(who, field(rng)),
        680..705 => Op::AgentAdds(who, child(rng)),
        705..725 => Op::AgentChanges(who, child(rng)),
        725..745 => Op::AgentRemoves(who, child(rng)),
        745..765 => Op::AgentTags(who),
        765..790 => Op::AgentCreates(who),
        790..800 => Op::AgentMerges(who, other),
        800..812 => Op::AgentDeletes(who),
        812..824 => Op::Outage(side(rng), rng.random_range(1..180), rng.random_bool(0.6)),
        824..835 => Op::Throttle(side(rng), rng.random_range(1..60)),
        835..840 => Op::Token(side(rng), rng.random_range(1..240)),
        840..890 => Op::Doubt(fate(rng), rng.random_range(1..4)),
        890..900 => Op::Torn(rng.random_range(1..3)),
        900..905 => Op::DiskFull(rng.random_range(40..160)),
        905..935 => Op::Kill(rng.random_range(0..90), moment(rng)),
        _ => Op::Stop(rng.random_range(0..90)),
    }
}

fn watched(rng: &mut StdRng) -> Watched {
    use Watched::{City, Email, Interests, Label, Name, Note, Phone, Topic, Vip};
    [Name, Vip, City, Note, Interests, Topic, Email, Phone, Label][rng.random_range(0..9)]
}

fn field(rng: &mut StdRng) -> Watched {
    use Watched::{City, Interests, Name, Note, Topic, Vip};
    [Name, Vip, City, Note, Interests, Topic][rng.random_range(0..6)]
}

fn child(rng: &mut StdRng) -> Watched {
    if rng.random_bool(0.5) { Watched::Email } else { Watched::Phone }
}

fn side(rng: &mut StdRng) -> Side {
    if rng.random_bool(0.5) { Side::Desk } else { Side::Line }
}

fn fate(rng: &mut StdRng) -> Fate {
    match rng.random_range(0..3) {
        0 => Fate::Applied,
        1 => Fate::Lost,
        _ => Fate::Late(rng.random_range(1..240)),
    }
}

fn moment(rng: &mut StdRng) -> Moment {
    match rng.random_range(0..3) {
        0 => Moment::Before,
        1 => Moment::After,
        _ => Moment::Commits(rng.random_range(1..4)),
    }
}
