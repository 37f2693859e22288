//! `token_info`: how many requests the vendor allows the token a day, and how many it has counted of it and of all tokens of
//! the operation, which share one quota. It costs a request itself. What it says also tells the account's own quota how
//! much is left.

use futures_util::future::BoxFuture;
use serde::Deserialize;

use super::{Access, answer};
use crate::amount::Amount;
use crate::catalogue::Family;
use crate::client::Lane;
use crate::client::quota::Told;
use crate::failure::Failure;
use crate::reading::{Entity, Gauge, Reading};
use crate::vendors::Poll;
use crate::vendors::parse::{self, Parsed, Text};

/// Name in the configuration and on health series.
pub(super) const NAME: &str = "token_usage";
/// The vendor's name of the API.
pub(super) const API: &str = "token_info";

/// The report of one operation.
pub(super) struct Usage {
    access: Access,
    lane: Lane,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Row {
    token_limit: Text,
    token_use_today: Text,
    all_token_today: Text,
}

impl Usage {
    pub(super) fn boxed(access: Access, lane: Lane) -> Box<dyn crate::vendors::Report> {
        Box::new(Self { access, lane })
    }
}

impl crate::vendors::Report for Usage {
    fn poll<'a>(&'a mut self, poll: Poll<'a>) -> BoxFuture<'a, Result<Reading, Failure>> {
        Box::pin(async move {
            let request = self.access.get("information.php", [("api", API)].into_iter())?;
            let next_day = self.access.next_day(poll.now);
            let asked = poll.client.ask(&self.lane, &request, |answer| {
                let rows = answer::rows(answer, next_day, |raw| read(raw.get()))?;
                let unreadable = Failure::malformed("the answer does not say how many requests are allowed and used");
                rows.into_iter().flatten().next().ok_or(unreadable)
            });
            let (told, used) = asked.await?;
            self.lane.tell(told, poll.now);
            let gauge = |family, amount: Amount| Gauge {
                family,
                entity: Entity::Account,
                labels: Vec::new(),
                value: amount.as_f64(),
            };
            Ok(Reading {
                gauges: vec![gauge(Family::ApiQuotaLimit, told.token_limit), gauge(Family::ApiQuotaUsed, used)],
                read: 1,
                rows: 1,
                ..Reading::default()
            })
        })
    }
}

/// What the vendor says, and which use it shows.
fn read(raw: &str) -> Option<(Told, Amount)> {
    // A list would be taken for the fields in their order.
    let row = raw.starts_with('{').then(|| serde_json::from_str::<Row>(raw).ok()).flatten()?;
    let token_limit = parse::count(row.token_limit.as_str()).value()?;
    let token_used = parse::count(row.token_use_today.as_str()).value();
    let used = match parse::count(row.all_token_today.as_str()) {
        Parsed::Value(used) => Some(used),
        Parsed::Absent => None,
        Parsed::Wrong => return None,
    };
    // A product of the same vendor tells of the one token only.
    let shown = used.or(token_used)?;
    Some((Told { token_limit, token_used, used }, shown))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Reason;
    use crate::vendors::wolkvox::testing::polled;

    const GOOD: &str = include_str!("../../../tests/fixtures/wolkvox/token_info.json");
    /// Trap: whether `data` is a list or an object is not known, nor whether its numbers are strings.
    const LIST: &str = r#"{"code":200,"data":[{"token_limit":1000,"token_use_today":295,"all_token_today":410}]}"#;
    /// Trap: the sibling product spells and types it differently, and tells of one token only.
    const SIBLING: &str = r#"{"code":"200","error":"null","msg":"1 records were are found","data":{"description":"token","token_limit":4800,"token_use_today":17,"available_consumition_options":4783,"hours_to_restart_count":15}}"#;

    #[tokio::test]
    async fn limit_and_use_are_read_in_every_shape() {
        for (body, limit, used) in [(GOOD, 1000.0, 410.0), (LIST, 1000.0, 410.0), (SIBLING, 4800.0, 17.0)] {
            let (outcomes, sent) = polled("token_usage", &[&[]], &[(200, body)]).await;
            let url = "https://wv0010.wolkvox.com/api/v2/information.php?api=token_info";
            assert_eq!(sent, [format!("GET {url} [\"wolkvox-token: c0ffee\"]")]);
            let reading = outcomes[0].as_ref().unwrap();
            let gauges: Vec<_> = reading.gauges.iter().map(|g| (g.family, g.entity.clone(), g.value)).collect();
            let expected = [(Family::ApiQuotaLimit, limit), (Family::ApiQuotaUsed, used)];
            assert_eq!(gauges, expected.map(|(family, value)| (family, Entity::Account, value)), "{body}");
            assert_eq!(reading.verdict(), Ok(()));
        }
    }

    #[tokio::test]
    async fn what_does_not_say_it_fails_the_poll() {
        for (status, body, reason) in [
            (200, r#"{"data":{"token_limit":"","token_use_today":"1"}}"#, Reason::Malformed),
            (200, r#"{"data":{"token_limit":"1000"}}"#, Reason::Malformed),
            (
                200,
                r#"{"data":[{"token_limit":"1000","all_token_today":"-4","token_use_today":"1"}]}"#,
                Reason::Malformed,
            ),
            (200, r#"{"data":[["1000","1"]]}"#, Reason::Malformed),
            (200, r#"{"data":[]}"#, Reason::Malformed),
            (404, r#"{"code":"404","msg":"Validate dates entered"}"#, Reason::Malformed),
            (403, r#"{"msg":"TOKEN LIMIT EXCEEDED"}"#, Reason::Quota),
        ] {
            let (outcomes, _) = polled("token_usage", &[&[]], &[(status, body)]).await;
            assert_eq!(outcomes[0].as_ref().unwrap_err().reason, reason, "{body}");
        }
    }
}
