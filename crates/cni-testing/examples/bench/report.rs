//! What was measured, as a table for a terminal and docs/performance.md, and as JSON.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::samples::Samples;

/// One thing that was measured, of one or several peers.
#[derive(Debug)]
pub(crate) struct Figure {
    pub(crate) what: String,
    pub(crate) series: Vec<(&'static str, Samples)>,
}

/// A ratio that has to be kept.
#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) what: String,
    pub(crate) is: f64,
    pub(crate) limit: Limit,
}

/// Which side of a number is good.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Limit {
    AtLeast(f64),
    AtMost(f64),
}

impl Limit {
    fn is_kept(self, is: f64) -> bool {
        match self {
            Limit::AtLeast(limit) => is >= limit,
            Limit::AtMost(limit) => is <= limit,
        }
    }

    fn text(self) -> String {
        match self {
            Limit::AtLeast(limit) => format!("at least {limit}"),
            Limit::AtMost(limit) => format!("at most {limit}"),
        }
    }
}

/// What is read better side by side than as figures one below the other.
#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) title: String,
    pub(crate) header: Vec<String>,
    pub(crate) rows: Vec<Vec<String>>,
}

impl Table {
    fn markdown(&self) -> String {
        let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
        let rule = "|---".repeat(self.header.len()) + "|\n";
        let rows: String = self.rows.iter().map(|row| line(row)).collect();
        format!("{}\n\n{}{rule}{rows}\n", self.title, line(&self.header))
    }
}

/// Everything of one run.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) tables: Vec<Table>,
    pub(crate) figures: Vec<Figure>,
    pub(crate) targets: Vec<Target>,
}

impl Report {
    pub(crate) fn figure(&mut self, what: impl Into<String>, series: Vec<(&'static str, Samples)>) {
        self.figures.push(Figure { what: what.into(), series });
    }

    pub(crate) fn target(&mut self, what: impl Into<String>, is: f64, limit: Limit) {
        self.targets.push(Target { what: what.into(), is, limit });
    }

    /// Tables in Markdown, which a terminal shows well enough.
    pub(crate) fn markdown(&self) -> String {
        let mut text: String = self.tables.iter().map(Table::markdown).collect();
        if !self.figures.is_empty() {
            text += "| what | whose | rounds | median, ms | p99, ms | ratio to ours |\n";
            text += "|---|---|--:|--:|--:|--:|\n";
        }
        for figure in &self.figures {
            let ours = figure.series.first().map(|(_, samples)| samples.median());
            for (whose, samples) in &figure.series {
                let (median, p99) = (samples.median(), samples.p99());
                let ratio = ours.map_or(1.0, |ours| median / ours);
                let rounds = samples.len();
                let _ = writeln!(
                    text,
                    "| {} | {whose} | {rounds} | {median:.2} | {p99:.2} | {ratio:.2} |",
                    figure.what
                );
            }
        }
        text += "\n| target | is | wanted | |\n|---|--:|---|---|\n";
        for target in &self.targets {
            let kept = if target.limit.is_kept(target.is) { "kept" } else { "missed" };
            let _ =
                writeln!(text, "| {} | {:.2} | {} | {kept} |", target.what, target.is, target.limit.text());
        }
        text
    }

    pub(crate) fn json(&self) -> Value {
        let series = |(whose, samples): &(&'static str, Samples)| {
            json!({
                "whose": whose,
                "rounds": samples.len(),
                "medianMs": samples.median(),
                "p99Ms": samples.p99(),
            })
        };
        let figure = |figure: &Figure| json!({"what": figure.what, "series": figure.series.iter().map(series).collect::<Vec<_>>()});
        let target = |target: &Target| {
            json!({
                "what": target.what,
                "is": target.is,
                "wanted": target.limit.text(),
                "kept": target.limit.is_kept(target.is),
            })
        };
        let table = |table: &Table| json!({"title": table.title, "header": table.header, "rows": table.rows});
        json!({
            "tables": self.tables.iter().map(table).collect::<Vec<_>>(),
            "figures": self.figures.iter().map(figure).collect::<Vec<_>>(),
            "targets": self.targets.iter().map(target).collect::<Vec<_>>(),
        })
    }
}
