//! `traceparent` and `tracestate` (W3C Trace Context): the trace of a proxy's request. With malformed headers, the
//! request starts a new trace.
//!
//! They are not sent to Entra or Graph, which would reveal our trace IDs. Those requests have a `client-request-id`.

use std::ops::Range;

use http::HeaderMap;

use crate::observability::spans::Parent;

const TRACEPARENT: &str = "traceparent";
const TRACESTATE: &str = "tracestate";

/// Maximum length of a state that the specification requires to pass on.
const MAX_STATE: usize = 512;

/// Parses the headers of a trusted proxy.
pub(super) fn parent(headers: &HeaderMap) -> Option<Parent> {
    let mut lines = headers.get_all(TRACEPARENT).iter();
    let (Some(line), None) = (lines.next(), lines.next()) else { return None };
    Some(Parent { state: state(headers), ..parse(line.as_bytes())? })
}

/// Parses `version-trace-parent-flags` in lower-case hexadecimal. Later versions may append fields.
fn parse(text: &[u8]) -> Option<Parent> {
    let number = |at: Range<usize>| {
        let digits = text.get(at)?;
        let valid = digits.iter().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'));
        u128::from_str_radix(str::from_utf8(digits).ok().filter(|_| valid)?, 16).ok()
    };
    let (version, trace_id, flags) = (number(0..2)?, number(3..35)?, number(53..55)?);
    let span_id = u64::try_from(number(36..52)?).ok()?;
    let dashes = [2, 35, 52].iter().all(|at| text[*at] == b'-');
    let complete = match (version, text.get(55)) {
        (0xff, _) => false,
        (_, None) => true,
        (version, Some(next)) => version > 0 && *next == b'-',
    };
    let valid = dashes && complete && trace_id != 0 && span_id != 0;
    valid.then_some(Parent { trace_id, span_id, sampled: flags & 1 == 1, state: None })
}

/// Several header lines are one list.
fn state(headers: &HeaderMap) -> Option<String> {
    let lines: Option<Vec<&str>> = headers.get_all(TRACESTATE).iter().map(|line| line.to_str().ok()).collect();
    let state = lines?.join(",");
    (1..=MAX_STATE).contains(&state.len()).then_some(state)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    const VALID: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    #[test]
    fn valid_traceparent_is_parsed() {
        let expected = Parent {
            trace_id: 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736,
            span_id: 0x00f0_67aa_0ba9_02b7,
            sampled: true,
            state: None,
        };
        assert_eq!(parent(&headers(&[(TRACEPARENT, VALID)])), Some(expected.clone()));
        let unsampled = VALID.replace("-01", "-00");
        assert_eq!(parent(&headers(&[(TRACEPARENT, &unsampled)])), Some(Parent { sampled: false, ..expected.clone() }));
        // Other flags do not matter for sampling.
        let random = VALID.replace("-01", "-fe");
        assert_eq!(parent(&headers(&[(TRACEPARENT, &random)])), Some(Parent { sampled: false, ..expected.clone() }));
        for later in ["-what-comes", "-", ""] {
            let text = format!("cc{}{later}", &VALID[2..]);
            assert_eq!(parent(&headers(&[(TRACEPARENT, &text)])), Some(expected.clone()), "{text}");
        }
    }

    #[test]
    fn malformed_traceparent_is_ignored() {
        let with = |at: usize, byte: char| format!("{}{byte}{}", &VALID[..at], &VALID[at + 1..]);
        let mut malformed = vec![
            String::new(),
            "00".to_owned(),
            VALID[..54].to_owned(),
            format!("{VALID}-"),
            format!("{VALID}-what-comes"),
            format!("{VALID}0"),
            format!("cc{}0", &VALID[2..]),
            format!("ff{}", &VALID[2..]),
            VALID.to_uppercase(),
            VALID.replace("4bf92f3577b34da6a3ce929d0e0e4736", &"0".repeat(32)),
            VALID.replace("00f067aa0ba902b7", &"0".repeat(16)),
            VALID.replace('-', "_"),
            format!(" {VALID}"),
        ];
        // Each position with an invalid character. Integer parsers accept a sign.
        malformed.extend((0..55).flat_map(|at| ['g', '+', '-', ' '].map(|byte| with(at, byte))));
        malformed.retain(|text| text != VALID);
        for text in malformed {
            assert_eq!(parent(&headers(&[(TRACEPARENT, &text)])), None, "{text:?}");
        }
        assert_eq!(parent(&headers(&[(TRACEPARENT, VALID), (TRACEPARENT, VALID)])), None, "repeated");
        assert_eq!(parent(&headers(&[("tracestate", "a=b")])), None, "state without parent");
    }

    #[test]
    fn tracestate_is_joined_and_limited() {
        let state = |values: &[&str]| {
            let mut lines = vec![(TRACEPARENT, VALID)];
            lines.extend(values.iter().map(|value| (TRACESTATE, *value)));
            parent(&headers(&lines)).expect("valid parent").state
        };
        assert_eq!(state(&["a=1", "b=2,c=3"]).as_deref(), Some("a=1,b=2,c=3"));
        assert_eq!(state(&["ä=1"]), None);
        assert_eq!(state(&[""]), None);
        let long = format!("a={}", "x".repeat(MAX_STATE - 2));
        assert_eq!(state(&[&long]).as_deref(), Some(&*long));
        assert_eq!(state(&[&long, "b=2"]), None, "too long");
    }
}
