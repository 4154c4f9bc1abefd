//! Tests of decisions; none of them reads a file.

use super::*;
use crate::action::JobTarget;
use crate::files::EntryKind;
use crate::testing::{Workspace, decide, policy};
use crate::{Access, RootSpec, Scopes};

fn strings(list: &[&str]) -> Vec<String> {
    list.iter().map(|text| (*text).to_owned()).collect()
}

/// The example that the design is told by.
fn demo(workspace: &Workspace) -> Policy {
    let spec = PolicySpec {
        read: strings(&["*.md", "*.json", "*.yaml"]),
        write: strings(&["workspace/**/*"]),
        exclude: strings(&[".env", "credentials.*", "*.key"]),
    };
    let project = RootSpec {
        uri: "file:///workspace/mcp-demo".to_owned(),
        access: Access::ReadWrite,
        ..workspace.root("project")
    };
    let templates =
        RootSpec { uri: "file:///shared/templates".to_owned(), ..workspace.root("templates") };
    policy(&[project, templates], spec)
}

fn denying_rule(policy: &Policy, verb: Verb, path: &str) -> Option<&'static str> {
    decide(policy, verb, path).err().map(|fault| fault.rule().map_or("", |rule| rule.name))
}

#[test]
fn the_demo_is_decided_as_it_is_told() {
    let workspace = Workspace::new();
    let policy = demo(&workspace);
    let cases = [
        ("/workspace/mcp-demo/README.md", None, None),
        ("/workspace/mcp-demo/src/main.rs", Some("read"), None),
        ("/workspace/mcp-demo/README.MD", Some("read"), None),
        ("/workspace/mcp-demo/notes.md/secret.bin", Some("read"), None),
        ("/workspace/mcp-demo/.env.json", None, None),
        ("/workspace/mcp-demo/.env", Some("exclude"), Some("exclude")),
        ("/workspace/mcp-demo/prod.key/a.md", Some("exclude"), Some("exclude")),
        ("/workspace/mcp-demo/CREDENTIALS.json", Some("exclude"), Some("exclude")),
        ("/shared/templates/base.yaml", None, Some("access")),
        ("/shared/other/base.yaml", Some("roots"), Some("roots")),
        ("/workspace/mcp-demo-evil/README.md", Some("roots"), Some("roots")),
        ("/etc/passwd", Some("roots"), Some("roots")),
        ("/workspace/mcp-demo", Some("read"), Some("root_itself")),
    ];
    for (path, read, write) in cases {
        assert_eq!(denying_rule(&policy, Verb::Read, path), read, "read {path}");
        assert_eq!(denying_rule(&policy, Verb::Write, path), write, "write {path}");
    }
    assert_eq!(denying_rule(&policy, Verb::List, "/workspace/mcp-demo"), None);
    assert_eq!(denying_rule(&policy, Verb::List, "/workspace/mcp-demo/prod.key"), Some("exclude"));
}

#[test]
fn dot_dot_is_decided_on_where_it_leads() {
    let workspace = Workspace::new();
    let policy = demo(&workspace);
    let escape = "/workspace/mcp-demo/../../etc/passwd.md";
    assert_eq!(denying_rule(&policy, Verb::Read, escape), Some("roots"));
    let excluded = "/workspace/mcp-demo/sub/../.env";
    assert_eq!(denying_rule(&policy, Verb::Read, excluded), Some("exclude"));
    assert_eq!(denying_rule(&policy, Verb::Read, "/workspace/mcp-demo/a/../b.md"), None);
    assert_eq!(
        denying_rule(&policy, Verb::Read, "/workspace/../workspace/mcp-demo/b.md"),
        Some("roots")
    );
}

#[test]
fn a_path_through_an_excluded_place_is_excluded() {
    let workspace = Workspace::new();
    let policy = demo(&workspace);
    for path in [".env/../a.md", "x/../.env/y/../../a.md", "a/prod.key/b/../../c.md"] {
        let path = format!("/workspace/mcp-demo/{path}");
        assert_eq!(denying_rule(&policy, Verb::Read, &path), Some("exclude"), "{path}");
    }
}

