//! Introductions: what is good reads back, what was changed in any byte is refused.

use proptest::prelude::*;
use rustls::pki_types::CertificateDer;
use verbale::identity::{
    CertificateError, IntroducedNode, Introduction, IntroductionDraft, IntroductionError, MAX_ADDRESSES, MAX_IN_FORCE,
    MAX_INTRODUCTION_BYTES, MAX_NODES, PathError, PrivateAlgorithm, PrivateKey, Role, SigningPublic,
};
use verbale::name::Millis;

use crate::rig::{Authority, NOW, Node, days, node, tls_params};

struct Xa {
    authority: Authority,
    node: Node,
}

impl Xa {
    fn new() -> Self {
        let authority = Authority::new("XA");
        let node = authority.node("XA");
        Self { authority, node }
    }

    fn draft(&self) -> IntroductionDraft {
        self.authority.draft(&[&self.node])
    }

    fn good(&self) -> Introduction {
        self.draft().sign(&self.authority.key).unwrap()
    }

    /// What a reader says of an introduction that is good but for `change`.
    fn verdict(&self, change: impl FnOnce(&mut IntroductionDraft)) -> Result<Introduction, IntroductionError> {
        let mut draft = self.draft();
        change(&mut draft);
        draft.sign(&self.authority.key)
    }

    fn refused(&self, change: impl FnOnce(&mut IntroductionDraft)) -> IntroductionError {
        self.verdict(change).unwrap_err()
    }

    fn node_refused(&self, change: impl FnOnce(&mut IntroducedNode)) -> IntroductionError {
        self.refused(|draft| change(&mut draft.nodes[0]))
    }
}

#[test]
fn an_introduction_reads_back_whole_and_through_hands_that_add_text() {
    let xa = Xa::new();
    let good = xa.good();
    let text = good.to_text();
    assert_eq!(Introduction::parse(&text).unwrap(), good);
    assert_eq!(Introduction::parse(&good.to_armour()).unwrap(), good);
    assert_eq!(Introduction::parse(&format!("Dear colleague,\n\n{text}\nRegards\n")).unwrap(), good);
    assert_eq!(Introduction::parse(&text.replace('\n', "  \r\n")).unwrap(), good);
    for shown in
        ["Introduction of XA", "192.0.2.1:7411", "technical, diplomatic", &good.fingerprint().to_string()[..23]]
    {
        assert!(text.contains(shown), "{shown}");
    }
    assert_eq!((good.state().code(), good.serial(), good.issued()), ("XA", NOW.0, NOW));
    assert_eq!(good.node(xa.node.name).unwrap(), &xa.node.introduced());
    assert_eq!(good.node(xa.node.name).unwrap().signing_keys(), &xa.node.signing.public());
    let what: Vec<_> = good.expiries().into_iter().map(|expiry| expiry.what).collect();
    assert_eq!(what.len(), 5, "{what:?}");
    assert!(good.expiries().iter().all(|expiry| expiry.at > NOW));
}

#[test]
fn flipping_any_byte_is_refused() {
    let good = Xa::new().good();
    let bytes = good.to_signed_bytes();
    for at in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[at] ^= 1 << (at % 8);
        assert!(Introduction::from_signed_bytes(&changed).is_err(), "byte {at}");
    }
    // The line end after the last dashes stands outside of the block, like everything else around it.
    let armour = good.to_armour().trim_end().to_owned();
    let last_line = armour.len() - 100;
    for at in (0..last_line).step_by(5).chain(last_line..armour.len()) {
        let mut changed = armour.clone().into_bytes();
        changed[at] ^= 1;
        let changed = String::from_utf8(changed).unwrap();
        assert!(Introduction::parse(&changed).is_err(), "character {at}");
    }
}

#[test]
fn cut_doubled_and_reordered_armour_is_refused() {
    let armour = Xa::new().good().to_armour();
    assert!(matches!(Introduction::parse(""), Err(IntroductionError::Armour(_))));
    assert!(matches!(Introduction::parse(&armour.repeat(2)), Err(IntroductionError::Armour(_))));
    let lines: Vec<_> = armour.lines().collect();
    assert!(Introduction::parse(&lines[..lines.len() - 1].join("\n")).is_err());
    for line in 0..lines.len() {
        let mut shorter = lines.clone();
        shorter.remove(line);
        assert!(Introduction::parse(&shorter.join("\n")).is_err(), "without line {line}");
    }
    let long = format!("{}\n{}{}\n", lines[0], lines[1], lines[2..].join("\n"));
    assert!(matches!(Introduction::parse(&long), Err(IntroductionError::Armour(_))));
}

