//! A key has one definition: what a plugin reads, what `validate` knows of it, and the table on its page are the same.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::path::Path;

use serde::de::value::StrDeserializer;
use serde::de::{self, Deserialize, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::forward_to_deserialize_any;

use super::*;

type Fields = &'static [&'static str];

/// What each plugin reads at the end of a path of keys.
type Read = fn(&[&str]) -> Vec<Fields>;

const PLUGINS: &[(&str, Read)] = &[
    ("bandwidth", |path| fields::<cni_bandwidth::Wire>(path)),
    ("bridge", |path| fields::<cni_bridge::Wire>(path)),
    ("dummy", |_| Vec::new()),
    ("firewall", |path| fields::<cni_firewall::Wire>(path)),
    ("host-device", |path| fields::<cni_host_device::Wire>(path)),
    ("ipvlan", |path| fields::<cni_ipvlan::Wire>(path)),
    ("loopback", |_| Vec::new()),
    ("macvlan", |path| fields::<cni_macvlan::Wire>(path)),
    ("portmap", |path| fields::<cni_portmap::Wire>(path)),
    ("ptp", |path| fields::<cni_ptp::Wire>(path)),
    ("sbr", |path| fields::<cni_sbr::Wire>(path)),
    ("tap", |path| fields::<cni_tap::Wire>(path)),
    ("tuning", |path| fields::<cni_tuning::Wire>(path)),
    ("vlan", |path| fields::<cni_vlan::Wire>(path)),
    ("vrf", |path| fields::<cni_vrf::Wire>(path)),
];

const IPAM_PLUGINS: &[(&str, Read)] = &[
    ("host-local", |path| {
        [fields::<cni_host_local::Wire>(path), fields::<cni_host_local::FolderWire>(path)].concat()
    }),
    ("dhcp", |path| fields::<cni_dhcp_plugin::Wire>(path)),
    ("static", |path| fields::<cni_static::Wire>(path)),
];

/// What the reference's plugin has, so that it is no fault of a configuration, and ours has no use for.
const REFERENCES: &[(&str, &str)] = &[("host-local", "name")];

#[test]
fn what_validate_knows_is_what_the_plugins_read() {
    for (plugin, read) in PLUGINS {
        compare(plugin, of_plugin(plugin).unwrap(), *read, &[]);
    }
    for (plugin, read) in IPAM_PLUGINS {
        compare(plugin, of_ipam(plugin).unwrap(), *read, &["ipam"]);
    }
}

/// The keys of an object, and of the objects in it.
fn compare(plugin: &str, known: &[Key], read: Read, path: &[&str]) {
    let common = if path == ["ipam"] { IPAM } else { PLUGIN };
    let of_all = |name: &&str| path.len() < 2 && common.iter().any(|key| key.name == *name);
    let is_references = |name: &&str| REFERENCES.contains(&(plugin, name));
    let names = known.iter().map(|key| key.name).filter(|name| !is_references(name));
    let known_names: BTreeSet<&str> = names.filter(|name| !of_all(name)).collect();
    let read_names = read(path).into_iter().flatten().copied();
    let read_names: BTreeSet<&str> = read_names.filter(|name| !of_all(name)).collect();
    assert_eq!(read_names, known_names, "{plugin} {path:?}");
    for key in known {
        if let Some(keys) = object(&key.kind) {
            let below = [path, &[key.name]].concat();
            // What cni-types reads (routes, dns) is the same for all.
            if !read(&below).is_empty() {
                compare(plugin, keys, read, &below);
            }
        }
    }
}

fn object(kind: &Kind) -> Option<&'static [Key]> {
    match kind {
        Kind::Object(keys) => Some(keys),
        Kind::List(kind) => object(kind),
        _ => None,
    }
}

