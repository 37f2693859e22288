use super::*;
use crate::simulator::times;
use crate::simulator::truth::Status;

/// The service account's file and a way to sign with it.
struct Signer {
    kid: String,
    account: Value,
    key: EncodingKey,
}

impl Signer {
    fn of(simulator: &Simulator) -> Self {
        let file: Value = serde_json::from_str(&simulator.credentials().voximplant_key).unwrap();
        let key = EncodingKey::from_rsa_pem(file["private_key"].as_str().unwrap().as_bytes()).unwrap();
        Self { kid: file["key_id"].as_str().unwrap().to_owned(), account: file["account_id"].clone(), key }
    }

    fn sign(&self, issuer: &Value, iat: i64, exp: i64) -> String {
        let mut header = Header::new(Algorithm::RS256);
        header.kid = Some(self.kid.clone());
        jsonwebtoken::encode(&header, &json!({ "iss": issuer, "iat": iat, "exp": exp }), &self.key).unwrap()
    }

    fn token(&self, clock: &Clock) -> String {
        self.sign(&self.account, now(clock) - 5, now(clock) + 60)
    }
}

fn statistics(simulator: &Simulator, token: &str, query: &str) -> RequestBuilder {
    let url = format!("{}/platform_api/GetACDOperatorStatistics?{query}", simulator.url(Vendor::Voximplant));
    client().post(url).bearer_auth(token)
}

const TODAY: &str = "from_date=2026-11-20%2000:00:00&user_id=all&aggregation=day&report=all";

#[tokio::test]
async fn statistics_are_the_truth_of_the_day() {
    let (simulator, clock) = simulator(|_| ()).await;
    let token = Signer::of(&simulator).token(&clock);
    let (status, body) = send(statistics(&simulator, &token, TODAY)).await;
    assert_eq!(status, 200);
    let truth = simulator.truth();
    let midnight = now(&clock).div_euclid(DAY) * DAY;
    let mut shown = body["result"].as_array().unwrap().iter();
    let mut kinds = [0, 0];
    for agent in truth.agents(Vendor::Voximplant) {
        let calls = truth.started_in(Vendor::Voximplant, agent.index, midnight..midnight + DAY);
        let figures = Figures::of(&calls, now(&clock));
        if figures.calls() == 0 {
            continue;
        }
        let row = shown.next().unwrap();
        kinds[usize::from(row["user_id"].is_string())] += 1;
        assert_eq!(row["user_id"].to_string().trim_matches('"'), agent.key);
        let day = &row["statistics"][0];
        assert_eq!(day["date"], "2026-11-20");
        let ended = [&day["AC"], &day["UAC"], &day["TTT"], &day["TACW"], &day["TDT"], &day["THT"]].map(Value::as_u64);
        let handled = figures.talk + figures.wrap_up;
        let expected = [figures.answered, figures.unanswered, figures.talk, figures.wrap_up, figures.ring, handled];
        assert_eq!(ended, expected.map(Some));
        let talk = &day["TT"];
        assert_eq!(talk["avg"], figures.talk / figures.answered);
        assert_eq!(talk["count"], day["AC"]);
    }
    assert!(shown.next().is_none());
    assert!(kinds[0] > 0 && kinds[1] > 0, "{kinds:?}");
}

#[tokio::test]
async fn every_way_to_ask_gets_the_same_answer() {
    let (simulator, clock) = simulator(|_| ()).await;
    let token = Signer::of(&simulator).token(&clock);
    let base = format!("{}/platform_api", simulator.url(Vendor::Voximplant));
    let fields = [("from_date", "2026-11-20 00:00:00"), ("user_id", "all"), ("report", "AC;TT")];
    let query = "from_date=2026-11-20%2000:00:00&user_id=all&report=AC;TT";
    let expected = send(statistics(&simulator, &token, query)).await;
    assert!(!expected.1["result"].as_array().unwrap().is_empty());
    let with_command = [("cmd", "GetACDOperatorStatistics"), fields[0], fields[1], fields[2]];
    let multipart: String = with_command
        .map(|(name, value)| format!("--b\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n"))
        .concat();
    for request in [
        client().get(format!("{base}/GetACDOperatorStatistics/?{query}")),
        client().post(format!("{base}/GetACDOperatorStatistics")).form(&fields),
        client().post(&base).form(&with_command),
        client()
            .post(&base)
            .header("Content-Type", "multipart/form-data; boundary=b")
            .body(format!("{multipart}--b--\r\n")),
    ] {
        assert_eq!(send(request.bearer_auth(&token)).await, expected);
    }
}

