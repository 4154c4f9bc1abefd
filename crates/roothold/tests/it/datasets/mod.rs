//! Datasets as agents see them: files that are listed, described and asked with SQL.

mod battery;
mod describing;
mod exporting;
mod listing;
mod querying;

use serde_json::{Value, json};

use crate::support::{Asked, Dirs, Server, Spec};

/// A workspace with files of all formats.
fn workspace() -> Dirs {
    let dirs = Dirs::with_fixture();
    dirs.write("work/data/a.csv", "id,name,amount\n1,Anna,1.5\n2,\"Bo, Jr\",2.5\n3,,3\n");
    dirs.write("work/data/b.csv", "id,name,amount\n4,Cleo,10\n");
    dirs.write(
        "work/data/people.jsonl",
        "{\"id\":1,\"city\":\"Ulm\"}\n{\"id\":2,\"city\":\"Bern\"}\n",
    );
    dirs.write("work/data/t.tsv", "k\tv\nx\t1\n");
    dirs.write("work/data/deep/er/server.log", "one\ntwo error\nthree\n");
    dirs.write("work/data/odd[1]*.csv", "n\n7\n");
    dirs.write("work/data/secrets/c.csv", "id,name,amount\n9,CANARY-SECRET,9\n");
    dirs.write("work/data/credentials.csv", "id,name,amount\n8,CANARY-CRED,8\n");
    dirs.write("work/data/.env", "CANARY=CANARY-ENV\n");
    dirs.write("outside/out.csv", "id,name,amount\n7,CANARY-OUT,7\n");
    std::os::unix::fs::symlink("../../outside/out.csv", dirs.work().join("data/out.csv")).unwrap();
    dirs
}

fn server(dirs: &Dirs, more: &str) -> Server {
    Spec::new(dirs.base(), dirs.config(more)).start()
}

fn asked(server: &Server, tool: &str, arguments: &Value) -> Asked {
    server.asked(tool, arguments)
}

fn query(server: &Server, source: &str, sql: &str) -> Asked {
    asked(server, "query_dataset", &json!({"data_source": source, "sql": sql}))
}
