//! Tests of the vrf plugin.

mod reference;
mod vm;
