//! What the cells of a node took, as the table that is read and the targets that are kept or missed.

use super::PODS;
use super::cell::Cell;
use super::many::{Command, Grid, Mode};
use crate::report::{Limit, Report, Table};
use crate::samples::Samples;

/// One cell's times.
pub(super) struct Row {
    pub(super) cell: Cell,
    pub(super) ours: Grid,
    /// Where it was measured.
    pub(super) reference: Option<Grid>,
    /// The floor: links alone, commits alone, and iptables-legacy's part where rules are its.
    pub(super) links: Grid,
    pub(super) commits: Grid,
    pub(super) legacy: Samples,
    /// Links deleted at once by a process each.
    pub(super) by_processes: Samples,
}

/// Columns, in their order.
const WAYS: [(Command, Mode); 4] = [
    (Command::Add, Mode::OneByOne),
    (Command::Add, Mode::AtOnce),
    (Command::Del, Mode::OneByOne),
    (Command::Del, Mode::AtOnce),
];

impl Row {
    pub(super) fn new(cell: Cell) -> Self {
        let [ours, links, commits] = Default::default();
        let [legacy, by_processes] = Default::default();
        Row { cell, ours, reference: None, links, commits, legacy, by_processes }
    }

    fn floor(&self, command: Command, mode: Mode) -> f64 {
        self.links.median(command, mode) + self.commits.median(command, mode)
    }

    /// `ours / reference / floor`, for each way.
    pub(super) fn times(&self) -> Vec<String> {
        let times = |(command, mode)| {
            let ours = self.ours.median(command, mode);
            let reference = self.reference.as_ref().map(|times| times.median(command, mode));
            let reference = reference.map_or("-".to_owned(), |time| format!("{time:.0}"));
            format!("{ours:.0} / {reference} / {:.0}", self.floor(command, mode))
        };
        WAYS.map(times).to_vec()
    }

    fn bare(&self) -> Vec<String> {
        let times = |(command, mode)| {
            format!("{:.0} + {:.0}", self.links.median(command, mode), self.commits.median(command, mode))
        };
        let legacy =
            if self.cell.has_legacy_rules() { format!("{:.0}", self.legacy.median()) } else { String::new() };
        let mut cells = WAYS.map(times).to_vec();
        cells.extend([format!("{:.0}", self.by_processes.median()), legacy]);
        cells
    }

    fn named(&self, cells: Vec<String>) -> Vec<String> {
        let names =
            [self.cell.backends().to_owned(), self.cell.rules.to_string(), self.cell.pods().to_owned()];
        names.into_iter().chain(cells).collect()
    }
}

fn name(command: Command, mode: Mode) -> String {
    let command = if command == Command::Add { "ADD" } else { "DEL" };
    match mode {
        Mode::OneByOne => format!("{command} one by one"),
        Mode::AtOnce => format!("{command} {PODS} at once"),
    }
}

pub(super) fn add(report: &mut Report, rows: &[Row]) {
    let header = |more: &[&str]| {
        let names = ["backends", "host's rules", "pods"].map(str::to_owned).into_iter();
        let ways = WAYS.map(|(command, mode)| name(command, mode));
        names.chain(ways).chain(more.iter().map(|name| (*name).to_owned())).collect()
    };
    report.tables.push(Table {
        title: format!("Node: ms in all for {PODS} containers, ours / reference / floor"),
        header: header(&[]),
        rows: rows.iter().map(|row| row.named(row.times())).collect(),
    });
    report.tables.push(Table {
        title:
            "Node: the floor, links + commits; 20 links deleted at once by a process each; one rule added by \
                iptables-legacy-restore"
                .to_owned(),
        header: header(&["DEL 20 at once, a process each", "legacy rule"]),
        rows: rows.iter().map(|row| row.named(row.bare())).collect(),
    });
    for row in rows {
        for (command, mode) in WAYS {
            compare(report, row, command, mode);
        }
    }
    for row in rows.iter().filter(|row| row.cell.services() > 0) {
        let none = rows.iter().find(|none| none.cell.services() == 0 && none.cell.has_same_pods(&row.cell));
        if let Some(none) = none {
            WAYS.iter().for_each(|(command, mode)| stays_flat(report, row, none, *command, *mode));
        }
    }
}

/// Several times as fast as the reference, or near the floor where the reference is not far from it either.
fn compare(report: &mut Report, row: &Row, command: Command, mode: Mode) {
    let ours = row.ours.median(command, mode);
    let what = format!("node, {}, {}", row.cell, name(command, mode));
    if let Some(reference) = &row.reference {
        let reference = reference.median(command, mode);
        let floor = row.floor(command, mode);
        let wanted = if command == Command::Add { 4.0 } else { 3.0 };
        if reference / ours < wanted && reference / floor < 4.0 {
            let wanted = if mode == Mode::OneByOne { 1.3 } else { 2.0 };
            report.target(format!("{what}: ours / floor"), ours / floor, Limit::AtMost(wanted));
        } else {
            report.target(format!("{what}: reference / ours"), reference / ours, Limit::AtLeast(wanted));
        }
    }
    if row.cell.backend.is_some() && (command, mode) == (Command::Del, Mode::AtOnce) {
        let links = row.by_processes.median();
        report.target(format!("{what}: ours / links by a process each"), ours / links, Limit::AtMost(2.0));
    }
}

/// Beyond what the kernel takes longer for the bare commits, others' rules make no difference.
fn stays_flat(report: &mut Report, row: &Row, none: &Row, command: Command, mode: Mode) {
    let grown = row.commits.median(command, mode) - none.commits.median(command, mode);
    let ratio = (row.ours.median(command, mode) - grown) / none.ours.median(command, mode);
    let what =
        format!("node, {}, {}: without the commits' growth / with no rules", row.cell, name(command, mode));
    report.target(what, ratio, Limit::AtMost(1.2));
}
