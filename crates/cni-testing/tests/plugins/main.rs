//! Every plugin's executable between private namespaces, one module a plugin.