#[tokio::test]
async fn shapes_follow_group_and_aggregation() {
    let (simulator, clock) = simulator(|_| ()).await;
    let token = Signer::of(&simulator).token(&clock);
    for (aggregation, keys) in
        [("none", &[][..]), ("day", &["date"]), ("hour", &["date", "hour"]), ("hour_of_day", &["hour"])]
    {
        for group in ["user", "aggregation"] {
            let query = format!(
                "from_date=2026-11-19 00:00:00&to_date=2026-11-20 00:00:00&user_id=all&aggregation={aggregation}\
                 &group={group}&abbreviation=False&report=AC"
            );
            let (_, body) = send(statistics(&simulator, &token, &query)).await;
            let outer = body["result"][0].as_object().unwrap();
            let inner = outer["statistics"][0].as_object().unwrap();
            let (spans, user) = if group == "user" { (inner, outer) } else { (outer, inner) };
            assert!(user.contains_key("user_id") && inner.contains_key("AnsweredCalls"), "{body}");
            let shown: Vec<_> = ["date", "hour"].into_iter().filter(|key| spans.contains_key(*key)).collect();
            assert_eq!(shown, keys, "{aggregation} {group}");
        }
    }
    let hourly = "from_date=2026-11-20 00:00:00&user_id=1768;1769&aggregation=hour&report=AC;UAC";
    let (_, body) = send(statistics(&simulator, &token, hourly)).await;
    let midnight = times::parse_stamp("2026-11-20 00:00:00", 0).unwrap();
    for hour in body["result"].as_array().unwrap().iter().flat_map(|row| row["statistics"].as_array().unwrap()) {
        assert!((0..24).contains(&hour["hour"].as_i64().unwrap()));
    }
    let calls = |index| simulator.truth().started_in(Vendor::Voximplant, index, midnight..now(&clock));
    let ended = (0..2).flat_map(calls).filter(|call| call.end() <= now(&clock)).count() as u64;
    let counted: u64 = body["result"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|row| row["statistics"].as_array().unwrap())
        .map(|hour| hour["AC"].as_u64().unwrap() + hour["UAC"].as_u64().unwrap())
        .sum();
    assert_eq!(counted, ended);
}

#[tokio::test]
async fn queues_are_a_filter() {
    let (simulator, clock) = simulator(|_| ()).await;
    let token = Signer::of(&simulator).token(&clock);
    let mut counts = Vec::new();
    for queues in ["54", "55", "54;55"] {
        let query = format!("from_date=2026-11-20 00:00:00&user_id=all&group=aggregation&acd_queue_id={queues}");
        let (_, body) = send(statistics(&simulator, &token, &query)).await;
        let rows = body["result"][0]["statistics"].as_array().unwrap();
        counts.push(rows.iter().map(|row| row["AC"].as_u64().unwrap()).sum::<u64>());
    }
    assert_eq!(counts[0] + counts[1], counts[2]);
    assert!(counts[0] > 0 && counts[1] > 0);
}

#[tokio::test]
async fn tokens_are_checked_claim_by_claim() {
    let (simulator, clock) = simulator(|_| ()).await;
    let signer = Signer::of(&simulator);
    let at = now(&clock);
    let child = simulator.credentials().voximplant_child;
    for issuer in [signer.account.clone(), json!(signer.account.to_string()), json!(child), json!(child.to_string())] {
        let (_, body) = send(statistics(&simulator, &signer.sign(&issuer, at, at + 3600), TODAY)).await;
        assert!(body["result"].is_array(), "{body}");
    }
    let own = &signer.account;
    let (other, _clock) = self::simulator(|options| options.seed = 2).await;
    let cases = [
        (signer.sign(&json!("0"), at, at + 60), 100),
        (Signer::of(&other).token(&clock), 100),
        (Signer { kid: signer.kid.clone(), ..Signer::of(&other) }.token(&clock), 100),
        ("no.token.atall".to_owned(), 447),
        (signer.sign(own, at, at + 3601), 454),
        (signer.sign(own, at + 30, at + 60), 455),
        (signer.sign(own, at - 120, at - 60), 456),
    ];
    for (token, code) in cases {
        let (status, body) = send(statistics(&simulator, &token, TODAY)).await;
        assert_eq!((status, &body["error"]["code"]), (200, &json!(code)));
    }
    let bare = client().get(format!("{}/platform_api/GetACDOperatorStatistics", simulator.url(Vendor::Voximplant)));
    assert_eq!(send(bare).await.1["error"], json!({ "code": 100, "msg": "Authorization failed" }));
}

