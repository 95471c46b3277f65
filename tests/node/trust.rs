//! Who may speak for a State, while it changes: new roots, new keys, revoked and outdated certificates.

use std::fs;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rcgen::{CertificateRevocationListParams, Issuer, KeyIdMethod, RevokedCertParams, SerialNumber};
use rustls::pki_types::CertificateDer;
use verbale::api::{MessageState, PeerAction, Reply, Request, WaitFor};
use verbale::identity::{
    InitRequest, Introduction, IntroductionDraft, Passphrase, PrivateAlgorithm, PrivateKey, Role, RootChoice,
    check_profile, init, open_sealed, tls_certificate,
};
use verbale::name::Millis;

use crate::rig::{Rig, RootOf, message, now, pair, until, up};

fn passphrase() -> Passphrase {
    Passphrase::new("exercise only, not a secret".into()).unwrap()
}

async fn both_ways(a: &Rig, b: &Rig, subject: &str) {
    for (from, to) in [(a, b), (b, a)] {
        let sent = from.send(message(to, subject, WaitFor::Receipt)).await;
        assert_eq!(sent.state, MessageState::Delivered, "{subject} from {}", from.name);
    }
}

async fn act(at: &Rig, peer: &Rig, action: PeerAction) {
    at.call(Request::PeerAct { peer: peer.name, action, confirmed_by_flag: true }).await.unwrap();
}

/// The journal in the folder of a node, as `verbale log replay` prints it.
fn replay(rig: &Rig) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_verbale"));
    let output = command.args(["log", "replay", "--dir"]).arg(&rig.folder).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// What an operator does whose State has a new root, or who has lost the signing keys: the keys are moved away, `init`
/// makes new ones, and the key of the slots comes back from the old ones, because it opens the texts.
fn make_new_keys(stage: &Path, rig: &mut Rig, root: RootChoice<'_>) {
    let (keys, old) = (rig.folder.join("keys"), stage.join(format!("{}-keys.old", rig.name)));
    fs::rename(&keys, &old).unwrap();
    let known = Introduction::parse(&rig.introduction).unwrap();
    let addresses = known.node(rig.name).unwrap().addresses.clone();
    let request = InitRequest { dir: &rig.folder, node: rig.name, addresses, root, paper: false, now: now() };
    let made = init(&request).unwrap();
    fs::copy(old.join("slots.key"), keys.join("slots.key")).unwrap();
    rig.introduction = made.introduction.to_text();
    rig.fingerprint = made.introduction.fingerprint().to_string();
}

fn new_root(stage: &Path, rig: &Rig) -> PathBuf {
    stage.join(format!("{}-new-root.key", rig.name))
}

/// The numbers of the newest volumes of both logs, as a node sees them.
async fn volumes(at: &Rig, of: &Rig) -> (String, String) {
    let view = at.peer(of).await;
    let number = |origin: String| origin.rsplit('/').next().and_then(|last| last.split('.').next().map(str::to_owned));
    (number(view.own_log).unwrap(), number(view.peer_log).unwrap())
}

#[tokio::test]
async fn a_state_with_a_new_root_is_removed_added_again_and_goes_on_in_new_volumes() {
    let stage = tempfile::tempdir().unwrap();
    let (a, mut b) = pair(stage.path()).await;
    both_ways(&a, &b, "under the old root").await;
    b.stop();
    let path = new_root(stage.path(), &b);
    make_new_keys(stage.path(), &mut b, RootChoice::New { path: &path, passphrase: &passphrase() });
    b.start().await;

    let refused = a.add(&b).await.unwrap_err();
    assert!(refused.why.contains("verbale peer remove XB"), "{refused}");
    act(&a, &b, PeerAction::Remove).await;
    a.add(&b).await.unwrap();
    up(&a, &b).await;
    both_ways(&a, &b, "under the new root").await;
    assert_eq!(volumes(&a, &b).await, ("2".into(), "2".into()));
    for node in [&a, &b] {
        let subjects: Vec<String> = node.inbox().await.into_iter().map(|row| row.subject).collect();
        assert_eq!(subjects, ["under the new root", "under the old root"], "{}", node.name);
        node.all_holds().await;
    }
    // A start reads it all again from the journal.
    let mut a = a;
    a.stop();
    a.start().await;
    up(&a, &b).await;
    both_ways(&a, &b, "after a start").await;
    a.all_holds().await;
    b.all_holds().await;
}

