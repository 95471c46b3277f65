//! The files of a node: made by `init`, loaded with suspicion.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;
use verbale::identity::{
    FolderError, InitError, InitRequest, Initialised, Introduction, NodeKeys, Passphrase, RootChoice, SealError, init,
    open_sealed, parse_paper, root_key_in_folder,
};

use crate::rig::{NOW, node};

const WORDS: &str = "a drill passphrase";

struct Place {
    base: TempDir,
    passphrase: Passphrase,
}

impl Place {
    fn new() -> Self {
        Self { base: tempfile::tempdir().unwrap(), passphrase: words(WORDS) }
    }

    fn dir(&self, name: &str) -> PathBuf {
        let dir = self.base.path().join(name);
        if !dir.exists() {
            fs::create_dir(&dir).unwrap();
            mode(&dir, 0o700);
        }
        dir
    }

    fn root(&self) -> PathBuf {
        self.base.path().join("root-xa.pem")
    }

    fn new_root<'a>(&'a self, path: &'a Path) -> RootChoice<'a> {
        RootChoice::New { path, passphrase: &self.passphrase }
    }

    fn init(&self, name: &str, root: RootChoice<'_>) -> Result<Initialised, InitError> {
        init(&InitRequest {
            dir: &self.dir(name),
            node: node(name),
            addresses: vec!["127.0.0.1:7411".parse().unwrap()],
            root,
            paper: true,
            now: NOW,
        })
    }

    /// XA with a new root.
    fn xa() -> (Self, Initialised) {
        let place = Self::new();
        let root = place.root();
        let made = place.init("XA", place.new_root(&root)).unwrap();
        (place, made)
    }
}

fn words(text: &str) -> Passphrase {
    Passphrase::new(text.into()).unwrap()
}

fn mode(path: &Path, bits: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(bits)).unwrap();
}

