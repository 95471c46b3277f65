#!/bin/bash
# Builds verbale_VERSION_ARCH.deb: deploy/make-deb.sh [FOLDER]     (default: target/deb)
#
# One binary with the C library linked into it, so that the package depends on nothing and installs without network.
# Only the last link differs from an ordinary release build; everything before it is shared with `cargo build --release`.
# A statically linked glibc still looks up host names (files and DNS are built in since 2.34); other sources of names
# that a machine may have configured in nsswitch.conf (mdns, ldap) are not asked.
set -euo pipefail
cd "$(dirname "$0")/.."

out=${1:-target/deb}
target=${CARGO_TARGET_DIR:-target}
version=$(sed -n '/^\[package\]/,/^\[/s/^version = "\(.*\)"$/\1/p' Cargo.toml)
arch=$(dpkg --print-architecture)
[ -n "$version" ] || { echo "make-deb: no version in Cargo.toml" >&2; exit 1; }

if ! cargo rustc --release --bin verbale -- -C target-feature=+crt-static; then
    echo "make-deb: a static link is not possible here; the binary will need the C library of this machine or newer" >&2
    cargo build --release --bin verbale
fi

# Folders of the package are for everybody to enter, whatever the caller's umask.
umask 022
root=$(mktemp -d)
chmod 0755 "$root"
trap 'rm -rf "$root"' EXIT
install -D -m 0755 "$target/release/verbale" "$root/usr/bin/verbale"
strip --strip-unneeded "$root/usr/bin/verbale"
install -D -m 0644 deploy/verbale.service "$root/lib/systemd/system/verbale.service"
install -D -m 0644 config/installed.toml "$root/etc/verbale/installed.toml"
install -D -m 0644 config/verbale.toml "$root/usr/share/doc/verbale/examples/verbale.toml"
for page in README.md CHANGELOG.md SECURITY.md docs/COMMANDS.md docs/PROTOCOL.md docs/ARCHITECTURE.md deploy/INSTALL.md; do
    install -D -m 0644 "$page" "$root/usr/share/doc/verbale/$(basename "$page")"
done
# The page names these files by their place beside it.
for vector in docs/vectors/*; do
    install -D -m 0644 "$vector" "$root/usr/share/doc/verbale/vectors/$(basename "$vector")"
done
install -D -m 0644 deploy/verbale.1 "$root/usr/share/man/man1/verbale.1"
gzip -9n "$root/usr/share/man/man1/verbale.1"
cat > "$root/usr/share/doc/verbale/copyright" <<COPYRIGHT
Copyright: The verbale authors
License: Apache-2.0 or MIT, at your choice

$(cat LICENSE-MIT)

The Apache License 2.0 is in /usr/share/common-licenses/Apache-2.0.
COPYRIGHT

mkdir "$root/DEBIAN"
depends=""
if ! ldd "$root/usr/bin/verbale" 2>&1 | grep -qE 'statically linked|not a dynamic executable'; then
    depends="Depends: libc6 (>= $(ldd --version | sed -n '1s/.* //p'))"
fi
cat > "$root/DEBIAN/control" <<CONTROL
Package: verbale
Version: $version
Architecture: $arch
Maintainer: The verbale authors <verbale@example.org>
Installed-Size: $(du -sk "$root/usr" | cut -f1)
Section: net
Priority: optional${depends:+
$depends}
Description: signed, receipted messages between the authorities of States
 A daemon by which a State warns and asks other States about computer attacks,
 over mutually authenticated QUIC, with a receipt that anybody can check later.
 There is no central server: each State runs its own node.
CONTROL
echo /etc/verbale/installed.toml > "$root/DEBIAN/conffiles"
for script in postinst prerm postrm; do
    install -m 0755 "deploy/deb/$script" "$root/DEBIAN/$script"
done

mkdir -p "$out"
package="$out/verbale_${version}_${arch}.deb"
dpkg-deb --root-owner-group --build "$root" "$package" > /dev/null
echo "$package"
