//! What a command came to, and how it is printed.

use std::io::{self, Write};
use std::process::ExitCode;

use libcni::Error;
use serde::Serialize;
use serde_json::ser::{PrettyFormatter, Serializer};
use serde_json::{Map, Value, json};

/// What a command prints, in both forms, and what failed.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// For people.
    pub(crate) text: String,
    /// For programs; `errors` is added to it when there are any.
    pub(crate) json: Map<String, Value>,
    /// Told on standard error; nothing failed for them.
    pub(crate) notes: Vec<String>,
    pub(crate) failures: Vec<Failure>,
    /// The answer itself says that something is wrong.
    pub(crate) negative: bool,
    /// The text is the answer also when JSON is asked for.
    pub(crate) text_only: bool,
}

/// One thing that failed.
#[derive(Debug)]
pub(crate) struct Failure {
    message: String,
    /// The fault is in the arguments or the environment.
    usage: bool,
    /// The plugin at fault.
    plugin: Option<String>,
    /// The specification's code and the plugin's own words, when it said why.
    said: Option<(u32, String, String)>,
}

impl Failure {
    /// Wrong arguments or environment.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Failure { message: message.into(), usage: true, plugin: None, said: None }
    }

    /// Anything else.
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Failure { usage: false, ..Failure::usage(message) }
    }

    /// Adds a remedy to what is said.
    pub(crate) fn hint(&mut self, hint: &str) {
        self.message = format!("{} ({hint})", self.message);
    }

    /// Each of the errors that this one is made of.
    pub(crate) fn each(error: &Error) -> Vec<Self> {
        let failures = error.each().map(|error| Failure {
            plugin: error.plugin().map(|plugin| plugin.to_string()),
            said: error.cni_error().map(|said| (said.code.0, said.msg.clone(), said.details.clone())),
            ..Failure::new(error.to_string())
        });
        failures.collect()
    }

    fn json(&self) -> Value {
        let mut json = json!({ "message": self.message });
        if let Some(plugin) = &self.plugin {
            json["plugin"] = plugin.as_str().into();
        }
        if let Some((code, msg, details)) = &self.said {
            json["code"] = (*code).into();
            json["msg"] = msg.as_str().into();
            if !details.is_empty() {
                json["details"] = details.as_str().into();
            }
        }
        json
    }
}

impl Outcome {
    /// An answer that has no other form.
    pub(crate) fn text(text: impl Into<String>) -> Self {
        Outcome { text: text.into(), text_only: true, ..Outcome::default() }
    }

    /// An answer for programs alone.
    pub(crate) fn quiet(json: Value) -> Self {
        Outcome::both(String::new(), json)
    }

    /// An answer in both forms; `json` is an object.
    pub(crate) fn both(text: String, json: Value) -> Self {
        let json = match json {
            Value::Object(object) => object,
            other => Map::from_iter([("answer".to_string(), other)]),
        };
        Outcome { text, json, ..Outcome::default() }
    }

    /// Prints it, and says how the process is to end.
    pub(crate) fn print(mut self, as_json: bool) -> ExitCode {
        let code = match self.failures.as_slice() {
            [] => u8::from(self.negative),
            failures if failures.iter().any(|failure| failure.usage) => 2,
            _ => 1,
        };
        let mut stderr = String::new();
        for note in &self.notes {
            stderr += &format!("cnitool: {note}\n");
        }
        let stdout = if as_json && !self.text_only {
            if !self.failures.is_empty() {
                let errors = self.failures.iter().map(Failure::json).collect();
                self.json.insert("errors".to_string(), Value::Array(errors));
            }
            pretty(&Value::Object(self.json))
        } else {
            for failure in &self.failures {
                stderr += &format!("cnitool: {}\n", failure.message);
            }
            self.text
        };
        // Nobody is left to be told when these are closed.
        let _ = io::stderr().write_all(stderr.as_bytes());
        match io::stdout().write_all(stdout.as_bytes()) {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => ExitCode::from(1),
            _ => ExitCode::from(code),
        }
    }
}

impl From<Failure> for Outcome {
    fn from(failure: Failure) -> Self {
        Outcome { failures: vec![failure], ..Outcome::default() }
    }
}

impl From<Vec<Failure>> for Outcome {
    fn from(failures: Vec<Failure>) -> Self {
        Outcome { failures, ..Outcome::default() }
    }
}

/// Indented by four, as Go prints results.
pub(crate) fn pretty(value: &Value) -> String {
    let mut text = Vec::new();
    let indented = PrettyFormatter::with_indent(b"    ");
    value
        .serialize(&mut Serializer::with_formatter(&mut text, indented))
        .expect("a JSON value has a text, and memory takes it");
    text.push(b'\n');
    String::from_utf8(text).expect("JSON is UTF-8")
}
