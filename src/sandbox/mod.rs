//! Both platforms, simulated.

pub mod firstline;
