//! Parameters as clients send them: in the query, in a urlencoded body, in a multipart body.

/// Name and value pairs of a query or a urlencoded body.
pub(super) fn urlencoded(text: &[u8]) -> Vec<(String, String)> {
    url::form_urlencoded::parse(text).into_owned().collect()
}

/// The text fields of a multipart body; none if it is not one.
pub(super) fn multipart(content_type: &str, body: &[u8]) -> Option<Vec<(String, String)>> {
    let (_, boundary) = content_type.split_once("boundary=")?;
    let boundary = boundary.split(';').next()?.trim().trim_matches('"');
    let body = std::str::from_utf8(body).ok()?;
    let mut fields = Vec::new();
    for part in body.split(&format!("--{boundary}")).skip(1) {
        if part.starts_with("--") {
            return Some(fields);
        }
        let (head, value) = part.split_once("\r\n\r\n")?;
        let name = head.split("name=\"").nth(1)?.split('"').next()?;
        fields.push((name.to_owned(), value.strip_suffix("\r\n")?.to_owned()));
    }
    None
}

/// The first value of that name.
pub(super) fn value<'a>(fields: &'a [(String, String)], name: &str) -> Option<&'a str> {
    fields.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_three_encodings_say_the_same() {
        let expected = [("cmd".to_owned(), "Get".to_owned()), ("user_id".to_owned(), "1;2".to_owned())];
        assert_eq!(urlencoded(b"cmd=Get&user_id=1%3B2"), expected);
        let body = "--x\r\nContent-Disposition: form-data; name=\"cmd\"\r\n\r\nGet\r\n--x\r\nContent-Disposition: \
                    form-data; name=\"user_id\"\r\n\r\n1;2\r\n--x--\r\n";
        assert_eq!(multipart("multipart/form-data; boundary=x", body.as_bytes()).as_deref(), Some(&expected[..]));
        assert_eq!(multipart("multipart/form-data; boundary=y", body.as_bytes()), None);
    }
}
