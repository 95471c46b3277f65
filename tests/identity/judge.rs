//! One root per State: who passes, who is restricted, who is refused and why.

use std::sync::Arc;

use rcgen::{
    CertificateParams, CertificateRevocationListParams, KeyIdMethod, KeyUsagePurpose, RevokedCertParams, SerialNumber,
};
use rustls::pki_types::CertificateDer;
use verbale::identity::{
    AnchorConflict, Anchors, CertificateError, IdentityRefusal, Introduction, IntroductionError, MAX_CRL_BYTES,
    MAX_INTERMEDIATES, PathError, PeerStatus, PrivateAlgorithm, PrivateKey, Restriction, Role, judge_peer, parse_crl,
    tls_certificate,
};
use verbale::name::Millis;

use crate::rig::{Authority, DAY, NOW, anchors, at, ca_params, copy, days, node, tls_params, uri};

/// Two States; `xb` is a peer of XA.
struct World {
    xa: Authority,
    xb: Authority,
    anchors: Anchors,
}

impl World {
    fn new() -> Self {
        let (xa, xb) = (Authority::new("XA"), Authority::new("XB"));
        let anchors = anchors("XA", &[xb.introduce(&[&xb.node("XB")])]);
        Self { xa, xb, anchors }
    }

    fn judge(&self, leaf: &CertificateDer<'static>) -> Result<Option<Restriction>, IdentityRefusal> {
        let chain = [leaf.clone()];
        let dialled = judge_peer(&chain, &self.anchors, NOW, Some(node("XB")));
        let accepted = judge_peer(&chain, &self.anchors, NOW, None);
        if leaf_names_xb(&dialled) {
            assert_eq!(dialled, accepted, "dialling and accepting judge alike");
        }
        accepted.map(|peer| peer.restricted)
    }

    fn leaf(&self, authority: &Authority, change: impl FnOnce(&mut CertificateParams)) -> CertificateDer<'static> {
        let mut params = tls_params("XB");
        change(&mut params);
        authority.issue(&params, &PrivateKey::generate(PrivateAlgorithm::P256).unwrap())
    }
}

fn leaf_names_xb<T>(verdict: &Result<T, IdentityRefusal>) -> bool {
    !matches!(verdict, Err(IdentityRefusal::WrongNode { .. }))
}

fn profile(error: CertificateError) -> IdentityRefusal {
    IdentityRefusal::Path(PathError::Profile { role: Role::Tls, error })
}

#[test]
fn a_certificate_of_the_right_root_for_the_right_state_passes() {
    let world = World::new();
    let leaf = world.leaf(&world.xb, |_| ());
    let peer = judge_peer(std::slice::from_ref(&leaf), &world.anchors, NOW, Some(node("XB"))).unwrap();
    assert_eq!((peer.node, peer.restricted), (node("XB"), None));
    assert_eq!(peer.not_after, NOW.after(days(90)));
    assert_eq!(peer.leaf_fingerprint, verbale::identity::certificate_digest(&leaf));
    assert_eq!(world.judge(&leaf), Ok(None));
    let with_root = [leaf, world.xb.root.clone()];
    assert!(judge_peer(&with_root, &world.anchors, NOW, None).is_ok());
}

#[test]
fn another_states_root_does_not_speak_for_the_right_state() {
    let mut world = World::new();
    let xc = Authority::new("XC");
    world.anchors.add(xc.introduce(&[&xc.node("XC")]), PeerStatus::Active).unwrap();
    let forged = world.leaf(&xc, |_| ());
    assert_eq!(world.judge(&forged), Err(PathError::OtherRoot.into()));
    assert_eq!(world.judge(&world.leaf(&world.xa, |_| ())), Err(PathError::OtherRoot.into()));
    let with_own_root = [forged, xc.root.clone()];
    assert!(judge_peer(&with_own_root, &world.anchors, NOW, None).is_err());
}

