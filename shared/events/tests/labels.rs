//! Laws of labels and selectors: what parses is written as it was read, and a selector chooses exactly what its terms say.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use events::label::{self, LabelError, LabelValue, Labels, Selector};
use events::{LabelName, wire};
use proptest::prelude::*;

const NAME: &str = "[a-c]([a-c0-9-]{0,3}[a-c0-9])?";
const VALUE: &str = "[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?";

/// Few names and values, so that they meet.
fn labels() -> impl Strategy<Value = Labels> {
    proptest::collection::btree_map("[a-c]".prop_map(|name| name.parse().unwrap()), value(), 0..3)
}

fn value() -> impl Strategy<Value = LabelValue> {
    "[xyz]".prop_map(|value| value.parse().unwrap())
}

fn term() -> impl Strategy<Value = String> {
    prop_oneof!["[a-c]=[xyz]", "[a-c]!=[xyz]", "[a-c]", "![a-c]"]
}

/// What a term says, told a second time.
fn holds(term: &str, labels: &Labels) -> bool {
    let found = |name: &str| labels.get(&name.parse::<LabelName>().unwrap()).map(ToString::to_string);
    if let Some((name, value)) = term.split_once("!=") {
        found(name).is_none_or(|found| found != value)
    } else if let Some((name, value)) = term.split_once('=') {
        found(name).is_some_and(|found| found == value)
    } else if let Some(name) = term.strip_prefix('!') {
        found(name).is_none()
    } else {
        found(term).is_some()
    }
}

proptest! {
    #[test]
    fn a_selector_chooses_what_all_its_terms_hold_for(
        terms in proptest::collection::vec(term(), 1..5),
        labels in labels(),
    ) {
        let selector: Selector = terms.join(",").parse().unwrap();
        prop_assert_eq!(selector.chooses(&labels), terms.iter().all(|term| holds(term, &labels)));
    }

    #[test]
    fn a_term_and_its_opposite_part_all_servants(name in "[a-c]", value in "[xyz]", labels in labels()) {
        for (one, other) in [(format!("{name}={value}"), format!("{name}!={value}")), (name.clone(), format!("!{name}"))] {
            let (one, other): (Selector, Selector) = (one.parse().unwrap(), other.parse().unwrap());
            prop_assert_ne!(one.chooses(&labels), other.chooses(&labels));
        }
    }

    #[test]
    fn selectors_round_trip(name in NAME, value in VALUE, spaces in " {0,2}") {
        let text = format!("{name}={value},{spaces}{name}!={value}{spaces},{name},!{name}");
        let selector: Selector = text.parse().unwrap();
        prop_assert_eq!(selector.to_string(), text.replace(' ', ""));
        prop_assert_eq!(&selector.to_string().parse::<Selector>().unwrap(), &selector);
        prop_assert_eq!(&wire::decode::<Selector>(&wire::encode(&selector)).unwrap(), &selector);
    }

    #[test]
    fn values_are_exactly_those_of_the_rule(text in ".{0,70}") {
        let inside = |letter: char| letter.is_ascii_alphanumeric() || "._-".contains(letter);
        let edge = |letter: Option<char>| letter.is_some_and(|letter| letter.is_ascii_alphanumeric());
        let fits = text.len() <= 63 && text.chars().all(inside)
            && edge(text.chars().next()) && edge(text.chars().next_back());
        prop_assert_eq!(text.parse::<LabelValue>().is_ok(), fits);
    }

    #[test]
    fn no_text_makes_a_selector_panic(text in ".{0,80}") {
        if let Ok(selector) = text.parse::<Selector>() {
            prop_assert_eq!(selector.to_string().parse::<Selector>().unwrap(), selector);
        }
    }
}

#[test]
fn what_is_no_selector_is_refused() {
    for text in ["", " ", ",", "a,", "a=", "=b", "a==b", "a=b=c", "!", "!!a", "A=b", "a b", "a!b", "a=b c"] {
        assert!(text.parse::<Selector>().is_err(), "{text:?}");
    }
    let long = vec!["a"; 17].join(",");
    assert_eq!(long.parse::<Selector>(), Err(LabelError::TooLong));
}

#[test]
fn labels_have_each_name_once() {
    let parsed = |text: &str| label::parse_label(text).unwrap();
    assert_eq!(label::collect([parsed("a=x"), parsed("b=y")]).unwrap().len(), 2);
    assert_eq!(label::collect([parsed("a=x"), parsed("a=y")]), Err(LabelError::Twice("a".parse().unwrap())));
    let many = (0..33).map(|number| parsed(&format!("l{number}=x")));
    assert_eq!(label::collect(many), Err(LabelError::TooMany));
    for text in ["a", "a=", "=x", "A=x", "a=x y", ""] {
        assert!(label::parse_label(text).is_err(), "{text:?}");
    }
}
