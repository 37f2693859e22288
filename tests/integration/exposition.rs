//! A strict reader of the text formats: what it accepts no scraper refuses. Duplicate series, scattered or unsorted
//! families, a missing or second HELP or TYPE, histograms that do not add up, timestamps and bad escapes are errors.

use std::collections::{BTreeMap, BTreeSet};

/// One page, read.
#[derive(Debug, Default)]
pub(crate) struct Exposition {
    pub(crate) text: String,
    pub(crate) families: Vec<Family>,
    pub(crate) samples: Vec<Sample>,
}

#[derive(Debug, Default, Clone)]
pub(crate) struct Family {
    pub(crate) name: String,
    pub(crate) kind: String,
    pub(crate) unit: Option<String>,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Sample {
    /// As it stands on the page; a counter's with `_total`.
    pub(crate) name: String,
    pub(crate) family: String,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) value: f64,
}

type Labels<'a> = &'a [(&'a str, &'a str)];

impl Exposition {
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut page = Self { text: text.to_owned(), ..Self::default() };
        if !text.ends_with('\n') {
            return Err("no line feed at the end".to_owned());
        }
        let open = text.contains("\n# EOF\n");
        let mut series = BTreeSet::new();
        let mut ended = false;
        for (index, line) in text.split_terminator('\n').enumerate() {
            let fail = |what: &str| format!("line {}: {what}: {line}", index + 1);
            if ended {
                return Err(fail("something after # EOF"));
            }
            match line.strip_prefix("# ") {
                Some("EOF") => ended = true,
                Some(comment) => page.comment(comment, open).map_err(|what| fail(&what))?,
                None => {
                    let sample = page.sample(line, open).map_err(|what| fail(&what))?;
                    if !series.insert((sample.name.clone(), sample.labels.clone())) {
                        return Err(fail("the series stands there twice"));
                    }
                    page.samples.push(sample);
                }
            }
        }
        page.check_families(open)?;
        page.check_histograms()?;
        Ok(page)
    }

    fn comment(&mut self, comment: &str, open: bool) -> Result<(), String> {
        let mut words = comment.splitn(3, ' ');
        let (Some(word), Some(name), Some(rest)) = (words.next(), words.next(), words.next()) else {
            return Err("no comment that means anything".to_owned());
        };
        let started = self.samples.iter().any(|sample| sample.family == name);
        match word {
            "HELP" if self.families.iter().any(|family| family.name == name) => Err("a second HELP".to_owned()),
            "HELP" if rest.is_empty() => Err("an empty HELP".to_owned()),
            "HELP" => {
                self.families.push(Family { name: name.to_owned(), ..Family::default() });
                Ok(())
            }
            "TYPE" | "UNIT" => {
                let family = self.families.last_mut().filter(|family| family.name == name);
                let family = family.ok_or("not below the HELP of its family")?;
                if started {
                    Err("after the family's samples".to_owned())
                } else if word == "UNIT" && open && family.unit.is_none() && name.ends_with(&format!("_{rest}")) {
                    family.unit = Some(rest.to_owned());
                    Ok(())
                } else if word == "TYPE" && family.kind.is_empty() {
                    rest.clone_into(&mut family.kind);
                    ["counter", "gauge", "histogram"].contains(&rest).then_some(()).ok_or("unknown type".to_owned())
                } else {
                    Err("wrong, or there already".to_owned())
                }
            }
            _ => Err("no comment that means anything".to_owned()),
        }
    }

    fn sample(&self, line: &str, open: bool) -> Result<Sample, String> {
        let end = line.find(['{', ' ']).ok_or("no value")?;
        let (name, rest) = line.split_at(end);
        let (labels, rest) = match rest.strip_prefix('{') {
            Some(rest) => read_labels(rest)?,
            None => (BTreeMap::new(), rest),
        };
        let value = rest.strip_prefix(' ').ok_or("no space before the value")?;
        if value.contains(' ') {
            return Err("something after the value".to_owned());
        }
        let value = match value {
            "+Inf" => f64::INFINITY,
            value if value.starts_with(|c: char| c.is_ascii_digit() || c == '-') => {
                value.parse().map_err(|_| "no number")?
            }
            _ => return Err("no number".to_owned()),
        };
        let family = self.families.last().ok_or("no family")?;
        let fits = match family.kind.as_str() {
            "counter" if open => name.strip_suffix("_total") == Some(&family.name),
            "counter" | "gauge" => name == family.name,
            "histogram" => {
                let part = name.strip_prefix(family.name.as_str()).unwrap_or_default();
                ["_bucket", "_sum", "_count"].contains(&part) && labels.contains_key("le") == (part == "_bucket")
            }
            _ => return Err("the family has no TYPE".to_owned()),
        };
        if !fits {
            return Err("not of the family above".to_owned());
        }
        if family.kind == "counter" && value < 0.0 {
            return Err("a counter below 0".to_owned());
        }
        Ok(Sample { name: name.to_owned(), family: family.name.clone(), labels, value })
    }

    fn check_families(&self, open: bool) -> Result<(), String> {
        // Both formats have one order, that of the sample names.
        let sample_name = |family: &Family| {
            if open && family.kind == "counter" { format!("{}_total", family.name) } else { family.name.clone() }
        };
        let names: Vec<_> = self.families.iter().map(sample_name).collect();
        if let Some((first, second)) = names.iter().zip(names.iter().skip(1)).find(|(first, second)| first >= second) {
            return Err(format!("{first} stands before {second}"));
        }
        let unnamed = |family: &&Family| {
            let has_unit = ["_seconds", "_bytes", "_ratio"].iter().any(|unit| family.name.ends_with(unit));
            open && has_unit != family.unit.is_some()
        };
        if let Some(family) = self.families.iter().find(unnamed) {
            return Err(format!("{} and its UNIT {:?}", family.name, family.unit));
        }
        let with_samples: BTreeSet<_> = self.samples.iter().map(|sample| &sample.family).collect();
        match self.families.iter().find(|family| !with_samples.contains(&family.name)) {
            Some(empty) => Err(format!("{} has no samples", empty.name)),
            None => Ok(()),
        }
    }

    fn check_histograms(&self) -> Result<(), String> {
        let mut buckets: BTreeMap<_, Vec<(f64, f64)>> = BTreeMap::new();
        for sample in self.samples.iter().filter(|sample| sample.name.ends_with("_bucket")) {
            let mut labels = sample.labels.clone();
            let le = labels.remove("le").unwrap_or_default();
            let le = if le == "+Inf" { f64::INFINITY } else { le.parse().map_err(|_| format!("le is {le}"))? };
            buckets.entry((&sample.family, labels)).or_default().push((le, sample.value));
        }
        for ((family, labels), buckets) in buckets {
            let rising = buckets.windows(2).all(|pair| pair[0].0 < pair[1].0 && pair[0].1 <= pair[1].1);
            let of = |part: &str| {
                let name = format!("{family}{part}");
                self.samples.iter().find(|sample| sample.name == name && sample.labels == labels).map(|s| s.value)
            };
            let last = buckets.last().copied();
            if !rising || last != of("_count").map(|count| (f64::INFINITY, count)) || of("_sum").is_none() {
                return Err(format!("{family} {labels:?} does not add up: {buckets:?}"));
            }
        }
        Ok(())
    }

    /// The samples of that name that have these labels among theirs; the prefix may be left out.
    pub(crate) fn find<'a>(&'a self, name: &'a str, labels: Labels<'a>) -> impl Iterator<Item = &'a Sample> {
        self.samples.iter().filter(move |sample| {
            sample.name.strip_prefix("contact_center_").unwrap_or(&sample.name) == name
                && labels.iter().all(|(name, value)| sample.labels.get(*name).is_some_and(|found| found == value))
        })
    }

    /// The one sample of that name with these labels among its own.
    pub(crate) fn value(&self, name: &str, labels: Labels<'_>) -> Option<f64> {
        let mut found = self.find(name, labels);
        let value = found.next()?.value;
        assert!(found.next().is_none(), "more than one {name} {labels:?}\n{}", self.text);
        Some(value)
    }

    pub(crate) fn sum(&self, name: &str, labels: Labels<'_>) -> f64 {
        self.find(name, labels).map(|sample| sample.value).sum()
    }

    /// Whether the last poll of the vendor's only report, or of all its reports, succeeded.
    pub(crate) fn up(&self, vendor: &str) -> bool {
        let mut reports = self.find("up", &[]).filter(|sample| sample.labels["vendor"] == vendor).peekable();
        reports.peek().is_some() && reports.all(|sample| (sample.value - 1.0).abs() < f64::EPSILON)
    }

    /// The series of an agent, campaign or queue of that vendor.
    pub(crate) fn figures(&self, vendor: &str) -> Vec<&Sample> {
        let of_entity = |sample: &&Sample| {
            sample.labels.get("vendor").is_some_and(|found| found == vendor)
                && ["agent", "campaign", "queue"].iter().any(|label| sample.labels.contains_key(*label))
        };
        self.samples.iter().filter(of_entity).collect()
    }

    /// What the failed polls of a vendor failed of.
    pub(crate) fn reasons(&self, vendor: &str) -> BTreeSet<&str> {
        let failed = self.samples.iter().filter(|sample| sample.name == "contact_center_poll_failures_total");
        let of_vendor = failed.filter(|sample| sample.labels["vendor"] == vendor && sample.value > 0.0);
        of_vendor.map(|sample| sample.labels["reason"].as_str()).collect()
    }
}