#[test]
fn the_largest_text_is_read_and_one_byte_more_is_not() {
    let armour = Xa::new().good().to_armour();
    let padded = |length: usize| format!("{}{armour}", "\n".repeat(length - armour.len()));
    assert!(Introduction::parse(&padded(MAX_INTRODUCTION_BYTES - 1)).is_ok());
    assert!(Introduction::parse(&padded(MAX_INTRODUCTION_BYTES)).is_ok());
    assert_eq!(Introduction::parse(&padded(MAX_INTRODUCTION_BYTES + 1)), Err(IntroductionError::TooLarge));
}

#[test]
fn bytes_added_to_a_good_introduction_are_refused() {
    let bytes = Xa::new().good().to_signed_bytes();
    let unknown_field = [bytes.as_slice(), &[0x1a, 1, 0]].concat();
    assert_eq!(Introduction::from_signed_bytes(&unknown_field), Err(IntroductionError::Encoding));
}

#[test]
fn only_the_root_that_it_holds_may_sign() {
    let xa = Xa::new();
    let other = PrivateKey::generate(PrivateAlgorithm::P384).unwrap();
    assert_eq!(xa.draft().sign(&other).unwrap_err(), IntroductionError::Signature);
    for algorithm in [PrivateAlgorithm::P256, PrivateAlgorithm::Ed25519] {
        let key = PrivateKey::generate(algorithm).unwrap();
        let state = "XA".parse().unwrap();
        let root = verbale::identity::root_certificate(state, &key, NOW).unwrap();
        let authority = Authority { state, key, root };
        let node = authority.node("XA");
        assert!(authority.draft(&[&node]).sign(&authority.key).is_ok(), "{algorithm:?}");
    }
}

#[test]
fn everything_in_it_is_of_one_state_and_of_its_root() {
    let xa = Xa::new();
    let other_state = xa.refused(|draft| draft.state = "XB".parse().unwrap());
    assert_eq!(other_state, IntroductionError::Node("XA".into()));
    assert_eq!(xa.refused(|draft| draft.nodes.push(draft.nodes[0].clone())), IntroductionError::KeyTwice(node("XA")));
    let named = IntroductionError::OtherName { node: node("XA.technical"), named: node("XA") };
    let misnamed = xa.node_refused(|entry| {
        entry.name = node("XA.technical");
        entry.desks.truncate(1);
    });
    assert_eq!(misnamed, named);
    let foreign = Authority::new("XA").node("XA");
    let error = PathError::OtherRoot;
    let refused = IntroductionError::Certificate { node: node("XA"), error };
    assert_eq!(xa.node_refused(|entry| entry.tls = vec![vec![foreign.tls.clone()]]), refused);
    assert_eq!(xa.node_refused(|entry| entry.signing = vec![foreign.keys.clone()]), refused);
    let leaf_as_root = xa.refused(|draft| draft.root = xa.node.tls.clone());
    assert_eq!(leaf_as_root, IntroductionError::Root(CertificateError::NotCa));
}

#[test]
fn every_certificate_in_it_keeps_the_profile() {
    let xa = Xa::new();
    let key = PrivateKey::generate(PrivateAlgorithm::P256).unwrap();
    let mut params = tls_params("XA");
    params.extended_key_usages.pop();
    let one_sided: CertificateDer<'static> = xa.authority.issue(&params, &key);
    let error = PathError::Profile { role: Role::Tls, error: CertificateError::TlsUsageMissing };
    let refused = xa.node_refused(|entry| entry.tls = vec![vec![one_sided]]);
    assert_eq!(refused, IntroductionError::Certificate { node: node("XA"), error });
    let chain = xa.refused(|draft| draft.chain = vec![xa.node.tls.clone()]);
    assert_eq!(chain, IntroductionError::Chain(CertificateError::NotCa));
    let crl = xa.refused(|draft| draft.crls = vec![vec![0x30, 0]]);
    assert!(matches!(crl, IntroductionError::Crl(_)));
}

