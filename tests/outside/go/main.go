// An outside judge of verbale's texts: Go's own sumdb/note and sumdb/tlog.
//
// Reads one JSON object from standard input and prints "accepted" (exit status 0) or "refused: why" (exit status 1).
// Exit status 2 means that the question itself was not understood, which is no verdict.
package main

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

type question struct {
	Note       string   `json:"note"`        // a checkpoint with log line and receipt line
	LogKey     string   `json:"log_key"`     // verifier key of the author, type 0x01
	ReceiptKey string   `json:"receipt_key"` // verifier key of the holder, type 0x04
	Leaf       []byte   `json:"leaf"`
	Index      int64    `json:"index"`
	Inclusion  [][]byte `json:"inclusion"`
	OldSize    int64    `json:"old_size"` // a prefix of the tree, and the proof that it is one
	OldRoot    []byte   `json:"old_root"`
	Prefix     [][]byte `json:"prefix"`
}

// cosigner checks lines of type 0x04, which sumdb/note does not know by itself.
type cosigner struct {
	name string
	id   uint32
	key  ed25519.PublicKey
}

func (c cosigner) Name() string    { return c.name }
func (c cosigner) KeyHash() uint32 { return c.id }

func (c cosigner) Verify(text, sig []byte) bool {
	if len(sig) != 8+ed25519.SignatureSize {
		return false
	}
	time := binary.BigEndian.Uint64(sig)
	message := fmt.Sprintf("cosignature/v1\ntime %d\n%s", time, text)
	return ed25519.Verify(c.key, []byte(message), sig[8:])
}

func newCosigner(vkey string) (cosigner, error) {
	parts := strings.SplitN(vkey, "+", 3)
	if len(parts) != 3 {
		return cosigner{}, errors.New("not a verifier key")
	}
	key, err := base64.StdEncoding.DecodeString(parts[2])
	if err != nil || len(key) != 1+ed25519.PublicKeySize || key[0] != 0x04 {
		return cosigner{}, errors.New("not a verifier key of type 0x04")
	}
	sum := sha256.Sum256(append([]byte(parts[0]+"\n"), key...))
	id := binary.BigEndian.Uint32(sum[:])
	if fmt.Sprintf("%08x", id) != parts[1] {
		return cosigner{}, errors.New("the key id does not belong to the key")
	}
	return cosigner{parts[0], id, ed25519.PublicKey(key[1:])}, nil
}

func hashes(list [][]byte) ([]tlog.Hash, error) {
	all := make([]tlog.Hash, len(list))
	for i, bytes := range list {
		if copy(all[i][:], bytes) != tlog.HashSize || len(bytes) != tlog.HashSize {
			return nil, errors.New("a hash is not 32 bytes")
		}
	}
	return all, nil
}

func judge(q question, log note.Verifier, receipt cosigner) error {
	opened, err := note.Open([]byte(q.Note), note.VerifierList(log, receipt))
	if err != nil {
		return err
	}
	if len(opened.Sigs) != 2 {
		return fmt.Errorf("%d of 2 lines are known and good", len(opened.Sigs))
	}
	lines := strings.Split(opened.Text, "\n")
	if len(lines) != 4 || lines[0] != log.Name() {
		return errors.New("not the three lines of a checkpoint of this log")
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	if err != nil {
		return err
	}
	root, err := tlog.ParseHash(lines[2])
	if err != nil {
		return err
	}
	inclusion, err := hashes(q.Inclusion)
	if err != nil {
		return err
	}
	if err := tlog.CheckRecord(inclusion, size, root, q.Index, tlog.RecordHash(q.Leaf)); err != nil {
		return err
	}
	prefix, err := hashes(q.Prefix)
	if err != nil {
		return err
	}
	old, err := hashes([][]byte{q.OldRoot})
	if err != nil {
		return err
	}
	return tlog.CheckTree(prefix, size, root, q.OldSize, old[0])
}

func main() {
	var q question
	if err := json.NewDecoder(os.Stdin).Decode(&q); err != nil {
		fmt.Println("no question:", err)
		os.Exit(2)
	}
	log, err := note.NewVerifier(q.LogKey)
	if err != nil {
		fmt.Println("no question:", err)
		os.Exit(2)
	}
	receipt, err := newCosigner(q.ReceiptKey)
	if err != nil {
		fmt.Println("no question:", err)
		os.Exit(2)
	}
	if err := judge(q, log, receipt); err != nil {
		fmt.Println("refused:", err)
		os.Exit(1)
	}
	fmt.Println("accepted")
}
