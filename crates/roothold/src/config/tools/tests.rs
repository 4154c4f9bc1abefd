use serde_json::{Value, json};

use super::*;

/// What is said of a configuration with these tools, over one database that is read and one that is
/// written.
fn said(tools: &str) -> Result<(), String> {
    let text = format!(
        "[[databases]]\nname = \"shop\"\nkind = \"postgres\"\ndsn = \"${{SHOP}}\"\n\
         [[databases]]\nname = \"notes\"\nkind = \"sqlite\"\npath = \"notes.db\"\naccess = \"write\"\n{tools}"
    );
    let config: crate::config::Config = toml::from_str(&text).map_err(|error| error.to_string())?;
    check(&config.tools, &config.databases, &config.principals).map_err(|error| error.to_string())
}

fn tool(sql: &str, more: &str) -> String {
    format!(
        "[[tools]]\nname = \"t\"\ndescription = \"d\"\ndatabase = \"shop\"\nsql = '''{sql}'''\n{more}\n"
    )
}

fn parameter(name: &str, more: &str) -> String {
    format!("[[tools.parameters]]\nname = \"{name}\"\ndescription = \"d\"\n{more}\n")
}

#[test]
fn a_tool_is_a_statement_that_names_its_parameters() {
    let id = parameter("id", "type = \"integer\"");
    assert_eq!(said(&tool("select * from t where id = :id", &id)), Ok(()));
    assert_eq!(said(&tool("select 1", "")), Ok(()));
    for (sql, reason) in [
        ("select * from t where id = :di", "there is no parameter `di`; there are: id"),
        ("select ':id', \":id\" /* :id */ -- :id", "does not have the parameter `id`; write :id"),
        ("select x::id from t", "does not have the parameter `id`"),
        (" \n ", "sql is empty"),
    ] {
        let error = said(&tool(sql, &id)).unwrap_err();
        assert!(error.starts_with("tools: `t`: ") && error.contains(reason), "{sql}: {error}");
    }
    let twice = said(&tool("select :id + :id", &id));
    assert_eq!(twice, Ok(()));
}

#[test]
fn what_a_tool_cannot_be_is_refused_by_key_and_mend() {
    let two = tool("select 1", "") + &tool("select 2", "");
    assert!(said(&two).unwrap_err().contains("two are called `t`"));
    let one = |from: &str, to: &str| said(&tool("select 1", "").replace(from, to)).unwrap_err();
    for name in ["", "1a", "a b", "é", "tools/call", "a.b", &"a".repeat(65)] {
        assert!(one("\"t\"", &format!("\"{name}\"")).contains("is no name"), "{name}");
    }
    assert!(one("\"d\"", "\" \"").contains("description is empty"));
    assert!(one("\"d\"", &format!("\"{}\"", "x".repeat(2_001))).contains("longer than 2000"));
    assert!(one("\"shop\"", "\"shpo\"").contains("database: `shpo` is no name of"));
    assert!(one("select 1", &"x".repeat(100_001)).contains("longer than 100000"));
    assert!(said(&tool("select 1", "resutl = \"row\"")).unwrap_err().contains("resutl"));
    assert!(said(&tool("select 1", "title = \"\"")).unwrap_err().contains("title is empty"));
}

#[test]
fn who_changes_data_must_be_allowed_to_on_both_sides() {
    let write = "access = \"write\"";
    let error = said(&tool("delete from t", write)).unwrap_err();
    assert!(error.contains("the database is only read"), "{error}");
    let on_notes = |more: &str| said(&tool("delete from t", more).replace("shop", "notes"));
    assert_eq!(on_notes(write), Ok(()));
    let annotated = format!("{write}\nconfirm = \"never\"\nannotations = {{idempotent = true}}");
    assert_eq!(on_notes(&annotated), Ok(()));
    for more in ["confirm = \"never\"", "annotations = {destructive = false}"] {
        let error = on_notes(more).unwrap_err();
        assert!(error.contains("only for a tool that changes data"), "{error}");
    }
}