#[tokio::test]
async fn wrong_parameters_have_codes_of_their_own() {
    let (simulator, clock) = simulator(|_| ()).await;
    let token = Signer::of(&simulator).token(&clock);
    let from = "from_date=2026-11-20 00:00:00";
    for (query, code) in [
        ("user_id=all".to_owned(), 134),
        (from.to_owned(), 134),
        ("from_date=2026-11-20&user_id=all".to_owned(), 111),
        (format!("{from}&to_date=2026-11-19 00:00:00&user_id=all"), 123),
        (format!("{from}&user_id=1"), 117),
        (format!("{from}&user_id=all&acd_queue_id=1"), 218),
        (format!("{from}&user_id=all&aggregation=week"), 228),
        (format!("{from}&user_id=all&report=XX"), 229),
        (format!("{from}&user_id=all&group=queue"), 254),
        (format!("{from}&user_id=all&abbreviation=maybe"), 101),
    ] {
        let (status, body) = send(statistics(&simulator, &token, &query)).await;
        assert_eq!((status, &body["error"]["code"]), (200, &json!(code)), "{query}");
    }
    let base = format!("{}/platform_api", simulator.url(Vendor::Voximplant));
    for (url, code) in [(base.clone(), 102), (format!("{base}/GetNothing"), 103)] {
        assert_eq!(send(client().post(url).bearer_auth(&token)).await.1["error"]["code"], code);
    }
    simulator.set_fault(Vendor::Voximplant, Fault::RateLimited);
    let (_, body) = send(statistics(&simulator, &token, TODAY)).await;
    assert_eq!(body["error"], json!({ "code": 340, "msg": "Rate limit exceed" }));
}

fn ask(simulator: &Simulator, token: &str, method: &str, query: &str) -> RequestBuilder {
    client().post(format!("{}/platform_api/{method}?{query}", simulator.url(Vendor::Voximplant))).bearer_auth(token)
}

/// The documented shape: an object of statuses, each with the five figures, although the types say array.
#[tokio::test]
async fn statuses_are_cut_by_hours_and_days_and_add_up() {
    let (simulator, clock) = simulator(|_| ()).await;
    let token = Signer::of(&simulator).token(&clock);
    let method = "GetACDOperatorStatusStatistics";
    let mut sums = Vec::new();
    for aggregation in ["none", "day", "hour"] {
        let query = format!("from_date=2026-11-19 00:00:00&user_id=1768&aggregation={aggregation}");
        let (status, body) = send(ask(&simulator, &token, method, &query)).await;
        assert_eq!(status, 200);
        let rows = body["result"][0]["statistics"].as_array().unwrap();
        assert_eq!(rows[0]["date"].is_string(), aggregation != "none");
        if aggregation == "hour" {
            let all = rows.iter().flat_map(|row| row["acd_status"].as_object().unwrap().values());
            assert!(all.clone().all(|item| item["sum"].as_u64().unwrap() <= 3600));
            assert!(all.clone().all(|item| ["min", "avg", "max", "count"].iter().all(|key| item[key].is_u64())));
        }
        let ready = rows.iter().filter_map(|row| row["acd_status"]["READY"]["sum"].as_u64()).sum::<u64>();
        sums.push(ready);
    }
    let from = times::parse_stamp("2026-11-19 00:00:00", 0).unwrap();
    let stays = simulator.truth().statuses(0, from..now(&clock));
    let ready = stays.iter().filter(|stay| stay.status == Status::Ready).map(|stay| stay.to - stay.from).sum::<i64>();
    assert_eq!(sums, [ready.unsigned_abs(); 3]);

    let few = "from_date=2026-11-19 00:00:00&user_id=all&acd_status=DND;BANNED";
    let (_, body) = send(ask(&simulator, &token, method, few)).await;
    let rows = body["result"].as_array().unwrap().iter().map(|row| &row["statistics"][0]["acd_status"]);
    let names = rows.flat_map(|row| row.as_object().unwrap().keys().cloned());
    assert_eq!(names.collect::<std::collections::BTreeSet<_>>().into_iter().collect::<Vec<_>>(), ["BANNED", "DND"]);
    let wrong = "from_date=2026-11-19 00:00:00&user_id=all&acd_status=BUSY";
    assert_eq!(send(ask(&simulator, &token, method, wrong)).await.1["error"]["code"], 227);
}

