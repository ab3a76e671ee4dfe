//! What a crate offers, a line for each item, field, variant, method and implementation.

use std::collections::{BTreeMap, BTreeSet};

use syn::{
    Field, Fields, FnArg, Generics, ImplItem, Item, ItemImpl, Pat, Signature, TraitItem, Type, Visibility,
};

use super::crates::{Crate, Meaning, attributes, is_hidden};
use super::text::text;
use crate::Result;

/// An item, under the path by which others know it.
struct Offered {
    path: String,
    /// It and its parts, in their order.
    lines: Vec<String>,
    /// Methods and implementations, sorted.
    more: BTreeSet<String>,
}

/// The lines of everything, item by item in the order of their paths.
pub(super) fn lines(library: &Crate) -> Result<Vec<String>> {
    let mut found: BTreeMap<Meaning, Offered> = BTreeMap::new();
    let mut lines = BTreeSet::new();
    collect(library, 0, "", &mut found, &mut lines)?;
    for (module, at) in library.modules() {
        for item in &at.items {
            if let Item::Impl(item) = item {
                implement(library, module, item, &mut found);
            }
        }
    }
    let mut offered: Vec<Offered> = found.into_values().collect();
    offered.sort_by(|one, other| one.path.cmp(&other.path));
    let of_items = offered.into_iter().map(|item| [item.lines, Vec::from_iter(item.more)].concat());
    Ok(spaced([Vec::from_iter(lines)].into_iter().chain(of_items)))
}

/// An empty line before and after whatever has several lines.
fn spaced(items: impl Iterator<Item = Vec<String>>) -> Vec<String> {
    let (mut all, mut before) = (Vec::new(), 0);
    for item in items.filter(|item| !item.is_empty()) {
        if before > 1 || (before == 1 && item.len() > 1) {
            all.push(String::new());
        }
        before = item.len();
        all.extend(item);
    }
    all
}

/// What a module offers, and the modules in it; `lines` are for what is no item here.
fn collect(
    library: &Crate,
    module: usize,
    prefix: &str,
    found: &mut BTreeMap<Meaning, Offered>,
    lines: &mut BTreeSet<String>,
) -> Result<()> {
    for (name, meaning) in library.offers(module) {
        let path = format!("{prefix}{name}");
        match &meaning {
            Meaning::Module(inner) => {
                lines.insert(format!("pub mod {path}"));
                collect(library, *inner, &format!("{path}::"), found, lines)?;
            }
            // A path that leads to nothing is another crate's, or is not understood.
            Meaning::Foreign(of)
                if of.starts_with("crate") || of.starts_with("self") || of.starts_with("super") =>
            {
                return Err(format!("cannot find {of}"));
            }
            Meaning::Foreign(of) => drop(lines.insert(format!("pub use {of} as {path}"))),
            Meaning::Item(..) if found.contains_key(&meaning) => {
                lines.insert(format!("pub use {} as {path}", found[&meaning].path));
            }
            Meaning::Item(of, item) => {
                let item = library.item(*of, item).ok_or_else(|| format!("cannot find {path}"))?;
                let mut lines = item_lines(item, &path);
                lines.extend(derived(item, &path));
                let offered = Offered { lines, more: BTreeSet::new(), path };
                found.insert(meaning, offered);
            }
        }
    }
    Ok(())
}

/// The item and its parts.
fn item_lines(item: &Item, path: &str) -> Vec<String> {
    let mark = if attributes(item).iter().any(|attribute| attribute.path().is_ident("non_exhaustive")) {
        "#[non_exhaustive] "
    } else {
        ""
    };
    match item {
        Item::Const(item) => vec![format!("pub const {path}: {}", text(&item.ty))],
        Item::Static(item) => vec![format!("pub static {path}: {}", text(&item.ty))],
        Item::Type(item) => vec![format!("pub type {path}{} = {}", text(&item.generics), text(&item.ty))],
        Item::Fn(item) => vec![format!("pub {}", function(&item.sig, path))],
        Item::Struct(item) => {
            let mut lines = vec![format!("{mark}pub struct {path}{}", generics(&item.generics))];
            lines.extend(struct_fields(&item.fields, path));
            lines
        }
        Item::Enum(item) => {
            let mut lines = vec![format!("{mark}pub enum {path}{}", generics(&item.generics))];
            let variants = item.variants.iter().map(|variant| {
                let fields: Vec<String> = variant.fields.iter().map(field).collect();
                let fields = match variant.fields {
                    Fields::Named(_) => format!(" {{ {} }}", fields.join(", ")),
                    Fields::Unnamed(_) => format!("({})", fields.join(", ")),
                    Fields::Unit => String::new(),
                };
                format!("pub {path}::{}{fields}", variant.ident)
            });
            lines.extend(variants);
            lines
        }
        Item::Trait(item) => {
            let mut lines = vec![format!("pub trait {path}{}", generics(&item.generics))];
            lines.extend(item.items.iter().filter_map(|item| match item {
                TraitItem::Fn(method) => {
                    Some(function(&method.sig, &format!("{path}::{}", method.sig.ident)))
                }
                TraitItem::Type(item) => Some(format!("type {path}::{}", item.ident)),
                TraitItem::Const(item) => Some(format!("const {path}::{}: {}", item.ident, text(&item.ty))),
                _ => None,
            }));
            lines
        }
        _ => Vec::new(),
    }
}

