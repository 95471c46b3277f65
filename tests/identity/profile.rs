//! Each rule of the profile, broken alone.

use rcgen::{BasicConstraints, CertificateParams, CustomExtension, ExtendedKeyUsagePurpose, IsCa, KeyPair, SanType};
use rcgen::{KeyUsagePurpose, SerialNumber};
use verbale::identity::{
    CertificateError, MAX_CA_DAYS, MAX_CERTIFICATE_BYTES, MAX_SIGNING_DAYS, MAX_TLS_DAYS, PrivateAlgorithm, PrivateKey,
    Role, check_profile, claimed_node,
};

use crate::rig::{Authority, DAY, NOW, at, ca_params, node, signing_params, tls_params, uri};

fn key(algorithm: PrivateAlgorithm) -> PrivateKey {
    PrivateKey::generate(algorithm).unwrap()
}

fn leaf(params: &CertificateParams) -> Vec<u8> {
    Authority::new("XA").issue(params, &key(PrivateAlgorithm::P256)).to_vec()
}

/// What the profile says of a leaf that is good but for `change`.
fn verdict(role: Role, change: impl FnOnce(&mut CertificateParams)) -> Result<(), CertificateError> {
    let (mut params, algorithm) = match role {
        Role::Signing => (signing_params("XA"), PrivateAlgorithm::Ed25519),
        Role::Tls => (tls_params("XA"), PrivateAlgorithm::P256),
        Role::Intermediate | Role::Root => (ca_params("between"), PrivateAlgorithm::P384),
    };
    change(&mut params);
    let subject = key(algorithm);
    let der: Vec<u8> = match role {
        Role::Root => params.self_signed(&subject).unwrap().der().to_vec(),
        _ => Authority::new("XA").issue(&params, &subject).to_vec(),
    };
    check_profile(&der, role).map(|_| ())
}

fn tls(change: impl FnOnce(&mut CertificateParams)) -> CertificateError {
    verdict(Role::Tls, change).unwrap_err()
}

#[test]
fn what_init_makes_and_what_the_rig_makes_keeps_the_profile() {
    let authority = Authority::new("XA");
    let made = authority.node("XA.diplomatic");
    let root = check_profile(&authority.root, Role::Root).unwrap();
    assert_eq!((root.path_len, root.signs_crls), (Some(1), true));
    assert_eq!((root.not_after.0 - NOW.0) / DAY, 20 * 365 + 5);
    let leaf = check_profile(&made.tls, Role::Tls).unwrap();
    assert_eq!(leaf.node, Some(node("XA.diplomatic")));
    assert_eq!(leaf.not_after.0 - NOW.0, 397 * DAY);
    assert!(leaf.not_before < NOW && leaf.serial.len() <= 20);
    for certificate in [&made.keys.ed25519_certificate, &made.keys.ml_dsa_44_certificate] {
        assert_eq!(check_profile(certificate, Role::Signing).unwrap().node, Some(node("XA.diplomatic")));
    }
    for role in [Role::Tls, Role::Signing, Role::Intermediate, Role::Root] {
        assert_eq!(verdict(role, |_| ()), Ok(()), "{role}");
    }
}

#[test]
fn a_certificate_for_one_use_is_refused_for_another() {
    let made = Authority::new("XA").node("XA");
    assert_eq!(check_profile(&made.tls, Role::Signing).unwrap_err(), CertificateError::KeyAlgorithm("P-256".into()),);
    assert_eq!(
        check_profile(&leaf(&signing_params("XA")), Role::Tls).unwrap_err(),
        CertificateError::KeyUsage("digitalSignature"),
    );
    assert_eq!(check_profile(&made.tls, Role::Intermediate).unwrap_err(), CertificateError::NotCa);
}

