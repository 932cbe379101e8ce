//! The macros that make the closed enums of events, commands and reports: a file per noun, a variant per kind.
//!
//! A kind is `<noun>.<verb>`. On the wire it stands beside its `data`, with the `schema` (the version of the shape),
//! so a reader picks the shape before it reads the data and nothing is buffered.

use serde::de::DeserializeSeed;
use serde::{Deserializer, Serialize, Serializer};
use std::marker::PhantomData;

/// One noun: an enum of its verbs. Each line is `Variant(Shape) = "verb" @ schema`, and for a shape that was stored
/// otherwise before ` <- schema OldShape`, which is read into the new one by `From`.
macro_rules! noun {
    ($(#[$doc:meta])* $Enum:ident = $noun:literal { $($(#[$variant_doc:meta])* $Variant:ident($Data:ty) = $verb:literal @ $schema:literal $(<- $old:literal $Old:ty)*),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq)]
        pub enum $Enum { $($(#[$variant_doc])* $Variant($Data)),* }

        impl $Enum {
            /// Every kind of this noun with the newest version of its shape.
            pub const KINDS: &'static [(&'static str, u16)] = &[$((concat!($noun, ".", $verb), $schema)),*];

            /// Every kind with a version of its shape that is only read any more.
            pub const OLD_KINDS: &'static [(&'static str, u16)] = &[$($((concat!($noun, ".", $verb), $old),)*)*];

            /// `<noun>.<verb>`.
            pub fn kind(&self) -> &'static str {
                match self { $(Self::$Variant(_) => concat!($noun, ".", $verb)),* }
            }

            /// The version of the shape.
            pub fn schema(&self) -> u16 {
                match self { $(Self::$Variant(_) => $schema),* }
            }

            pub(crate) fn serialize_data<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                match self { $(Self::$Variant(data) => serde::Serialize::serialize(data, serializer)),* }
            }

            pub(crate) fn deserialize_data<'de, D: serde::Deserializer<'de>>(
                kind: &str,
                schema: u16,
                deserializer: D,
            ) -> Result<Self, D::Error> {
                match (kind, schema) {
                    $((concat!($noun, ".", $verb), $schema) => {
                        <$Data as serde::Deserialize>::deserialize(deserializer).map(Self::$Variant)
                    })*
                    $($((concat!($noun, ".", $verb), $old) => {
                        let old = <$Old as serde::Deserialize>::deserialize(deserializer)?;
                        Ok(Self::$Variant(<$Data>::from(old)))
                    })*)*
                    _ => Err(crate::kinds::unknown(kind, schema, Self::KINDS)),
                }
            }
        }

        $(impl From<$Data> for $Enum {
            fn from(data: $Data) -> Self {
                Self::$Variant(data)
            }
        })*
    };
}

/// The sum over the nouns: the one closed enum of everything that can be said.
macro_rules! nouns {
    ($(#[$doc:meta])* $Sum:ident { $($Variant:ident($Enum:ty) = $noun:literal),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq)]
        pub enum $Sum { $($Variant($Enum)),* }

        impl $Sum {
            /// `<noun>.<verb>`.
            pub fn kind(&self) -> &'static str {
                match self { $(Self::$Variant(inner) => inner.kind()),* }
            }

            /// The noun alone.
            pub fn noun(&self) -> &'static str {
                match self { $(Self::$Variant(_) => $noun),* }
            }

            /// The version of the shape.
            pub fn schema(&self) -> u16 {
                match self { $(Self::$Variant(inner) => inner.schema()),* }
            }

            /// Every kind with the newest version of its shape.
            pub fn kinds() -> impl Iterator<Item = (&'static str, u16)> {
                [$(<$Enum>::KINDS),*].into_iter().flatten().copied()
            }

            /// Every kind with a version of its shape that is only read any more.
            pub fn old_kinds() -> impl Iterator<Item = (&'static str, u16)> {
                [$(<$Enum>::OLD_KINDS),*].into_iter().flatten().copied()
            }
        }

        impl crate::kinds::Kinded for $Sum {
            fn serialize_data<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                match self { $(Self::$Variant(inner) => inner.serialize_data(serializer)),* }
            }

            fn deserialize_data<'de, D: serde::Deserializer<'de>>(
                kind: &str,
                schema: u16,
                deserializer: D,
            ) -> Result<Self, D::Error> {
                match kind.split('.').next() {
                    $(Some($noun) => <$Enum>::deserialize_data(kind, schema, deserializer).map(Self::$Variant),)*
                    _ => Err(crate::kinds::unknown(kind, schema, &[])),
                }
            }
        }

        $(impl From<$Enum> for $Sum {
            fn from(inner: $Enum) -> Self {
                Self::$Variant(inner)
            }
        })*
    };
}

pub(crate) use {noun, nouns};

/// What stands as `data` beside its kind and schema.
pub trait Kinded: Sized {
    /// Writes the data alone, in any format.
    ///
    /// # Errors
    /// Those of the format.
    fn serialize_data<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error>;

    /// Reads the data of a kind and schema, from any format.
    ///
    /// # Errors
    /// Those of the format; and when the kind or the schema is unknown, or a field is.
    fn deserialize_data<'de, D: Deserializer<'de>>(
        kind: &str,
        schema: u16,
        deserializer: D,
    ) -> Result<Self, D::Error>;
}

/// Writes the data alone.
pub(crate) struct Data<'a, T>(pub &'a T);

impl<T: Kinded> Serialize for Data<'_, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize_data(serializer)
    }
}

/// Reads the data of a kind that is already known.
pub(crate) struct DataSeed<'a, T> {
    pub kind: &'a str,
    pub schema: u16,
    pub shape: PhantomData<T>,
}

impl<'de, T: Kinded> DeserializeSeed<'de> for DataSeed<'_, T> {
    type Value = T;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<T, D::Error> {
        T::deserialize_data(self.kind, self.schema, deserializer)
    }
}

/// The error for a kind or schema that this build cannot read; names what it knows of that noun.
pub(crate) fn unknown<E: serde::de::Error>(kind: &str, schema: u16, known: &[(&str, u16)]) -> E {
    let known: Vec<String> = known.iter().map(|(kind, schema)| format!("{kind} (schema {schema})")).collect();
    let known = if known.is_empty() { "no kinds of that noun".to_owned() } else { known.join(", ") };
    E::custom(format!("kind {:?} with schema {schema} is unknown; known: {known}", crate::name::cut(kind)))
}
