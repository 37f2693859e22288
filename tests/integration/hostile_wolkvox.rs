//! Wolkvox at its worst, whichever of its reports asks: what is not the answer fails the poll and makes nothing up, names may
//! hold anything, and a national id goes nowhere.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use serde_json::json;

use super::support::{Running, noon};
use super::vendor::{Reply, Vendor};

const REPORTS: [&str; 4] = ["agent_activity", "agent_hold_mute", "skill_service", "token_usage"];

async fn answered(reply: Reply) -> Running {
    let vendor = Vendor::start(move |_| reply.clone()).await;
    let reports = REPORTS.map(|report| format!("{report}: {{ interval: 1h }}")).join(", ");
    let yaml =
        format!("  wolkvox: [{{ account: co, base_url: '{}', token: t, reports: {{ {reports} }} }}]", vendor.url());
    let running = Running::start(&yaml, &noon()).await;
    running.ready().await;
    running
}

#[tokio::test]
async fn what_is_not_the_answer_fails_every_report_and_is_no_zero() {
    let deep = format!("{{\"data\":{}", "[".repeat(100_000));
    let bodies = [
        ("", "malformed"),
        ("<html>Gateway</html>", "malformed"),
        ("{\"code\":200,\"data\":[{\"agent_name\":\"A\",\"cou", "malformed"),
        ("{\"code\":200,\"data\":[[],7,\"x\",null]}", "malformed"),
        ("{\"code\":200,\"data\":null}", "malformed"),
        (&deep, "malformed"),
        // Trap: errors may come with status 200, and one status has several causes.
        ("{\"code\":\"403\",\"error\":\"FORBIDDEN\",\"msg\":\"TOKEN LIMIT EXCEEDED\"}", "quota"),
        ("{\"code\":403,\"error\":\"FORBIDDEN\",\"msg\":\"PLEASE VALIDATE TOKEN\"}", "auth"),
        ("{\"code\":\"403\",\"error\":\"FORBIDDEN\",\"msg\":\"COPIA DE SEGURIDAD\"}", "unavailable"),
    ];
    join_all(bodies.map(async |(body, reason)| {
        let running = answered(Reply::json(body.to_owned())).await;
        let page = running.page().await;
        let body = body.get(..40).unwrap_or(body);
        assert_eq!(page.reasons("wolkvox"), BTreeSet::from([reason]), "{body:?}");
        let failed = page.find("poll_failures_total", &[]).filter(|failures| failures.value > 0.0).count();
        assert_eq!(failed, REPORTS.len(), "{body:?}");
        assert!(page.figures("wolkvox").is_empty(), "{body:?}");
        running.stop().await;
    }))
    .await;
}

#[tokio::test]
async fn names_may_hold_anything_and_the_national_id_goes_nowhere() {
    let names = ["say \"please\"", "back\\slash", "new\nline", "\"} 1\n# TYPE evil counter", "نادية 👩‍💻", "IÑIGO"];
    let long = "ñ".repeat(10_000);
    let names: Vec<&str> = names.into_iter().chain([long.as_str()]).collect();
    let row = |(number, name): (usize, &&str)| {
        json!({
            "agent_name": name, "agent_id": number.to_string(), "agent_dni": "CANARY-1020304050", "inbound": "1",
            "outbound": "0", "aht": "00:00:09", "skill_id": name, "skill_name": name, "inbound_calls": 1, "count": "1",
            "token_limit": "1000", "all_token_today": "5",
        })
    };
    let rows: Vec<_> = names.iter().enumerate().map(row).collect();
    let running = answered(Reply::json(json!({ "data": rows }).to_string())).await;
    let page = running.page().await;
    for (family, label) in [
        ("agent_info", "agent_name"),
        ("agent_answered_calls_total", "agent"),
        ("queue_calls_total", "queue"),
        ("queue_info", "queue_name"),
    ] {
        let found: BTreeSet<_> = page.find(family, &[]).map(|sample| sample.labels[label].clone()).collect();
        assert_eq!(found.len(), names.len(), "{family}: {found:?}");
        assert!(found.iter().all(|name| name.len() <= 256));
    }
    let told = running.get("/api/v1/reports").await.body + &running.get("/").await.body + &page.text;
    assert!(!told.contains("CANARY"), "{told}");
    running.stop().await;
}
