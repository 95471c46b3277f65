//! Compiles `proto/` with a protobuf compiler written in Rust, so that no `protoc` is needed.

use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    let files = [
        "verbale/v1/carriage.proto",
        "verbale/v1/entry.proto",
        "verbale/v1/evidence.proto",
        "verbale/v1/frame.proto",
        "verbale/v1/introduction.proto",
        "verbale/journal/v1/record.proto",
    ];
    // The licence check asks for the packages of this very target.
    println!("cargo:rustc-env=TARGET={}", std::env::var("TARGET")?);
    let descriptors = protox::compile(files, ["proto"])?;
    prost_build::Config::new().bytes(["."]).compile_fds(descriptors)?;
    Ok(())
}