#[test]
fn a_relative_path_needs_a_single_root() {
    let workspace = Workspace::new();
    let fault = decide(&demo(&workspace), Verb::Read, "README.md").unwrap_err();
    assert_eq!(fault.kind(), FaultKind::Invalid);
    assert!(fault.public().contains("/workspace/mcp-demo, /shared/templates"));
    assert!(decide(&workspace.policy(), Verb::Read, "README.md").is_ok());
}

#[test]
fn a_root_narrows_the_policy_and_never_widens_it() {
    let workspace = Workspace::new();
    let mut root = RootSpec { access: Access::ReadWrite, ..workspace.root("work") };
    root.patterns.read = Some(strings(&["*.txt"]));
    root.patterns.exclude = strings(&["/vault/**", "**/.git"]);
    root.patterns.write_exclude = strings(&["protected/**"]);
    let spec = PolicySpec { read: strings(&["work/pub/**", "*.md"]), ..PolicySpec::default() };
    let policy = policy(&[root], spec);
    let read = |path| denying_rule(&policy, Verb::Read, path);
    assert_eq!(read("/work/pub/a.txt"), None);
    assert_eq!(read("/work/a.txt"), Some("read"));
    assert_eq!(read("/work/a.md"), Some("read"));
    assert_eq!(read("/work/vault/a.txt"), Some("exclude"));
    assert_eq!(read("/work/a/.GIT/b.txt"), Some("exclude"));
    assert_eq!(denying_rule(&policy, Verb::Write, "/work/protected/p.txt"), Some("write_exclude"));
    assert_eq!(
        denying_rule(&policy, Verb::Write, "/work/x/../PROTECTED/p.txt"),
        Some("write_exclude")
    );
}

fn principals(policy_of: &Workspace, list: &[PrincipalSpec]) -> Policy {
    let roots = Roots::open(&[policy_of.root("work"), policy_of.root("other")]).unwrap();
    Policy::new(roots, PolicySpec::default(), list).unwrap()
}

#[test]
fn a_principal_has_what_its_entry_grants() {
    let workspace = Workspace::new();
    let alice = PrincipalSpec {
        name: "alice".to_owned(),
        scopes: Some(strings(&["files:read"])),
        roots: Some(strings(&["work"])),
        tools: Some(strings(&["read_text_file"])),
    };
    let policy = principals(&workspace, &[alice]);
    let ask = |name: &str, scopes, tool, verb, path| {
        let actions = Actions::one(Action::file(verb, FilePath::parse(path).unwrap()));
        let answer = policy.decide(&Principal::new(name, scopes), tool, &actions);
        answer.err().map(|fault| fault.rule().unwrap().name)
    };
    let all = || Scopes::parse("files:read files:write");
    assert_eq!(ask("alice", all(), "read_text_file", Verb::Read, "/work/a"), None);
    assert_eq!(ask("alice", all(), "read_text_file", Verb::Read, "/other/a"), Some("roots"));
    assert_eq!(ask("alice", all(), "list_directory", Verb::Read, "/work/a"), Some("tools"));
    assert_eq!(
        ask("alice", all(), "read_text_file", Verb::Write, "/work/a"),
        Some("principal_scopes")
    );
    assert_eq!(
        ask("alice", Scopes::parse("jobs:manage"), "read_text_file", Verb::Read, "/work/a"),
        Some("scopes")
    );
    assert_eq!(ask("bob", all(), "read_text_file", Verb::Read, "/work/a"), Some("principals"));
    assert_eq!(policy.roots_of(&Principal::new("alice", all())).count(), 1);
    assert_eq!(policy.roots_of(&Principal::new("bob", all())).count(), 0);
    assert!(!policy.grants_tool(&Principal::new("bob", all()), "read_text_file"));
}

