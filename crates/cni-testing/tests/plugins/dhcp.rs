//! Tests of the dhcp plugin.

mod reference;
