#!/bin/bash
# Builds the fuzz targets without cargo-fuzz and runs each for some seconds: fuzz/run.sh [SECONDS [TARGET…]]
#
# cargo-fuzz needs a nightly compiler only for the address sanitizer; this code has no unsafe blocks of its own, so
# coverage alone is enough. The flags below are what cargo-fuzz sets, without the sanitizer, and the stable compiler
# takes them. A crash is written to fuzz/artifacts/TARGET/ and ends the script with its exit status.
set -euo pipefail
cd "$(dirname "$0")"

seconds=${1:-60}
shift || true
targets=("$@")
[ ${#targets[@]} -gt 0 ] || targets=(frames entries_and_notes journal_scan fold)

triple=$(rustc -vV | sed -n 's/^host: //p')
export RUSTFLAGS="--cfg fuzzing \
  -Cpasses=sancov-module \
  -Cllvm-args=-sanitizer-coverage-level=4 \
  -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
  -Cllvm-args=-sanitizer-coverage-pc-table \
  -Cllvm-args=-sanitizer-coverage-trace-compares \
  -Ccodegen-units=1"
# With --target the flags stay away from build scripts and procedural macros.
cargo build --release --target "$triple"
unset RUSTFLAGS

folder=${CARGO_TARGET_DIR:-target}/$triple/release
for target in "${targets[@]}"; do
    mkdir -p "corpus/$target" "artifacts/$target"
    echo "== $target: $seconds s"
    # -rss_limit_mb: a small input must not make a node hold much memory.
    "$folder/$target" "corpus/$target" "seeds/$target" -max_total_time="$seconds" -timeout=5 -rss_limit_mb=1024 \
        -max_len=65541 -artifact_prefix="artifacts/$target/" -print_final_stats=1 -verbosity=0 2>&1 | tail -8
done