/// Fields that others see; a line for those that they do not, since with one of them they cannot make the whole.
fn struct_fields(fields: &Fields, path: &str) -> Vec<String> {
    let is_public = |field: &&Field| matches!(field.vis, Visibility::Public(_));
    let number = |(index, one): (usize, &Field)| {
        let name = one.ident.as_ref().map_or_else(|| index.to_string(), ToString::to_string);
        format!("pub {path}::{name}: {}", text(&one.ty))
    };
    let mut lines: Vec<String> =
        fields.iter().enumerate().filter(|(_, field)| is_public(field)).map(number).collect();
    if fields.iter().any(|field| !is_public(&field)) {
        lines.push(format!("{path} has private fields"));
    }
    lines
}

/// A field of a variant. What it can be made from by `?` shows.
fn field(field: &Field) -> String {
    let from = field.attrs.iter().any(|attribute| attribute.path().is_ident("from"));
    let from = if from { "#[from] " } else { "" };
    let name = field.ident.as_ref().map(|name| format!("{name}: ")).unwrap_or_default();
    format!("{from}{name}{}", text(&field.ty))
}

/// The traits that it derives, in one line.
fn derived(item: &Item, path: &str) -> Option<String> {
    let mut derived = BTreeSet::new();
    for attribute in attributes(item).iter().filter(|attribute| attribute.path().is_ident("derive")) {
        // Infallible for what a compiler takes.
        let _ = attribute.parse_nested_meta(|meta| {
            derived.extend(meta.path.segments.last().map(|segment| segment.ident.to_string()));
            Ok(())
        });
    }
    let traits = derived.into_iter().collect::<Vec<_>>().join(", ");
    (!traits.is_empty()).then(|| format!("impl {traits} for {path}"))
}

/// Adds what an `impl` gives to an item that is offered: its public methods, or that it has the trait.
fn implement(library: &Crate, module: usize, item: &ItemImpl, found: &mut BTreeMap<Meaning, Offered>) {
    let of = |path: &syn::Path| {
        let path: Vec<String> = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        library.resolve(module, &path)
    };
    let own = self_type(&item.self_ty).map(of);
    let Some((implemented, _)) = &item.trait_ else {
        if let Some(offered) = own.and_then(|own| found.get_mut(&own)) {
            let methods = item.items.iter().filter_map(|part| method(part, &offered.path, item));
            offered.more.extend(methods.collect::<Vec<_>>());
        }
        return;
    };
    let line = format!(
        "impl{} {} for {}{}{}",
        text(&item.generics),
        text(implemented),
        text(&item.self_ty),
        item.generics.where_clause.as_ref().map(|clause| format!(" {}", text(clause))).unwrap_or_default(),
        associated(item)
    );
    let of_trait = of(implemented);
    if matches!(of_trait, Meaning::Item(..)) && !found.contains_key(&of_trait) {
        return;
    }
    // A trait of this crate for types of others is told of the trait.
    let owner = own.filter(|own| found.contains_key(own)).unwrap_or(of_trait);
    if let Some(offered) = found.get_mut(&owner) {
        offered.more.insert(line);
    }
}

fn self_type(of: &Type) -> Option<&syn::Path> {
    match of {
        Type::Path(path) => Some(&path.path),
        Type::Reference(reference) => self_type(&reference.elem),
        _ => None,
    }
}

/// A public method or constant of an `impl`; with what the `impl` asks of its parameters, where it does.
fn method(part: &ImplItem, path: &str, of: &ItemImpl) -> Option<String> {
    let asks = of.generics.where_clause.is_some()
        || of.generics.type_params().any(|parameter| !parameter.bounds.is_empty());
    let asks = asks.then(|| format!(" (impl{} {})", generics(&of.generics), text(&of.self_ty)));
    let line = match part {
        ImplItem::Fn(item) if matches!(item.vis, Visibility::Public(_)) && !is_hidden(&item.attrs) => {
            function(&item.sig, &format!("{path}::{}", item.sig.ident))
        }
        ImplItem::Const(item) if matches!(item.vis, Visibility::Public(_)) && !is_hidden(&item.attrs) => {
            format!("const {path}::{}: {}", item.ident, text(&item.ty))
        }
        _ => return None,
    };
    Some(format!("pub {line}{}", asks.unwrap_or_default()))
}

/// ` { type Err = X }`
fn associated(item: &ItemImpl) -> String {
    let types = item.items.iter().filter_map(|part| match part {
        ImplItem::Type(part) => Some(format!("type {} = {}", part.ident, text(&part.ty))),
        _ => None,
    });
    let types: Vec<String> = types.collect();
    if types.is_empty() { String::new() } else { format!(" {{ {} }}", types.join("; ")) }
}

/// A signature whose name is the whole path. That a parameter can be changed inside concerns nobody.
fn function(signature: &Signature, path: &str) -> String {
    let mut signature = signature.clone();
    for input in &mut signature.inputs {
        match input {
            // Of `mut self` alone: `&mut self` has it elsewhere.
            FnArg::Receiver(this) => this.mutability = None,
            FnArg::Typed(input) => {
                if let Pat::Ident(name) = &mut *input.pat {
                    name.mutability = None;
                }
            }
        }
    }
    let (name, text) = (signature.ident.to_string(), text(&signature));
    text.replacen(&format!("fn {name}"), &format!("fn {path}"), 1)
}

/// Parameters, with the conditions that stand behind them.
fn generics(generics: &Generics) -> String {
    let conditions = generics.where_clause.as_ref().map(|clause| format!(" {}", text(clause)));
    text(generics) + &conditions.unwrap_or_default()
}

#[cfg(test)]
mod tests;
