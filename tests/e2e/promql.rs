//! Prometheus' HTTP API, as far as the test asks it.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

/// A server that answers queries.
pub(crate) struct Prometheus {
    client: reqwest::Client,
    url: String,
}

impl Prometheus {
    pub(crate) fn new(address: &str) -> Self {
        let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(10)).build().unwrap();
        Self { client, url: format!("http://{address}/api/v1/query") }
    }

    /// An instant vector by agent or campaign where it names a family, else by all labels.
    pub(crate) async fn vector(&self, query: &str) -> BTreeMap<String, f64> {
        let answer = self.client.get(&self.url).query(&[("query", query)]).send().await.unwrap();
        let answer: Value = answer.json().await.unwrap();
        assert_eq!(answer["status"], "success", "{query}: {answer}");
        let mut vector = BTreeMap::new();
        for series in answer["data"]["result"].as_array().unwrap() {
            let key = key(&series["metric"]);
            let value = series["value"][1].as_str().unwrap().parse().unwrap();
            assert_eq!(vector.insert(key.clone(), value), None, "{query} has {key} twice");
        }
        vector
    }

    /// Every sample of the series that a range selector finds, by all labels.
    pub(crate) async fn samples(&self, selector: &str) -> BTreeMap<String, Vec<f64>> {
        let answer = self.client.get(&self.url).query(&[("query", selector)]).send().await.unwrap();
        let answer: Value = answer.json().await.unwrap();
        assert_eq!(answer["status"], "success", "{selector}: {answer}");
        let value = |sample: &Value| sample[1].as_str().unwrap().parse().unwrap();
        let series = answer["data"]["result"].as_array().unwrap().iter();
        series
            .map(|one| (one["metric"].to_string(), one["values"].as_array().unwrap().iter().map(value).collect()))
            .collect()
    }

    /// What a query said at `second`, by all labels, without the last digits.
    pub(crate) async fn at(&self, query: &str, second: i64) -> BTreeMap<String, String> {
        let form = [("query", query.to_owned()), ("time", second.to_string())];
        let answer: Value = self.client.post(&self.url).form(&form).send().await.unwrap().json().await.unwrap();
        let series = answer["data"]["result"].as_array().map_or(&[][..], Vec::as_slice).iter();
        let value =
            |one: &Value| one["value"][1].as_str().and_then(|text| text.parse::<f64>().ok()).unwrap_or(f64::NAN);
        series.map(|one| (one["metric"].to_string(), format!("{:.6}", value(one)))).collect()
    }

    /// How many series a query has had, at any time from `start` to `end`, and how many of them a number.
    pub(crate) async fn series(
        &self,
        query: &str,
        (start, end, step): (i64, i64, i64),
    ) -> Result<(usize, usize), String> {
        let times = [("start", start), ("end", end), ("step", step)].map(|(name, value)| (name, value.to_string()));
        let form = [("query", query.to_owned())].into_iter().chain(times).collect::<Vec<_>>();
        let answer = self.client.post(format!("{}_range", self.url)).form(&form).send().await.unwrap();
        let answer: Value = answer.json().await.unwrap();
        if answer["status"] != "success" {
            return Err(answer["error"].to_string());
        }
        let series = answer["data"]["result"].as_array().unwrap();
        let number = |one: &&Value| one["values"].as_array().unwrap().iter().any(|value| value[1] != "NaN");
        Ok((series.len(), series.iter().filter(number).count()))
    }

    /// The names of the families that a selector finds.
    pub(crate) async fn names(&self, selector: &str) -> Vec<String> {
        let query = format!("count by (name) (label_replace({selector}, 'name', '$1', '__name__', '(.+)'))");
        let labels = |key: String| serde_json::from_str::<BTreeMap<String, String>>(&key).unwrap();
        self.vector(&query).await.into_keys().map(|key| labels(key).remove("name").unwrap()).collect()
    }

    /// The one value of a query.
    pub(crate) async fn number(&self, query: &str) -> f64 {
        let vector = self.vector(query).await;
        assert_eq!(vector.len(), 1, "{query}: {vector:?}");
        vector.into_values().next().unwrap()
    }

    /// Asks until there is an answer.
    pub(crate) async fn until(&self, query: &str, limit: Duration) {
        let deadline = tokio::time::Instant::now() + limit;
        while self.vector(query).await.is_empty() {
            assert!(tokio::time::Instant::now() < deadline, "still nothing after {limit:?}: {query}");
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
    }
}

/// Within one family of one vendor the entity's own label says it all.
fn key(metric: &Value) -> String {
    let one_of = |labels: &[&str]| labels.iter().find_map(|label| metric[label].as_str());
    let entity = one_of(&["__name__"]).and(one_of(&["agent", "campaign"]));
    entity.map_or_else(|| metric.to_string(), str::to_owned)
}