#[test]
fn bytes_that_are_no_certificate_are_refused() {
    let good = leaf(&tls_params("XA"));
    assert_eq!(check_profile(&[], Role::Tls).unwrap_err(), CertificateError::Malformed);
    assert_eq!(check_profile(&good[..good.len() - 1], Role::Tls).unwrap_err(), CertificateError::Malformed);
    let trailing = [good.as_slice(), &[0]].concat();
    assert_eq!(check_profile(&trailing, Role::Tls).unwrap_err(), CertificateError::TrailingBytes);
    let mut version_two = good.clone();
    let at = find(&good, &[0xa0, 3, 2, 1, 2]);
    version_two[at + 4] = 1;
    assert_eq!(check_profile(&version_two, Role::Tls).unwrap_err(), CertificateError::Version);
}

#[test]
fn the_largest_certificate_passes_and_one_byte_more_does_not() {
    let padded = |pad: usize| {
        leaf(&{
            let mut params = tls_params("XA");
            let content = octet_string(pad);
            params.custom_extensions = vec![CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 99999, 1], content)];
            params
        })
    };
    // The ECDSA signature of the issuer varies by a few bytes, so try until one has the length that is wanted.
    let of_length = |length: usize| {
        let start = padded(15_000).len();
        (0..200).map(|_| padded(15_000 + length - start)).find(|der| der.len() == length).unwrap()
    };
    for length in [MAX_CERTIFICATE_BYTES - 1, MAX_CERTIFICATE_BYTES] {
        assert!(check_profile(&of_length(length), Role::Tls).is_ok(), "{length}");
    }
    let over = of_length(MAX_CERTIFICATE_BYTES + 1);
    assert_eq!(check_profile(&over, Role::Tls).unwrap_err(), CertificateError::TooLarge);
    assert_eq!(claimed_node(&over), None);
}

fn octet_string(length: usize) -> Vec<u8> {
    let size = u16::try_from(length).unwrap().to_be_bytes();
    [vec![0x04, 0x82, size[0], size[1]], vec![0; length]].concat()
}

fn find(bytes: &[u8], part: &[u8]) -> usize {
    bytes.windows(part.len()).position(|window| window == part).unwrap()
}

#[test]
fn serial_numbers_are_positive_and_at_most_twenty_octets() {
    let serial =
        |octets: &[u8]| verdict(Role::Tls, |params| params.serial_number = Some(SerialNumber::from_slice(octets)));
    assert_eq!(serial(&[0]), Err(CertificateError::SerialNotPositive));
    assert_eq!(serial(&[1]), Ok(()));
    assert_eq!(serial(&[0x41; 19]), Ok(()));
    assert_eq!(serial(&[0x41; 20]), Ok(()));
    assert_eq!(serial(&[0x41; 21]), Err(CertificateError::SerialTooLong));
    let mut negative = leaf(&tls_params("XA"));
    let at = find(&negative, &[0x47; 16]);
    negative[at] |= 0x80;
    assert_eq!(check_profile(&negative, Role::Tls).unwrap_err(), CertificateError::SerialNotPositive);
}

#[test]
fn algorithms_that_are_not_listed_are_refused() {
    let p521 = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P521_SHA512).unwrap();
    let authority = Authority::new("XA");
    let subject = authority.issue(&tls_params("XA"), &p521);
    assert!(matches!(check_profile(&subject, Role::Tls).unwrap_err(), CertificateError::KeyAlgorithm(_)));
    let signed = tls_params("XA").self_signed(&p521).unwrap();
    assert!(matches!(check_profile(signed.der(), Role::Tls).unwrap_err(), CertificateError::SignatureAlgorithm(_)));
    // ECDSA with SHA-384 outside, with SHA-256 in what is signed.
    let mut two_ways = leaf(&tls_params("XA"));
    let at = find(&two_ways, &[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 3]);
    two_ways[at + 7] = 2;
    assert!(matches!(check_profile(&two_ways, Role::Tls).unwrap_err(), CertificateError::SignatureAlgorithm(_)));
    let rsa = |size| KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, size).unwrap();
    let (small, large) = (rsa(rcgen::RsaKeySize::_2048), rsa(rcgen::RsaKeySize::_3072));
    let between = |key: &KeyPair| check_profile(&authority.issue(&ca_params("between"), key), Role::Intermediate);
    assert_eq!(between(&small).unwrap_err(), CertificateError::KeyAlgorithm("RSA of 2048 bits".into()));
    assert!(between(&large).is_ok());
    let leaf = authority.issue(&tls_params("XA"), &large);
    assert_eq!(check_profile(&leaf, Role::Tls).unwrap_err(), CertificateError::KeyAlgorithm("RSA of 3072 bits".into()));
}

