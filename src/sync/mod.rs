//! The engine: what a run does, from scanning the source to recording the result.
//!
//! In the order of a contact's way: `scan` (pages, passes, sweeps), `carrier` (many contacts at once), `directory`,
//! `resolve`, `finder` and `survey` (which record is it?), `decide` (pure), `carry`, `children` and `lists` (apply and record), `settle`
//! (doubt), `brake` (a platform that answers no create), `failures` (what is tried again when), `absence` (contacts that left LiveDesk), `vanished` (records that left
//! FIRST LINE). `overseer` and `proposal` are what is asked before the first write of a contact. `verify` compares and
//! changes nothing. `lane` is the quick cycle, `interlude` its place in a long walk. `pipeline` is one run; `ports` are the doors to both
//! platforms. Nothing here knows HTTP, SQL text or the
//! terminal.

pub mod absence;
mod brake;
pub mod carrier;
pub mod carry;
pub mod children;
pub mod chronicle;
pub mod companies;
pub mod decide;
pub mod directory;
pub mod engine;
pub mod evidence;
pub mod failures;
pub mod finder;
pub mod gate;
pub mod interlude;
pub mod journal;
pub mod labels;
pub mod lane;
pub mod left_overs;
pub mod lists;
pub mod lookup;
pub mod overseer;
pub mod pipeline;
pub mod ports;
pub mod progress;
mod proposal;
pub mod rebuild;
pub mod recording;
pub mod rehearsal;
pub mod resolve;
pub mod scan;
pub mod settle;
pub mod stamp;
pub mod summary;
pub mod survey;
pub mod tags;
pub mod trial;
pub mod undo;
pub mod vanished;
pub mod verify;
pub mod witness;
