//! Which format a scraper gets. Pure.

/// What can be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// OpenMetrics 1.0.0.
    OpenMetrics,
    /// Prometheus text 1.0.0: the bytes of 0.0.4, as no name of ours needs escaping.
    Text100,
    /// Prometheus text 0.0.4, the default.
    Text004,
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
const SCHEMES: [&str; 4] = ["allow-utf-8", "underscores", "dots", "values"];

impl Choice {
    /// The `Content-Type` of the answer.
    pub fn content_type(&self) -> String {
        let escaping = self.escaping.map(|scheme| format!("; escaping={scheme}")).unwrap_or_default();
        match self.format {
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

fn offer(range: &str) -> Option<(f32, Choice)> {
    let mut parts = range.split(';').map(str::trim);
    let kind = parts.next()?.to_ascii_lowercase();
    let (mut q, mut version, mut scheme) = (1.0, None, None);
    for part in parts {
        let Some((name, value)) = part.split_once('=') else { continue };
        let value = value.trim().trim_matches('"');
        match name.trim().to_ascii_lowercase().as_str() {
            "q" => q = value.parse().ok().filter(|q| (0.0..=1.0).contains(q)).unwrap_or(0.0),
            "version" => version = Some(value),
            "escaping" => scheme = SCHEMES.into_iter().find(|known| *known == value),
            _ => {}
        }
    }
    // Without a scheme in the request the formats that have one mean `underscores`.
    let escaping = Some(scheme.unwrap_or("underscores"));
    let choice = match (kind.as_str(), version) {
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
            (";;;=,,,\"", Format::Text004, None),
        ];
        for (accept, format, escaping) in cases {
            assert_eq!(negotiate(accept), Choice { format, escaping }, "{accept}");
        }
        let long = format!("application/openmetrics-text;{}", "x".repeat(5000));
        assert_eq!(negotiate(&long).format, Format::Text004);
    }
}
