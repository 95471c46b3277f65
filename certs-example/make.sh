#!/bin/sh
# Makes a throwaway set of two exercise States, XA and XB, with the program itself: roots, keys, certificates and
# introductions. For tests and for a first look; never for real use, because the passphrase stands in a file.
#
#   certs-example/make.sh [FOLDER]      default: target/certs-example
#
# VERBALE names the program to use; without it the release build of this tree is taken, then the debug build.
set -eu
umask 077

here=$(cd "$(dirname "$0")/.." && pwd)
out=${1:-"$here/target/certs-example"}

if [ -z "${VERBALE:-}" ]; then
    for build in release debug; do
        if [ -x "$here/target/$build/verbale" ]; then
            VERBALE="$here/target/$build/verbale"
            break
        fi
    done
fi
if [ -z "${VERBALE:-}" ]; then
    echo "make.sh: there is no program yet; run: cargo build --release" >&2
    exit 1
fi
if [ -e "$out" ]; then
    echo "make.sh: $out exists and is left as it is; remove it or name another folder" >&2
    exit 1
fi

mkdir -p "$out"
echo "exercise only, not a secret" > "$out/passphrase.txt"

port=7411
for state in XA XB; do
    "$VERBALE" init --dir "$out/$state" --state "$state" --listen "127.0.0.1:$port" \
        --root-to "$out/root-$state.pem" --passphrase-file "$out/passphrase.txt"
    "$VERBALE" introduction --dir "$out/$state" > "$out/introduction-$state.txt"
    port=$((port + 1))
done

for state in XA XB; do
    echo
    echo "$state: $out/introduction-$state.txt"
    # The three lines of digits under the word Fingerprint.
    sed -n '/^Fingerprint$/,/^$/p' "$out/introduction-$state.txt"
done