#[test]
fn what_a_statement_does_must_be_what_the_tool_says() {
    for (sql, reads, writes) in [
        ("SELECT 1", true, false),
        ("/* a */ -- b\n((select 1))", true, false),
        ("With x AS (SELECT 1) DELETE FROM y", true, true),
        ("delete from x", false, true),
        ("REPLACE INTO x VALUES (1)", false, true),
        ("CREATE TABLE x (y)", true, true),
    ] {
        let on_notes = |more: &str| said(&tool(sql, more).replace("shop", "notes"));
        assert_eq!(on_notes("").is_ok(), reads, "{sql}");
        assert_eq!(on_notes("access = \"write\"").is_ok(), writes, "{sql}");
    }
    let error = said(&tool("delete from x", "")).unwrap_err();
    assert!(error.contains("set access = \"write\""), "{error}");
}

#[test]
fn who_could_never_use_a_tool_is_not_named() {
    let one = |more: &str, principals: &str| said(&(tool("select 1", more) + principals));
    assert_eq!(one("principals = [\"anna\"]", ""), Ok(()));
    let anna = "[[principals]]\nname = \"anna\"\n";
    assert_eq!(one("principals = [\"anna\"]", anna), Ok(()));
    let error = one("principals = [\"ann\"]", anna).unwrap_err();
    assert!(error.contains("`t`: principals names `ann`, to whom"), "{error}");
    let closed = tool("delete from t", "access = \"write\"\nprincipals = [\"anna\", \"ben\"]");
    let closed = closed.replace("shop", "notes");
    let database = "access = \"write\"\nprincipals = [\"anna\"]\n";
    let text = format!(
        "[[databases]]\nname = \"notes\"\nkind = \"sqlite\"\npath = \"n\"\n{database}{closed}"
    );
    let config: crate::config::Config = toml::from_str(&text).unwrap();
    let error = check(&config.tools, &config.databases, &[]).unwrap_err().to_string();
    assert!(error.contains("`ben`, who may not use the database"), "{error}");
}

#[test]
fn a_parameter_that_could_take_no_value_is_refused() {
    let with = |more: &str| said(&tool("select :a", &parameter("a", more))).unwrap_err();
    for (more, reason) in [
        ("type = \"integer\"\nminimum = 3\nmaximum = 2", "minimum is above maximum"),
        ("type = \"text\"\nminimum = 3", "minimum means nothing for this type"),
        ("type = \"integer\"\nmax_length = 3", "max_length means nothing"),
        ("type = \"text\"\nmax_items = 3", "max_items means nothing"),
        ("type = \"text\"\nmax_length = 0", "max_length: 0 is out of bounds"),
        ("type = \"text\"\nmin_length = 5\nmax_length = 4", "min_length is above max_length"),
        ("type = \"boolean\"\nenum = [true]", "enum means nothing"),
        ("type = \"text\"\nenum = []", "enum must have 1 to"),
        ("type = \"text\"\nenum = [1]", "enum: 1 must be a text"),
        ("type = \"integer\"\ndefault = \"5\"", "default must be a whole number"),
        ("type = \"integer\"\ndefault = 5.5", "default must be a whole number"),
        ("type = \"integer\"\nmaximum = 4\ndefault = 5", "default must be at most 4"),
        ("type = \"text\"\nenum = [\"a\"]\ndefault = \"b\"", "default must be one of [\"a\"]"),
        ("type = \"text\"\ndefault = 2026-07-28", "default must be a text"),
        ("type = \"text\"\nlist = true\ndefault = \"a\"", "default must be a list of texts"),
        ("type = \"number\"\nminimum = nan", "must be numbers"),
        ("type = \"text\"\nrequired = true\ndefault = \"a\"", "would never be used"),
        ("type = \"date\"", "unknown variant `date`"),
    ] {
        let error = with(more);
        assert!(error.contains(reason), "{more}: {error}");
    }
    for name in ["1a", "a-b", "", "é"] {
        assert!(said(&tool("select 1", &parameter(name, "type = \"text\""))).is_err(), "{name}");
    }
    for name in ["cursor", "max_bytes", "dry_run"] {
        let reserved = parameter(name, "type = \"text\"");
        let error = said(&tool(&format!("select :{name}"), &reserved)).unwrap_err();
        assert!(error.contains("tools have an argument of that name"), "{error}");
    }
    let two = parameter("a", "type = \"text\"").repeat(2);
    assert!(said(&tool("select :a", &two)).unwrap_err().contains("two parameters are called `a`"));
    let many: String = (0..51).map(|n| parameter(&format!("p{n}"), "type = \"text\"")).collect();
    assert!(said(&tool("select 1", &many)).unwrap_err().contains("more than 50 parameters"));
}