#[test]
fn the_right_root_for_the_wrong_state_is_refused() {
    let mut world = World::new();
    let xc = Authority::new("XC");
    world.anchors.add(xc.introduce(&[&xc.node("XC")]), PeerStatus::Active).unwrap();
    let claims_xc = world.leaf(&world.xb, |params| params.subject_alt_names = vec![uri("verbale://XC")]);
    let chain = [claims_xc];
    assert_eq!(judge_peer(&chain, &world.anchors, NOW, None), Err(PathError::OtherRoot.into()));
    let wrong = IdentityRefusal::WrongNode { dialled: node("XB"), presented: node("XC") };
    assert_eq!(judge_peer(&chain, &world.anchors, NOW, Some(node("XB"))), Err(wrong));
}

#[test]
fn names_that_are_none_two_or_not_uris_are_refused() {
    let world = World::new();
    let named = |names| world.judge(&world.leaf(&world.xb, |params| params.subject_alt_names = names));
    assert_eq!(named(vec![]), Err(profile(CertificateError::NoName)));
    let two = vec![uri("verbale://XB"), uri("verbale://XA")];
    assert_eq!(named(two), Err(profile(CertificateError::SeveralNames(2))));
    let dns = vec![rcgen::SanType::DnsName("xb.example".try_into().unwrap())];
    assert_eq!(named(dns), Err(profile(CertificateError::NameKind)));
}

#[test]
fn strangers_other_desks_and_no_certificate_are_refused() {
    let world = World::new();
    let named = |name: &str| {
        let leaf = world.leaf(&world.xb, |params| params.subject_alt_names = vec![uri(name)]);
        judge_peer(&[leaf], &world.anchors, NOW, None)
    };
    assert_eq!(named("verbale://XD"), Err(IdentityRefusal::UnknownNode(node("XD"))));
    assert_eq!(named("verbale://XB/technical"), Err(IdentityRefusal::UnknownNode(node("XB.technical"))));
    assert_eq!(judge_peer(&[], &world.anchors, NOW, None), Err(IdentityRefusal::NoCertificate));
}

#[test]
fn suspended_and_removed_peers_are_refused_until_resumed() {
    let mut world = World::new();
    let leaf = world.leaf(&world.xb, |_| ());
    assert!(world.anchors.set_status(node("XB"), PeerStatus::Suspended));
    assert_eq!(world.judge(&leaf), Err(IdentityRefusal::Suspended(node("XB"))));
    assert!(world.anchors.set_status(node("XB"), PeerStatus::Removed));
    assert_eq!(world.judge(&leaf), Err(IdentityRefusal::Removed(node("XB"))));
    assert!(world.anchors.set_status(node("XB"), PeerStatus::Active));
    assert_eq!(world.judge(&leaf), Ok(None));
    assert!(!world.anchors.set_status(node("XC"), PeerStatus::Active));
}

#[test]
fn an_expired_certificate_is_restricted_and_one_of_tomorrow_refused() {
    let world = World::new();
    let starting = |begin: u64, length: u64| world.leaf(&world.xb, |params| at(Millis(begin))(params, length));
    let role = Role::Tls;
    let until_now = starting(NOW.0 - 10 * DAY, 10);
    assert_eq!(world.judge(&until_now), Ok(None));
    let later = Millis(NOW.0 + 1000);
    let verdict = judge_peer(&[until_now], &world.anchors, later, None).unwrap();
    assert_eq!(verdict.restricted, Some(Restriction::Expired { role, at: NOW }));
    let from = Millis(NOW.0 + 1000);
    assert_eq!(world.judge(&starting(from.0, 10)), Err(PathError::NotYetValid { role, from }.into()));
    assert_eq!(world.judge(&starting(NOW.0, 10)), Ok(None));
}

#[test]
fn expiry_does_not_hide_another_defect() {
    let world = World::new();
    let forged = world.leaf(&world.xa, |params| at(Millis(NOW.0 - DAY / 2))(params, 1));
    let later = Millis(NOW.0 + 30 * DAY);
    assert_eq!(judge_peer(&[forged], &world.anchors, later, None), Err(PathError::OtherRoot.into()));
}

