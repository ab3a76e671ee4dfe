//! A crate's modules as its sources have them, and what their names mean.

use std::fs;
use std::path::{Path, PathBuf};

use syn::{Attribute, Item, UseTree, Visibility};

use super::expand::expand;
use super::text::text;
use crate::{Result, tools};

/// The modules of a library; the first is its root.
pub(super) struct Crate {
    modules: Vec<Module>,
}

pub(super) struct Module {
    parent: usize,
    /// All but modules and macros.
    pub(super) items: Vec<Item>,
    children: Vec<Child>,
    uses: Vec<Use>,
}

struct Child {
    name: String,
    module: usize,
    is_public: bool,
}

/// One name that a `use` brings in, or all names of a module (`*`).
struct Use {
    name: String,
    path: Vec<String>,
    is_public: bool,
}

/// What a name means.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Meaning {
    /// An item of this name in this module.
    Item(usize, String),
    Module(usize),
    /// Something of another crate, by its path.
    Foreign(String),
}

impl Crate {
    /// Reads the crate with this root, `src/lib.rs`.
    pub(super) fn load(root: &Path) -> Result<Self> {
        let mut library = Crate { modules: Vec::new() };
        let folder = root.parent().unwrap_or(Path::new("/")).to_owned();
        let items = read(root)?;
        library.add(0, items, &folder)?;
        Ok(library)
    }

    /// Every module.
    pub(super) fn modules(&self) -> impl Iterator<Item = (usize, &Module)> {
        self.modules.iter().enumerate()
    }

    /// Adds a module with these items; the files of those in it are in `folder`.
    fn add(&mut self, parent: usize, items: Vec<Item>, folder: &Path) -> Result<usize> {
        let this = self.modules.len();
        self.modules.push(Module { parent, items: Vec::new(), children: Vec::new(), uses: Vec::new() });
        for item in expanded(items) {
            match item {
                Item::Mod(module) if is_hidden(&module.attrs) => {}
                Item::Mod(module) => {
                    let name = module.ident.to_string();
                    let inner = folder.join(&name);
                    let items = match module.content {
                        Some((_, items)) => items,
                        None => read(&file_of(folder, &name))?,
                    };
                    let is_public = matches!(module.vis, Visibility::Public(_));
                    let module = self.add(this, items, &inner)?;
                    self.modules[this].children.push(Child { name, module, is_public });
                }
                Item::Use(item) if !is_hidden(&item.attrs) => {
                    let is_public = matches!(item.vis, Visibility::Public(_));
                    leaves(&item.tree, &mut Vec::new(), &mut |name, path| {
                        self.modules[this].uses.push(Use { name, path, is_public });
                    });
                }
                item if is_hidden(attributes(&item)) => {}
                item => self.modules[this].items.push(item),
            }
        }
        Ok(this)
    }

    /// What a module offers by `pub`, each with its name; for `pub use x::*` all of x.
    pub(super) fn offers(&self, module: usize) -> Vec<(String, Meaning)> {
        let at = &self.modules[module];
        let public = at.items.iter().filter(|item| is_public(item));
        let items = public.filter_map(name_of).map(|name| (name.clone(), Meaning::Item(module, name)));
        let children = at.children.iter().filter(|child| child.is_public);
        let mut offered: Vec<_> =
            items.chain(children.map(|child| (child.name.clone(), Meaning::Module(child.module)))).collect();
        for used in at.uses.iter().filter(|used| used.is_public) {
            match self.resolve(module, &used.path) {
                Meaning::Module(all) if used.name == "*" => offered.extend(self.offers(all)),
                meaning => offered.push((used.name.clone(), meaning)),
            }
        }
        offered
    }

    /// What a path means that stands in this module.
    pub(super) fn resolve(&self, module: usize, path: &[String]) -> Meaning {
        let foreign = || Meaning::Foreign(path.join("::"));
        let [first, rest @ ..] = path else { return foreign() };
        let mut at = match first.as_str() {
            "crate" => Some(Meaning::Module(0)),
            "self" => Some(Meaning::Module(module)),
            "super" => Some(Meaning::Module(self.modules[module].parent)),
            _ => self.named(module, first, rest.is_empty()),
        };
        for (index, name) in rest.iter().enumerate() {
            at = match at {
                Some(Meaning::Module(inner)) if name == "super" => {
                    Some(Meaning::Module(self.modules[inner].parent))
                }
                Some(Meaning::Module(inner)) => self.named(inner, name, index + 1 == rest.len()),
                // A variant, or something of another crate.
                other => {
                    return other.filter(|found| matches!(found, Meaning::Item(..))).unwrap_or_else(foreign);
                }
            };
        }
        at.unwrap_or_else(foreign)
    }

