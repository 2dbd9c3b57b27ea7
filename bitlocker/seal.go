package bitlocker

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"

	"golang.org/x/crypto/chacha20poly1305"
)

// bound is what a sealed password is tied to, so that it cannot be moved to another reference unnoticed.
func bound(ref KeyRef) []byte {
	h := sha256.New()
	for _, s := range []string{"fleetmend key 1", string(ref.ID), ref.Source, ref.SourceKey} {
		sum := sha256.Sum256([]byte(s))
		h.Write(sum[:])
	}
	return []byte(hex.EncodeToString(h.Sum(nil)))
}

// seal encrypts with XChaCha20-Poly1305; the random 24-byte nonce stands before the text.
func seal(key []byte, ref KeyRef, p Password) ([]byte, error) {
	aead, err := chacha20poly1305.NewX(key)
	if err != nil {
		return nil, err
	}
	nonce := make([]byte, aead.NonceSize(), aead.NonceSize()+64+aead.Overhead())
	if _, err := rand.Read(nonce); err != nil {
		return nil, err
	}
	return aead.Seal(nonce, nonce, []byte(p.Reveal()), bound(ref)), nil
}

func unseal(key []byte, ref KeyRef, sealed []byte) (Password, error) {
	aead, err := chacha20poly1305.NewX(key)
	if err != nil {
		return Password{}, err
	}
	damaged := errors.New("the sealed password is damaged or belongs to another key")
	if len(sealed) < aead.NonceSize() {
		return Password{}, damaged
	}
	text, err := aead.Open(nil, sealed[:aead.NonceSize()], sealed[aead.NonceSize():], bound(ref))
	if err != nil {
		return Password{}, damaged
	}
	defer clear(text)
	return ParsePassword(string(text))
}