#[test]
fn an_expired_root_restricts_and_certificates_that_never_met_are_refused() {
    let world = World::new();
    let leaf = world.leaf(&world.xb, |_| ());
    let far = Millis(NOW.0 + 40 * 365 * DAY);
    let verdict = judge_peer(&[leaf], &world.anchors, far, None).unwrap();
    assert!(matches!(verdict.restricted, Some(Restriction::Expired { role: Role::Tls, .. })));
    // A leaf that outlives its root: the root is what expired first.
    let outliving = world.leaf(&world.xb, |params| at(Millis(NOW.0 + (20 * 365 - 10) * DAY))(params, 90));
    let verdict = judge_peer(&[outliving], &world.anchors, Millis(NOW.0 + (20 * 365 + 20) * DAY), None).unwrap();
    assert!(matches!(verdict.restricted, Some(Restriction::Expired { role: Role::Root, .. })));
    let never = world.leaf(&world.xb, |params| at(Millis(NOW.0 - 20 * DAY))(params, 10));
    assert_eq!(judge_peer(&[never], &world.anchors, NOW, None), Err(PathError::NeverTogether.into()));
}

#[test]
fn the_tls_key_must_not_be_a_signing_key_or_the_root_key() {
    let (xa, xb) = (Authority::new("XA"), Authority::new("XB"));
    let peer = xb.node("XB");
    let anchors = anchors("XA", &[xb.introduce(&[&peer])]);
    let reused = |key: &PrivateKey| tls_certificate(node("XB"), key, &xb.root, &xb.key, NOW).unwrap();
    for key in [peer.signing.ed25519(), peer.signing.ml_dsa_44(), &xb.key] {
        let chain = [reused(key)];
        assert_eq!(judge_peer(&chain, &anchors, NOW, None), Err(IdentityRefusal::SharedKey));
    }
    assert!(judge_peer(&[reused(&xa.node("XA").tls_key)], &anchors, NOW, None).is_ok());
}