#[test]
fn all_missing_scopes_are_named_at_once() {
    let workspace = Workspace::new();
    let policy = workspace.policy();
    let file = |verb| Action::file(verb, FilePath::parse("/work/a").unwrap());
    let actions = Actions::many(
        file(Verb::Read),
        [file(Verb::Write), Action::named("x", Some("jobs:manage"))],
    );
    let fault = policy.decide(&Principal::new("a", Scopes::parse("")), "t", &actions).unwrap_err();
    assert_eq!(fault.missing_scopes(), Some("files:read files:write jobs:manage"));
}

#[test]
fn a_bad_configuration_names_its_key() {
    let workspace = Workspace::new();
    let roots = Roots::open(&[workspace.root("work")]).unwrap();
    let bad = PolicySpec { read: strings(&["!*.md"]), ..PolicySpec::default() };
    let error = Policy::new(roots.clone(), bad, &[]).unwrap_err().to_string();
    assert!(error.starts_with("policy.read: the pattern `!*.md`"), "{error}");
    let lost = PrincipalSpec {
        name: "a".to_owned(),
        roots: Some(strings(&["nowhere"])),
        ..PrincipalSpec::default()
    };
    let error = Policy::new(roots, PolicySpec::default(), &[lost]).unwrap_err().to_string();
    assert!(error.contains("there is no root `nowhere`"), "{error}");
}

#[test]
fn a_name_means_one_root() {
    let workspace = Workspace::new();
    let root = |path: &str, name: &str| RootSpec { name: name.to_owned(), ..workspace.root(path) };
    let error = Roots::open(&[root("a/x", "docs"), root("b/x", "docs")]).unwrap_err().to_string();
    assert_eq!(error, "[[roots]] name: two roots are called `docs`; give each its own name");
    assert!(Roots::open(&[root("a/x", "file:///b/x"), root("b/x", "docs")]).is_err());
    // Two directories that were given without a name can end alike.
    let twins = Roots::open(&[root("a/x", "x"), root("b/x", "x")]).unwrap();
    let grant = |name: &str| {
        let roots = Some(strings(&[name]));
        let alice = PrincipalSpec { name: "alice".to_owned(), roots, ..PrincipalSpec::default() };
        Policy::new(twins.clone(), PolicySpec::default(), &[alice])
    };
    let error = grant("x").unwrap_err().to_string();
    assert!(error.contains("several roots are called `x`; use the uri"), "{error}");
    assert!(grant("file:///b/x").is_ok());
}

#[test]
fn overlapping_or_missing_roots_are_refused() {
    let workspace = Workspace::new();
    workspace.file("work/sub/a", "").link("alias", "work/sub");
    let outer = workspace.root("work");
    let inner = RootSpec {
        uri: "file:///elsewhere".to_owned(),
        path: workspace.disk("alias"),
        ..workspace.root("x")
    };
    let error = Roots::open(&[outer.clone(), inner]).unwrap_err().to_string();
    assert!(error.contains("overlap by directory"), "{error}");
    let same_uri = RootSpec { uri: "file:///work/sub".to_owned(), ..workspace.root("y") };
    let error = Roots::open(&[outer.clone(), same_uri]).unwrap_err().to_string();
    assert!(error.contains("overlap by uri"), "{error}");
    let missing = RootSpec { path: workspace.disk("nowhere"), ..workspace.root("z") };
    let error = Roots::open(&[missing]).unwrap_err().to_string();
    assert!(error.contains("does not exist"), "{error}");
    for kernels_own in ["/proc", "/sys", "/dev"] {
        workspace.link(&format!("to{kernels_own}"), kernels_own);
        for path in [kernels_own.into(), workspace.disk(&format!("to{kernels_own}"))] {
            let error = Roots::open(&[RootSpec { path, ..outer.clone() }]).unwrap_err();
            assert!(error.to_string().contains("of the kernel"), "{error}");
        }
    }
    assert_eq!(
        Roots::open(&[]).unwrap().iter().count(),
        0,
        "whether that may be is for the server to say"
    );
}

