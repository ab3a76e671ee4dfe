use super::*;

fn vlans(vlan: Option<u16>, trunk: &[u16]) -> Vec<(u16, u16, bool, bool)> {
    let vlans = Vlans { vlan, trunk: trunk.iter().copied().collect(), preserve_default: false };
    vlans.of_port().into_iter().map(|v| (v.first, v.last, v.pvid, v.untagged)).collect()
}

#[test]
fn a_vlan_is_native_and_untagged() {
    assert_eq!(vlans(Some(100), &[]), [(100, 100, true, true)]);
}

#[test]
fn an_empty_trunk_changes_nothing() {
    assert_eq!(vlans(None, &[]), []);
}

#[test]
fn a_trunk_without_a_vlan_has_vlan_1_as_its_native() {
    assert_eq!(vlans(None, &[10]), [(1, 1, true, true), (10, 10, false, false)]);
    assert_eq!(vlans(None, &[1, 2]), [(1, 1, true, true), (2, 2, false, false)]);
}

#[test]
fn neighbouring_vlans_of_a_trunk_become_ranges_around_the_native_one() {
    let trunk: Vec<u16> = (2..=6).chain([9, 4094]).collect();
    let native = (4, 4, true, true);
    let tagged = |first, last| (first, last, false, false);
    assert_eq!(
        vlans(Some(4), &trunk),
        [native, tagged(2, 3), tagged(5, 6), tagged(9, 9), tagged(4094, 4094)]
    );
}

#[test]
fn the_gateways_interface_is_named_after_bridge_and_vlan() {
    let name = |bridge: &str, vlan| {
        let vlans = Vlans { vlan, trunk: BTreeSet::new(), preserve_default: false };
        vlans.gateway_name(&IfName::new(bridge).unwrap())
    };
    assert_eq!(name("cni0", Some(100)).unwrap(), Some((100, "cni0.100".to_owned())));
    assert_eq!(name("cni0", None).unwrap(), None);
    assert!(name("twelve-chars", Some(100)).unwrap_err().to_string().contains("twelve-chars.100"));
}