#[test]
fn a_states_own_pki_with_intermediates_passes_up_to_the_roots_path_length() {
    let world = World::new();
    let p384 = || PrivateKey::generate(PrivateAlgorithm::P384).unwrap();
    let (first_key, second_key) = (p384(), p384());
    let first_params = ca_params("first");
    let first: CertificateDer<'static> = first_params.signed_by(&first_key, &world.xb.issuer()).unwrap().into();
    let first_issuer = rcgen::Issuer::from_params(&first_params, copy(&first_key));
    let second_params = ca_params("second");
    let second: CertificateDer<'static> = second_params.signed_by(&second_key, &first_issuer).unwrap().into();
    let second_issuer = rcgen::Issuer::from_params(&second_params, second_key);
    let leaf_key = PrivateKey::generate(PrivateAlgorithm::Ed25519).unwrap();
    let below_first: CertificateDer<'static> = tls_params("XB").signed_by(&leaf_key, &first_issuer).unwrap().into();
    let below_second: CertificateDer<'static> = tls_params("XB").signed_by(&leaf_key, &second_issuer).unwrap().into();

    let judge = |chain: &[CertificateDer<'static>]| judge_peer(chain, &world.anchors, NOW, None);
    assert!(judge(&[below_first.clone(), first.clone()]).is_ok());
    assert_eq!(judge(&[below_first]), Err(PathError::OtherRoot.into()));
    let too_deep = judge(&[below_second, second, first.clone()]);
    assert_eq!(too_deep, Err(PathError::PathLength { allowed: 1, found: 2 }.into()));
    let leaf = world.leaf(&world.xb, |_| ());
    let not_a_ca = judge(&[leaf.clone(), leaf.clone()]);
    let error = CertificateError::NotCa;
    assert_eq!(not_a_ca, Err(PathError::Profile { role: Role::Intermediate, error }.into()));
    let many: Vec<_> = std::iter::once(leaf).chain(std::iter::repeat_n(first, 6)).collect();
    assert_eq!(judge(&many), Err(PathError::TooManyIntermediates.into()));
}

#[test]
fn the_most_intermediates_pass_and_one_more_does_not() {
    let world = World::new();
    let between = || {
        let key = PrivateKey::generate(PrivateAlgorithm::P384).unwrap();
        world.xb.issue(&ca_params("beside the path"), &key)
    };
    let judge = |number: usize| {
        let chain: Vec<_> =
            std::iter::once(world.leaf(&world.xb, |_| ())).chain((0..number).map(|_| between())).collect();
        judge_peer(&chain, &world.anchors, NOW, None).map(|peer| peer.node)
    };
    assert_eq!(judge(MAX_INTERMEDIATES - 1), Ok(node("XB")));
    assert_eq!(judge(MAX_INTERMEDIATES), Ok(node("XB")));
    assert_eq!(judge(MAX_INTERMEDIATES + 1), Err(PathError::TooManyIntermediates.into()));
}

#[test]
fn a_revocation_list_has_a_greatest_size() {
    let authority = Authority::new("XB");
    let list = |entries: u32| {
        let serials: Vec<_> = (0..entries).map(|at| [&[0x40; 16][..], &at.to_be_bytes()].concat()).collect();
        let serials: Vec<_> = serials.iter().map(Vec::as_slice).collect();
        crl(&authority, &serials, Millis(NOW.0 + DAY))
    };
    let an_entry = (list(2000).len() - list(1000).len()) / 1000;
    let fitting = u32::try_from((MAX_CRL_BYTES - 512) / an_entry).unwrap();
    assert!(parse_crl(&list(fitting)).is_ok());
    assert!(parse_crl(&list(fitting + 64)).unwrap_err().contains("larger"));
    assert!(!parse_crl(&vec![0; MAX_CRL_BYTES]).unwrap_err().contains("larger"));
    assert!(parse_crl(&vec![0; MAX_CRL_BYTES + 1]).unwrap_err().contains("larger"));
}

fn crl(authority: &Authority, revoked: &[&[u8]], until: Millis) -> Vec<u8> {
    let time = |at: Millis| rcgen::date_time_ymd(1970, 1, 1) + std::time::Duration::from_millis(at.0);
    let entry = |serial: &&[u8]| RevokedCertParams {
        serial_number: SerialNumber::from_slice(serial),
        revocation_time: time(NOW),
        reason_code: None,
        invalidity_date: None,
    };
    let params = CertificateRevocationListParams {
        this_update: time(NOW),
        next_update: time(until),
        crl_number: SerialNumber::from(1_u64),
        issuing_distribution_point: None,
        revoked_certs: revoked.iter().map(entry).collect(),
        key_identifier_method: KeyIdMethod::Sha256,
    };
    params.signed_by(&authority.issuer()).unwrap().der().to_vec()
}

fn with_crl(authority: &Authority, crl: Vec<u8>) -> Arc<Introduction> {
    let mut draft = authority.draft(&[&authority.node("XB")]);
    draft.crls = vec![crl];
    Arc::new(draft.sign(&authority.key).unwrap())
}

#[test]
fn a_revoked_certificate_is_refused_and_an_expired_list_restricts() {
    let world = World::new();
    let good = world.leaf(&world.xb, |params| params.serial_number = Some(SerialNumber::from_slice(&[0x11; 16])));
    let bad = world.leaf(&world.xb, |_| ());
    let tomorrow = Millis(NOW.0 + DAY);
    let listed = anchors("XA", &[with_crl(&world.xb, crl(&world.xb, &[&[0x47; 16]], tomorrow))]);
    let judge = |leaf: &CertificateDer<'static>, now| {
        judge_peer(std::slice::from_ref(leaf), &listed, now, None).map(|peer| peer.restricted)
    };
    assert_eq!(judge(&good, NOW), Ok(None));
    assert_eq!(judge(&bad, NOW), Err(PathError::Revoked.into()));
    let later = Millis(NOW.0 + 2 * DAY);
    assert_eq!(judge(&good, later), Ok(Some(Restriction::CrlExpired)));
    assert_eq!(judge(&bad, later), Err(PathError::Revoked.into()));
    assert_eq!(judge(&bad, Millis(NOW.0 + 400 * DAY)), Err(PathError::Revoked.into()));
}