/// Labels up to `}`, and what follows.
fn read_labels(text: &str) -> Result<(BTreeMap<String, String>, &str), String> {
    let mut labels = BTreeMap::new();
    let mut rest = text;
    // Both formats allow empty braces.
    if let Some(rest) = text.strip_prefix('}') {
        return Ok((labels, rest));
    }
    loop {
        let (name, after) = rest.split_once("=\"").ok_or("no label")?;
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if name.is_empty() || !name.chars().all(plain) {
            return Err(format!("no label name: {name}"));
        }
        let (mut value, mut escaped, mut end) = (String::new(), false, None);
        for (index, c) in after.char_indices() {
            match (escaped, c) {
                (true, '\\' | '"') => value.push(c),
                (true, 'n') => value.push('\n'),
                (true, _) => return Err(format!("bad escape \\{c}")),
                (false, '"') => {
                    end = Some(index);
                    break;
                }
                (false, '\\') => {}
                (false, c) => value.push(c),
            }
            escaped = !escaped && c == '\\';
        }
        if labels.insert(name.to_owned(), value).is_some() {
            return Err(format!("label {name} twice"));
        }
        let after = &after[end.ok_or("a label value without end")? + 1..];
        match after.strip_prefix(',') {
            Some(next) => rest = next,
            None => return Ok((labels, after.strip_prefix('}').ok_or("no } after the labels")?)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "# HELP a Text.\n# TYPE a gauge\na{l=\"x\"} 1\n";

    #[test]
    fn a_page_is_read_with_its_escapes() {
        let page =
            Exposition::parse("# HELP a T.\n# TYPE a gauge\na{l=\"q\\\" b\\\\ n\\n é\",m=\"\"} -1.5e3\n").unwrap();
        assert_eq!(page.samples[0].labels["l"], "q\" b\\ n\n é");
        assert_eq!(page.value("a", &[("m", "")]), Some(-1500.0));
        let open = "# HELP a T.\n# TYPE a counter\na_total 1\n# EOF\n";
        assert_eq!(Exposition::parse(open).unwrap().value("a_total", &[]), Some(1.0));
    }

    #[test]
    fn what_a_scraper_would_refuse_is_refused() {
        let histogram = |lines: &str| format!("# HELP h T.\n# TYPE h histogram\n{lines}");
        for (page, what) in [
            (format!("{A}a{{l=\"x\"}} 2\n"), "twice"),
            (format!("{A}# HELP a Text.\n"), "second HELP"),
            (format!("{A}# TYPE a gauge\n"), "after the family's samples"),
            ("# HELP a T.\n# TYPE a gauge\n# TYPE a gauge\na 1\n".to_owned(), "there already"),
            ("# HELP a T.\na 1\n".to_owned(), "no TYPE"),
            ("# TYPE a gauge\na 1\n".to_owned(), "not below the HELP"),
            ("a 1\n".to_owned(), "no family"),
            (format!("{A}# HELP b T.\n# TYPE b gauge\nb 1\na{{l=\"y\"}} 1\n"), "not of the family"),
            (format!("# HELP b T.\n# TYPE b gauge\nb 1\n{A}"), "stands before"),
            (format!("{A}# HELP b T.\n# TYPE b gauge\n"), "has no samples"),
            (format!("{A}a{{l=\"y\"}} 1 1700000000\n"), "after the value"),
            (format!("{A}a{{l=\"y\"}} one\n"), "no number"),
            (format!("{A}a{{l=\"\\y\"}} 1\n"), "bad escape"),
            (format!("{A}a{{l=\"y}} 1\n"), "without end"),
            (format!("{A}a{{l=\"y\",l=\"z\"}} 1\n"), "label l twice"),
            (format!("{A}# EOF\na{{l=\"y\"}} 1\n"), "after # EOF"),
            (A.trim_end().to_owned(), "no line feed"),
            (histogram("h_bucket{le=\"1\"} 2\nh_bucket{le=\"+Inf\"} 1\nh_sum 1\nh_count 1\n"), "does not add up"),
            (histogram("h_bucket{le=\"1\"} 1\nh_sum 1\nh_count 1\n"), "does not add up"),
            (histogram("h_bucket{le=\"+Inf\"} 1\nh_sum 1\nh_count 2\n"), "does not add up"),
            (histogram("h_bucket{le=\"+Inf\"} 1\nh_count 1\n"), "does not add up"),
        ] {
            let error = Exposition::parse(&page).expect_err(&page);
            assert!(error.contains(what), "{what}: {error}");
        }
    }
}
