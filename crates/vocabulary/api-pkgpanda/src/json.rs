//! JSON as the files of a host have it.

use std::fmt::Write as _;

use serde::Serialize;
use serde_json::Value;

/// A value in the form of every JSON file that pkgpanda writes: keys sorted, two spaces of indent, `,` and `:`
/// without a space after them, everything but ASCII escaped, no newline at the end. Byte for byte what Python's
/// `json.dumps(value, sort_keys=True, indent=2, separators=(',', ':'))` makes of the same value.
pub fn pretty<T: Serialize + ?Sized>(value: &T) -> String {
    let value =
        serde_json::to_value(value).expect("types of this crate and JSON values have string keys only");
    pretty_value(&value)
}

/// The same of what is a JSON value already, without a copy of it.
pub fn pretty_value(value: &Value) -> String {
    let mut out = String::new();
    write_value(&mut out, value, 0);
    out
}

fn write_value(out: &mut String, value: &Value, depth: usize) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(true) => out.push_str("true"),
        Value::Bool(false) => out.push_str("false"),
        Value::Number(number) => match number.as_f64() {
            Some(float) if number.is_f64() => write_float(out, float),
            _ => push(out, format_args!("{number}")),
        },
        Value::String(text) => write_text(out, text),
        Value::Array(items) if items.is_empty() => out.push_str("[]"),
        Value::Array(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                next_line(out, index, depth + 1);
                write_value(out, item, depth + 1);
            }
            next_line(out, 0, depth);
            out.push(']');
        }
        Value::Object(fields) if fields.is_empty() => out.push_str("{}"),
        Value::Object(fields) => {
            // Another crate of the same build may have made these maps keep the order of insertion.
            let mut keys: Vec<&String> = fields.keys().collect();
            keys.sort();
            out.push('{');
            for (index, key) in keys.into_iter().enumerate() {
                next_line(out, index, depth + 1);
                write_text(out, key);
                out.push(':');
                write_value(out, &fields[key], depth + 1);
            }
            next_line(out, 0, depth);
            out.push('}');
        }
    }
}

fn next_line(out: &mut String, index: usize, depth: usize) {
    if index > 0 {
        out.push(',');
    }
    out.push('\n');
    for _ in 0..depth {
        out.push_str("  ");
    }
}

fn write_text(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            ' '..='~' => out.push(c),
            _ => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    push(out, format_args!("\\u{unit:04x}"));
                }
            }
        }
    }
    out.push('"');
}

/// Python's `repr`: the shortest digits that read back, an exponent of two digits at least below 1e-4 and from 1e16.
fn write_float(out: &mut String, float: f64) {
    let size = float.abs();
    if size != 0.0 && !(1e-4..1e16).contains(&size) {
        let text = format!("{float:e}");
        let (digits, exponent) = text.split_once('e').expect("what {:e} writes has an exponent");
        let (sign, exponent) = match exponent.strip_prefix('-') {
            Some(exponent) => ('-', exponent),
            None => ('+', exponent),
        };
        push(out, format_args!("{digits}e{sign}{exponent:0>2}"));
    } else {
        push(out, format_args!("{float:?}"));
    }
}

fn push(out: &mut String, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).expect("a String takes everything");
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn as_python_writes_it() {
        // json.dumps({...}, sort_keys=True, indent=2, separators=(',', ':')) of Python 3.11
        let value = json!({
            "b": [1, -2, 1.5, 1e16, 1e-5, 123456789.25, 0.0, 1e300, -2.5e-7, 1.0], "a": {}, "ä\u{1f600}": "\u{7f}\"\\/\n\u{1}",
            "n": null, "t": true, "l": [], "o": {"y": {"z": [[]]}}, "A": false,
        });
        let expected = r#"{
  "A":false,
  "a":{},
  "b":[
    1,
    -2,
    1.5,
    1e+16,
    1e-05,
    123456789.25,
    0.0,
    1e+300,
    -2.5e-07,
    1.0
  ],
  "l":[],
  "n":null,
  "o":{
    "y":{
      "z":[
        []
      ]
    }
  },
  "t":true,
  "\u00e4\ud83d\ude00":"\u007f\"\\/\n\u0001"
}"#;
        assert_eq!(pretty(&value), expected);
    }
}
