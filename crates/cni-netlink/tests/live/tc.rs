//! Token buckets and redirecting filters as the kernel takes them.

use cni_netlink::{Link, LinkKind, NewLink, Socket, Tbf};

use crate::support::{Container, in_netns, skipped, veth};

const TBF: Tbf = Tbf { rate: 1_000_000, buffer: 1_562_500, limit: 125_000 };

/// An ifb, or a word on why there is none.
fn ifb(socket: &mut Socket) -> Option<Link> {
    let new = NewLink { name: "ifb9", kind: LinkKind::Ifb, parent: None, mac: None, mtu: None };
    match socket.link_add(&new) {
        Ok(()) => Some(socket.link_by_name("ifb9").unwrap()),
        Err(error) => {
            skipped(&format!("needs a kernel with ifb: {error}"));
            None
        }
    }
}

#[test]
fn token_bucket_is_read_back_and_removed_once() {
    in_netns(|| {
        let mut host = Socket::open().unwrap();
        let outside = Container::new();
        let link = veth(&mut host, &outside, None).index;
        assert_eq!(host.tbf_get(link).unwrap(), None);
        assert!(!host.tbf_del(link).unwrap());
        host.tbf_add(link, &TBF).unwrap();
        assert_eq!(host.tbf_get(link).unwrap(), Some(TBF));
        assert!(host.tbf_add(link, &TBF).unwrap_err().is_exists());
        assert!(host.tbf_del(link).unwrap());
        assert!(!host.tbf_del(link).unwrap());
        let fast = Tbf { rate: 5_000_000_000, buffer: 3125, limit: 126_000_000 };
        host.tbf_add(link, &fast).unwrap();
        assert_eq!(host.tbf_get(link).unwrap(), Some(fast));
    });
}

#[test]
fn bucket_that_holds_nothing_is_refused() {
    in_netns(|| {
        let mut host = Socket::open().unwrap();
        let outside = Container::new();
        let link = veth(&mut host, &outside, None).index;
        let error = host.tbf_add(link, &Tbf { buffer: 0, ..TBF }).unwrap_err();
        let text = error.to_string();
        assert!(
            text.starts_with(&format!("cannot add a token bucket on the link with index {link}: ")),
            "{text}"
        );
        assert!(host.tbf_get(999).unwrap_err().is_not_found());
    });
}

#[test]
fn filter_leads_from_one_link_to_the_other_until_its_place_goes() {
    in_netns(|| {
        let mut host = Socket::open().unwrap();
        let outside = Container::new();
        let link = veth(&mut host, &outside, None).index;
        let Some(ifb) = ifb(&mut host) else { return };
        assert_eq!(host.redirects(link).unwrap(), []);
        host.redirect_add(link, ifb.index).unwrap_err();
        host.ingress_add(link).unwrap();
        assert_eq!(host.redirects(link).unwrap(), []);
        host.redirect_add(link, ifb.index).unwrap();
        assert_eq!(host.redirects(link).unwrap(), [ifb.index]);
        assert!(host.ingress_add(link).unwrap_err().is_exists());
        host.link_del(ifb.index).unwrap();
        assert_eq!(host.redirects(link).unwrap(), [0], "to a link that is gone");
        assert!(host.ingress_del(link).unwrap());
        assert!(!host.ingress_del(link).unwrap());
        assert_eq!(host.redirects(link).unwrap(), []);
    });
}
