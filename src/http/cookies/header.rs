//! The `Cookie` header, parsed as bytes.

use http::HeaderMap;
use http::header::COOKIE;

/// The cookies of a request as names and values, in the order in which they were sent.
///
/// Only SP and HTAB around a name or a value are removed, as browsers do when they store a cookie (RFC 6265bis, 5.7).
/// A parser that trims Unicode white space reads `U+2000 __Host-x` as `__Host-x`. To a browser that is another name, which
/// has no prefix, and which a sibling host or a page over http can set.
pub(super) fn pairs(headers: &HeaderMap) -> impl Iterator<Item = (&[u8], &[u8])> {
    let lines = headers.get_all(COOKIE).iter();
    lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b';')).filter_map(|text| {
        let at = text.iter().position(|byte| *byte == b'=')?;
        Some((trim(&text[..at]), trim(&text[at + 1..])))
    })
}

/// The distinct values that `read` returns for cookies of this name, in the order in which they were sent.
pub(super) fn values<'h, T: PartialEq>(
    headers: &'h HeaderMap,
    name: &str,
    mut read: impl FnMut(&'h [u8]) -> Option<T>,
) -> Vec<T> {
    let mut values = Vec::new();
    for (_, value) in pairs(headers).filter(|(sent, _)| *sent == name.as_bytes()) {
        values.extend(read(value).filter(|value| !values.contains(value)));
    }
    values
}

/// Removes SP and HTAB at both ends.
fn trim(mut text: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = text {
        text = rest;
    }
    text
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn parsed(lines: &[&[u8]]) -> Vec<(Vec<u8>, Vec<u8>)> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(COOKIE, HeaderValue::from_bytes(line).unwrap());
        }
        pairs(&headers).map(|(name, value)| (name.to_vec(), value.to_vec())).collect()
    }

    fn pair(name: &[u8], value: &[u8]) -> (Vec<u8>, Vec<u8>) {
        (name.to_vec(), value.to_vec())
    }

    #[test]
    fn cookie_header_is_split_and_trimmed_as_bytes() {
        assert_eq!(parsed(&[b"a=b;c=d; e = f\t"]), [pair(b"a", b"b"), pair(b"c", b"d"), pair(b"e", b"f")]);
        assert_eq!(parsed(&[b"\t a\t=\t b c\t ", b"a=2"]), [pair(b"a", b"b c"), pair(b"a", b"2")]);
        assert_eq!(parsed(&[b"a=b=c; =d; e=; f; ;"]), [pair(b"a", b"b=c"), pair(b"", b"d"), pair(b"e", b"")]);
    }

    #[test]
    fn cookie_name_keeps_unicode_white_space() {
        for space in ["\u{a0}", "\u{1680}", "\u{2000}", "\u{2007}", "\u{2028}", "\u{202f}", "\u{3000}", "\u{feff}"] {
            let padded = format!("{space}a");
            assert_eq!(parsed(&[format!("{padded}=b").as_bytes()]), [pair(padded.as_bytes(), b"b")], "{space:?}");
        }
    }
}