    /// What a name means in a module. A module and an item may have the same: only the last part of a path can mean the item.
    fn named(&self, module: usize, name: &str, is_last: bool) -> Option<Meaning> {
        let at = &self.modules[module];
        let is_item = is_last && at.items.iter().any(|item| name_of(item).as_deref() == Some(name));
        if is_item {
            return Some(Meaning::Item(module, name.to_owned()));
        }
        if let Some(child) = at.children.iter().find(|child| child.name == name) {
            return Some(Meaning::Module(child.module));
        }
        let of_use = |used: &Use| (used.name == name).then(|| self.resolve_use(module, used));
        if let Some(meaning) = at.uses.iter().find_map(of_use) {
            return Some(meaning);
        }
        at.uses.iter().filter(|used| used.name == "*").find_map(|used| match self.resolve_use(module, used) {
            Meaning::Module(all) if all != module => self.named(all, name, is_last),
            _ => None,
        })
    }

    fn resolve_use(&self, module: usize, used: &Use) -> Meaning {
        // `use serde::Serialize` in a module does not mean itself.
        match used.path.as_slice() {
            [only] if *only == used.name => Meaning::Foreign(only.clone()),
            path => self.resolve(module, path),
        }
    }

    /// The item that a name means in its own module.
    pub(super) fn item(&self, module: usize, name: &str) -> Option<&Item> {
        self.modules[module].items.iter().find(|item| name_of(item).as_deref() == Some(name))
    }
}

fn read(path: &Path) -> Result<Vec<Item>> {
    let text = fs::read_to_string(path).map_err(|error| tools::cannot("read", path, error))?;
    let file = syn::parse_file(&text).map_err(|error| format!("cannot parse {}: {error}", path.display()))?;
    Ok(file.items)
}

fn file_of(folder: &Path, name: &str) -> PathBuf {
    let file = folder.join(format!("{name}.rs"));
    if file.exists() { file } else { folder.join(name).join("mod.rs") }
}

/// The items, those among them that a macro of the same file makes.
fn expanded(items: Vec<Item>) -> Vec<Item> {
    let definitions: Vec<_> = items
        .iter()
        .filter_map(|item| match item {
            Item::Macro(item) => Some((item.ident.as_ref()?.to_string(), item.clone())),
            _ => None,
        })
        .collect();
    let made = |item: Item| match item {
        Item::Macro(call) => {
            let name = text(&call.mac.path);
            let definition = definitions.iter().find(|(defined, _)| *defined == name);
            definition.and_then(|(_, definition)| expand(definition, &call)).unwrap_or_default()
        }
        item => vec![item],
    };
    items.into_iter().flat_map(made).collect()
}

/// Each name that a `use` brings in, with its path.
fn leaves(tree: &UseTree, path: &mut Vec<String>, found: &mut impl FnMut(String, Vec<String>)) {
    let with = |path: &[String], last: String| [path, &[last]].concat();
    match tree {
        UseTree::Path(part) => {
            path.push(part.ident.to_string());
            leaves(&part.tree, path, found);
            path.pop();
        }
        UseTree::Name(name) if name.ident == "self" => {
            found(path.last().cloned().unwrap_or_default(), path.clone());
        }
        UseTree::Name(name) => found(name.ident.to_string(), with(path, name.ident.to_string())),
        UseTree::Rename(name) => found(name.rename.to_string(), with(path, name.ident.to_string())),
        UseTree::Glob(_) => found("*".to_owned(), path.clone()),
        UseTree::Group(group) => group.items.iter().for_each(|tree| leaves(tree, path, found)),
    }
}

/// What only tests and fuzz targets have, and what is not shown.
pub(super) fn is_hidden(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let text = text(&attribute.meta);
        text == "cfg(test)"
            || text == "cfg(doctest)"
            || text.starts_with("cfg(feature")
            || text == "doc(hidden)"
    })
}

macro_rules! of_each {
    ($item:expr, $found:ident => $value:expr) => {
        match $item {
            Item::Const($found) => Some($value),
            Item::Enum($found) => Some($value),
            Item::Static($found) => Some($value),
            Item::Struct($found) => Some($value),
            Item::Trait($found) => Some($value),
            Item::Type($found) => Some($value),
            _ => None,
        }
    };
}

/// The name of what has one and is not a module.
pub(super) fn name_of(item: &Item) -> Option<String> {
    match item {
        Item::Fn(item) => Some(item.sig.ident.to_string()),
        item => of_each!(item, found => found.ident.to_string()),
    }
}

fn is_public(item: &Item) -> bool {
    match item {
        Item::Fn(item) => matches!(item.vis, Visibility::Public(_)),
        item => of_each!(item, found => matches!(found.vis, Visibility::Public(_))).unwrap_or_default(),
    }
}

/// An item's attributes.
pub(super) fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        item => of_each!(item, found => found.attrs.as_slice()).unwrap_or_default(),
    }
}