#[test]
fn signing_keys_are_those_of_their_certificates_and_of_one_node_only() {
    let xa = Xa::new();
    let other = xa.authority.node("XA");
    let wrong = IntroductionError::SigningKey(node("XA"));
    assert_eq!(xa.node_refused(|entry| entry.signing[0].public = other.keys.public.clone()), wrong);
    let swapped = xa.node_refused(|entry| {
        let keys = &mut entry.signing[0];
        std::mem::swap(&mut keys.ed25519_certificate, &mut keys.ml_dsa_44_certificate);
    });
    assert_eq!(swapped, wrong);
    let twice = xa.node_refused(|entry| entry.signing.push(entry.signing[0].clone()));
    assert_eq!(twice, IntroductionError::KeyTwice(node("XA")));
    let (one, mut two) = (xa.authority.node("XA.technical"), xa.authority.node("XA.diplomatic"));
    assert!(xa.authority.draft(&[&one, &two]).sign(&xa.authority.key).is_ok());
    two.keys = xa.authority.certify(two.name, &one.signing);
    let shared = xa.authority.draft(&[&one, &two]).sign(&xa.authority.key);
    assert_eq!(shared.unwrap_err(), IntroductionError::KeyTwice(two.name));
    assert_eq!(SigningPublic::from_slices(&[0; 31], &[0; 1312]), None);
    assert_eq!(SigningPublic::from_slices(&[0; 32], &[0; 1313]), None);
}

#[test]
fn desks_fit_the_name_and_times_have_an_order() {
    let xa = Xa::new();
    let wrong = IntroductionError::Desks(node("XA"));
    assert_eq!(xa.node_refused(|entry| entry.desks.clear()), wrong);
    assert_eq!(xa.node_refused(|entry| entry.desks.reverse()), wrong);
    let technical = xa.authority.node("XA.technical");
    let mut draft = xa.authority.draft(&[&technical]);
    draft.nodes[0].desks = verbale::name::Desk::ALL.to_vec();
    assert_eq!(draft.sign(&xa.authority.key).unwrap_err(), IntroductionError::Desks(technical.name));
    assert_eq!(xa.refused(|draft| draft.serial = 0), IntroductionError::Order);
    assert_eq!(xa.refused(|draft| draft.valid_until = NOW), IntroductionError::Order);
}

#[test]
fn counts_have_a_least_and_a_greatest() {
    let xa = Xa::new();
    let count = |error: IntroductionError| match error {
        IntroductionError::Count { found, .. } => found,
        other => panic!("{other}"),
    };
    assert_eq!(count(xa.refused(|draft| draft.nodes.clear())), 0);
    let addresses = |number: usize| {
        let list = (0..number).map(|at| format!("192.0.2.{at}:7411").parse().unwrap()).collect();
        xa.verdict(|draft| draft.nodes[0].addresses = list)
    };
    assert_eq!(count(addresses(0).unwrap_err()), 0);
    assert!(addresses(MAX_ADDRESSES - 1).is_ok() && addresses(MAX_ADDRESSES).is_ok());
    assert_eq!(count(addresses(MAX_ADDRESSES + 1).unwrap_err()), MAX_ADDRESSES + 1);
    let names = ["XA", "XA.technical", "XA.diplomatic", "XA"];
    let of_nodes = |number: usize| {
        let nodes: Vec<_> = names[..number].iter().map(|name| xa.authority.node(name)).collect();
        xa.authority.draft(&nodes.iter().collect::<Vec<_>>()).sign(&xa.authority.key)
    };
    assert!(of_nodes(MAX_NODES - 1).is_ok() && of_nodes(MAX_NODES).is_ok());
    assert_eq!(count(of_nodes(MAX_NODES + 1).unwrap_err()), MAX_NODES + 1);
    let in_force = |number: usize| {
        xa.verdict(|draft| {
            let more: Vec<_> = (1..number).map(|_| xa.authority.node("XA")).collect();
            draft.nodes[0].tls.extend(more.iter().map(|node| vec![node.tls.clone()]));
            draft.nodes[0].signing.extend(more.iter().map(|node| node.keys.clone()));
        })
    };
    assert!(in_force(1).is_ok() && in_force(MAX_IN_FORCE).is_ok());
    assert_eq!(count(in_force(MAX_IN_FORCE + 1).unwrap_err()), MAX_IN_FORCE + 1);
    assert_eq!(count(xa.node_refused(|entry| entry.tls.clear())), 0);
    assert_eq!(count(xa.node_refused(|entry| entry.signing.clear())), 0);
}

