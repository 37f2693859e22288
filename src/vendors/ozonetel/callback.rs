//! The vendor's post-call callback: a form whose field `data` holds JSON text. All that is read of it is the account's key, as
//! nothing else proves who sends it, and the call; its figures are asked for like those of any listed call.

use secrecy::SecretString;
use serde::Deserialize;

use super::ucids::parse_id;
use crate::reading::CallId;
use crate::vendors::parse::Text;

/// What a callback says.
#[derive(Debug)]
pub struct Callback {
    /// The key that it carries; empty where it carries none.
    pub key: SecretString,
    /// Which call it tells of, if its id can be read.
    pub call: Option<CallId>,
}

/// The fields of a callback that are of use.
#[derive(Deserialize)]
struct Data {
    #[serde(default, rename = "Apikey")]
    key: Text,
    #[serde(default, rename = "monitorUCID")]
    ucid: Text,
}

impl Callback {
    /// Reads the body of a request. None if it is no form, or holds no JSON object.
    pub fn decode(body: &[u8]) -> Option<Self> {
        let (_, data) = url::form_urlencoded::parse(body).find(|(name, _)| name == "data")?;
        // An array would do for a struct, too.
        let data = data.trim_start().starts_with('{').then_some(data)?;
        let Data { key, ucid } = serde_json::from_str(&data).ok()?;
        Some(Self { key: key.0.into(), call: parse_id(ucid.0.trim()) })
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;

    use super::*;

    fn form(data: &str) -> Vec<u8> {
        url::form_urlencoded::Serializer::new(String::new()).append_pair("data", data).finish().into_bytes()
    }

    #[test]
    fn key_and_call_are_read_and_nothing_else() {
        let callback = Callback::decode(&form(include_str!("../../../tests/fixtures/ozonetel/callback.json"))).unwrap();
        assert_eq!(callback.key.expose_secret(), "KK00000000000000000000000000000000");
        assert_eq!(callback.call.as_ref().map(CallId::expose), Some("650999572453711"));
        assert!(!format!("{callback:?}").contains("650999") && !format!("{callback:?}").contains("KK0"));
        // Ids beyond 2^53, as a number and as text.
        for ucid in ["31571870688636584", "\"31571870688636584\""] {
            let callback = Callback::decode(&form(&format!("{{\"monitorUCID\": {ucid}}}"))).unwrap();
            assert_eq!(callback.call.as_ref().map(CallId::expose), Some("31571870688636584"));
            assert_eq!(callback.key.expose_secret(), "");
        }
    }

    #[test]
    fn what_is_no_callback_is_refused() {
        for wrong in
            ["", "[]", "7", "{\"Apikey\": \"k\"", "{\"Apikey\": [\"k\"]}", "{\"Apikey\": \"k\", \"Apikey\": \"l\"}"]
        {
            assert!(Callback::decode(&form(wrong)).is_none(), "{wrong}");
        }
        assert!(Callback::decode(b"{\"Apikey\": \"k\", \"monitorUCID\": \"1\"}").is_none(), "no form");
        for ucid in ["\"\"", "null", "\"12x\"", "-1", "1.5", "\"None\"", "\"1 2\""] {
            let callback = Callback::decode(&form(&format!("{{\"Apikey\": \"k\", \"monitorUCID\": {ucid}}}"))).unwrap();
            assert!(callback.call.is_none(), "{ucid}");
        }
    }
}
