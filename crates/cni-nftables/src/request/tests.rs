use cni_netlink::raw::{Attrs, Messages, be32};

use super::*;
use crate::{DataType, Element, Family, Set, Table, Value, parse_matches};

const TABLE: Table = Table::new(Family::Inet, "t");
/// NLM_F_ACK and message types with NFNL_SUBSYS_NFTABLES
const ACK: u16 = 0x4;
const NEWRULE: u16 = 0xa06;
const NEWSET: u16 = 0xa09;
const NEWSETELEM: u16 = 0xa0c;

static SET: Set = Set::new(TABLE, "s", &[DataType::InetService]);

fn element(port: u16) -> Element {
    Element { key: vec![Value::Port(port)], data: Vec::new(), comment: Some("c".repeat(200)) }
}

fn refusal(request: &Request<'_>, number: u32, offset: Option<usize>) -> String {
    let mut answer = Acknowledgement::default();
    (answer.errno, answer.offset) = (libc::ENOENT, offset);
    request.refusal(number, answer).to_string().replace(": No such file or directory (os error 2)", "")
}

#[test]
fn batch_has_its_frame_and_numbers_and_one_acknowledgement() {
    let mut batch = Batch::default();
    batch.add_table(&TABLE).add_set(&SET).flush_chain(&TABLE, "x");
    let request = Request::new(&[&batch], u32::MAX, Some(77), Removal::Expiry).unwrap();
    let messages: Vec<_> = Messages(&request.bytes).map(Option::unwrap).collect();
    assert_eq!(messages.len() as u32, request.count());
    let numbers: Vec<u32> = messages.iter().map(|message| message.sequence).collect();
    assert_eq!(numbers, [u32::MAX, 0, 1, 2, 3], "they wrap around");
    let kinds: Vec<u16> = messages.iter().map(|message| message.kind).collect();
    assert_eq!(kinds, [16, 0xa00, 0xa09, 0xa08, 17]);
    let acknowledged: Vec<bool> = messages.iter().map(|message| message.flags & ACK != 0).collect();
    assert_eq!(acknowledged, [false, false, false, true, false]);
    assert_eq!(request.last(), 3);
    assert_eq!(messages[0].payload[..4], [0, 0, 0, 10], "NFNL_SUBSYS_NFTABLES in network order");
    assert_eq!(Attrs::after(messages[0].payload, 4).find(1).and_then(be32), Some(77));
    assert_eq!(messages[1].payload[0], 1, "NFPROTO_INET");
}

#[test]
fn refusal_names_its_command() {
    let mut setup = Batch::default();
    setup.add_table(&TABLE);
    let mut batch = Batch::default();
    batch.add_element(&SET, element(1)).add_element(&SET, element(2)).delete_chain(&TABLE, "x");
    let request = Request::new(&[&setup, &batch], 1, None, Removal::Expiry).unwrap();
    assert_eq!(refusal(&request, 1, None), "cannot add table inet t");
    // Messages of a batch as a whole are about all of it.
    assert_eq!(refusal(&request, 0, None), "cannot add table inet t and 3 more");
    assert_eq!(refusal(&request, 4, None), "cannot add table inet t and 3 more");
    let comment = "c".repeat(200);
    let first = format!("cannot add element inet t s {{ 1 comment \"{comment}\" }}");
    assert_eq!(refusal(&request, 2, None), format!("{first} and 1 more"));
    let Sent { offsets, .. } = &request.messages[2];
    assert_eq!(refusal(&request, 2, Some(offsets[0])), first);
    assert_eq!(refusal(&request, 2, Some(offsets[1])), first.replace("{ 1", "{ 2"));
    assert_eq!(
        refusal(&request, 2, Some(offsets[1] + 8)),
        first.replace("{ 1", "{ 2"),
        "an attribute inside"
    );
    assert_eq!(refusal(&request, 3, Some(28)), "cannot delete chain inet t x");
    assert_eq!(refusal(&request, 3, Some(HEADERS)), "cannot delete chain inet t x: there is no such table");
    assert_eq!(refusal(&request, 99, None), "cannot add table inet t and 3 more");
}

