//! Many processes at once, each with its own socket: nothing is lost, nothing that belongs to others is touched.

use std::cell::Cell;
use std::process::Child;

use cni_nftables::{Batch, Nft, Result, Statement, Value};

use crate::support::{
    PORTS, TABLE, chain, in_netns, in_netns_with_nft, nft, port, port_key, program, run, skipped, with_ports,
};

const PROCESSES: u16 = 8;
const CHANGES: u16 = 200;

/// What to make first; twice is harmless.
fn setup() -> Batch {
    let mut batch = Batch::default();
    batch.add_table(&TABLE).add_set(&PORTS).add_chain(&TABLE, &chain("x")).flush_chain(&TABLE, "x");
    batch.add_rule(&TABLE, "x", vec![Statement::Counter]);
    batch
}

/// Which writer this process is, when it is one.
#[allow(clippy::disallowed_methods, reason = "how these tests talk to their own processes")]
fn writer() -> Option<u16> {
    Some(std::env::var("CNI_NFTABLES_TEST_WRITER").ok()?.parse().unwrap())
}

/// Starts this test program as a writer in the calling thread's namespace.
fn start(test: &str, number: u16) -> Child {
    let mut program = program(std::env::current_exe().unwrap());
    program
        .args(["--exact", test, "--ignored", "--quiet"])
        .env("CNI_NFTABLES_TEST_WRITER", number.to_string());
    program.stdout(std::process::Stdio::null()).spawn().unwrap()
}

fn all(test: &str) {
    let children: Vec<Child> = (0..PROCESSES).map(|number| start(test, number)).collect();
    for child in children {
        assert!(child.wait_with_output().unwrap().status.success());
    }
}

#[test]
#[ignore = "a process of writers_lose_nothing"]
fn process_that_adds() {
    let Some(number) = writer() else { return skipped("is a process of another test") };
    let mut nft = Nft::new();
    for change in 0..CHANGES {
        let mut batch = Batch::default();
        batch.add_element(&PORTS, port(number * CHANGES + change + 1, [10, 1, 0, 2], &format!("w{number}")));
        nft.commit_with_setup(&setup(), &batch).unwrap();
    }
}