#[test]
fn a_renewed_tls_certificate_may_keep_its_key() {
    let xa = Xa::new();
    let (authority, old) = (&xa.authority, &xa.node);
    let later = NOW.after(days(300));
    let renewed =
        verbale::identity::tls_certificate(old.name, &old.tls_key, &authority.root, &authority.key, later).unwrap();
    let both = xa.verdict(|draft| draft.nodes[0].tls.push(vec![renewed])).unwrap();
    assert_eq!(both.node(old.name).unwrap().tls.len(), 2);
}

#[test]
fn the_fingerprint_covers_state_root_names_and_keys_and_not_addresses() {
    let xa = Xa::new();
    let plain = xa.good().fingerprint();
    let moved = xa.verdict(|draft| draft.nodes[0].addresses = vec!["node.example:1".parse().unwrap()]).unwrap();
    assert_eq!(moved.fingerprint(), plain);
    let reissued = xa.verdict(|draft| {
        draft.serial += 1;
        draft.valid_until = Millis(draft.valid_until.0 + 1);
        draft.nodes[0].tls = vec![vec![xa.authority.node("XA").tls]];
    });
    assert_eq!(reissued.unwrap().fingerprint(), plain);

    let mut seen = vec![plain];
    let mut differs = |introduction: Introduction| {
        assert!(!seen.contains(&introduction.fingerprint()));
        seen.push(introduction.fingerprint());
    };
    let old = &xa.node.signing;
    let copy = |key: &PrivateKey| PrivateKey::from_pkcs8(&key.to_pkcs8().unwrap()).unwrap();
    let fresh = |algorithm| PrivateKey::generate(algorithm).unwrap();
    for (ed25519, ml_dsa_44) in [
        (fresh(PrivateAlgorithm::Ed25519), copy(old.ml_dsa_44())),
        (copy(old.ed25519()), fresh(PrivateAlgorithm::MlDsa44)),
    ] {
        let keys = verbale::identity::SigningKeys::new(ed25519, ml_dsa_44).unwrap();
        let certified = xa.authority.certify(xa.node.name, &keys);
        differs(xa.verdict(|draft| draft.nodes[0].signing = vec![certified]).unwrap());
    }
    differs(xa.verdict(|draft| draft.nodes[0].signing.push(xa.authority.node("XA").keys)).unwrap());
    // The same keys under another name, another root, another State.
    let under = |authority: &Authority, name: &str| {
        let mut entry = authority.node(name);
        entry.keys = authority.certify(entry.name, old);
        authority.draft(&[&entry]).sign(&authority.key).unwrap()
    };
    differs(under(&xa.authority, "XA.technical"));
    differs(under(&Authority::new("XA"), "XA"));
    let same_root =
        Authority { state: "XB".parse().unwrap(), key: copy(&xa.authority.key), root: xa.authority.root.clone() };
    differs(under(&same_root, "XB"));
}

#[test]
fn numbers_of_introductions_grow_even_when_the_clock_goes_back() {
    assert_eq!(IntroductionDraft::next_serial(NOW, None), NOW.0);
    assert_eq!(IntroductionDraft::next_serial(NOW, Some(5)), NOW.0);
    assert_eq!(IntroductionDraft::next_serial(Millis(7), Some(NOW.0)), NOW.0 + 1);
    assert_eq!(IntroductionDraft::next_serial(Millis(0), None), 1);
}

proptest! {
    #[test]
    fn hostile_bytes_and_texts_are_refused_without_panic(
        bytes in proptest::collection::vec(any::<u8>(), 0..2000), text in "(?s).{0,600}",
    ) {
        prop_assert!(Introduction::from_signed_bytes(&bytes).is_err());
        prop_assert!(Introduction::parse(&text).is_err());
        let armoured = format!(
            "-----BEGIN VERBALE INTRODUCTION-----\n{text}\n-----END VERBALE INTRODUCTION-----\n"
        );
        prop_assert!(Introduction::parse(&armoured).is_err());
    }

    #[test]
    fn spliced_bytes_are_refused_without_panic(
        from in any::<prop::sample::Index>(), to in any::<prop::sample::Index>(),
        splice in proptest::collection::vec(any::<u8>(), 0..64),
    ) {
        static GOOD: std::sync::LazyLock<Vec<u8>> = std::sync::LazyLock::new(|| Xa::new().good().to_signed_bytes());
        let (from, to) = (from.index(GOOD.len()), to.index(GOOD.len()));
        let (from, to) = (from.min(to), from.max(to));
        let changed = [&GOOD[..from], &splice, &GOOD[to..]].concat();
        prop_assume!(changed != *GOOD);
        prop_assert!(Introduction::from_signed_bytes(&changed).is_err());
    }
}
