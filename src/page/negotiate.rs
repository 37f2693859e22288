//! Which format a scraper gets. Pure.

/// What can be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// Protobuf, each `MetricFamily` after its length: the one with created timestamps and native histograms.
    Protobuf,
    /// OpenMetrics 1.0.0.
    OpenMetrics,
    /// Prometheus text 1.0.0: the bytes of 0.0.4, as no name of ours needs escaping.
    Text100,
    /// Prometheus text 0.0.4, the default.
    Text004,
}

/// The bytes of an answer: Text 0.0.4 and 1.0.0 have the same ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Representation {
    /// The format.
    pub format: Format,
    /// Whether it is compressed.
    pub gzip: bool,
}

/// A format with the escaping scheme to name in the answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    /// The format.
    pub format: Format,
    /// The scheme to name: the one that was asked for; text 0.0.4 names none unasked.
    pub escaping: Option<&'static str>,
}

/// Longer headers are not read: nobody needs them.
const MAX_HEADER: usize = 4096;
/// No client names more.
const MAX_CODINGS: usize = 64;
const SCHEMES: [&str; 4] = ["allow-utf-8", "underscores", "dots", "values"];

impl Representation {
    /// How many there are.
    pub const COUNT: usize = 6;

    /// All of them.
    pub fn all() -> [Self; Self::COUNT] {
        let formats = [Format::Protobuf, Format::OpenMetrics, Format::Text004];
        std::array::from_fn(|index| Self { format: formats[index / 2], gzip: index % 2 == 1 })
    }

    /// Its place among all.
    pub const fn index(self) -> usize {
        let format = match self.format {
            Format::Protobuf => 0,
            Format::OpenMetrics => 1,
            Format::Text100 | Format::Text004 => 2,
        };
        format * 2 + self.gzip as usize
    }
}

impl Choice {
    /// The `Content-Type` of the answer.
    pub fn content_type(&self) -> String {
        let escaping = self.escaping.map(|scheme| format!("; escaping={scheme}")).unwrap_or_default();
        match self.format {
            Format::Protobuf => format!(
                "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited{escaping}"
            ),
            Format::OpenMetrics => format!("application/openmetrics-text; version=1.0.0; charset=utf-8{escaping}"),
            Format::Text100 => format!("text/plain; version=1.0.0; charset=utf-8{escaping}"),
            Format::Text004 => format!("text/plain; version=0.0.4; charset=utf-8{escaping}"),
        }
    }
}

/// The known format of the highest q in an `Accept` header; of equals the first one. What nobody knows, or no header at
/// all, gets text 0.0.4.
pub fn negotiate(accept: &str) -> Choice {
    let mut best: Option<(f32, Choice)> = None;
    if accept.len() <= MAX_HEADER {
        for range in accept.split(',') {
            if let Some((q, choice)) = offer(range)
                && q > 0.0
                && best.as_ref().is_none_or(|(highest, _)| q > *highest)
            {
                best = Some((q, choice));
            }
        }
    }
    best.map_or(Choice { format: Format::Text004, escaping: None }, |(_, choice)| choice)
}

/// Whether an `Accept-Encoding` header likes gzip no less than no compression at all.
pub fn accepts_gzip(accept_encoding: &str) -> bool {
    let (mut gzip, mut any, mut identity) = (None, None, None);
    for range in accept_encoding.split(',').take(MAX_CODINGS) {
        let mut parts = range.split(';').map(str::trim);
        let q = |part: &str| {
            let (name, value) = part.split_once('=')?;
            name.trim().eq_ignore_ascii_case("q").then(|| quality(value.trim()))
        };
        let coding = parts.next().unwrap_or_default().to_ascii_lowercase();
        let q = parts.find_map(q).unwrap_or(1.0);
        match coding.as_str() {
            "gzip" | "x-gzip" => gzip = Some(q),
            "identity" => identity = Some(q),
            "*" => any = Some(q),
            _ => {}
        }
    }
    let gzip = gzip.or(any).unwrap_or(0.0);
    gzip > 0.0 && gzip >= identity.unwrap_or(0.0)
}

