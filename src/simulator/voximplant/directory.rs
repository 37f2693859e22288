//! GetUsers and GetQueues: names, page by page. Whatever a client asks for, a page holds no more than so many rows.

use serde_json::{Value, json};

use super::{Queue, Refused};
use crate::simulator::form::value;
use crate::simulator::truth::Agent;

/// The only application of the account.
const APPLICATION: (&str, &str) = ("9001", "shop");
/// Rows of a page if a client does not say.
const PAGE: usize = 20;
/// Most rows of a page.
const MOST_ROWS: usize = 100;

/// Users of the application.
pub(super) fn users(fields: &[(String, String)], agents: &[Agent]) -> Result<Value, Refused> {
    let given = application(fields)?;
    if !given {
        return Err((134, "Required parameter is empty."));
    }
    page(fields, agents, |agent| {
        json!({
            "user_id": agent.number,
            "user_name": format!("operator{}", agent.number),
            "user_display_name": agent.name,
            "user_active": true,
            "user_custom_data": "+155501000 operator@example.com",
            "acd_status": "READY",
            "balance": 0.0,
            "frozen": false,
            "modified": "2026-01-20 09:15:42",
        })
    })
}

/// Queues of the account, or of an application of it.
pub(super) fn queues(fields: &[(String, String)], queues: &[Queue]) -> Result<Value, Refused> {
    application(fields)?;
    page(fields, queues, |queue| {
        json!({
            "acd_queue_id": queue.number,
            "acd_queue_name": queue.name,
            "application_id": 9001,
            "acd_queue_priority": 1,
            "service_probability": 0.85,
            "auto_binding": true,
            "modified": "2026-01-19 14:12:46",
        })
    })
}

/// Whether an application is named: by number or by name, not by both.
fn application(fields: &[(String, String)]) -> Result<bool, Refused> {
    let (id, name) = (value(fields, "application_id"), value(fields, "application_name"));
    match (id, name) {
        (Some(_), Some(_)) => Err((101, "Invalid arguments")),
        (None, None) => Ok(false),
        (Some(id), None) if id == APPLICATION.0 => Ok(true),
        (None, Some(name)) if name == APPLICATION.1 => Ok(true),
        _ => Err((116, "The 'application_id' parameter is invalid.")),
    }
}

fn page<T>(fields: &[(String, String)], all: &[T], row: impl Fn(&T) -> Value) -> Result<Value, Refused> {
    let number = |name, default| match value(fields, name) {
        None => Ok(default),
        Some(text) => text.parse::<usize>().map_err(|_| (101, "Invalid arguments")),
    };
    let (count, offset) = (number("count", PAGE)?.min(MOST_ROWS), number("offset", 0)?);
    let rows: Vec<_> = all.iter().skip(offset).take(count).map(row).collect();
    Ok(json!({ "count": rows.len(), "total_count": all.len(), "result": rows }))
}