fn of(definition: &Value) -> ToolParameter {
    let mut whole = json!({"name": "a", "description": "what it is"});
    whole.as_object_mut().unwrap().extend(definition.as_object().cloned().unwrap_or_default());
    let parameter: ToolParameter = serde_json::from_value(whole).unwrap();
    parameter.check().unwrap();
    parameter
}

#[test]
fn agents_are_told_what_a_call_can_give() {
    let schema =
        of(&json!({"type": "integer", "minimum": 1.0, "maximum": 100.0, "default": 20})).schema();
    let expected = json!({"type": "integer", "description": "what it is", "minimum": 1, "maximum": 100, "default": 20});
    assert_eq!(schema, expected);
    let schema =
        of(&json!({"type": "text", "enum": ["new", "sent"], "list": true, "max_items": 3}))
            .schema();
    let expected = json!({"type": "array", "description": "what it is", "maxItems": 3,
        "items": {"type": "string", "enum": ["new", "sent"]}});
    assert_eq!(schema, expected);
    let schema = of(&json!({"type": "number", "minimum": 0.5})).schema();
    assert_eq!(schema["minimum"], json!(0.5));
    let schema = of(&json!({"type": "text", "min_length": 2, "max_length": 5})).schema();
    assert_eq!((&schema["minLength"], &schema["maxLength"]), (&json!(2), &json!(5)));
}

#[test]
fn values_are_held_to_what_agents_are_told() {
    let check = |definition: &Value, value: &Value| of(definition).check_value(value);
    for (definition, fine, wrong) in [
        (
            json!({"type": "integer"}),
            json!([0, -5, 9_007_199_254_740_993_i64, "9007199254740993", i64::MIN]),
            json!([
                1.5,
                "1",
                "9007199254740993x",
                "+9007199254740993",
                u64::MAX,
                null,
                true,
                [1],
                {}
            ]),
        ),
        (
            json!({"type": "number", "minimum": 0.0}),
            json!([0, 1.5, 1e300]),
            json!([-0.1, "1", null]),
        ),
        (json!({"type": "boolean"}), json!([true, false]), json!([0, "true", null])),
        (
            json!({"type": "text", "max_length": 2}),
            json!(["", "ab", "漢字"]),
            json!(["abc", 1, null, "\u{0}"]),
        ),
        (json!({"type": "text", "min_length": 1}), json!(["a"]), json!([""])),
        (json!({"type": "integer", "enum": [1, 2]}), json!([1, 2]), json!([3, "1"])),
        (json!({"type": "number", "enum": [1, 2.5]}), json!([1, 1.0, 2.5]), json!([2])),
        (
            json!({"type": "integer", "list": true, "max_items": 2, "maximum": 5.0}),
            json!([[], [1], [1, 5]]),
            json!([1, [1, 2, 3], [6], ["a"], [null], [[1]]]),
        ),
    ] {
        for value in fine.as_array().unwrap() {
            assert_eq!(check(&definition, value), Ok(()), "{definition} {value}");
        }
        for value in wrong.as_array().unwrap() {
            assert!(check(&definition, value).is_err(), "{definition} {value}");
        }
    }
    let long = "x".repeat(10_001);
    assert!(check(&json!({"type": "text"}), &json!(long)).unwrap_err().contains("more than 10000"));
    let secret = check(&json!({"type": "integer"}), &json!("CANARY-VALUE")).unwrap_err();
    assert!(!secret.contains("CANARY"), "{secret}");
}

#[test]
fn what_has_a_default_need_not_be_given() {
    assert!(of(&json!({"type": "text"})).is_required());
    assert!(!of(&json!({"type": "text", "default": "a"})).is_required());
    assert!(!of(&json!({"type": "text", "required": false})).is_required());
}