/// All start with no table: they find nothing, and set up at the same time.
#[test]
fn writers_lose_nothing_from_the_first_setup_on() {
    in_netns_with_nft(|| {
        nft("add table inet foreign
             add chain inet foreign c
             add rule inet foreign c counter comment \"mine\"
             add set inet foreign s { type ipv4_addr; }
             add element inet foreign s { 1.2.3.4 }");
        let foreign = || run("nft -a list table inet foreign");
        let before = foreign();
        all("contention::process_that_adds");
        let mut nft = Nft::new();
        assert_eq!(nft.elements(&PORTS).unwrap().len(), usize::from(PROCESSES * CHANGES));
        assert_eq!(nft.rules(&TABLE, "x").unwrap().len(), 1);
        assert_eq!(foreign(), before);
    });
}

/// Adds one to the number in the element's data, as the generation guards it.
fn count(nft: &mut Nft, plans: &Cell<u32>) -> Result<()> {
    nft.update("count", Some(&setup()), |nft| {
        plans.set(plans.get() + 1);
        let found = nft.element(&PORTS, &port_key(1))?;
        let mut next = port(1, [10, 1, 0, 2], "counter");
        let mut batch = Batch::default();
        if let Some(found) = found {
            let Value::Port(before) = found.data[1] else { panic!("{found:?}") };
            next.data[1] = Value::Port(before + 1);
            batch.delete_element(&PORTS, port_key(1));
        } else {
            next.data[1] = Value::Port(1);
        }
        batch.add_element(&PORTS, next);
        Ok(batch)
    })
}

#[test]
#[ignore = "a process of guarded_updates_lose_nothing"]
fn process_that_counts() {
    if writer().is_none() {
        return skipped("is a process of another test");
    }
    let mut nft = Nft::new();
    let plans = Cell::new(0);
    for _ in 0..CHANGES {
        count(&mut nft, &plans).unwrap();
    }
}

/// A read and a write that only the guard makes one: without it numbers would be lost.
#[test]
fn guarded_updates_lose_nothing() {
    in_netns(|| {
        all("contention::process_that_counts");
        let found = Nft::new().element(&PORTS, &port_key(1)).unwrap().unwrap();
        assert_eq!(found.data[1], Value::Port(PROCESSES * CHANGES));
    });
}

#[test]
fn update_plans_again_when_the_ruleset_changed_meanwhile() {
    in_netns(|| {
        let mut nft = with_ports();
        let mut other = Nft::new();
        let mut plans = 0;
        nft.update("add a port", None, |_| {
            plans += 1;
            if plans <= 3 {
                let name = format!("c{plans}");
                other.commit(Batch::default().add_chain(&TABLE, &chain(&name)))?;
            }
            let mut batch = Batch::default();
            batch.add_element(&PORTS, port(80, [10, 1, 0, 2], "x"));
            Ok(batch)
        })
        .unwrap();
        assert_eq!(plans, 4);
        assert!(nft.element(&PORTS, &port_key(80)).unwrap().is_some());
    });
}

#[test]
fn update_gives_up_when_the_ruleset_never_stays() {
    in_netns(|| {
        let mut nft = with_ports();
        let mut other = Nft::new();
        let mut plans = 0;
        let error = nft.update("add a port", None, |_| {
            plans += 1;
            other.commit(Batch::default().add_chain(&TABLE, &chain(&format!("c{plans}"))))?;
            let mut batch = Batch::default();
            batch.add_element(&PORTS, port(80, [10, 1, 0, 2], "x"));
            Ok(batch)
        });
        assert_eq!(
            error.unwrap_err().to_string(),
            "cannot add a port: the ruleset kept changing (100 tries)"
        );
        assert_eq!(plans, 100);
        assert_eq!(nft.element(&PORTS, &port_key(80)).unwrap(), None);
    });
}

#[test]
fn update_ends_with_an_empty_plan_and_with_an_error_of_the_plan() {
    in_netns(|| {
        let mut nft = with_ports();
        nft.update("do nothing", None, |_| Ok(Batch::default())).unwrap();
        let error = nft.update("fail", None, |nft| nft.element(&PORTS, &[]).map(|_| Batch::default()));
        assert!(error.unwrap_err().to_string().contains("0 values where 3 belong"));
    });
}

/// A deletion of what is no longer ours must not happen between reading and deleting.
#[test]
fn element_that_got_another_owner_meanwhile_stays() {
    in_netns(|| {
        let mut nft = with_ports();
        let mut other = Nft::new();
        nft.commit(Batch::default().add_element(&PORTS, port(80, [10, 1, 0, 2], "mine"))).unwrap();
        let mut stolen = false;
        nft.update("delete my port", None, |nft| {
            let found = nft.element(&PORTS, &port_key(80))?;
            if !std::mem::replace(&mut stolen, true) {
                let mut batch = Batch::default();
                batch
                    .delete_element(&PORTS, port_key(80))
                    .add_element(&PORTS, port(80, [10, 1, 0, 3], "theirs"));
                other.commit(&batch)?;
            }
            let mut batch = Batch::default();
            if found.is_some_and(|found| found.comment.as_deref() == Some("mine")) {
                batch.delete_element(&PORTS, port_key(80));
            }
            Ok(batch)
        })
        .unwrap();
        let left = nft.element(&PORTS, &port_key(80)).unwrap().unwrap();
        assert_eq!(left.comment.as_deref(), Some("theirs"));
    });
}

#[test]
fn setup_is_made_only_when_something_is_missing() {
    in_netns(|| {
        let mut nft = Nft::new();
        let mut first = Batch::default();
        first.add_element(&PORTS, port(80, [10, 1, 0, 2], "x"));
        nft.commit_with_setup(&setup(), &first).unwrap();
        let rules = nft.rules(&TABLE, "x").unwrap();
        let mut second = Batch::default();
        second.add_element(&PORTS, port(81, [10, 1, 0, 2], "x"));
        nft.commit_with_setup(&setup(), &second).unwrap();
        // A setup would have made the rule again, under another handle.
        assert_eq!(nft.rules(&TABLE, "x").unwrap(), rules);
        assert_eq!(nft.elements(&PORTS).unwrap().len(), 2);
    });
}