#[test]
fn own_jobs_need_no_scope_and_those_of_others_need_theirs() {
    let workspace = Workspace::new();
    let spec = |name: &str, scopes: Option<&[&str]>| PrincipalSpec {
        name: name.to_owned(),
        scopes: scopes.map(strings),
        ..PrincipalSpec::default()
    };
    let principals = [spec("anna", None), spec("ops", None), spec("bert", Some(&["files:read"]))];
    let roots = Roots::open(&[workspace.root("project")]).unwrap();
    let policy = Policy::new(roots, PolicySpec::default(), &principals).unwrap();
    let asked = |name: &str, scopes: &str, owner: JobOwner| {
        let principal = Principal::new(name, Scopes::parse(scopes));
        let job = JobTarget { id: Some("job-1".to_owned()), owner };
        let actions = Actions::one(Action::job(Verb::Read, job));
        let decided = policy.decide(&principal, "get_job", &actions);
        let owner = |permits: Vec<Permit>| permits[0].jobs().unwrap().owner().map(str::to_owned);
        decided.map(owner).map_err(|fault| fault.rule().map_or("", |rule| rule.name))
    };
    let anna = || JobOwner::Principal("anna".to_owned());
    let own = Ok(Some("anna".to_owned()));
    assert_eq!(asked("anna", "", JobOwner::Caller), own);
    assert_eq!(asked("anna", "", anna()), own);
    assert_eq!(asked("ops", "files:read", anna()), Err("scopes"));
    assert_eq!(asked("ops", "jobs:manage", anna()), own);
    assert_eq!(asked("ops", "jobs:manage", JobOwner::Anyone), Ok(None));
    assert_eq!(asked("anna", "files:read", JobOwner::Anyone), Err("scopes"));
    assert_eq!(asked("bert", "jobs:manage", JobOwner::Anyone), Err("principal_scopes"));
    assert_eq!(asked("carl", "jobs:manage", JobOwner::Caller), Err("principals"));
}

#[test]
fn a_permit_for_a_job_opens_no_file_and_one_for_a_file_finds_no_job() {
    let workspace = Workspace::new();
    let policy = demo(&workspace);
    let job = JobTarget { id: None, owner: JobOwner::Caller };
    let actions = Actions::one(Action::job(Verb::List, job));
    let permits = policy.decide(&Principal::local(), "list_jobs", &actions).unwrap();
    assert_eq!((permits[0].jobs().unwrap().id(), permits[0].target_shown()), (None, None));
    assert!(permits[0].root().is_err());
    let file = decide(&policy, Verb::Read, "/workspace/mcp-demo/README.md").unwrap();
    assert!(file.jobs().is_err());
}

#[test]
fn what_a_name_alone_decides_is_what_its_path_would() {
    let workspace = Workspace::new();
    let mut narrow = RootSpec { access: Access::ReadWrite, ..workspace.root("narrow") };
    narrow.patterns.read = Some(strings(&["*.txt", "**"]));
    narrow.patterns.write = Some(strings(&["out/**"]));
    narrow.patterns.exclude = strings(&["/vault/**", "**/.git", "*~"]);
    narrow.patterns.write_exclude = strings(&["*.lock"]);
    let specs = [
        PolicySpec::default(),
        PolicySpec { read: strings(&["*.md", "narrow/**/*.txt"]), ..PolicySpec::default() },
        PolicySpec { read: Vec::new(), write: strings(&["**/*.md"]), ..PolicySpec::default() },
        PolicySpec { exclude: Vec::new(), ..PolicySpec::default() },
    ];
    let names = [
        "a.md",
        "a.txt",
        "a.TXT",
        "a.lock",
        ".env",
        ".ENV",
        ".\u{ff45}nv",
        "a.Key",
        "b~",
        ".git",
        "config.json",
        ".docker",
        "vault",
        "out",
        "x",
        "\u{e9}.md",
        "CREDENTIALS.",
    ];
    let (mut decided, mut shown) = (0, 0);
    for spec in specs {
        let policy = policy(&[narrow.clone(), workspace.root("plain")], spec);
        for rules in &policy.0.rules.of_roots {
            for directory in ["", "vault", "out", ".docker", "a/b"] {
                for name in names.map(str::as_bytes).into_iter().chain([&b"a\xff.md"[..]]) {
                    let path = rules.public_of(&join(directory.as_bytes(), name));
                    for kind in [EntryKind::File, EntryKind::Directory, EntryKind::Symlink] {
                        let whole = rules.shows(&path, kind);
                        shown += usize::from(whole);
                        let Some(by_name) = rules.shows_by_name(name, kind) else { continue };
                        decided += 1;
                        assert_eq!(by_name, whole, "{} {kind:?}", String::from_utf8_lossy(&path));
                    }
                }
            }
        }
    }
    assert!(decided > 1000 && shown > 500, "{decided} {shown}");
}

