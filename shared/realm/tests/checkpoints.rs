//! What a King signs is taken from Kings alone, once for each place.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use events::command::RecordCheckpoint;
use events::{
    Actor, Checkpoint, Command, Digest, KingId, KingKey, Mark, Order, Outcome, RefusalCode, Signature,
    Timestamp,
};
use realm::{Candidate, Context, Input, Response, State, step};
use ring::signature::{Ed25519KeyPair, KeyPair};
use uuid::Uuid;

const KING: KingId = KingId(Uuid::from_u128(1));

fn sign(seed: u8, event: u64) -> Checkpoint {
    let pair = Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap();
    let mark = Mark { sequence: 1, event, hash: Digest::ZERO, state: Digest::ZERO, at: Timestamp(0) };
    let key = KingKey::from_bytes(pair.public_key().as_ref().try_into().unwrap());
    let signature = Signature::from_bytes(pair.sign(&mark.signed_bytes()).as_ref().try_into().unwrap());
    Checkpoint { mark, key, signature }
}

fn record(state: &mut State, id: &str, checkpoint: Checkpoint) -> Result<(), RefusalCode> {
    let order = Order::King(RecordCheckpoint { king: KING, checkpoint }.into());
    let command = Command { id: id.parse().unwrap(), actor: Actor::king(), order, plan: None };
    let context = Context { at: Timestamp(1), entropy: 1 };
    match step(state, &Input::Command(command), &context).response {
        Response::Decided(Outcome::Accepted { .. }) => Ok(()),
        Response::Decided(Outcome::Refused { refusal, .. }) => Err(refusal.code),
        other => panic!("{other:?}"),
    }
}

#[test]
fn only_a_newer_place_with_the_signature_of_an_elected_king_is_recorded() {
    let mut state = State::default();
    let key = Some(sign(5, 1).key);
    let context = Context { at: Timestamp(1), entropy: 1 };
    step(&mut state, &Input::Election(Candidate { king: KING, key }), &context);
    assert_eq!(record(&mut state, "stranger", sign(6, 1)), Err(RefusalCode::Unknown));
    let forged = Checkpoint { mark: Mark { sequence: 2, ..sign(5, 1).mark }, ..sign(5, 1) };
    assert_eq!(record(&mut state, "forged", forged), Err(RefusalCode::Invalid));
    assert_eq!(record(&mut state, "future", sign(5, 1000)), Err(RefusalCode::Conflict));
    assert_eq!(record(&mut state, "first", sign(5, 1)), Ok(()));
    assert_eq!(record(&mut state, "again", sign(5, 1)), Err(RefusalCode::Conflict));
    assert_eq!(record(&mut state, "next", sign(5, 3)), Ok(()));
    assert_eq!(state.checkpoint, Some(3));
}
