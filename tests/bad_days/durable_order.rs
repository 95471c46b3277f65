//! The order of `docs/DURABILITY.md`, as the kernel sees it: a daemon runs below `strace` from its first start until it
//! holds a file, and its writes, syncs and renames are read back.

use std::path::Path;

use verbale::api::{MessageState, WaitFor};

use crate::faults::strace_works;
use crate::rig::{Rig, RootOf, message, until, up};

/// What a daemon does to a file of its folder; paths are relative to it.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Act {
    /// A write begins.
    Write(String),
    /// A sync has ended well.
    Sync(String),
    /// A file gets another name.
    Rename(String, String),
}

/// Reads the lines of `strace -f -y`. A call that another thread overtakes has two of them.
fn read(trace: &str, folder: &Path) -> Vec<Act> {
    let mut acts = Vec::new();
    let mut begun: Vec<(&str, String)> = Vec::new();
    for line in trace.lines() {
        let Some((thread, call)) = line.split_once(' ') else { continue };
        let call = call.trim_start();
        if let Some(rest) = call.strip_prefix("<... ") {
            let position = begun.iter().position(|(other, _)| *other == thread);
            let Some((_, path)) = position.map(|position| begun.remove(position)) else { continue };
            if rest.ends_with("= 0") && rest.starts_with('f') {
                acts.push(Act::Sync(path));
            }
        } else if call.starts_with("pwrite64(") || call.starts_with("write(") {
            acts.extend(descriptor(call, folder).map(Act::Write));
        } else if call.starts_with("fsync(") || call.starts_with("fdatasync(") {
            let Some(path) = descriptor(call, folder) else { continue };
            match call.ends_with("<unfinished ...>") {
                true => begun.push((thread, path)),
                false if call.ends_with("= 0") => acts.push(Act::Sync(path)),
                false => {}
            }
        } else if call.starts_with("rename(") {
            let names: Vec<&str> = call.split('"').collect();
            let inside = |path: &str| Some(Path::new(path).strip_prefix(folder).ok()?.display().to_string());
            if let [_, from, _, to, ..] = names[..]
                && let (Some(from), Some(to)) = (inside(from), inside(to))
            {
                acts.push(Act::Rename(from, to));
            }
        }
    }
    acts
}

/// The file behind the first argument, `7</path>`.
fn descriptor(call: &str, folder: &Path) -> Option<String> {
    let (_, rest) = call.split_once('<')?;
    let (path, _) = rest.split_once('>')?;
    Some(Path::new(path).strip_prefix(folder).ok()?.display().to_string())
}

fn parent(path: &str) -> String {
    path.rsplit_once('/').map_or(String::new(), |(parent, _)| parent.to_owned())
}

/// D2: the next group is written after the one before is synced.
fn groups_are_synced_one_by_one(acts: &[Act]) -> usize {
    let (mut open, mut groups) = (None, 0);
    for act in acts {
        match act {
            Act::Write(path) if path.starts_with("journal/") && path.ends_with(".seg") => {
                assert_eq!(open, None, "a group was written before the one before was synced");
                open = Some(path.clone());
            }
            Act::Sync(path) if open.as_ref() == Some(path) => {
                open = None;
                groups += 1;
            }
            _ => {}
        }
    }
    groups
}

/// A file gets its name when its contents are durable, and its name is durable before anything is written to it again.
fn names_come_last(acts: &[Act]) -> Vec<String> {
    let mut named = Vec::new();
    for (at, act) in acts.iter().enumerate() {
        // The index is rebuilt where it is not whole; nothing rests on it.
        let Act::Rename(from, to) = act else { continue };
        if from.starts_with("store") {
            continue;
        }
        let before =
            acts[..at].iter().rev().find(|act| matches!(act, Act::Write(path) | Act::Sync(path) if path == from));
        assert!(matches!(before, Some(Act::Sync(_))), "{from} was named before it was synced: {before:?}");
        let after = acts[at..].iter().skip(1);
        let after =
            after.take_while(|act| !matches!(act, Act::Write(path) if path == to && path.starts_with("journal")));
        let synced = after.into_iter().any(|act| *act == Act::Sync(parent(to)));
        assert!(synced, "the name of {to} was used before its folder was synced");
        named.push(to.clone());
    }
    named
}

/// D5: copy 1 of the slots is synced before copy 2 is touched.
fn slots_are_synced_copy_by_copy(acts: &[Act]) -> usize {
    let mut open = false;
    let mut blocks = 0;
    for act in acts {
        match act {
            Act::Write(path) if path == "slots/slots.1" => open = true,
            Act::Sync(path) if path == "slots/slots.1" => open = false,
            Act::Write(path) if path == "slots/slots.2" => {
                assert!(!open, "copy 2 of the slots was written before copy 1 was synced");
                blocks += 1;
            }
            _ => {}
        }
    }
    blocks
}

#[tokio::test]
async fn the_kernel_sees_the_order_that_is_written_down() {
    if !strace_works() {
        println!("skipped: strace is not installed, or may not trace");
        return;
    }
    let stage = tempfile::tempdir().unwrap();
    let [mut a, mut b] = ["XA", "XB"].map(|name| Rig::new(stage.path(), name, RootOf::TheState));
    let trace = stage.path().join("trace");
    let calls = "trace=write,pwrite64,fsync,fdatasync,rename";
    let wrapper = ["strace", "-D", "-f", "-y", "-qq", "-s", "0", "-e", calls, "-e", "signal=none", "-o"];
    let wrapper: Vec<String> = wrapper.map(str::to_owned).into_iter().chain([trace.display().to_string()]).collect();
    a.start().await;
    assert!(b.start_under(&wrapper).await, "{}", b.log());
    a.add(&b).await.unwrap();
    b.add(&a).await.unwrap();
    up(&a, &b).await;
    let file = stage.path().join("a file");
    std::fs::write(&file, vec![6; 200 << 10]).unwrap();
    let mut send = message(&b, "with a file", WaitFor::Receipt);
    send.enclosures = vec![a.upload(&file).await];
    let id = a.send(send).await.id;
    until("the file is held", async || a.outbox().await[0].state == MessageState::Held).await;
    b.kill();

    let acts = read(&std::fs::read_to_string(&trace).unwrap(), &b.folder.canonicalize().unwrap());
    assert!(groups_are_synced_one_by_one(&acts) > 3, "{acts:#?}");
    assert!(slots_are_synced_copy_by_copy(&acts) > 0, "{acts:#?}");
    let named = names_come_last(&acts);
    let enclosure = format!("enclosures/{id}.0");
    for wanted in ["journal/", "slots/slots.1", "slots/slots.2", "sentinel", &enclosure] {
        assert!(named.iter().any(|name| name.starts_with(wanted)), "{wanted} got no name: {named:?}");
    }
    // HELD is said in a group that was written after the file and its name were durable.
    let name = acts.iter().position(|act| matches!(act, Act::Rename(_, to) if *to == enclosure)).unwrap();
    let synced = name + acts[name..].iter().position(|act| *act == Act::Sync("enclosures".into())).unwrap();
    let held = acts[synced..].iter().any(|act| matches!(act, Act::Write(path) if path.ends_with(".seg")));
    assert!(held, "HELD was recorded before its file was durable: {:#?}", &acts[name..]);
}
