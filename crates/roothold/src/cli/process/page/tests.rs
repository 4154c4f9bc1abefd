use serde_json::json;

use super::super::options::Word;
use super::*;

fn profile(columns: &Value) -> String {
    let value = json!({"columns": columns, "rows": 4, "bad_rows": 1,
        "bad": [{"line": 3, "reason": "column `</li><script>alert(1)</script>` is no number"}]});
    page(&Report::new(Word::Profile, value), "<b>&\"'.csv", "2026-01-01T00:00:00Z")
}

/// The names of all tags, and the quoted values of attributes.
fn markup(page: &str) -> (Vec<String>, Vec<String>) {
    let body = page.split_once("</style>").unwrap().1;
    let (mut tags, mut values) = (Vec::new(), Vec::new());
    for tag in body.split('<').skip(1) {
        let inside = tag.split_once('>').unwrap().0;
        let name: String = inside
            .trim_start_matches('/')
            .chars()
            .take_while(char::is_ascii_alphanumeric)
            .collect();
        tags.push(name);
        values.extend(inside.split('"').skip(1).step_by(2).map(str::to_owned));
    }
    (tags, values)
}

const HOSTILE: [&str; 8] = [
    "</title><script>alert(1)</script>",
    "\" onmouseover=\"alert(1)",
    "' onload='x",
    "<!-- <svg onload=x>",
    "&lt;img src=x&gt;",
    "\u{202e}evil\u{200b}",
    "a\nb\u{0}c",
    "]]></style><iframe src=//e>",
];

#[test]
fn hostile_names_and_values_are_text() {
    let columns: Vec<Value> = HOSTILE
        .iter()
        .map(|text| {
            json!({"name": text, "type": text, "rows": 4, "nulls": 1, "distinct": 2, "distinct_exact": true, "min": text, "max": text,
                "mean": text, "quantiles": {"p50": text}, "top": [{"value": text, "count": 2}, {"value": "x", "count": 1}]})
        })
        .collect();
    let page = profile(&columns.into());
    let (tags, values) = markup(&page);
    let known = [
        "head", "body", "main", "h1", "h2", "p", "a", "bdi", "div", "table", "caption", "thead",
        "tbody", "tr", "th", "td", "section", "dl", "dt", "dd", "svg", "rect", "ul", "li",
        "footer", "html",
    ];
    for tag in &tags {
        assert!(known.contains(&tag.as_str()), "<{tag}> in {page}");
    }
    for value in &values {
        assert!(!value.contains("alert") && !value.contains("//"), "{value}");
    }
    assert!(!page.contains(['\u{202e}', '\u{200b}', '\0']), "nothing unseen");
    assert!(page.contains("&lt;/title&gt;&lt;script&gt;alert(1)"), "it is there, as text");
    assert!(page.contains("&amp;lt;img"), "what is escaped already is escaped once more");
    assert!(page.contains("\\u{202e}evil") && page.contains("a\\nb"));
}

#[test]
fn shares_are_text_too() {
    let page = profile(
        &json!([{"name": "a", "type": "text", "rows": 1_000_000, "nulls": 1, "distinct": 2, "distinct_exact": true,
        "min": "x", "max": "y", "top": [{"value": "x", "count": 999_998}, {"value": "y", "count": 1}]}]),
    );
    assert!(page.contains("1 (&lt;0.1 %)") && page.contains("&gt;99.9 %"), "{page}");
    assert!(!page.contains("<0.1"), "{page}");
}

#[test]
fn the_page_needs_nothing_else() {
    let page = profile(&json!([]));
    for word in ["<script", "src=", "@import", "url(", "http://", "https://", "<link", "<img"] {
        assert!(!page.replace("</li><script>", "").contains(word), "{word}: {page}");
    }
    assert!(page.contains("default-src 'none'") && page.contains("lang=\"en\""));
    assert!(page.contains("prefers-color-scheme:dark"));
}

#[test]
fn a_column_is_drawn_by_what_is_known_of_it() {
    let columns = json!([
        {"name": "few", "type": "text", "rows": 4, "nulls": 1, "distinct": 2, "distinct_exact": true, "min": "a", "max": "b",
         "top": [{"value": "a", "count": 2}, {"value": "b", "count": 1}]},
        {"name": "many", "type": "number", "rows": 4, "nulls": 0, "distinct": 99, "distinct_exact": false, "min": 0.5, "max": 9.5, "mean": 5.0,
         "quantiles": {"p01": 0.6, "p05": 1.0, "p25": 2.0, "p50": 5.0, "p75": 7.0, "p95": 9.0, "p99": 9.4}},
        {"name": "texts", "type": "text", "rows": 4, "nulls": 0, "distinct": 99, "distinct_exact": false, "min": "a", "max": "z"},
        {"name": "none", "type": "null", "rows": 4, "nulls": 4, "distinct": 0, "distinct_exact": true},
    ]);
    let page = profile(&columns);
    let section = |id: usize| {
        let from = page.find(&format!("id=\"c{id}\"")).unwrap();
        page[from..].split("</section>").next().unwrap()
    };
    assert!(section(0).contains("All values") && section(0).contains("66.7 %"), "{}", section(0));
    assert!(!section(0).contains("<figure>"));
    assert!(
        section(1).contains("role=\"img\"") && section(1).contains("is not known"),
        "{}",
        section(1)
    );
    assert!(section(1).contains("~99"));
    assert!(section(2).contains("Nothing to draw"), "{}", section(2));
    assert!(
        !section(3).contains("Nothing to draw") && section(3).contains("4 (100.0 %)"),
        "{}",
        section(3)
    );
    assert!(page.contains("href=\"#bad\"") && page.contains("line 3: "));
}
