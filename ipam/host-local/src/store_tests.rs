use std::fs::File;
use std::os::unix::fs::PermissionsExt;

use super::*;

const HOUR: Duration = Duration::from_secs(3600);
const DUMMY: Holder<'_> = Holder { id: "dummy", ifname: "eth0" };

/// A network's folder in a temporary one, seen from a boot of our choice.
struct Node {
    dir: tempfile::TempDir,
    boot: Boot,
}

impl Node {
    fn new() -> Self {
        let node =
            Node { dir: tempfile::tempdir().unwrap(), boot: Boot::fake("first", SystemTime::now() - HOUR) };
        fs::create_dir(node.path("")).unwrap();
        node
    }
    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join("net").join(name)
    }
    fn index(&self, name: &str) -> Option<String> {
        let target = fs::read_link(self.dir.path().join(".net.index").join(name)).ok()?;
        Some(target.into_os_string().into_string().unwrap())
    }
    fn write(&self, address: &str, text: &str) {
        fs::write(self.path(address), text).unwrap();
    }
    /// As if written that long ago.
    fn age(&self, name: &str, by: Duration) {
        File::open(self.path(name)).unwrap().set_modified(SystemTime::now() - by).unwrap();
    }
    fn store(&self) -> Store {
        Store::open(Folder::new(self.dir.path(), "net"), self.boot.clone()).unwrap().unwrap()
    }
    /// What one more process would find.
    fn held(&self, holder: Holder<'_>, miss: Miss) -> Vec<Lease> {
        self.store().lock().unwrap().held(holder, miss).unwrap()
    }
    /// What one more process would find, without reading files that no hint leads to.
    fn hinted(&self, holder: Holder<'_>) -> Option<Vec<Lease>> {
        self.store().lock().unwrap().index.get(holder)
    }
    fn take(&self, addresses: &[&str], holder: Holder<'_>) {
        let store = self.store();
        let mut session = store.lock().unwrap();
        let mut leases = session.held(holder, Miss::Trusted).unwrap();
        for address in addresses.iter().copied().map(ip) {
            assert_eq!(session.reserve(address, holder).unwrap(), Reserved::Done);
            leases.push(Lease { address, before_boot: false, any_ifname: false });
        }
        session.note(holder, &leases);
    }
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn lease(address: &str) -> Lease {
    Lease { address: ip(address), before_boot: false, any_ifname: false }
}

fn old(address: &str) -> Lease {
    Lease { before_boot: true, ..lease(address) }
}

#[test]
fn leases_are_the_references_files_with_mode_0600() {
    let node = Node::new();
    node.take(&["10.1.0.5", "2001:db8::5"], DUMMY);
    node.store().lock().unwrap().set_last_reserved(1, ip("10.1.0.5")).unwrap();
    let mut names: Vec<_> = fs::read_dir(node.path(""))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, ["10.1.0.5", "2001:db8::5", "last_reserved_ip.1", "lock"]);
    assert_eq!(fs::read(node.path("10.1.0.5")).unwrap(), b"dummy\r\neth0");
    assert_eq!(fs::read(node.path("last_reserved_ip.1")).unwrap(), b"10.1.0.5");
    for name in names {
        assert_eq!(fs::metadata(node.path(&name)).unwrap().permissions().mode() & 0o7777, 0o600, "{name}");
    }
    let mut beside: Vec<_> = fs::read_dir(node.dir.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    beside.sort();
    assert_eq!(beside, [".net.index", "net"], "no temporary file stays");
}

#[test]
fn a_network_without_a_folder_has_no_store_and_gets_none_by_being_looked_at() {
    let dir = tempfile::tempdir().unwrap();
    let folder = || Folder::new(&dir.path().join("networks"), "net");
    assert!(Store::open(folder(), Boot::current().unwrap()).unwrap().is_none());
    assert!(!dir.path().join("networks").exists());
    Store::create(folder(), Boot::current().unwrap()).unwrap();
    let mode = fs::metadata(dir.path().join("networks/net")).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o755);
}

