//! Elements that are removed: by expiry where the kernel has that, else by deletion; gone soon either way.

use std::time::{Duration, Instant};

use cni_nftables::{Batch, Element, Nft, Result};

use crate::support::{PORTS, TABLE, in_netns, in_netns_with_nft, nft as script, port, port_key, with_ports};

/// Longer than a tick of any kernel (CONFIG_HZ of 100 or more).
const TICKS: Duration = Duration::from_millis(500);

/// Removes what the owner has at the port, as plugins do.
fn remove(nft: &mut Nft, number: u16, owner: &str) -> Result<()> {
    nft.update("remove a port", None, |nft| {
        let mut batch = Batch::default();
        let found = nft.element(&PORTS, &port_key(number))?;
        if let Some(own) = found.filter(|found| found.comment.as_deref() == Some(owner)) {
            batch.remove_element(&PORTS, own);
        }
        Ok(batch)
    })
}

#[track_caller]
fn gone_soon(nft: &mut Nft, number: u16) {
    let start = Instant::now();
    while let Some(found) = nft.element(&PORTS, &port_key(number)).unwrap() {
        assert_eq!(found.comment, None, "it has no owner from the moment that it was removed");
        assert!(start.elapsed() < TICKS, "{found:?} is still there");
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn with(elements: impl IntoIterator<Item = Element>) -> Nft {
    let mut nft = with_ports();
    let mut batch = Batch::default();
    for element in elements {
        batch.add_element(&PORTS, element);
    }
    nft.commit(&batch).unwrap();
    nft
}

#[test]
fn removed_elements_go_and_others_stay() {
    in_netns(|| {
        let mut nft = with([80, 81, 82].map(|number| port(number, [10, 1, 0, 2], "mine")));
        remove(&mut nft, 80, "mine").unwrap();
        remove(&mut nft, 81, "theirs").unwrap();
        gone_soon(&mut nft, 80);
        std::thread::sleep(TICKS);
        let mut left: Vec<_> = nft.elements(&PORTS).unwrap();
        left.sort_by_key(|element| format!("{:?}", element.key));
        assert_eq!(left, [81, 82].map(|number| port(number, [10, 1, 0, 2], "mine")));
        // Once more is not a failure.
        remove(&mut nft, 80, "mine").unwrap();
    });
}

/// The next owner of a port may come before the kernel's next tick, which takes the element of the one before.
#[test]
fn key_of_a_removed_element_is_taken_at_once_and_stays_taken() {
    in_netns(|| {
        let mut nft = with([]);
        for round in 0..50 {
            let element = port(80, [10, 1, 0, 2], &format!("owner {round}"));
            nft.update("put a port", None, |nft| {
                let mut batch = Batch::default();
                if nft.element(&PORTS, &element.key)?.is_some() {
                    batch.delete_element(&PORTS, element.key.clone());
                }
                batch.add_element(&PORTS, element.clone());
                Ok(batch)
            })
            .unwrap();
            assert_eq!(nft.element(&PORTS, &port_key(80)).unwrap().as_ref(), Some(&element));
            if round == 49 {
                std::thread::sleep(TICKS);
                assert_eq!(nft.elements(&PORTS).unwrap(), [element]);
            } else {
                remove(&mut nft, 80, &format!("owner {round}")).unwrap();
            }
        }
    });
}

/// Reading and deleting are two steps, and what was read may expire between them, which no generation tells.
#[test]
fn element_that_expires_before_it_is_deleted_is_planned_for_again() {
    in_netns(|| {
        let mut nft = with([port(80, [10, 1, 0, 2], "before")]);
        remove(&mut nft, 80, "before").unwrap();
        let (mut plans, after) = (0, port(80, [10, 1, 0, 3], "after"));
        nft.update("take over a port", None, |nft| {
            plans += 1;
            let found = nft.element(&PORTS, &port_key(80))?;
            // Long enough for it to be gone.
            std::thread::sleep(TICKS);
            let mut batch = Batch::default();
            if found.is_some() {
                batch.delete_element(&PORTS, port_key(80));
            }
            batch.add_element(&PORTS, after.clone());
            Ok(batch)
        })
        .unwrap();
        assert!(plans <= 2, "{plans} plans");
        assert_eq!(nft.elements(&PORTS).unwrap(), [after]);
    });
}

/// A table of a release before there was expiry, or a set of the user's own.
#[test]
fn element_of_a_set_without_timeouts_is_deleted() {
    in_netns_with_nft(|| {
        script(
            "add table inet t
             add map inet t ports { type ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service; }",
        );
        let mut nft = Nft::new();
        let mut batch = Batch::default();
        batch.add_element(&PORTS, port(80, [10, 1, 0, 2], "mine"));
        batch.add_element(&PORTS, port(81, [10, 1, 0, 2], "mine"));
        nft.commit(&batch).unwrap();
        remove(&mut nft, 80, "mine").unwrap();
        assert_eq!(nft.element(&PORTS, &port_key(80)).unwrap(), None, "deletion needs no tick");
        assert_eq!(nft.elements(&PORTS).unwrap().len(), 1);
    });
}

#[test]
fn commit_deletes_what_it_removes() {
    in_netns(|| {
        let mut nft = with([port(80, [10, 1, 0, 2], "mine")]);
        nft.commit(Batch::default().remove_element(&PORTS, port(80, [10, 1, 0, 2], "mine"))).unwrap();
        assert_eq!(nft.element(&PORTS, &port_key(80)).unwrap(), None);
        let error = nft.commit(Batch::default().remove_element(&PORTS, port(80, [10, 1, 0, 2], "mine")));
        let text = error.unwrap_err().to_string();
        assert!(
            text.starts_with(&format!("cannot delete element {TABLE} ports {{ 10.0.0.1 . tcp . 80 }}")),
            "{text}"
        );
    });
}
