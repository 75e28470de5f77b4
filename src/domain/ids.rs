//! Newtypes for the ids of both platforms, so that they cannot be swapped.

use std::fmt;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub i64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

id!(
    /// Id of a LiveDesk contact (64-bit; platform notes LiveDesk 3.2: number or numeric text).
    LiveDeskId
);
id!(
    /// Id of a FIRST LINE contact ("customer"; platform notes FIRST LINE 3.1).
    FirstLineId
);
id!(
    /// Id of a FIRST LINE e-mail or phone row (platform notes FIRST LINE 6 and 7).
    ChildId
);
id!(
    /// Id of one execution of a command that touches contacts.
    RunId
);