fn spec_of(name: &str) -> PrincipalSpec {
    PrincipalSpec { name: name.to_owned(), ..PrincipalSpec::default() }
}

#[test]
fn another_configuration_decides_anew_and_permits_keep_that_which_decided_them() {
    let workspace = Workspace::new();
    workspace.file("work/a.md", "one");
    let roots = Roots::open(&[workspace.root("work")]).unwrap();
    let before = Policy::new(roots, PolicySpec::default(), &[spec_of("anna")]).unwrap();
    let asked = |policy: &Policy, who: &str| {
        let action = Action::file(Verb::Read, FilePath::parse("/work/a.md").unwrap());
        let decided = policy.decide(
            &Principal::new(who, Scopes::All),
            "read_text_file",
            &Actions::one(action),
        );
        decided
            .map(|mut permits| permits.remove(0))
            .map_err(|fault| fault.rule().map_or("", |rule| rule.name))
    };
    let permit = asked(&before, "anna").unwrap();
    let excluding = PolicySpec { exclude: strings(&["a.md"]), ..PolicySpec::default() };
    let after = before.again(excluding, &[spec_of("ben")]).unwrap();
    assert_eq!(asked(&after, "anna").unwrap_err(), "principals", "she was revoked");
    assert_eq!(asked(&after, "ben").unwrap_err(), "exclude");
    assert!(
        crate::gate::open(&permit, crate::gate::Want::File).is_ok(),
        "the call goes on as it began"
    );
    assert!(asked(&before, "anna").is_ok() && asked(&before, "ben").is_err());
    assert!(after.is(&after.clone()) && !after.is(&before));
    assert!(
        std::ptr::eq(after.roots().index(), before.roots().index()),
        "what is kept of the disk stays"
    );
}

#[test]
fn another_configuration_keeps_stores_and_databases_and_its_patterns_hold_in_stores() {
    let url = |text: &str| crate::ObjectUrl::parse(text).unwrap();
    let first = Policy::new(Roots::open(&[]).unwrap(), PolicySpec::default(), &[]).unwrap();
    let rule = DatabaseRule { name: "shop".to_owned(), writable: false, principals: None };
    let first = first
        .with_stores(vec![StoreRule { url: url("s3://lake/open"), principals: None }])
        .with_databases(vec![rule]);
    let excluding = PolicySpec { exclude: strings(&["*.csv"]), ..PolicySpec::default() };
    let second = first.again(excluding, &[spec_of("local")]).unwrap();
    let local = Principal::local();
    assert_eq!(second.generation(), first.generation());
    assert!(second.may_use_database(&local, "shop") && second.may_read_store(&local, 0));
    let excluded = |policy: &Policy| {
        let target = crate::ObjectTarget::Url(url("s3://lake/open/a.csv"));
        policy.decide(&local, "t", &Actions::one(Action::object(Verb::Read, target))).is_err()
    };
    assert!(excluded(&second) && !excluded(&first));
    let wrong = PolicySpec { exclude: strings(&["!x"]), ..PolicySpec::default() };
    assert!(first.again(wrong, &[]).unwrap_err().to_string().contains("policy.exclude"));
    let twice = first.again(PolicySpec::default(), &[spec_of("anna"), spec_of("anna")]);
    assert!(matches!(twice, Err(PolicyError::DuplicatePrincipal(_))));
}
