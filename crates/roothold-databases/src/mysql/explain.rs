//! Plans. `EXPLAIN` runs nothing, and it stands in the same read-only transaction as everything else.

use mysql_async::prelude::Queryable as _;
use roothold_core::{Fault, FaultKind};
use serde_json::Value;

use super::error;
use super::prepare::{Asked, EXPLAIN, PLANNED, gate, prepare};
use super::session::Session;
use crate::answer::{Plan, Statement};

/// The most bytes of a plan that is shown.
const PLAN_BYTES_MAX: usize = 4 << 20;
/// Where servers put the cost of a plan, if they do.
const COSTS: &[&str] = &["/query_block/cost_info/query_cost", "/query_block/cost"];

/// The plan of a statement.
pub(super) async fn plan(
    session: &mut Session,
    statement: &Statement,
    cost_max: Option<f64>,
) -> Result<Plan, Fault> {
    let asked = Asked::of(statement, PLANNED)?;
    gate(session, &asked).await?;
    let bytes_max = session.bytes_max();
    let told = |error: mysql_async::Error| error::fault(&error, Some(&asked), bytes_max);
    let prepared = prepare(session, EXPLAIN, &asked).await?.map_err(told)?;
    let values = asked.values(prepared.num_params().into())?;
    let conn = session.conn()?;
    let text: Option<String> = conn.exec_first(&prepared, values).await.map_err(told)?;
    let text = text.unwrap_or_default();
    if text.len() > PLAN_BYTES_MAX {
        let text = "the plan is too long to be shown; ask for less at once";
        return Err(Fault::new(FaultKind::Limit, text));
    }
    let plan: Value = serde_json::from_str(&text)
        .map_err(|_| Fault::internal("the database's plan is not JSON"))?;
    let cost = match cost(&plan) {
        Some(cost) => Some(cost),
        None => last_cost(session).await?,
    };
    let too_much = matches!((cost, cost_max), (Some(cost), Some(most)) if cost > most);
    Ok(Plan { plan, cost, cost_max, would_run: !too_much })
}

fn cost(plan: &Value) -> Option<f64> {
    let number = |value: &Value| value.as_f64().or_else(|| value.as_str()?.parse().ok());
    COSTS.iter().find_map(|place| plan.pointer(place).and_then(number))
}

/// The cost of the plan that was made last, where the plan does not hold it. A server tells none for
/// plans of several parts.
async fn last_cost(session: &mut Session) -> Result<Option<f64>, Fault> {
    let sql = "SHOW SESSION STATUS LIKE 'Last_query_cost'";
    let row: Option<(String, String)> =
        session.conn()?.query_first(sql).await.map_err(|error| error::fault(&error, None, 0))?;
    Ok(row.and_then(|(_, cost)| cost.parse().ok()).filter(|cost| *cost > 0.0))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn costs_are_found_where_servers_put_them() {
        let mysql = json!({"query_block": {"cost_info": {"query_cost": "12.50"}}});
        assert_eq!(cost(&mysql), Some(12.5));
        assert_eq!(cost(&json!({"query_block": {"cost": 0.25}})), Some(0.25));
        assert_eq!(cost(&json!({"query_block": {"select_id": 1}})), None);
    }
}