#[test]
fn an_address_is_never_taken_twice_and_leftovers_of_crashes_are_no_leases() {
    let node = Node::new();
    node.write("10.1.0.5", "other\r\neth0");
    node.write("10.1.0.6", "");
    node.write("10.1.0.7", "\0\0\0\0\0");
    node.write("10.1.0.8", "kept for the printer\n");
    fs::create_dir(node.path("10.1.0.9")).unwrap();
    // As a crash between link and unlink leaves it: a second name of a lease.
    fs::hard_link(node.path("10.1.0.5"), node.dir.path().join(".net.tmp")).unwrap();

    let store = node.store();
    let session = store.lock().unwrap();
    let reserve = |address| session.reserve(ip(address), DUMMY).unwrap();
    let other = Contents::Held { id: "other".to_owned(), ifname: "eth0".to_owned() };
    assert_eq!(reserve("10.1.0.5"), Reserved::Taken(other));
    assert_eq!(reserve("10.1.0.6"), Reserved::Done);
    assert_eq!(reserve("10.1.0.7"), Reserved::Done);
    assert_eq!(reserve("10.1.0.8"), Reserved::Taken(Contents::Unknown));
    assert_eq!(reserve("10.1.0.9"), Reserved::Taken(Contents::Unknown));
    assert_eq!(
        reserve("10.1.0.6"),
        Reserved::Taken(Contents::Held { id: "dummy".to_owned(), ifname: "eth0".to_owned() })
    );
    assert_eq!(fs::read(node.path("10.1.0.5")).unwrap(), b"other\r\neth0");
}

#[test]
fn leases_are_written_where_links_are_not_possible() {
    let node = Node::new();
    // A folder in the way of the temporary file stands for a file system without links.
    fs::create_dir(node.dir.path().join(".net.tmp")).unwrap();
    node.take(&["10.1.0.5"], DUMMY);
    assert_eq!(fs::read(node.path("10.1.0.5")).unwrap(), b"dummy\r\neth0");
}

#[test]
fn a_lease_that_cannot_be_written_is_an_error_with_path_and_errno() {
    let node = Node::new();
    let store = node.store();
    let session = store.lock().unwrap();
    fs::rename(node.path(""), node.dir.path().join("elsewhere")).unwrap();
    let error = session.reserve(ip("10.1.0.5"), DUMMY).unwrap_err();
    let path = node.path("10.1.0.5");
    assert_eq!(
        error.to_string(),
        format!("cannot write lease {}: No such file or directory (os error 2)", path.display())
    );
}

#[test]
fn the_index_answers_without_reading_files() {
    let node = Node::new();
    let eth1 = Holder { ifname: "eth1", ..DUMMY };
    node.take(&["10.1.0.5", "2001:db8::5"], DUMMY);
    node.take(&["10.1.0.6"], eth1);
    assert_eq!(node.index("dummy:eth0").as_deref(), Some("10.1.0.5,2001:db8::5"));
    assert_eq!(node.hinted(DUMMY), Some(vec![lease("10.1.0.5"), lease("2001:db8::5")]));
    assert_eq!(node.hinted(eth1), Some(vec![lease("10.1.0.6")]));
    assert_eq!(node.hinted(Holder { ifname: "eth2", ..DUMMY }), Some(vec![]));

    let store = node.store();
    let mut session = store.lock().unwrap();
    session.release(ip("10.1.0.6")).unwrap();
    session.note(eth1, &[]);
    drop(session);
    assert_eq!(node.index("dummy:eth1"), None);
    assert_eq!(node.hinted(eth1), Some(vec![]));
}

#[test]
fn what_changes_behind_the_index_is_found() {
    let node = Node::new();
    node.take(&["10.1.0.5"], DUMMY);
    // The reference adds a lease, at once, within the same tick of the kernel's clock.
    node.write("10.1.0.6", "dummy\r\neth0");
    assert_eq!(node.hinted(DUMMY), None, "an index of before the change is not believed");
    assert_eq!(node.held(DUMMY, Miss::Trusted), [lease("10.1.0.5"), lease("10.1.0.6")]);
    assert_eq!(node.hinted(DUMMY), Some(vec![lease("10.1.0.5"), lease("10.1.0.6")]), "and is made anew");
    // The reference removes one.
    fs::remove_file(node.path("10.1.0.5")).unwrap();
    assert_eq!(node.held(DUMMY, Miss::Trusted), [lease("10.1.0.6")]);
    assert_eq!(node.index("dummy:eth0").as_deref(), Some("10.1.0.6"));
    // Somebody edits a lease in place, which leaves the folder's time alone.
    node.write("10.1.0.6", "other\r\neth0");
    assert_eq!(node.held(DUMMY, Miss::Trusted), []);
    assert_eq!(node.index("dummy:eth0"), None);
    assert_eq!(node.index("other:eth0").as_deref(), Some("10.1.0.6"));
}

#[test]
fn a_miss_is_doubted_where_that_would_leave_a_lease_for_ever() {
    let node = Node::new();
    node.take(&["10.1.0.5"], DUMMY);
    fs::remove_file(node.dir.path().join(".net.index/dummy:eth0")).unwrap();
    assert_eq!(node.held(DUMMY, Miss::Trusted), []);
    assert_eq!(node.held(DUMMY, Miss::Doubted), [lease("10.1.0.5")]);
}