#[test]
fn extensions_are_unique_readable_and_understood_where_critical() {
    let extension = |oid: &[u64], content: &[u8]| CustomExtension::from_oid_content(oid, content.to_vec());
    let twice = tls(|params| params.custom_extensions = vec![extension(&[2, 5, 29, 17], &[0x30, 0])]);
    assert_eq!(twice, CertificateError::ExtensionRepeated("2.5.29.17".into()));
    let mut unknown = extension(&[1, 3, 6, 1, 4, 1, 99999, 1], &[5, 0]);
    let as_is = unknown.clone();
    assert_eq!(verdict(Role::Tls, |params| params.custom_extensions = vec![as_is]), Ok(()));
    unknown.set_criticality(true);
    let critical = tls(|params| params.custom_extensions = vec![unknown]);
    assert_eq!(critical, CertificateError::ExtensionUnknown("1.3.6.1.4.1.99999.1".into()));
    let malformed = tls(|params| {
        params.key_usages.clear();
        params.custom_extensions = vec![extension(&[2, 5, 29, 15], &[0x30, 0])];
    });
    assert_eq!(malformed, CertificateError::ExtensionMalformed("2.5.29.15".into()));
}

#[test]
fn validity_has_an_order_and_a_length_by_use() {
    let reversed = tls(|params| std::mem::swap(&mut params.not_before, &mut params.not_after));
    assert_eq!(reversed, CertificateError::ValidityReversed);
    for (role, limit) in [
        (Role::Tls, MAX_TLS_DAYS),
        (Role::Signing, MAX_SIGNING_DAYS),
        (Role::Intermediate, MAX_CA_DAYS),
        (Role::Root, MAX_CA_DAYS),
    ] {
        let lasting = |days| verdict(role, |params| at(NOW)(params, days));
        assert_eq!(lasting(limit - 1), Ok(()), "{role}");
        assert_eq!(lasting(limit), Ok(()), "{role}");
        let days = limit + 1;
        assert_eq!(lasting(days), Err(CertificateError::ValidityTooLong { days, limit }), "{role}");
    }
}

#[test]
fn a_leaf_is_no_authority_and_has_one_key_usage() {
    let ca = tls(|params| params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0)));
    assert_eq!(ca, CertificateError::LeafIsCa);
    let wrong = CertificateError::KeyUsage("digitalSignature");
    assert_eq!(tls(|params| params.key_usages.clear()), wrong);
    assert_eq!(tls(|params| params.key_usages.push(KeyUsagePurpose::KeyAgreement)), wrong);
    assert_eq!(tls(|params| params.key_usages.push(KeyUsagePurpose::DecipherOnly)), wrong);
    let signing = verdict(Role::Signing, |params| params.key_usages.push(KeyUsagePurpose::DigitalSignature));
    assert_eq!(signing, Err(CertificateError::KeyUsage("contentCommitment")));
}

#[test]
fn a_tls_leaf_is_for_both_ends_and_for_nothing_else() {
    let only = |usage| tls(|params| params.extended_key_usages = vec![usage]);
    assert_eq!(only(ExtendedKeyUsagePurpose::ServerAuth), CertificateError::TlsUsageMissing);
    assert_eq!(only(ExtendedKeyUsagePurpose::ClientAuth), CertificateError::TlsUsageMissing);
    assert_eq!(tls(|params| params.extended_key_usages.clear()), CertificateError::TlsUsageMissing);
    let more = |usage| tls(|params| params.extended_key_usages.push(usage));
    assert_eq!(more(ExtendedKeyUsagePurpose::Any), CertificateError::AnyUsage);
    assert_eq!(more(ExtendedKeyUsagePurpose::CodeSigning), CertificateError::TlsUsageExtra);
    assert_eq!(more(ExtendedKeyUsagePurpose::Other(vec![1, 3, 6, 1, 4, 1, 99999])), CertificateError::TlsUsageExtra);
}