#[tokio::test]
async fn records_of_queues_name_no_queue_and_show_counts_either_way() {
    let (simulator, clock) = simulator(|_| ()).await;
    let token = Signer::of(&simulator).token(&clock);
    let mut calls = Vec::new();
    for queues in ["54", "55", "all"] {
        let query = format!("from_date=2026-11-20 00:00:00&acd_queue_id={queues}&aggregation=day");
        let (_, body) = send(ask(&simulator, &token, "GetACDQueueStatistics", &query)).await;
        let day = &body["result"][0];
        assert!(!body.to_string().contains("queue_id"), "{body}");
        assert_eq!((day["AC"].is_array(), day["RC"].is_array()), (queues == "55", queues == "55"), "{day}");
        let count = |share: &Value| if share.is_array() { share[0]["count"].clone() } else { share["count"].clone() };
        let [answered, abandoned, rejected] = ["AC", "UAC", "RC"].map(|key| count(&day[key]).as_u64().unwrap());
        assert_eq!(day["TC"], answered + abandoned + rejected);
        assert_eq!(day["TWT"].as_u64().unwrap(), day["TST"].as_u64().unwrap() + day["TAT"].as_u64().unwrap());
        assert_eq!(day["SA"]["count"], answered);
        assert!((0.0..=1.0).contains(&day["SL"][0]["service_level"].as_f64().unwrap()));
        calls.push(day["TC"].as_u64().unwrap());
    }
    assert_eq!(calls[0] + calls[1], calls[2]);
    let none = "from_date=2026-11-20 00:00:00";
    assert_eq!(send(ask(&simulator, &token, "GetACDQueueStatistics", none)).await.1["error"]["code"], 134);
}

#[tokio::test]
async fn names_come_in_pages_that_are_never_long() {
    let (simulator, clock) = simulator(|options| options.agents = 130).await;
    let token = Signer::of(&simulator).token(&clock);
    for (query, rows) in [
        ("application_name=shop", 20),
        ("application_id=9001&count=1000", 100),
        ("application_name=shop&count=1000&offset=100", 30),
        ("application_name=shop&offset=130", 0),
    ] {
        let (_, body) = send(ask(&simulator, &token, "GetUsers", query)).await;
        let shown = body["result"].as_array().unwrap().len();
        assert_eq!((shown, &body["count"], &body["total_count"]), (rows, &json!(rows), &json!(130)), "{query}");
    }
    for (query, code) in
        [("", 134), ("application_name=shop&application_id=9001", 101), ("application_name=other", 116)]
    {
        assert_eq!(send(ask(&simulator, &token, "GetUsers", query)).await.1["error"]["code"], code, "{query}");
    }
    let (_, queues) = send(ask(&simulator, &token, "GetQueues", "")).await;
    assert_eq!(queues["result"][1]["acd_queue_name"], "returns");
}

/// 484: the same request to the letter, at once.
#[tokio::test]
async fn a_request_that_comes_again_at_once_is_refused() {
    let (simulator, clock) = simulator(|options| options.voximplant_resend_window = Duration::from_mins(1)).await;
    let token = Signer::of(&simulator).token(&clock);
    let codes = async |query: &str| send(ask(&simulator, &token, "GetQueues", query)).await.1["error"]["code"].clone();
    assert_eq!([codes("").await, codes("").await, codes("offset=1").await], [Value::Null, json!(484), Value::Null]);
}