#[tokio::test]
async fn a_state_that_lost_everything_and_has_a_new_root_gets_its_own_log_back_when_a_person_orders_it() {
    let stage = tempfile::tempdir().unwrap();
    let (a, mut b) = pair(stage.path()).await;
    both_ways(&a, &b, "before the fire").await;
    b.stop();
    let mut anew = Rig::new(stage.path(), "XB", RootOf::SomebodyElse);
    anew.start().await;
    act(&a, &anew, PeerAction::Remove).await;
    a.add(&anew).await.unwrap();
    anew.add(&a).await.unwrap();
    until("XB receives", async || a.peer(&anew).await.own_receipted > 0).await;
    let sent = a.send(message(&anew, "you can hear us", WaitFor::Receipt)).await;
    assert_eq!(sent.state, MessageState::Delivered);
    let todo = anew.peer(&a).await.todo;
    assert!(todo.contains("verbale recover --from-peers"), "{todo}");
    anew.call(Request::Recover).await.unwrap();
    up(&a, &anew).await;
    both_ways(&a, &anew, "after the fire").await;
    a.all_holds().await;
    anew.all_holds().await;
}

#[tokio::test]
async fn new_signing_keys_wait_for_the_new_introduction_and_the_replay_tells_why_the_log_stood_still() {
    let stage = tempfile::tempdir().unwrap();
    let (a, mut b) = pair(stage.path()).await;
    both_ways(&a, &b, "with the old keys").await;
    b.stop();
    let path = stage.path().join("XB-root.key");
    make_new_keys(stage.path(), &mut b, RootChoice::Existing { path: &path, passphrase: &passphrase() });
    b.start().await;
    let queued = b.send(message(&a, "nobody knows these keys yet", WaitFor::Queued)).await;
    assert_eq!(queued.state, MessageState::Queued);
    until("the replay of both tells", async || {
        replay(&a).contains("a push of XB was not taken here: a signature")
            && replay(&b).contains("a push to XA was not taken there: a signature")
    })
    .await;
    let times = replay(&a).matches("was not taken here").count();
    assert!(times < 3, "the same cause once: {times}");
    a.add(&b).await.unwrap();
    until("it has arrived", async || a.inbox().await.len() == 2).await;
    both_ways(&a, &b, "with the new keys").await;
    a.all_holds().await;
    b.all_holds().await;
}

/// A newer introduction of a node with another TLS certificate and revocation list, and the key of that certificate.
struct Renewed {
    text: String,
    leaf: CertificateDer<'static>,
    key: PrivateKey,
}

/// What the State of `rig` issues: the TLS certificate in force is revoked, or only a list is added that ends at `until`.
fn renew(stage: &Path, rig: &Rig, revoke: bool, until: Millis) -> Renewed {
    let known = Introduction::parse(&rig.introduction).unwrap();
    let root_key = fs::read_to_string(stage.join(format!("{}-root.key", rig.name))).unwrap();
    let root_key = open_sealed(&root_key, &passphrase()).unwrap();
    let root = known.root().der.clone();
    let old = known.node(rig.name).unwrap().tls[0][0].clone();
    let key = PrivateKey::generate(PrivateAlgorithm::P256).unwrap();
    let leaf = if revoke { tls_certificate(rig.name, &key, &root, &root_key, now()).unwrap() } else { old.clone() };
    let mut nodes = known.nodes().to_vec();
    nodes[0].tls = vec![vec![leaf.clone()]];
    let time = |at: Millis| rcgen::date_time_ymd(1970, 1, 1) + Duration::from_millis(at.0);
    let revoked = RevokedCertParams {
        serial_number: SerialNumber::from_slice(&check_profile(&old, Role::Tls).unwrap().serial),
        revocation_time: time(now()),
        reason_code: None,
        invalidity_date: None,
    };
    let params = CertificateRevocationListParams {
        this_update: time(Millis(now().0 - 1_000)),
        next_update: time(until),
        crl_number: SerialNumber::from(1_u64),
        issuing_distribution_point: None,
        revoked_certs: if revoke { vec![revoked] } else { Vec::new() },
        key_identifier_method: KeyIdMethod::Sha256,
    };
    let issuer = Issuer::from_ca_cert_der(&root, &root_key).unwrap();
    let draft = IntroductionDraft {
        state: known.state(),
        root: root.clone(),
        chain: Vec::new(),
        serial: IntroductionDraft::next_serial(now(), Some(known.serial())),
        issued: now(),
        valid_until: known.valid_until(),
        nodes,
        crls: vec![params.signed_by(&issuer).unwrap().der().to_vec()],
    };
    Renewed { text: draft.sign(&root_key).unwrap().to_text(), leaf, key }
}

