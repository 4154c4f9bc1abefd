use serde_json::json;

use super::*;

const METRICS: &str = "\
# TYPE mcp_server_operation_duration_seconds histogram
mcp_server_operation_duration_seconds_sum{mcp_method_name=\"tools/call\",gen_ai_tool_name=\"read_text_file\",error_type=\"\"} 0.6
mcp_server_operation_duration_seconds_count{mcp_method_name=\"tools/call\",gen_ai_tool_name=\"read_text_file\",error_type=\"\"} 30
mcp_server_operation_duration_seconds_bucket{le=\"0.01\",mcp_method_name=\"tools/call\",gen_ai_tool_name=\"read_text_file\",error_type=\"\"} 20
mcp_server_operation_duration_seconds_bucket{le=\"0.1\",mcp_method_name=\"tools/call\",gen_ai_tool_name=\"read_text_file\",error_type=\"\"} 30
mcp_server_operation_duration_seconds_bucket{le=\"+Inf\",mcp_method_name=\"tools/call\",gen_ai_tool_name=\"read_text_file\",error_type=\"\"} 30
mcp_server_operation_duration_seconds_sum{mcp_method_name=\"tools/call\",gen_ai_tool_name=\"read_text_file\",error_type=\"denied\"} 900.0
mcp_server_operation_duration_seconds_count{mcp_method_name=\"tools/call\",gen_ai_tool_name=\"read_text_file\",error_type=\"denied\"} 2
mcp_server_operation_duration_seconds_bucket{le=\"0.01\",mcp_method_name=\"tools/call\",gen_ai_tool_name=\"read_text_file\",error_type=\"denied\"} 0
mcp_server_operation_duration_seconds_bucket{le=\"0.1\",mcp_method_name=\"tools/call\",gen_ai_tool_name=\"read_text_file\",error_type=\"denied\"} 0
mcp_server_operation_duration_seconds_bucket{le=\"+Inf\",mcp_method_name=\"tools/call\",gen_ai_tool_name=\"read_text_file\",error_type=\"denied\"} 2
roothold_answer_bytes_total{gen_ai_tool_name=\"read_text_file\"} 1250000
roothold_audit_healthy 1
roothold_calls_in_flight 3
# EOF
";

fn status() -> Value {
    json!({"ready": true, "stopping": false, "version": "0.1.0", "audit_healthy": true,
        "walls": {"landlock": {"state": "stands"}, "seccomp": false}})
}

#[test]
fn a_tool_has_its_calls_failures_times_and_bytes_in_a_row() {
    let page = page(&status(), METRICS);
    let row =
        page.lines().find(|line| line.contains("<th scope=\"row\">read_text_file</th>")).unwrap();
    let cells: Vec<&str> = row.split("<td class=\"number\">").skip(1).collect();
    let cells: Vec<&str> = cells.iter().map(|cell| cell.split('<').next().unwrap()).collect();
    // A share that the last bound does not hold is more than all bounds.
    assert_eq!(cells, ["32", "2", "28.1 s", "≤ 10.0 ms", "more", "1.2 MB", "0"]);
    assert!(page.contains("<span class=\"state good\">ready</span>"));
    assert!(page.contains(">roothold_calls_in_flight</th><td></td><td class=\"number\">3</td>"));
    assert!(
        page.contains("<td>gen_ai_tool_name=read_text_file</td><td class=\"number\">1.2 MB</td>")
    );
}

#[test]
fn what_is_wrong_is_said_first_and_no_text_is_markup() {
    let mut status = status();
    status["ready"] = false.into();
    status["audit_healthy"] = false.into();
    let evil = "<script>alert(1)</script>";
    status["version"] = evil.into();
    let connections = json!({"in_use": 4, "max": 4});
    status["databases"] = json!([
        {"name": "a<b", "kind": "postgres", "access": "read", "required": true, "state": "down",
            "reason": evil, "connections": connections},
        {"name": "c", "kind": "sqlite", "access": "read", "required": false, "state": "disabled",
            "connections": connections},
    ]);
    let page = page(&status, "roothold_config_refused 1\n");
    assert!(!page.contains(evil) && !page.contains("<script"));
    assert!(page.contains("<title>NOT READY: Roothold</title>"));
    for sentence in [
        "The audit log cannot be written",
        "The configuration that was read last was refused",
        "The database a&lt;b does not answer: &lt;script&gt;alert(1)&lt;/script&gt;",
        "The database c is disabled",
    ] {
        assert!(page.contains(sentence), "{sentence}");
    }
    assert!(page.find("cannot be written") < page.find("Databases by name"));
    status["stopping"] = true.into();
    assert!(super::page(&status, "").contains("<span class=\"state bad\">stopping</span>"));
}

#[test]
fn times_and_numbers_are_in_the_unit_that_suits_them() {
    let cases = [
        (0.0, "0 s"),
        (-5.0, "0 s"),
        (0.0123, "12.3 ms"),
        (90.0, "90.0 s"),
        (600.0, "10.0 min"),
        (7200.0, "2.0 h"),
        (864_000.0, "10 days"),
    ];
    for (seconds, shown) in cases {
        assert_eq!(lasting(seconds), shown);
    }
    let cases = [(0.0, "0"), (0.5, "0.50"), (1234.0, "1,234"), (123.4, "123"), (-1.0, "0")];
    for (number, shown) in cases {
        assert_eq!(whole(number), shown);
    }
}
