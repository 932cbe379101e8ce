//! What an app says of an event beyond its name: a bounded JSON object.

use crate::limits::{FIELD_NAME_BYTES, FIELDS, FIELDS_BYTES, FIELDS_DEPTH};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The fields of an event of an app. What was stored is read as it is; [`Fields::check`] is for what comes in.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Fields(Map<String, Value>);

/// The rule that fields break.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FieldsError {
    #[error("there are {found} fields; at most {FIELDS}")]
    Many { found: usize },
    #[error("the name of a field has {bytes} bytes; 1 to {FIELD_NAME_BYTES}")]
    Name { bytes: usize },
    #[error("fields are nested deeper than {FIELDS_DEPTH}")]
    Deep,
    #[error("the fields have {bytes} bytes as JSON; at most {FIELDS_BYTES}")]
    Large { bytes: usize },
}

impl Fields {
    /// Fields that keep to the limits.
    ///
    /// # Errors
    /// The first rule that is broken.
    pub fn new(fields: Map<String, Value>) -> Result<Self, FieldsError> {
        let fields = Self(fields);
        fields.check()?;
        Ok(fields)
    }

    /// Whether they keep to the limits.
    ///
    /// # Errors
    /// The first rule that is broken.
    pub fn check(&self) -> Result<(), FieldsError> {
        if self.0.len() > FIELDS {
            return Err(FieldsError::Many { found: self.0.len() });
        }
        self.0.iter().try_for_each(|(name, value)| {
            check_name(name)?;
            check_depth(value, FIELDS_DEPTH - 1)
        })?;
        let bytes = serde_json::to_vec(&self.0).map_or(0, |text| text.len());
        if bytes > FIELDS_BYTES { Err(FieldsError::Large { bytes }) } else { Ok(()) }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Each with its name.
    pub fn iter(&self) -> impl Iterator<Item = (&String, &Value)> {
        self.0.iter()
    }
}

fn check_name(name: &str) -> Result<(), FieldsError> {
    if (1..=FIELD_NAME_BYTES).contains(&name.len()) {
        Ok(())
    } else {
        Err(FieldsError::Name { bytes: name.len() })
    }
}

fn check_depth(value: &Value, left: usize) -> Result<(), FieldsError> {
    let nested: Box<dyn Iterator<Item = &Value>> = match value {
        Value::Array(values) => Box::new(values.iter()),
        Value::Object(fields) => {
            fields.keys().try_for_each(|name| check_name(name))?;
            Box::new(fields.values())
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => return Ok(()),
    };
    if left == 0 {
        return Err(FieldsError::Deep);
    }
    for value in nested {
        check_depth(value, left - 1)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;
    use serde_json::json;

    fn new(value: Value) -> Result<Fields, FieldsError> {
        let Value::Object(fields) = value else { panic!("an object") };
        Fields::new(fields)
    }

    #[test]
    fn each_limit_holds_at_its_edge() {
        let many = |count: usize| (0..count).map(|at| (at.to_string(), json!(at))).collect::<Map<_, _>>();
        assert!(Fields::new(many(FIELDS)).is_ok());
        assert_eq!(Fields::new(many(FIELDS + 1)), Err(FieldsError::Many { found: FIELDS + 1 }));
        assert_eq!(new(json!({ "": 1 })), Err(FieldsError::Name { bytes: 0 }));
        assert_eq!(new(json!({ "a": { "x".repeat(65): 1 } })), Err(FieldsError::Name { bytes: 65 }));
        assert!(new(json!({ "a": [[[1]]] })).is_ok());
        assert_eq!(new(json!({ "a": [[[[1]]]] })), Err(FieldsError::Deep));
        let text = |length: usize| json!({ "a": "x".repeat(length) });
        assert!(new(text(FIELDS_BYTES - 8)).is_ok());
        assert_eq!(new(text(FIELDS_BYTES - 7)), Err(FieldsError::Large { bytes: FIELDS_BYTES + 1 }));
    }
}
