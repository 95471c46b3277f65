"""An outside judge of verbale's ML-DSA-44 lines: the Python package "cryptography".

Reads one JSON object {note, name, public_key (hex)} from standard input, finds the line of that key, builds the signed
message from c2sp.org/tlog-cosignature by itself, and prints "accepted" (exit status 0) or "refused: why" (exit status 1).
Exit status 3 means that this Python cannot judge ML-DSA-44; any other status is no verdict.
"""

import base64
import hashlib
import json
import struct
import sys

try:
    from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PublicKey
except ImportError:
    print("this Python has no package with ML-DSA-44")
    sys.exit(3)


def refuse(why):
    print("refused:", why)
    sys.exit(1)


question = json.load(sys.stdin)
name = question["name"]
public_key = bytes.fromhex(question["public_key"])
try:
    key = MLDSA44PublicKey.from_public_bytes(public_key)
except UnsupportedAlgorithm:
    print("the library beneath this Python has no ML-DSA-44")
    sys.exit(3)

key_id = hashlib.sha256(name.encode() + b"\n\x06" + public_key).digest()[:4]
text, _, lines = question["note"].rpartition("\n\n")
origin, size, root = text.split("\n")
for line in lines.splitlines():
    _, line_name, encoded = line.split(" ")
    blob = base64.b64decode(encoded, validate=True)
    if line_name == name and blob[:4] == key_id:
        break
else:
    refuse("this key has not signed")

time, signature = blob[4:12], blob[12:]
message = b"subtree/v1\n\0"
message += bytes([len(name)]) + name.encode() + time
message += bytes([len(origin)]) + origin.encode()
message += struct.pack(">QQ", 0, int(size)) + base64.b64decode(root, validate=True)
try:
    key.verify(signature, message)
except InvalidSignature:
    refuse("the signature does not hold")
print("accepted")
