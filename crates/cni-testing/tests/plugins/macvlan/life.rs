//! The macvlan plugin through every version and every end an attachment can come to.

use crate::uplink;

#[test]
fn every_version_lives_and_leaves_nothing() {
    uplink::every_version_lives_and_leaves_nothing("macvlan");
}

#[test]
fn the_lease_goes_when_the_namespace_is_gone_or_not_named() {
    uplink::the_lease_goes_when_the_namespace_is_gone_or_not_named("macvlan");
}

#[test]
fn del_takes_only_what_is_its_own() {
    uplink::del_takes_only_what_is_its_own("macvlan");
}

#[test]
fn del_finds_an_interface_that_was_renamed() {
    uplink::del_finds_an_interface_that_was_renamed("macvlan");
}

#[test]
fn del_works_with_keys_that_add_refuses() {
    uplink::del_works_with_keys_that_add_refuses("macvlan");
}

#[test]
fn a_failing_add_leaves_nothing() {
    uplink::a_failing_add_leaves_nothing("macvlan");
}

#[test]
fn gc_releases_the_leases_of_no_attachment() {
    uplink::gc_releases_the_leases_of_no_attachment("macvlan");
}

#[test]
fn status_says_what_an_add_would_find() {
    uplink::status_says_what_an_add_would_find("macvlan");
}

#[test]
fn check_finds_what_was_changed() {
    uplink::check_finds_what_was_changed("macvlan", "private", "bridge");
}

#[test]
fn an_ipv6_address_that_somebody_has_is_refused() {
    uplink::an_ipv6_address_that_somebody_has_is_refused("macvlan");
}

#[test]
fn a_master_without_a_carrier_is_not_waited_for() {
    uplink::a_master_without_a_carrier_is_not_waited_for("macvlan");
}

#[test]
fn an_add_killed_at_any_moment_is_cleaned_up_by_del() {
    uplink::an_add_killed_at_any_moment_is_cleaned_up_by_del("macvlan");
}