#[test]
fn sets_of_rules_are_numbered_through_the_batch() {
    let rule = |text| parse_matches(text).unwrap();
    let mut batch = Batch::default();
    batch.add_set(&SET);
    batch.add_rule(&TABLE, "x", rule("tcp dport { 1, 2 } ip saddr { 10.0.0.1, 10.0.0.2 }"));
    batch.add_rule(&TABLE, "x", rule("udp dport { 1, 2 }"));
    let request = Request::new(&[&batch], 1, None, Removal::Expiry).unwrap();
    let numbers: Vec<u32> = Messages(&request.bytes)
        .flatten()
        .filter(|message| message.kind == NEWSET)
        .filter_map(|message| Attrs::after(message.payload, 4).find(10).and_then(be32))
        .collect();
    assert_eq!(numbers, [1, 2, 3, 4]);
    // Each lookup names the number of its own.
    let looked: Vec<u32> = Messages(&request.bytes)
        .flatten()
        .filter(|message| message.kind == NEWRULE)
        .flat_map(|message| Attrs(Attrs::after(message.payload, 4).find(4).unwrap()).collect::<Vec<_>>())
        .filter_map(|(_, expr)| {
            Attrs(Attrs(expr).find(2)?)
                .find(4)
                .filter(|_| Attrs(expr).find(1) == Some(b"lookup\0"))
                .and_then(be32)
        })
        .collect();
    assert_eq!(looked, [2, 3, 4]);
    // All messages of a rule are the rule's.
    assert!(refusal(&request, 3, None).starts_with("cannot add rule inet t x tcp dport { 1, 2 }"));
}

#[test]
fn elements_are_split_into_messages_that_netlink_can_carry() {
    let mut batch = Batch::default();
    (1..=10_000).for_each(|port| _ = batch.add_element(&SET, element(port)));
    let request = Request::new(&[&batch], 1, None, Removal::Expiry).unwrap();
    let lists: Vec<usize> = Messages(&request.bytes)
        .flatten()
        .filter(|message| message.kind == NEWSETELEM)
        .map(|message| Attrs(Attrs::after(message.payload, 4).find(3).unwrap()).count())
        .collect();
    assert!(lists.len() > 30 && lists.len() < 60, "{}", lists.len());
    assert_eq!(lists.iter().sum::<usize>(), 10_000);
    // Adding and deleting, and other sets, are other messages.
    let mut mixed = Batch::default();
    let other = Set::new(TABLE, "other", SET.key);
    mixed.add_element(&SET, element(1)).delete_element(&SET, vec![Value::Port(1)]);
    mixed.add_element(&SET, element(1)).add_element(&other, element(1));
    assert_eq!(Request::new(&[&mixed], 1, None, Removal::Expiry).unwrap().count(), 6);
}

#[test]
fn command_that_cannot_be_encoded_is_named() {
    let mut batch = Batch::default();
    let wrong = Element { key: vec![Value::Mark(1)], data: Vec::new(), comment: None };
    batch.add_element(&SET, element(1)).add_element(&SET, wrong).add_element(&SET, element(2));
    let error = Request::new(&[&batch], 1, None, Removal::Expiry).err().unwrap().to_string();
    assert_eq!(error, "cannot add element inet t s { 0x00000001 }: 0x00000001 is not a single inet_service");

    let named = Set::new(TABLE, "", SET.key);
    let keyless = Set::new(TABLE, "s", &[]);
    let verdicts = Set::new(TABLE, "s", &[DataType::Verdict, DataType::Mark]);
    for set in [named.clone(), keyless, verdicts] {
        let mut batch = Batch::default();
        batch.add_set(&set);
        assert!(Request::new(&[&batch], 1, None, Removal::Expiry).is_err(), "{set}");
    }
    let mut batch = Batch::default();
    batch.add_element(&SET, element(1)).add_element(&named, element(1));
    assert!(Request::new(&[&batch], 1, None, Removal::Expiry).is_err());
}
