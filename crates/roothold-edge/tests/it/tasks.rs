//! The tasks extension as far as the front has a part in it: who gets a task for an answer, and
//! `taskIds` in the filter of a subscription.

use serde_json::{Value, json};

use crate::client::{Answer, Request};
use crate::fixture::{Server, Setup};

const EXTENSION: &str = "io.modelcontextprotocol/tasks";

fn declaring(request: Request) -> Request {
    request.edit(|body| {
        body["params"]["_meta"]["io.modelcontextprotocol/clientCapabilities"] =
            json!({"extensions": {EXTENSION: {}}});
    })
}

fn listen(tasks: &Value) -> Request {
    let filter = json!({"toolsListChanged": true, "taskIds": tasks});
    Request::modern("subscriptions/listen", &json!({"notifications": filter}))
}

fn missing_capability(answer: &Answer) -> bool {
    let error = &answer.json()["error"];
    error["data"]["requiredCapabilities"]["extensions"][EXTENSION].is_object()
        && (answer.status, answer.code()) == (400, Some(-32021))
}

#[tokio::test]
async fn a_task_is_an_answer_for_who_declares_the_extension_and_on_both_ways_the_same_bytes() {
    let (long, short) = (Server::start().await, Server::short().await);
    let call = || Request::call("task", &json!({}));
    let mut answers = Vec::new();
    for server in [&long, &short] {
        assert!(missing_capability(&server.send(&call()).await));
        let answer = server.send(&declaring(call())).await;
        let result = &answer.json()["result"];
        assert_eq!((&result["resultType"], &result["taskId"]), (&json!("task"), &json!("job-1")));
        assert!(result["_meta"]["io.modelcontextprotocol/serverInfo"].is_object(), "{result}");
        let older = Request::older("tools/call", &json!({"name": "task", "arguments": {}}));
        assert_eq!(server.send(&older).await.code(), Some(-32021));
        answers.push(String::from_utf8(answer.body).unwrap());
    }
    assert_eq!(answers[0], answers[1]);
}

#[tokio::test]
async fn a_subscription_follows_the_tasks_that_were_accepted_and_no_others() {
    let server = Server::with(Setup { keys: true, ..Setup::default() }).await;
    let tasks = json!(["of-anna-1", "of-ben-1", "anyones"]);
    for (key, own) in [(&server.anna, "of-anna-1"), (&server.ben, "of-ben-1")] {
        let answer = server.send(&declaring(listen(&tasks)).bearer(key)).await;
        let events = answer.events();
        assert_eq!(events[0]["method"], "notifications/subscriptions/acknowledged");
        let accepted = json!({"toolsListChanged": true, "taskIds": [own, "anyones"]});
        assert_eq!(events[0]["params"]["notifications"], accepted);
        for (event, id) in events[1..3].iter().zip([own, "anyones"]) {
            assert_eq!(event["method"], "notifications/tasks", "{event}");
            assert_eq!(
                (&event["params"]["taskId"], &event["params"]["status"]),
                (&json!(id), &json!("working"))
            );
            assert_eq!(event["params"]["_meta"]["io.modelcontextprotocol/subscriptionId"], 1);
        }
        assert_eq!(events.last().unwrap()["result"]["resultType"], "complete");
    }
}

#[tokio::test]
async fn a_subscription_to_tasks_needs_the_extension_and_a_sound_filter() {
    let server = Server::start().await;
    assert!(missing_capability(&server.send(&listen(&json!(["anyones"]))).await));
    let broken = server.send(&declaring(listen(&json!(["broken"])))).await;
    assert_eq!(broken.code(), Some(-32603));
    for odd in [json!("anyones"), json!([1]), json!({})] {
        let answer = server.send(&declaring(listen(&odd))).await;
        assert_eq!((answer.status, answer.code()), (400, Some(-32602)), "{odd}");
    }
}
