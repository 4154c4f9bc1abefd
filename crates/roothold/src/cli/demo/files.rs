//! The files of the demo, which are those of `examples/demo`.

macro_rules! file {
    ($path:literal) => {
        ($path, include_str!(concat!("../../../../../examples/demo/", $path)))
    };
}

/// Each file: its path below the demo's directory, and its content. The configuration is the
/// last, so that a directory that has it is complete.
pub(super) const FILES: &[(&str, &str)] = &[
    file!("shared/templates/base.yaml"),
    file!("shared/templates/package.json"),
    file!("shared/templates/readme.md"),
    file!("shared/templates/service.yaml"),
    file!("workspace/mcp-demo/.env"),
    file!("workspace/mcp-demo/.env.json"),
    file!("workspace/mcp-demo/CHANGELOG.md"),
    file!("workspace/mcp-demo/README.md"),
    file!("workspace/mcp-demo/config/credentials.json"),
    file!("workspace/mcp-demo/config/deploy.yaml"),
    file!("workspace/mcp-demo/config/prices.json"),
    file!("workspace/mcp-demo/data/orders.json"),
    file!("workspace/mcp-demo/docs/meeting.md"),
    file!("workspace/mcp-demo/docs/pricing.md"),
    file!("workspace/mcp-demo/notes.md/secret.bin"),
    file!("workspace/mcp-demo/prod.key/a.md"),
    file!("workspace/mcp-demo/src/main.rs"),
    file!("roothold.toml"),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;

    #[test]
    fn every_file_of_the_example_is_in_the_binary() {
        let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/demo");
        let mut found = BTreeSet::new();
        let mut open = vec![String::new()];
        while let Some(below) = open.pop() {
            for name in super::super::disk::names(&example.join(&below)).unwrap() {
                let path = if below.is_empty() { name } else { format!("{below}/{name}") };
                if super::super::disk::is_directory(&example.join(&path)) {
                    open.push(path);
                } else if path != "README.md" {
                    found.insert(path);
                }
            }
        }
        let embedded: BTreeSet<String> = FILES.iter().map(|(path, _)| (*path).to_owned()).collect();
        assert_eq!(found, embedded);
        assert_eq!(FILES.last().unwrap().0, "roothold.toml");
    }
}
