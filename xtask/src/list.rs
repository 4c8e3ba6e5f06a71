//! Lists of numbers on the command line: `8,16,32`, `8..=128:8`, or both, `4,8..=64:8`.

use std::fmt;
use std::str::FromStr;

/// A list of counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct List(pub(crate) Vec<usize>);

/// More values than any sweep has.
const MOST: usize = 4096;

impl FromStr for List {
    type Err = String;

    fn from_str(s: &str) -> Result<Self, String> {
        let mut values = Vec::new();
        for item in s.split(',') {
            let item = item.trim();
            let number = |text: &str| {
                text.trim()
                    .parse::<usize>()
                    .map_err(|_| format!("found '{text}', expected numbers as in 8,16,32 or a range as in 8..=128:8"))
            };
            let Some((start, rest)) = item.split_once("..") else {
                values.push(number(item)?);
                continue;
            };
            let (end, step) = rest.split_once(':').unwrap_or((rest, "1"));
            let (start, step) = (number(start)?, number(step)?);
            // The end of `a..b` does not belong to the range, that of `a..=b` does.
            let end = match end.strip_prefix('=') {
                Some(end) => number(end)?.saturating_add(1),
                None => number(end)?,
            };
            if step == 0 || start >= end || (end - start) / step > MOST {
                return Err(format!(
                    "the range '{item}' has no values or too many, expected one as in 8..=128:8"
                ));
            }
            values.extend((start..end).step_by(step));
        }
        if values.len() > MOST {
            return Err(format!("found {} values, expected at most {MOST}", values.len()));
        }
        Ok(Self(values))
    }
}

/// In a form that [`List::from_str`] takes: long ones as a range, where the values are equally far apart.
impl fmt::Display for List {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHORT: usize = 4;
        let Self(values) = self;
        if let ([first, second, .., last], true) = (&values[..], values.len() > SHORT)
            && first < second
            && (*first..=*last).step_by(second - first).eq(values.iter().copied())
        {
            return write!(f, "{first}..={last}:{}", second - first);
        }
        let values: Vec<String> = values.iter().map(usize::to_string).collect();
        f.write_str(&values.join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(s: &str) -> Option<Vec<usize>> {
        s.parse::<List>().ok().map(|list| list.0)
    }

    #[test]
    fn what_is_written_can_be_read() {
        for text in ["8..=128:8", "16..=128:16", "6,8,12", "7", "8,16,24,33,40", "5,4,3,2,1"] {
            assert_eq!(List(list(text).unwrap()).to_string(), text);
        }
    }

    #[test]
    fn forms() {
        assert_eq!(list("8,16,32"), Some(vec![8, 16, 32]));
        assert_eq!(list("8..=24:8"), Some(vec![8, 16, 24]));
        assert_eq!(list("8..24:8"), Some(vec![8, 16]));
        assert_eq!(list("4, 6..8"), Some(vec![4, 6, 7]));
        assert_eq!(list("8..=128:8").map(|v| v.len()), Some(16));
        for bad in [
            "",
            "a",
            "8,",
            "8..",
            "9..=8",
            "8..=8:0",
            "1..99999999999999999999",
            "0..=18446744073709551615",
            "-3",
        ] {
            assert_eq!(list(bad), None, "{bad}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_refused_or_small(s in "[0-9.,=: a-]{0,24}") {
            if let Some(values) = list(&s) {
                assert!(!values.is_empty() && values.len() <= MOST);
            }
        }
    }
}