fn write_private(path: &Path, text: &str) {
    let _ = fs::remove_file(path);
    let mut options = fs::OpenOptions::new();
    let mut file = options.write(true).create_new(true).mode(0o600).open(path).unwrap();
    std::io::Write::write_all(&mut file, text.as_bytes()).unwrap();
}

#[tokio::test]
async fn a_live_connection_ends_when_its_certificate_is_revoked_and_comes_back_with_a_new_one() {
    let stage = tempfile::tempdir().unwrap();
    let (a, mut b) = pair(stage.path()).await;
    both_ways(&a, &b, "before").await;
    let renewed = renew(stage.path(), &b, true, now().after(Duration::from_secs(3_600)));
    b.introduction.clone_from(&renewed.text);
    a.add(&b).await.unwrap();
    until("XB is not up any more", async || a.peer(&b).await.connection != "up").await;
    until("the journal tells", async || replay(&a).contains("that was up was closed: its State has revoked it")).await;
    let waits = a.send(message(&b, "meanwhile", WaitFor::Queued)).await;
    assert_eq!(waits.state, MessageState::Queued);

    let pem = format!("-----BEGIN CERTIFICATE-----\n{}-----END CERTIFICATE-----\n", base64_lines(&renewed.leaf));
    write_private(&b.folder.join("keys/tls.key"), &renewed.key.to_pem().unwrap());
    write_private(&b.folder.join("keys/tls.pem"), &pem);
    write_private(&b.folder.join("introduction.txt"), &renewed.text);
    assert!(matches!(b.call(Request::Reload).await.unwrap(), Reply::Done));
    up(&a, &b).await;
    both_ways(&a, &b, "after").await;
    let subjects: Vec<String> = b.inbox().await.into_iter().map(|row| row.subject).collect();
    assert_eq!(subjects, ["after", "meanwhile", "before"]);
    a.all_holds().await;
    b.all_holds().await;
}

fn base64_lines(der: &[u8]) -> String {
    let text = data_encoding::BASE64.encode(der);
    text.as_bytes().chunks(64).map(|line| format!("{}\n", std::str::from_utf8(line).unwrap())).collect()
}

#[tokio::test]
async fn a_live_connection_becomes_restricted_when_the_revocation_list_ends_and_free_with_the_next_one() {
    let stage = tempfile::tempdir().unwrap();
    let (a, mut b) = pair(stage.path()).await;
    both_ways(&a, &b, "before").await;
    let known = b.introduction.clone();
    let end = now().after(Duration::from_secs(5));
    b.introduction = renew(stage.path(), &b, false, end).text;
    a.add(&b).await.unwrap();
    both_ways(&a, &b, "with a list in force").await;
    until("the list has ended", async || now() > end).await;
    a.call(Request::Reload).await.unwrap();
    until("the session is restricted", async || a.peer(&b).await.connection == "restricted").await;
    let waits = a.send(message(&b, "meanwhile", WaitFor::Queued)).await;
    assert_eq!(waits.state, MessageState::Queued);
    b.introduction = known;
    b.introduction = renew(stage.path(), &b, false, now().after(Duration::from_secs(3_600))).text;
    a.add(&b).await.unwrap();
    up(&a, &b).await;
    both_ways(&a, &b, "after").await;
    assert_eq!(b.inbox().await.len(), 4);
    a.all_holds().await;
    b.all_holds().await;
}