#[test]
fn an_introduction_with_a_revoked_certificate_or_a_forged_list_is_refused() {
    let xb = Authority::new("XB");
    let tomorrow = Millis(NOW.0 + DAY);
    let peer = xb.node("XB");
    let serial = verbale::identity::check_profile(&peer.tls, Role::Tls).unwrap().serial;
    let mut draft = xb.draft(&[&peer]);
    draft.crls = vec![crl(&xb, &[&serial], tomorrow)];
    let error = PathError::Revoked;
    assert_eq!(draft.sign(&xb.key).unwrap_err(), IntroductionError::Certificate { node: node("XB"), error });
    let impostor = Authority::new("XB");
    draft.crls = vec![crl(&impostor, &[], tomorrow)];
    let refused = draft.sign(&xb.key).unwrap_err();
    assert!(matches!(refused, IntroductionError::Certificate { error: PathError::Path(_), .. }), "{refused}");
    draft.crls = vec![crl(&xb, &[], tomorrow)];
    assert!(draft.sign(&xb.key).is_ok());
}

#[test]
fn a_revocation_list_counts_only_from_a_ca_of_the_introduction_that_may_sign_lists() {
    let tomorrow = NOW.after(days(1));
    let key = PrivateKey::generate(PrivateAlgorithm::P384).unwrap();
    let mut params = ca_params("a root without cRLSign");
    at(NOW)(&mut params, 3_000);
    let with = params.self_signed(&key).unwrap().der().clone();
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let without = params.self_signed(&key).unwrap().der().clone();
    let signer = Authority { state: "XB".parse().unwrap(), key: copy(&key), root: with };
    let authority = Authority { state: "XB".parse().unwrap(), key, root: without };
    let (between_key, between) = {
        let key = PrivateKey::generate(PrivateAlgorithm::P384).unwrap();
        let der = authority.issue(&ca_params("between"), &key);
        (key, der)
    };
    let mut draft = authority.draft(&[&authority.node("XB")]);
    draft.chain = vec![between.clone()];
    draft.crls = vec![crl(&signer, &[], tomorrow)];
    let refused = draft.sign(&authority.key).unwrap_err();
    assert!(matches!(&refused, IntroductionError::Crl(why) if why.contains("cRLSign")), "{refused}");

    let issuing = Authority { state: "XB".parse().unwrap(), key: between_key, root: between };
    draft.crls = vec![crl(&issuing, &[], tomorrow)];
    assert!(draft.sign(&authority.key).is_ok(), "the issuing CA may");
    draft.chain.clear();
    let refused = draft.sign(&authority.key).unwrap_err();
    assert!(
        matches!(&refused, IntroductionError::Crl(why) if why.contains("nobody in this introduction")),
        "{refused}"
    );
}

#[test]
fn anchors_refuse_what_is_known_for_somebody_else() {
    let (xb, xc) = (Authority::new("XB"), Authority::new("XC"));
    let (b, c) = (xb.node("XB"), xc.node("XC"));
    let mut known = anchors("XA", &[xb.introduce(&[&b])]);
    let mut add = |introduction| known.add(introduction, PeerStatus::Active);

    let mut moved = xb.draft(&[&b]);
    moved.nodes[0].addresses = vec!["198.51.100.7:7411".parse().unwrap()];
    let not_newer = AnchorConflict::NotNewer { node: node("XB"), known: NOW.0, offered: NOW.0 };
    assert_eq!(add(Arc::new(moved.sign(&xb.key).unwrap())), Err(not_newer));
    let same_root = Authority { state: "XD".parse().unwrap(), key: copy(&xb.key), root: xb.root.clone() };
    let under_it = same_root.introduce(&[&same_root.node("XD")]);
    assert_eq!(add(under_it), Err(AnchorConflict::RootOfOtherState("XB".parse().unwrap())));

    let other_root = Authority::new("XB");
    let replaced = other_root.introduce(&[&other_root.node("XB")]);
    let other = AnchorConflict::OtherRoot { new_state: "XB".parse().unwrap(), known: node("XB") };
    assert_eq!(add(replaced), Err(other));

    let mut stolen = xc.node("XC");
    stolen.keys = xc.certify(stolen.name, &b.signing);
    let conflict = AnchorConflict::KeyOfOtherNode { node: node("XC"), other: node("XB") };
    assert_eq!(add(xc.introduce(&[&stolen])), Err(conflict));

    let xa = Authority::new("XA");
    assert_eq!(add(xa.introduce(&[&xa.node("XA")])), Err(AnchorConflict::Own(node("XA"))));
    assert_eq!(add(xc.introduce(&[&c])), Ok(()));
}