#[test]
fn a_broken_index_is_made_anew_and_one_that_cannot_be_written_is_done_without() {
    let node = Node::new();
    node.take(&["10.1.0.5"], DUMMY);
    let entry = node.dir.path().join(".net.index/dummy:eth0");
    fs::remove_file(&entry).unwrap();
    std::os::unix::fs::symlink("nonsense", &entry).unwrap();
    assert_eq!(node.held(DUMMY, Miss::Trusted), [lease("10.1.0.5")]);
    assert_eq!(node.index("dummy:eth0").as_deref(), Some("10.1.0.5"));

    fs::remove_dir_all(node.dir.path().join(".net.index")).unwrap();
    fs::write(node.dir.path().join(".net.index"), "in the way").unwrap();
    assert_eq!(node.held(DUMMY, Miss::Trusted), [lease("10.1.0.5")]);
    assert_eq!(node.hinted(DUMMY), None);
    node.take(&["10.1.0.6"], Holder { id: "other", ..DUMMY });
    assert_eq!(node.held(DUMMY, Miss::Trusted), [lease("10.1.0.5")]);
}

#[test]
fn a_container_id_too_long_for_a_file_name_is_found_in_the_files() {
    let node = Node::new();
    let id = "x".repeat(300);
    let long = Holder { id: &id, ifname: "eth0" };
    node.take(&["10.1.0.5"], long);
    assert_eq!(node.hinted(long), None);
    assert_eq!(node.held(long, Miss::Trusted), [lease("10.1.0.5")]);
    assert_eq!(node.hinted(DUMMY), Some(vec![]), "the index serves all others");
}

#[test]
fn leases_of_very_old_plugins_belong_to_every_interface_of_the_container() {
    let node = Node::new();
    node.write("10.1.0.5", "dummy");
    let any = Lease { any_ifname: true, ..lease("10.1.0.5") };
    for ifname in ["eth0", "eth1"] {
        assert_eq!(node.held(Holder { ifname, ..DUMMY }, Miss::Trusted), [any]);
        assert_eq!(node.hinted(Holder { ifname, ..DUMMY }), Some(vec![any]));
    }
    assert_eq!(node.index("dummy:").as_deref(), Some("10.1.0.5"));
}

#[test]
fn a_lease_older_than_the_boot_is_told_from_one_of_this_boot() {
    let mut node = Node::new();
    node.take(&["10.1.0.5", "10.1.0.6"], DUMMY);
    node.age("10.1.0.5", 3 * HOUR);
    node.age("10.1.0.6", 3 * HOUR);
    assert_eq!(
        node.held(DUMMY, Miss::Trusted),
        [lease("10.1.0.5"), lease("10.1.0.6")],
        "the index saw them made in this boot"
    );

    node.boot = Boot::fake("second", SystemTime::now() - HOUR);
    assert_eq!(node.hinted(DUMMY), None, "the index is of another boot");
    assert_eq!(node.held(DUMMY, Miss::Trusted), [old("10.1.0.5"), old("10.1.0.6")]);
    assert_eq!(node.index("dummy:eth0").as_deref(), Some("10.1.0.5*,10.1.0.6*"));
    assert_eq!(node.hinted(DUMMY), Some(vec![old("10.1.0.5"), old("10.1.0.6")]));

    // One is taken into use again, and then the reference changes something.
    let store = node.store();
    let mut session = store.lock().unwrap();
    session.renew(ip("10.1.0.6")).unwrap();
    session.note(DUMMY, &[old("10.1.0.5"), lease("10.1.0.6")]);
    drop(session);
    node.write("10.1.0.7", "dummy\r\neth0");
    assert_eq!(node.held(DUMMY, Miss::Trusted), [old("10.1.0.5"), lease("10.1.0.6"), lease("10.1.0.7")]);
}

#[test]
fn a_clock_stepped_forward_makes_no_lease_of_this_boot_an_old_one() {
    let mut node = Node::new();
    node.take(&["10.1.0.5"], DUMMY);
    node.age("10.1.0.5", 3 * HOUR);
    // The reference adds another, and with the clock the boot moves after both.
    node.write("10.1.0.6", "other\r\neth0");
    node.age("10.1.0.6", 3 * HOUR);
    node.boot = Boot::fake("first", SystemTime::now());
    assert_eq!(node.held(DUMMY, Miss::Trusted), [lease("10.1.0.5")]);
    assert_eq!(node.held(Holder { id: "other", ..DUMMY }, Miss::Trusted), [lease("10.1.0.6")]);
}