fn bits(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn init_makes_a_node_that_loads_and_an_introduction_that_reads_back() {
    let (place, made) = Place::xa();
    let dir = place.dir("XA");
    let keys = NodeKeys::load(&dir).unwrap();
    assert_eq!((keys.node(), &keys.introduction), (node("XA"), &made.introduction));
    assert_eq!(keys.signing.public(), *made.introduction.node(node("XA")).unwrap().signing_keys());
    let text = fs::read_to_string(dir.join("introduction.txt")).unwrap();
    assert_eq!(Introduction::parse(&text).unwrap(), made.introduction);
    assert_eq!(bits(&dir.join("keys")), 0o700);
    for key in ["tls.key", "sign-ed25519.key", "sign-mldsa44.key"] {
        assert_eq!(bits(&dir.join("keys").join(key)), 0o600, "{key}");
    }
    for certificate in ["tls.pem", "sign-ed25519.pem", "sign-mldsa44.pem", "root.pem"] {
        assert!(dir.join("keys").join(certificate).is_file(), "{certificate}");
    }
    assert_eq!(bits(&place.root()), 0o600);
    assert!(!dir.join("keys.new").exists());
}

#[test]
fn the_paper_copy_holds_the_roots_key() {
    let (_place, made) = Place::xa();
    let (state, key) = parse_paper(&made.paper.unwrap()).unwrap();
    assert_eq!((state.code(), key.public()), ("XA", made.introduction.root().public_key.as_slice()));
}

#[test]
fn init_runs_once_and_never_overwrites_a_root() {
    let (place, _) = Place::xa();
    let (root, other) = (place.root(), place.base.path().join("other.pem"));
    let before = fs::read(&root).unwrap();
    assert!(matches!(place.init("XA", place.new_root(&other)), Err(InitError::AlreadyInitialised(_))));
    assert!(!other.exists());
    assert!(matches!(place.init("XB", place.new_root(&root)), Err(InitError::RootExists(_))));
    assert_eq!(fs::read(&root).unwrap(), before);
}

#[test]
fn the_root_never_lies_in_the_nodes_folder() {
    let place = Place::new();
    let dir = place.dir("XA");
    fs::create_dir(dir.join("below")).unwrap();
    let link = place.base.path().join("link");
    std::os::unix::fs::symlink(&dir, &link).unwrap();
    for path in [dir.join("root.pem"), dir.join("below/root.pem"), link.join("root.pem"), dir.join("below/../r.pem")] {
        assert!(matches!(place.init("XA", place.new_root(&path)), Err(InitError::RootInFolder(_))), "{path:?}");
    }
    assert!(!dir.join("keys").exists());
}

#[test]
fn a_folder_that_others_can_enter_is_refused() {
    let place = Place::new();
    let (dir, root) = (place.dir("XA"), place.root());
    mode(&dir, 0o750);
    let refused = place.init("XA", place.new_root(&root)).unwrap_err();
    assert!(matches!(&refused, InitError::Folder(FolderError::TooOpen { mode: 0o750, wanted: 0o700, .. })));
    assert!(refused.to_string().contains("chmod 700"), "{refused}");
    assert!(!root.exists());
}

#[test]
fn a_second_node_of_the_state_stands_under_the_same_root() {
    let (place, first) = Place::xa();
    let root = place.root();
    let existing = RootChoice::Existing { path: &root, passphrase: &place.passphrase };
    let second = place.init("XA.diplomatic", existing).unwrap();
    assert_eq!(second.introduction.root(), first.introduction.root());
    let names: Vec<_> = second.introduction.nodes().iter().map(|entry| entry.name).collect();
    assert_eq!(names, [node("XA.diplomatic")]);
    assert_ne!(second.introduction.fingerprint(), first.introduction.fingerprint());
}

#[test]
fn a_root_is_not_used_with_a_wrong_passphrase_for_another_state_or_when_others_can_read_it() {
    let (place, _) = Place::xa();
    let root = place.root();
    let wrong = words("not this passphrase");
    let refused = place.init("XA.technical", RootChoice::Existing { path: &root, passphrase: &wrong });
    assert!(matches!(refused, Err(InitError::Root { error: SealError::WrongPassphrase, .. })));
    let existing = || RootChoice::Existing { path: &root, passphrase: &place.passphrase };
    let refused = place.init("XB", existing()).unwrap_err();
    assert!(matches!(&refused, InitError::RootOfOtherState { other, .. } if other == "XA"), "{refused}");
    mode(&root, 0o640);
    let refused = place.init("XA.technical", existing()).unwrap_err();
    assert!(matches!(&refused, InitError::Folder(FolderError::TooOpen { mode: 0o640, wanted: 0o600, .. })));
    assert!(refused.to_string().contains("chmod 600"), "{refused}");
    assert!(!place.dir("XA.technical").join("keys").exists());
}

#[test]
fn what_a_crash_in_the_middle_left_does_not_hinder_the_next_init() {
    let (place, _) = Place::xa();
    let (root, dir) = (place.root(), place.dir("XA.technical"));
    fs::create_dir(dir.join("keys.new")).unwrap();
    fs::write(dir.join("keys.new/tls.key"), "half").unwrap();
    fs::write(dir.join("introduction.txt"), "half").unwrap();
    place.init("XA.technical", RootChoice::Existing { path: &root, passphrase: &place.passphrase }).unwrap();
    NodeKeys::load(&dir).unwrap();
}

#[test]
fn keys_that_others_can_read_are_refused_with_the_cure() {
    let (place, _) = Place::xa();
    let dir = place.dir("XA");
    for (file, open, cure) in [
        ("keys/tls.key", 0o644, "chmod 600"),
        ("keys/sign-ed25519.key", 0o640, "chmod 600"),
        ("keys/sign-mldsa44.key", 0o604, "chmod 600"),
        ("keys", 0o755, "chmod 700"),
        ("", 0o711, "chmod 700"),
    ] {
        let path = dir.join(file);
        let before = bits(&path);
        mode(&path, open);
        let refused = NodeKeys::load(&dir).unwrap_err();
        assert!(matches!(&refused, FolderError::TooOpen { mode, .. } if *mode == open), "{refused}");
        assert!(refused.to_string().contains(cure), "{refused}");
        mode(&path, before);
    }
    NodeKeys::load(&dir).unwrap();
}

#[test]
fn missing_damaged_and_foreign_files_are_named() {
    let (place, _) = Place::xa();
    let other = Place::xa().0;
    let (dir, foreign) = (place.dir("XA"), other.dir("XA"));
    let files = [
        "keys/tls.key",
        "keys/tls.pem",
        "keys/sign-ed25519.key",
        "keys/sign-mldsa44.key",
        "keys/root.pem",
        "introduction.txt",
    ];
    for file in files {
        let path = dir.join(file);
        let good = fs::read(&path).unwrap();
        for bad in [None, Some(b"garbage".to_vec()), Some(Vec::new()), Some(fs::read(foreign.join(file)).unwrap())] {
            fs::remove_file(&path).unwrap();
            if let Some(bad) = &bad {
                fs::write(&path, bad).unwrap();
                mode(&path, 0o600);
            }
            let refused = NodeKeys::load(&dir).unwrap_err().to_string();
            assert!(refused.contains("keys/") || refused.contains("introduction.txt"), "{file}: {refused}");
            fs::write(&path, &good).unwrap();
            mode(&path, 0o600);
        }
    }
    NodeKeys::load(&dir).unwrap();
}

#[test]
fn a_root_key_in_the_folder_is_found_in_every_form() {
    let (place, made) = Place::xa();
    let dir = place.dir("XA");
    assert_eq!(root_key_in_folder(&dir), None);
    let sealed = fs::read_to_string(place.root()).unwrap();
    let key = open_sealed(&sealed, &place.passphrase).unwrap();
    fs::create_dir(dir.join("backup")).unwrap();
    for content in [sealed.as_str(), &key.to_pem().unwrap(), &made.paper.unwrap()] {
        for file in ["root.key", "keys/old", "backup/r"] {
            let path = dir.join(file);
            fs::write(&path, content).unwrap();
            assert_eq!(root_key_in_folder(&dir), Some(path.clone()));
            fs::remove_file(path).unwrap();
        }
    }
    assert_eq!(root_key_in_folder(&dir), None);
    assert_eq!(root_key_in_folder(&dir.join("absent")), None);
}

#[test]
fn openssl_reads_the_root_key_and_the_certificates() {
    if Command::new("openssl").arg("version").output().is_err() {
        eprintln!("skipped: no openssl here");
        return;
    }
    let (place, _) = Place::xa();
    let openssl = |arguments: &[&str]| {
        let output = Command::new("openssl").args(arguments).output().unwrap();
        (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let root = place.root();
    let root = root.to_str().unwrap();
    let (good, clear) = openssl(&["pkcs8", "-in", root, "-passin", &format!("pass:{WORDS}")]);
    assert!(good && clear.contains("BEGIN PRIVATE KEY"));
    assert!(!openssl(&["pkcs8", "-in", root, "-passin", "pass:another one"]).0);
    let (good, shown) = openssl(&["x509", "-in", root, "-noout", "-text"]);
    assert!(good && shown.contains("verbale root XA") && shown.contains("pathlen:1"), "{shown}");
    let keys = place.dir("XA").join("keys");
    let file = |name: &str| keys.join(name).to_str().unwrap().to_owned();
    // Judged at the rig's time, not by this machine's clock.
    let (root, leaf) = (file("root.pem"), file("tls.pem"));
    let (good, shown) = openssl(&["verify", "-x509_strict", "-attime", "1772366400", "-CAfile", &root, &leaf]);
    assert!(good, "{shown}");
    let (good, shown) = openssl(&["pkey", "-in", &file("sign-ed25519.key"), "-noout", "-text"]);
    assert!(good && shown.contains("ED25519"), "{shown}");
}