#[test]
fn a_new_root_is_accepted_after_every_node_of_the_state_was_removed_and_the_old_keys_stay_its_own() {
    let (old, new, xc) = (Authority::new("XB"), Authority::new("XB"), Authority::new("XC"));
    let (technical, diplomatic) = (old.node("XB.technical"), old.node("XB.diplomatic"));
    let mut known = anchors("XA", &[old.introduce(&[&technical]), old.introduce(&[&diplomatic])]);
    let renewed = new.node("XB.technical");
    let introduction = new.introduce(&[&renewed]);

    known.set_status(technical.name, PeerStatus::Removed);
    let conflict = known.add(introduction.clone(), PeerStatus::Active).unwrap_err();
    let expected = AnchorConflict::OtherRoot { new_state: "XB".parse().unwrap(), known: diplomatic.name };
    assert_eq!(conflict, expected, "one of its nodes is still a peer under the old root");
    assert!(conflict.to_string().contains("peer remove XB.diplomatic"), "{conflict}");
    known.set_status(diplomatic.name, PeerStatus::Removed);
    known.add(introduction.clone(), PeerStatus::Active).unwrap();

    let by_old = [old.node("XB.technical").tls];
    assert_eq!(judge_peer(&by_old, &known, NOW, None), Err(PathError::OtherRoot.into()));
    assert_eq!(judge_peer(std::slice::from_ref(&renewed.tls), &known, NOW, None).unwrap().node, renewed.name);

    let mut thief = xc.node("XC");
    thief.keys = xc.certify(thief.name, &technical.signing);
    let conflict = AnchorConflict::KeyOfOtherNode { node: node("XC"), other: technical.name };
    assert_eq!(known.add(xc.introduce(&[&thief]), PeerStatus::Active), Err(conflict));
    let same_root = Authority { state: "XD".parse().unwrap(), key: copy(&old.key), root: old.root.clone() };
    let under_it = same_root.introduce(&[&same_root.node("XD")]);
    let conflict = AnchorConflict::RootOfOtherState("XB".parse().unwrap());
    assert_eq!(known.add(under_it, PeerStatus::Active), Err(conflict));
}

#[test]
fn a_newer_introduction_replaces_the_older_and_a_second_node_joins_under_the_same_root() {
    let xb = Authority::new("XB");
    let (one, two) = (xb.node("XB.technical"), xb.node("XB.diplomatic"));
    let first = xb.introduce(&[&one]);
    let mut known = anchors("XA", &[first.clone(), xb.introduce(&[&two])]);
    assert_eq!(known.add(first.clone(), PeerStatus::Active), Ok(()), "the very same again is no error");
    let mut draft = xb.draft(&[&one]);
    draft.serial += 1;
    draft.nodes[0].addresses = vec!["198.51.100.7:7411".parse().unwrap()];
    let newer = Arc::new(draft.sign(&xb.key).unwrap());
    known.add(newer.clone(), PeerStatus::Active).unwrap();
    assert_eq!(known.get(one.name).unwrap().introduction(), &newer);
    assert_eq!(known.iter().map(|(name, _)| name).collect::<Vec<_>>(), [one.name, two.name]);
    assert!(matches!(known.add(first, PeerStatus::Active), Err(AnchorConflict::NotNewer { .. })));
}
