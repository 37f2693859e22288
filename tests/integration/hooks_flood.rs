//! Floods of the hooks' listener: scrapes do not notice them, and whoever has the right key gets through.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::hooks::{Hooked, callback, post, right, vendor, yaml};
use super::support::client;

/// Connections that send without a pause.
const FLOOD: usize = 100;
/// For so long.
const SPAN: Duration = Duration::from_secs(5);

fn client_at(ip: &str) -> reqwest::Client {
    let ip: IpAddr = ip.parse().unwrap();
    reqwest::Client::builder().no_proxy().local_address(ip).timeout(SPAN).build().unwrap()
}

/// So many of a hundred took no longer.
fn quantile(mut times: Vec<Duration>, percent: usize) -> Duration {
    times.sort();
    times[(times.len() - 1) * percent / 100]
}

#[tokio::test]
async fn wrong_keys_hold_up_neither_scrapes_nor_right_keys() {
    let vendor = vendor().await;
    let hooked = Hooked::start(&yaml(&vendor.url(), "1h")).await;
    let url = format!("http://{}/hooks/ozonetel/in", hooked.hooks);
    let (refused, end) = (Arc::new(AtomicUsize::new(0)), Instant::now() + SPAN);
    let mut flood = JoinSet::new();
    for _ in 0..FLOOD {
        let (url, refused, client) = (url.clone(), Arc::clone(&refused), client_at("127.0.0.1"));
        flood.spawn(async move {
            while Instant::now() < end {
                let answer = post(&client, &url, callback("wrong".into(), "1".into())).await;
                assert!([401, 429].contains(&answer.status), "{}", answer.status);
                refused.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    let (mut scrapes, mut same, mut other) = (Vec::new(), Vec::new(), Vec::new());
    let clients = [client_at("127.0.0.1"), client_at("127.0.0.2")];
    let mut ucid = 10;
    while Instant::now() + SPAN / 5 < end {
        let started = Instant::now();
        assert_eq!(hooked.running.get("/metrics").await.status, 200);
        scrapes.push(started.elapsed());
        for (client, times) in clients.iter().zip([&mut same, &mut other]) {
            let started = Instant::now();
            assert_eq!(post(client, &url, right(ucid)).await.status, 200);
            times.push(started.elapsed());
            ucid += 1;
        }
    }
    while let Some(ended) = flood.join_next().await {
        ended.unwrap();
    }
    let (p99, same, other) = (quantile(scrapes, 99), quantile(same, 100), quantile(other, 100));
    let refused = refused.load(Ordering::Relaxed);
    println!(
        "{refused} wrong keys in {SPAN:?} over {FLOOD} connections: scrapes p99 {p99:?}; right keys at most {same:?} from the same address, {other:?} from another one"
    );
    assert!(refused > 500, "{refused} are no flood");
    assert!(p99 < Duration::from_secs(1) && other < Duration::from_secs(1), "{p99:?} {other:?}");
    hooked.running.stop().await;
}

#[tokio::test]
async fn too_many_at_once_are_told_to_come_back() {
    let vendor = vendor().await;
    let hooked = Hooked::start(&yaml(&vendor.url(), "1h")).await;
    let url = format!("http://{}/hooks/ozonetel/in", hooked.hooks);
    // Over connections that wait for nothing: the places of an address are fewer than its tokens are many.
    let end = Instant::now() + Duration::from_secs(20);
    let client = client();
    loop {
        let answers = join_all((0..250).map(|_| post(&client, &url, callback("wrong".into(), "1".into())))).await;
        let statuses: Vec<_> = answers.iter().map(|answer| answer.status).collect();
        assert!(statuses.iter().all(|status| [401, 429].contains(status)), "{statuses:?}");
        if let Some(answer) = answers.iter().find(|answer| answer.status == 429) {
            assert_eq!(answer.header("retry-after"), "1");
            break;
        }
        assert!(Instant::now() < end, "never");
    }
    hooked.running.stop().await;
}

#[tokio::test]
async fn connections_that_idle_leave_room() {
    let vendor = vendor().await;
    let hooked = Hooked::start(&yaml(&vendor.url(), "1h")).await;
    let url = format!("http://{}/hooks/ozonetel/in", hooked.hooks);
    let mut idle = Vec::new();
    for _ in 0..300 {
        idle.push(TcpStream::connect(hooked.hooks).await.unwrap());
    }
    assert_eq!(post(&client_at("127.0.0.2"), &url, right(1)).await.status, 200);
    assert_eq!(hooked.running.get("/metrics").await.status, 200);
    // Those of an address beyond its share were closed at once.
    let ended = join_all(
        idle.iter_mut()
            .map(async |stream| tokio::time::timeout(Duration::from_secs(2), stream.read(&mut [0; 1])).await.is_ok()),
    );
    assert_eq!(ended.await.into_iter().filter(|ended| *ended).count(), 300 - 256);
    hooked.running.stop().await;
}
