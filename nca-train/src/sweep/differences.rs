//! Where two settings differ, in words.

use serde_json::Value;

/// As `size 48 instead of 64, seeds [0] instead of [0,1]`.
pub(super) fn differences(found: &Value, given: &Value) -> String {
    fn walk(name: &str, found: &Value, given: &Value, list: &mut Vec<String>) {
        match (found, given) {
            (Value::Object(a), Value::Object(b)) => {
                for key in a.keys().chain(b.keys().filter(|key| !a.contains_key(*key))) {
                    let of = |object: &serde_json::Map<String, Value>| object.get(key).cloned().unwrap_or_default();
                    walk(key, &of(a), &of(b), list);
                }
            }
            _ if found != given => list.push(format!("{name} {found} instead of {given}")),
            _ => {}
        }
    }
    let mut list = Vec::new();
    walk("", found, given, &mut list);
    list.join(", ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn differences_are_named() {
        let found = json!({"train": {"size": 48, "pool": 4}, "seeds": [0]});
        let given = json!({"train": {"size": 63, "pool": 4}, "seeds": [0, 1], "init": "a"});
        let mut list: Vec<_> = differences(&found, &given).split(", ").map(String::from).collect();
        list.sort();
        assert_eq!(
            list,
            [
                "init null instead of \"a\"",
                "seeds [0] instead of [0,1]",
                "size 48 instead of 63"
            ]
        );
        assert_eq!(differences(&found, &found), "");
    }
}
