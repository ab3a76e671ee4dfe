//! Macros that a module defines for itself, as far as `cni-types` makes its names by one: a list of identifiers goes in, items come
//! out. What a macro repeats is left out.

use std::collections::HashMap;

use proc_macro2::{Delimiter, Group, TokenStream, TokenTree};
use syn::{File, ItemMacro};

/// The items that a macro of one rule makes of a call.
pub(super) fn expand(definition: &ItemMacro, call: &ItemMacro) -> Option<Vec<syn::Item>> {
    let mut groups = definition.mac.tokens.clone().into_iter().filter_map(|token| match token {
        TokenTree::Group(group) => Some(group),
        _ => None,
    });
    let (matcher, body) = (groups.next()?, groups.next()?);
    let given = identifiers(call.mac.tokens.clone());
    let values: HashMap<String, TokenTree> = parameters(matcher.stream()).into_iter().zip(given).collect();
    let file: File = syn::parse2(substitute(body.stream(), &values)).ok()?;
    Some(file.items)
}

/// `name` and `other` of `$name:ident, $other:ident`.
fn parameters(matcher: TokenStream) -> Vec<String> {
    let tokens: Vec<TokenTree> = matcher.into_iter().collect();
    let named = tokens.windows(2).filter_map(|pair| match pair {
        [TokenTree::Punct(sign), TokenTree::Ident(name)] if sign.as_char() == '$' => Some(name.to_string()),
        _ => None,
    });
    named.collect()
}

fn identifiers(call: TokenStream) -> Vec<TokenTree> {
    call.into_iter().filter(|token| matches!(token, TokenTree::Ident(_))).collect()
}

fn substitute(body: TokenStream, values: &HashMap<String, TokenTree>) -> TokenStream {
    let mut made = TokenStream::new();
    let mut tokens = body.into_iter().peekable();
    while let Some(token) = tokens.next() {
        match token {
            TokenTree::Punct(sign) if sign.as_char() == '$' => match tokens.next() {
                Some(TokenTree::Ident(name)) => made.extend(values.get(&name.to_string()).cloned()),
                // A repetition, with the sign that says how often.
                Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Parenthesis => {
                    drop(tokens.next());
                }
                _ => {}
            },
            TokenTree::Group(group) => {
                let inner = substitute(group.stream(), values);
                made.extend([TokenTree::Group(Group::new(group.delimiter(), inner))]);
            }
            other => made.extend([other]),
        }
    }
    made
}

#[cfg(test)]
mod tests {
    use syn::parse_quote;

    use super::*;
    use crate::api::text::text;

    #[test]
    fn a_list_of_names_becomes_items() {
        let definition: ItemMacro = parse_quote! {
            macro_rules! name_type {
                ($(#[$doc:meta])* $name:ident, $validate:ident) => {
                    $(#[$doc])*
                    pub struct $name(String);
                    impl $name { pub fn new(text: &str) -> Self { $validate(text); $name(text.into()) } }
                };
            }
        };
        let call: ItemMacro = parse_quote! { name_type!(#[doc = "x"] IfName, check_if_name); };
        let items = expand(&definition, &call).unwrap();
        let texts: Vec<String> = items.iter().map(text).collect();
        assert_eq!(texts[0], "pub struct IfName(String);");
        assert!(texts[1].starts_with("impl IfName { pub fn new(text: &str) -> Self"), "{}", texts[1]);
    }
}
