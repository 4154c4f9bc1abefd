use roothold_core::{Policy, PolicySpec, Roots};

use super::*;
use crate::config::PrincipalSection;

fn config(tools: &str) -> Config {
    let text = format!(
        "[[databases]]\nname = \"shop\"\nkind = \"sqlite\"\npath = \"/nowhere/shop.db\"\naccess = \"write\"\n{tools}"
    );
    toml::from_str(&text).unwrap()
}

fn tool(name: &str, more: &str) -> String {
    format!(
        "[[tools]]\nname = \"{name}\"\ndescription = \"d\"\ndatabase = \"shop\"\nsql = \"SELECT 1\"\n{more}\n"
    )
}

fn policy(principals: &[PrincipalSection]) -> Policy {
    let specs: Vec<_> = principals.iter().map(PrincipalSection::spec).collect();
    Policy::new(Roots::open(&[]).unwrap(), PolicySpec::default(), &specs).unwrap()
}

fn made(config: &Config) -> Result<SqlTools, String> {
    after(&SqlTools::default(), config)
}

fn after(before: &SqlTools, config: &Config) -> Result<SqlTools, String> {
    let builder = crate::Roothold::builder();
    let made = before.again(config, builder.catalog(), &Databases::default());
    made.map_err(|error| error.to_string())
}

fn names(sql_tools: &SqlTools, principal: &Principal, policy: &Policy) -> Vec<String> {
    sql_tools.listed(principal, policy).into_iter().map(|tool| tool.name.into_owned()).collect()
}

#[test]
fn a_tool_is_listed_for_those_who_may_use_it_and_its_database() {
    let config = config(
        &(tool("a", "")
            + &tool("b", "principals = [\"local\"]")
            + &tool("c", "principals = [\"ben\"]")),
    );
    let (sql_tools, local) = (made(&config).unwrap(), Principal::local());
    let everyone = policy(&[]);
    let databases = Databases::default();
    assert_eq!(names(&sql_tools, &local, &everyone), [""; 0], "there is no database yet");
    let everyone = databases.set(&config.databases, &everyone).unwrap();
    assert_eq!(names(&sql_tools, &local, &everyone), ["a", "b"]);
    let is_there = |name: &str, policy: &Policy| sql_tools.find(&local, policy, name).is_some();
    assert!(is_there("a", &everyone) && !is_there("c", &everyone));
    let granted = PrincipalSection {
        name: "local".to_owned(),
        scopes: None,
        roots: None,
        tools: Some(vec!["b".to_owned()]),
    };
    let some = policy(&[granted]);
    let some = databases.set(&config.databases, &some).unwrap();
    assert_eq!(names(&sql_tools, &local, &some), ["b"]);
    assert!(is_there("b", &some) && !is_there("a", &some), "what is not granted is not there");
}

#[test]
fn a_name_that_a_tool_has_is_refused() {
    for name in ["batch", "query_database", "execute_statement", "listRoots"] {
        let refused = made(&config(&tool(name, ""))).err().unwrap();
        assert!(refused.contains(&format!("`{name}` is the name of a tool")), "{refused}");
    }
}

#[test]
fn the_figures_of_a_tool_go_on_where_its_name_stays() {
    let first = made(&config(&(tool("a", "") + &tool("b", "")))).unwrap();
    let second = after(&first, &config(&tool("a", "result = \"row\""))).unwrap();
    let [before, now] =
        [&first, &second].map(|made| made.find(&Principal::local(), &policy(&[]), "a").unwrap());
    assert!(Arc::ptr_eq(&before.entry.successes, &now.entry.successes), "its figures go on");
    assert!(std::ptr::eq(before.entry.tool.name(), now.entry.tool.name()), "its name is kept once");
    assert!(first.model("b").is_some() && second.model("b").is_none());
}