#[test]
fn a_signing_leaf_is_not_for_tls() {
    let with = |usage| verdict(Role::Signing, |params| params.extended_key_usages = vec![usage]).unwrap_err();
    assert_eq!(with(ExtendedKeyUsagePurpose::ServerAuth), CertificateError::SigningWithTlsUsage);
    assert_eq!(with(ExtendedKeyUsagePurpose::ClientAuth), CertificateError::SigningWithTlsUsage);
    assert_eq!(with(ExtendedKeyUsagePurpose::Any), CertificateError::AnyUsage);
}

#[test]
fn a_leaf_has_exactly_one_name_and_it_is_a_nodes_uri() {
    let named = |names: Vec<SanType>| tls(|params| params.subject_alt_names = names);
    assert_eq!(named(vec![]), CertificateError::NoName);
    assert_eq!(named(vec![uri("verbale://XA"), uri("verbale://XB")]), CertificateError::SeveralNames(2));
    assert_eq!(named(vec![uri("verbale://XA"), uri("verbale://XA")]), CertificateError::SeveralNames(2));
    let dns = || SanType::DnsName("xa.example".try_into().unwrap());
    assert_eq!(named(vec![dns()]), CertificateError::NameKind);
    assert_eq!(named(vec![uri("verbale://XA"), dns()]), CertificateError::SeveralNames(2));
    assert_eq!(named(vec![SanType::IpAddress([192, 0, 2, 1].into())]), CertificateError::NameKind);
    for other in ["https://XA", "verbale://xa", "verbale://XA/", "verbale://XA/Technical", "verbale://XA/technical/x"] {
        assert_eq!(named(vec![uri(other)]), CertificateError::NameForm(other.into()));
    }
}

#[test]
fn an_authority_is_one_critically_and_signs_certificates() {
    for role in [Role::Root, Role::Intermediate] {
        let ca = |change: fn(&mut CertificateParams)| verdict(role, change).unwrap_err();
        assert_eq!(ca(|params| params.is_ca = IsCa::ExplicitNoCa), CertificateError::NotCa);
        assert_eq!(ca(|params| params.is_ca = IsCa::NoCa), CertificateError::NotCa);
        assert_eq!(ca(|params| params.key_usages.clear()), CertificateError::CaKeyUsage);
        let no_signing: fn(&mut CertificateParams) = |params| params.key_usages = vec![KeyUsagePurpose::CrlSign];
        assert_eq!(ca(no_signing), CertificateError::CaKeyUsage);
        let more: fn(&mut CertificateParams) = |params| params.key_usages.push(KeyUsagePurpose::KeyEncipherment);
        assert_eq!(ca(more), CertificateError::CaKeyUsage);
        let not_critical: fn(&mut CertificateParams) = |params| {
            params.is_ca = IsCa::NoCa;
            let content = vec![0x30, 3, 1, 1, 0xff];
            params.custom_extensions = vec![CustomExtension::from_oid_content(&[2, 5, 29, 19], content)];
        };
        assert_eq!(ca(not_critical), CertificateError::BasicConstraintsNotCritical);
    }
    let issued_by_another = Authority::new("XA").issue(&ca_params("between"), &key(PrivateAlgorithm::P384));
    assert_eq!(check_profile(&issued_by_another, Role::Root).unwrap_err(), CertificateError::NotSelfIssued);
}

proptest::proptest! {
    #[test]
    fn no_bytes_and_no_flipped_byte_make_the_profile_panic(
        bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..600),
        place in 0_usize..10_000, mask in 1_u8..=255,
    ) {
        static GOOD: std::sync::LazyLock<Vec<u8>> = std::sync::LazyLock::new(|| leaf(&tls_params("XA")));
        let mut changed = GOOD.clone();
        let at = place % changed.len();
        changed[at] ^= mask;
        for role in [Role::Root, Role::Intermediate, Role::Tls, Role::Signing] {
            proptest::prop_assert!(check_profile(&bytes, role).is_err());
            let _ = check_profile(&changed, role);
        }
        let _ = claimed_node(&changed);
    }
}