/// A `q`; one that cannot be read refuses.
fn quality(text: &str) -> f32 {
    text.parse().ok().filter(|q| (0.0..=1.0).contains(q)).unwrap_or(0.0)
}

fn offer(range: &str) -> Option<(f32, Choice)> {
    let mut parts = range.split(';').map(str::trim);
    let kind = parts.next()?.to_ascii_lowercase();
    let (mut q, mut version, mut scheme, mut proto, mut encoding) = (1.0, None, None, "", "");
    for part in parts {
        let Some((name, value)) = part.split_once('=') else { continue };
        let value = value.trim().trim_matches('"');
        match name.trim().to_ascii_lowercase().as_str() {
            "q" => q = quality(value),
            "proto" => proto = value,
            "encoding" => encoding = value,
            "version" => version = Some(value),
            "escaping" => scheme = SCHEMES.into_iter().find(|known| *known == value),
            _ => {}
        }
    }
    // Without a scheme in the request the formats that have one mean `underscores`.
    let escaping = Some(scheme.unwrap_or("underscores"));
    let choice = match (kind.as_str(), version) {
        ("application/vnd.google.protobuf", _)
            if proto == "io.prometheus.client.MetricFamily" && encoding == "delimited" =>
        {
            Choice { format: Format::Protobuf, escaping }
        }
        ("application/openmetrics-text", None | Some("1.0.0")) => Choice { format: Format::OpenMetrics, escaping },
        ("text/plain", Some("1.0.0")) => Choice { format: Format::Text100, escaping },
        ("text/plain", None | Some("0.0.4")) => Choice { format: Format::Text004, escaping: scheme },
        ("text/*" | "*/*", _) => Choice { format: Format::Text004, escaping: None },
        _ => return None,
    };
    Some((q, choice))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_scraper_gets_what_it_likes_best() {
        let cases = [
            ("", Format::Text004, None),
            ("*/*", Format::Text004, None),
            ("text/html,application/xhtml+xml,*/*;q=0.8", Format::Text004, None),
            (
                "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
                Format::OpenMetrics,
                Some("underscores"),
            ),
            (
                "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,text/plain;version=0.0.4;q=0.2,*/*;q=0.1",
                Format::OpenMetrics,
                Some("allow-utf-8"),
            ),
            ("text/plain;version=1.0.0;escaping=dots", Format::Text100, Some("dots")),
            ("text/plain;version=0.0.4;escaping=values", Format::Text004, Some("values")),
            ("application/openmetrics-text;version=1.0.0;q=0,text/plain;version=0.0.4;q=0.1", Format::Text004, None),
            ("application/openmetrics-text;version=9.9.9", Format::Text004, None),
            ("application/openmetrics-text; q=0.2, text/plain; q=0.9", Format::Text004, None),
            (
                "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.6,application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,text/plain;version=0.0.4;q=0.2",
                Format::Protobuf,
                Some("underscores"),
            ),
            (
                "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=text",
                Format::Text004,
                None,
            ),
            ("application/vnd.google.protobuf", Format::Text004, None),
            (";;;=,,,\"", Format::Text004, None),
        ];
        for (accept, format, escaping) in cases {
            assert_eq!(negotiate(accept), Choice { format, escaping }, "{accept}");
        }
        for (index, representation) in Representation::all().into_iter().enumerate() {
            assert_eq!(representation.index(), index);
        }
        let long = format!("application/openmetrics-text;{}", "x".repeat(5000));
        assert_eq!(negotiate(&long).format, Format::Text004);
    }

    #[test]
    fn gzip_is_for_those_who_like_it() {
        for yes in [
            "gzip",
            "deflate, gzip;q=1.0, *;q=0.5",
            "x-gzip",
            "GZIP ; Q=0.1",
            "*",
            "identity;q=0.5, gzip;q=0.5",
            "br,gzip",
        ] {
            assert!(accepts_gzip(yes), "{yes}");
        }
        for no in [
            "",
            "identity",
            "br",
            "gzip;q=0",
            "gzip;q=0, *",
            "*;q=0",
            "gzip;q=0.2, identity;q=0.9",
            "gzip;q=x",
            ",;=",
            "zgzip",
        ] {
            assert!(!accepts_gzip(no), "{no}");
        }
    }
}