#[test]
fn the_tables_on_the_pages_have_the_keys_that_the_plugins_read() {
    for (plugins, path, common) in [(PLUGINS, &[][..], PLUGIN), (IPAM_PLUGINS, &["ipam"], IPAM)] {
        for (plugin, read) in plugins {
            let of_all = |name: &&str| common.iter().any(|key| key.name == *name);
            let page = page(plugin);
            let shown: BTreeSet<&str> =
                keys_of_table(&page).map(|key| key.strip_prefix("ipam.").unwrap_or(key)).collect();
            let shown: BTreeSet<&str> =
                shown.into_iter().map(|key| key.split(['.', '[']).next().unwrap()).collect();
            let read: BTreeSet<&str> = read(path).into_iter().flatten().copied().collect();
            let missing: Vec<_> = read.difference(&shown).filter(|name| !of_all(name)).collect();
            assert!(missing.is_empty(), "{plugin}: not on its page: {missing:?}");
            let unread: Vec<_> = shown.difference(&read).filter(|name| !of_all(name)).collect();
            assert!(unread.is_empty(), "{plugin}: on its page, and not read: {unread:?}");
        }
    }
}

fn page(plugin: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../../docs/plugins/{plugin}.md"));
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The first column of the page's first table of keys; a cell may name several.
fn keys_of_table(page: &str) -> impl Iterator<Item = &str> {
    let rows = page.lines().skip_while(|line| !line.starts_with("| key |")).skip(2);
    let cells = rows.take_while(|line| line.starts_with('|')).filter_map(|line| line.split('|').nth(1));
    cells.flat_map(|cell| cell.split('`').skip(1).step_by(2))
}

#[test]
fn a_probe_finds_the_fields_of_what_lies_in_lists_and_options() {
    #[derive(serde::Deserialize)]
    #[allow(dead_code, reason = "only its fields' names are looked at")]
    struct Outer {
        inner: Option<Vec<Inner>>,
    }
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "camelCase")]
    #[allow(dead_code, reason = "only its fields' names are looked at")]
    struct Inner {
        first_key: String,
    }
    assert_eq!(fields::<Outer>(&[]), [&["inner"][..]]);
    assert_eq!(fields::<Outer>(&["inner"]), [&["firstKey"][..]]);
    assert!(fields::<Outer>(&["other"]).is_empty() && fields::<Outer>(&["inner", "firstKey"]).is_empty());
}

/// The fields of the struct that a type reads at the end of a path; none for what is no struct.
fn fields<T: for<'de> Deserialize<'de>>(path: &[&str]) -> Vec<Fields> {
    let found = Cell::new(None);
    let _ = T::deserialize(Probe { path, found: &found });
    found.get().into_iter().collect()
}

/// Answers a type's questions with one key after the other until the path is at its end, and notes what fields it asks for there.
#[derive(Clone, Copy)]
struct Probe<'p> {
    path: &'p [&'p str],
    found: &'p Cell<Option<Fields>>,
}

#[derive(Debug)]
struct Stop;

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("nothing more is asked")
    }
}

impl std::error::Error for Stop {}

impl de::Error for Stop {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Stop
    }
}

impl<'de> Deserializer<'de> for Probe<'_> {
    type Error = Stop;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Stop> {
        Err(Stop)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: Fields,
        visitor: V,
    ) -> Result<V::Value, Stop> {
        if self.path.is_empty() {
            self.found.set(Some(fields));
            return Err(Stop);
        }
        visitor.visit_map(self)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        visitor.visit_some(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        visitor.visit_seq(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Stop> {
        visitor.visit_newtype_struct(self)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct
        tuple tuple_struct map enum identifier ignored_any
    }
}

impl<'de> MapAccess<'de> for Probe<'_> {
    type Error = Stop;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Stop> {
        let key: StrDeserializer<'_, Stop> = de::IntoDeserializer::into_deserializer(self.path[0]);
        seed.deserialize(key).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Stop> {
        seed.deserialize(Probe { path: &self.path[1..], found: self.found })?;
        Err(Stop)
    }
}

impl<'de> SeqAccess<'de> for Probe<'_> {
    type Error = Stop;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Stop> {
        seed.deserialize(*self).map(Some)
    }
}
