//! Whether what `[[principals]]` and API keys grant exists: a misspelt tool or scope would grant nothing, and
//! nobody would be told.
//!
//! Tools of an embedding program have scopes of their own, which nothing lists; so of the scopes
//! only those are refused that look like one of the built-in ones and are none.

use crate::builder::StartError;
use crate::catalog::Catalog;
use crate::config::Config;
use crate::resources;

/// The scopes of the built-in tools, and of those that have their place.
const SCOPES: [&str; 6] = [
    "files:read",
    "files:write",
    "datasets:read",
    "databases:read",
    "databases:write",
    "jobs:manage",
];

/// How many letters may differ in what is taken for a misspelling.
const TYPOS_MAX: usize = 2;

/// Refuses grants of what does not exist.
///
/// # Errors
/// [`StartError::Grant`], which names the entry, and the nearest name that exists.
pub(crate) fn check(config: &Config, catalog: &Catalog) -> Result<(), StartError> {
    let tools: Vec<&str> = catalog
        .iter()
        .map(|entry| entry.tool.name())
        .filter(|name| !resources::is_internal(name))
        .chain(config.tools.iter().map(|tool| tool.name.as_str()))
        .collect();
    for principal in &config.principals {
        let refuse = |key, what: &str, known: &[&str]| {
            let what = unknown(what, known);
            StartError::Grant(format!("[[principals]] `{}` {key}: {what}", principal.name))
        };
        for tool in principal.tools.iter().flatten() {
            if !tools.contains(&tool.as_str()) {
                return Err(refuse("tools", tool, &tools));
            }
        }
        for scope in principal.scopes.iter().flatten() {
            if is_misspelt(scope) {
                return Err(refuse("scopes", scope, &SCOPES));
            }
        }
    }
    Ok(())
}

/// What is wrong with a scope that was probably meant to be another.
pub(crate) fn misspelt_scope(scope: &str) -> Option<String> {
    is_misspelt(scope).then(|| unknown(scope, &SCOPES))
}

fn unknown(what: &str, known: &[&str]) -> String {
    let hint = match nearest(what, known) {
        Some((name, _)) => format!("; did you mean `{name}`?"),
        None => String::new(),
    };
    format!("`{what}` does not exist{hint}")
}

fn is_misspelt(scope: &str) -> bool {
    let family = |name: &str| name.split(':').next().map(str::to_owned);
    let built_in = SCOPES.iter().any(|known| family(known) == family(scope));
    let near = nearest(scope, &SCOPES).is_some_and(|(_, typos)| typos <= TYPOS_MAX);
    !SCOPES.contains(&scope) && (built_in || near)
}

fn nearest<'a>(name: &str, known: &[&'a str]) -> Option<(&'a str, usize)> {
    let distance = |other: &&'a str| (*other, strsim::osa_distance(name, other));
    known.iter().map(distance).min_by_key(|(_, typos)| *typos)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::PrincipalSection;

    fn checked(scopes: &[&str], tools: &[&str]) -> Result<(), String> {
        let list = |names: &[&str]| Some(names.iter().map(|&name| name.to_owned()).collect());
        let (scopes, tools) = (list(scopes), list(tools));
        let principal = PrincipalSection { name: "anna".to_owned(), scopes, roots: None, tools };
        let config = Config { principals: vec![principal], ..Config::default() };
        let builder = crate::Roothold::builder();
        check(&config, builder.catalog()).map_err(|error| error.to_string())
    }

    #[test]
    fn what_exists_and_what_others_may_have_passes() {
        assert_eq!(checked(&[], &[]), Ok(()));
        assert_eq!(checked(&SCOPES, &["listRoots", "read_text_file", "batch"]), Ok(()));
        assert_eq!(checked(&["weather:read", "billing"], &[]), Ok(()));
    }

    #[test]
    fn a_misspelt_grant_is_refused_with_the_nearest_name() {
        for (scopes, tools, wrong, meant) in [
            (&["files:raed"][..], &[][..], "files:raed", "files:read"),
            (&["files:everything"], &[], "files:everything", "files:"),
            (&["file:write"], &[], "file:write", "files:write"),
            (&["jobs"], &[], "jobs", "jobs:manage"),
            (&[], &["read_textfile"], "read_textfile", "read_text_file"),
            (&[], &["listroots"], "listroots", "listRoots"),
        ] {
            let error = checked(scopes, tools).unwrap_err();
            assert!(error.contains("`anna`") && error.contains(wrong), "{error}");
            assert!(error.contains(&format!("did you mean `{meant}")), "{error}");
        }
        for internal in crate::Roothold::builder().catalog().iter() {
            let name = internal.tool.name();
            assert_eq!(checked(&[], &[name]).is_err(), resources::is_internal(name), "{name}");
        }
    }
}
