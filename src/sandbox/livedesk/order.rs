//! One sorted index over the listed contacts, kept up to date row by row, read from both ends.
//!
//! A page costs a few binary searches. Rows with equal keys form a tie group; which row of the group stands where is
//! decided per page by a keyed permutation, because the real database promises no order there and keeps none.

use std::ops::Range;

use crate::sandbox::rng::{Permutation, mix};

/// What a list can be sorted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Field {
    Email,
    Name,
    Phone,
    LastActivity,
    Created,
    Company,
    City,
    Country,
    /// No `ORDER BY`: where the row lies in the table. An edit moves it.
    Unsorted,
}

impl Field {
    /// The documented name of a sort key; `None` for anything else.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "email" => Self::Email,
            "name" => Self::Name,
            "phone_number" => Self::Phone,
            "last_activity_at" => Self::LastActivity,
            "created_at" => Self::Created,
            "company" => Self::Company,
            "city" => Self::City,
            "country" => Self::Country,
            _ => return None,
        })
    }

    /// The database's own rule for these three; the others are asked for with nulls last.
    fn nulls_first_when_descending(self) -> bool {
        matches!(self, Self::Email | Self::Name | Self::Phone)
    }
}

/// A field and its direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Sort {
    pub(crate) field: Field,
    pub(crate) descending: bool,
}

impl Sort {
    pub(crate) fn code(self) -> u64 {
        self.field as u64 * 2 + u64::from(self.descending)
    }
}

/// A sort key; absence is not a key but a place of its own.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Key {
    Number(i64),
    Text(Box<str>),
}

/// Rows by key ascending, and the rows without one.
#[derive(Debug)]
pub(crate) struct Order {
    keyed: Vec<(Key, u32)>,
    nulls: Vec<u32>,
}

impl Order {
    pub(crate) fn new(rows: impl Iterator<Item = (Option<Key>, u32)>) -> Self {
        let mut order = Self { keyed: Vec::new(), nulls: Vec::new() };
        for (key, row) in rows {
            match key {
                Some(key) => order.keyed.push((key, row)),
                None => order.nulls.push(row),
            }
        }
        order.keyed.sort_unstable();
        order.nulls.sort_unstable();
        order
    }

    pub(crate) fn len(&self) -> usize {
        self.keyed.len() + self.nulls.len()
    }

    pub(crate) fn insert(&mut self, key: Option<Key>, row: u32) {
        match key {
            Some(key) => {
                let entry = (key, row);
                let at = self.keyed.partition_point(|it| *it < entry);
                self.keyed.insert(at, entry);
            }
            None => self.nulls.insert(self.nulls.partition_point(|it| *it < row), row),
        }
    }

    pub(crate) fn remove(&mut self, key: Option<Key>, row: u32) {
        match key {
            Some(key) => {
                if let Ok(at) = self.keyed.binary_search(&(key, row)) {
                    self.keyed.remove(at);
                }
            }
            None => {
                if let Ok(at) = self.nulls.binary_search(&row) {
                    self.nulls.remove(at);
                }
            }
        }
    }

    /// The rows at `positions` when read as `sort`; `scramble` keys the order inside tie groups, `None` keeps it.
    pub(crate) fn rows(&self, sort: Sort, positions: Range<usize>, scramble: Option<u64>) -> Vec<u32> {
        let end = positions.end.min(self.len());
        (positions.start..end).map(|position| self.row_at(sort, position, scramble)).collect()
    }

    fn row_at(&self, sort: Sort, position: usize, scramble: Option<u64>) -> u32 {
        let (keyed, nulls) = (self.keyed.len(), self.nulls.len());
        let nulls_first = sort.descending && sort.field.nulls_first_when_descending();
        let (first_null, first_keyed) = if nulls_first { (0, nulls) } else { (keyed, 0) };
        if (first_null..first_null + nulls).contains(&position) {
            return self.nulls[shuffled(position - first_null, nulls, scramble, u64::MAX)];
        }
        let nth = position - first_keyed;
        let at = if sort.descending { keyed - 1 - nth } else { nth };
        let group = self.group(at);
        let label = u64::from(self.keyed[group.start].1);
        self.keyed[group.start + shuffled(at - group.start, group.len(), scramble, label)].1
    }

    fn group(&self, at: usize) -> Range<usize> {
        let key = &self.keyed[at].0;
        // Most keys are unique: the neighbours say so without a search.
        let alone = |other: Option<&(Key, u32)>| other.is_none_or(|(it, _)| it != key);
        let start = if at == 0 || alone(self.keyed.get(at - 1)) {
            at
        } else {
            self.keyed[..at].partition_point(|(it, _)| it < key)
        };
        let end = if alone(self.keyed.get(at + 1)) {
            at + 1
        } else {
            at + self.keyed[at..].partition_point(|(it, _)| it <= key)
        };
        start..end
    }
}

fn shuffled(at: usize, len: usize, scramble: Option<u64>, label: u64) -> usize {
    match scramble {
        Some(key) if len > 1 => {
            let moved = Permutation::new(mix(&[key, label]), len as u64).at(at as u64);
            usize::try_from(moved).unwrap_or(at)
        }
        _ => at,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sort(field: Field, descending: bool) -> Sort {
        Sort { field, descending }
    }

    fn order(keys: &[Option<i64>]) -> Order {
        Order::new(keys.iter().zip(0..).map(|(key, row)| (key.map(Key::Number), row)))
    }

    #[test]
    fn times_put_nulls_last_both_ways_and_emails_put_them_first_when_descending() {
        let order = order(&[Some(3), None, Some(1), Some(2)]);
        assert_eq!(order.rows(sort(Field::LastActivity, false), 0..9, None), [2, 3, 0, 1]);
        assert_eq!(order.rows(sort(Field::LastActivity, true), 0..9, None), [0, 3, 2, 1]);
        assert_eq!(order.rows(sort(Field::Email, false), 0..9, None), [2, 3, 0, 1]);
        assert_eq!(order.rows(sort(Field::Email, true), 0..9, None), [1, 0, 3, 2]);
    }

    #[test]
    fn a_scramble_moves_rows_only_inside_their_group() {
        let keys: Vec<_> = (0..300).map(|n| Some(n / 100)).collect();
        let order = order(&keys);
        let rows = order.rows(sort(Field::Created, false), 0..300, Some(9));
        assert_ne!(rows, (0..300).collect::<Vec<_>>());
        assert!(rows.iter().zip(0..).all(|(row, at)| row / 100 == at / 100));
        let mut all = rows;
        all.sort_unstable();
        assert_eq!(all, (0..300).collect::<Vec<_>>());
    }

    #[test]
    fn rows_come_and_go_without_a_new_sort() {
        let mut order = order(&[Some(3), None, Some(1)]);
        order.insert(Some(Key::Number(2)), 7);
        order.insert(None, 0);
        order.remove(Some(Key::Number(3)), 0);
        order.remove(None, 1);
        assert_eq!(order.rows(sort(Field::Created, false), 0..9, None), [2, 7, 0]);
        assert_eq!(order.len(), 3);
    }
}
