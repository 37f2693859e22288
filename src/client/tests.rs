//! Whose turn it is, and for how long nobody's.

use futures_util::future::{BoxFuture, join_all};

use super::*;

/// Answers the first request after `0`, the others at once; keeps when each went out.
struct Slow(Duration, Arc<Mutex<Vec<Instant>>>);

impl Transport for Slow {
    fn send<'a>(&'a self, _: &'a Request) -> BoxFuture<'a, Result<Answer, TransportError>> {
        Box::pin(async move {
            let first = {
                let mut sent = self.1.lock().unwrap();
                sent.push(Instant::now());
                sent.len() == 1
            };
            tokio::time::sleep(if first { self.0 } else { Duration::ZERO }).await;
            Ok(Answer { status: 200, retry_after: None, body: Bytes::new() })
        })
    }
}

/// Takes longer than the time limit of a request to get ready.
struct Cold(tokio::sync::OnceCell<()>, Slow);

impl Transport for Cold {
    fn ready(&self) -> BoxFuture<'_, Result<(), TransportError>> {
        Box::pin(async {
            self.0.get_or_init(|| tokio::time::sleep(Duration::from_mins(1))).await;
            Ok(())
        })
    }

    fn send<'a>(&'a self, request: &'a Request) -> BoxFuture<'a, Result<Answer, TransportError>> {
        Box::pin(async move {
            self.ready().await?;
            self.1.send(request).await
        })
    }
}

/// When each of eight requests at once went out, one at a time and the first answered late, and how long it all took.
async fn eight(
    rate_limit: Option<RateLimit>,
    transport: impl FnOnce(Slow) -> Box<dyn Transport>,
) -> (Vec<Duration>, Duration) {
    let settings = AccountSettings { rate_limit, max_in_flight: Some(1), ..AccountSettings::new("huawei", "a") };
    let report = ReportSettings::every(Duration::from_mins(5));
    let sent = Arc::<Mutex<Vec<Instant>>>::default();
    let transport = transport(Slow(Duration::from_millis(4500), Arc::clone(&sent)));
    let client = Client::new(settings, transport, Clock::manual(Timestamp::UNIX_EPOCH), Health::default());
    let lane = client.lane("test", None, &report);
    let request = Request::get("https://vendor.example/".parse().unwrap());
    let start = Instant::now();
    let asked = join_all((0..8).map(|_| client.ask(&lane, &request, |_| Ok(())))).await;
    assert!(asked.iter().all(Result::is_ok));
    let gaps = sent.lock().unwrap().windows(2).map(|pair| pair[1] - pair[0]).collect();
    (gaps, start.elapsed())
}

#[tokio::test(start_paused = true)]
async fn those_who_waited_for_room_do_not_go_out_together() {
    let (gaps, took) = eight(Some(RateLimit::per_minute(60)), |slow| Box::new(slow)).await;
    assert!(gaps.len() == 7 && gaps.iter().all(|gap| *gap >= Duration::from_millis(999)), "{gaps:?}");
    assert!(took < Duration::from_secs(16), "nobody waits longer than he has to: {took:?}");
    let (gaps, took) = eight(None, |slow| Box::new(slow)).await;
    assert!(gaps.len() == 7 && took < Duration::from_secs(5), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn getting_ready_takes_neither_the_request_s_time_nor_its_turn() {
    let cold = |slow| -> Box<dyn Transport> { Box::new(Cold(tokio::sync::OnceCell::new(), slow)) };
    let (gaps, took) = eight(Some(RateLimit::per_minute(60)), cold).await;
    assert!(gaps.len() == 7 && gaps.iter().all(|gap| *gap >= Duration::from_millis(999)), "{gaps:?}");
    assert!(took < Duration::from_secs(76), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_used_up_quota_waits_for_the_next_day_and_not_for_the_one_after() {
    let clock = Clock::manual("2026-11-20T20:00:00Z".parse().unwrap());
    let settings = AccountSettings::new("wolkvox", "a");
    let sent = Arc::<Mutex<Vec<Instant>>>::default();
    let transport = Box::new(Slow(Duration::ZERO, Arc::clone(&sent)));
    let client = Client::new(settings, transport, clock.clone(), Health::default());
    let lane = client.free_lane("test");
    let request = Request::get("https://vendor.example/".parse().unwrap());
    let used_up = |until: &str| {
        let until = Hold::Until(until.parse().unwrap());
        client.ask(&lane, &request, move |_| Err::<(), _>(Failure::new(Reason::Quota, "test").with_hold(until)))
    };
    let count = || sent.lock().unwrap().len();
    used_up("2026-11-21T05:00:00Z").await.unwrap_err();
    clock.set("2026-11-21T04:59:59Z".parse().unwrap());
    assert_eq!((used_up("2026-11-21T05:00:00Z").await.unwrap_err().reason, count()), (Reason::Quota, 1), "not sent");
    // The vendor's day begins a little later than ours.
    clock.set("2026-11-21T05:00:01Z".parse().unwrap());
    used_up("2026-11-22T05:00:00Z").await.unwrap_err();
    assert_eq!(count(), 2);
    clock.set("2026-11-21T05:20:00Z".parse().unwrap());
    client.ask(&lane, &request, |_| Ok(())).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn whoever_waited_for_his_part_of_the_quota_does_not_go_once_the_vendor_has_refused_another() {
    let clock = Clock::scaled("2026-11-20T12:00:00Z".parse().unwrap(), 1.0);
    let settings = AccountSettings::new("wolkvox", "a");
    let report = ReportSettings::every(Duration::from_hours(1));
    let sent = Arc::<Mutex<Vec<Instant>>>::default();
    let transport = Box::new(Slow(Duration::ZERO, Arc::clone(&sent)));
    let client = Client::new(settings, transport, clock.clone(), Health::default());
    let lane = client.lane("teller", None, &report);
    let teller = lane.within(quota::Quota::new(0, jiff::tz::TimeZone::UTC).share(&report, 0, true));
    let request = Request::get("https://vendor.example/".parse().unwrap());
    client.ask(&teller, &request, |_| Ok(())).await.unwrap();
    let refused = async {
        tokio::time::sleep(Duration::from_mins(10)).await;
        let until = Hold::Until("2026-11-21T00:00:00Z".parse().unwrap());
        let used_up = move |_: &Answer| Err::<(), _>(Failure::new(Reason::Quota, "test").with_hold(until));
        client.ask(&client.free_lane("other"), &request, used_up).await.unwrap_err();
    };
    let (waited, ()) = futures_util::future::join(client.ask(&teller, &request, |_| Ok(())), refused).await;
    assert_eq!(waited.map_err(|failure| failure.reason), Err(Reason::Quota));
    assert_eq!(sent.lock().unwrap().len(), 2, "the first one, and the one that was refused");
}
