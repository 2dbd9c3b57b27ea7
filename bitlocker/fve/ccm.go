package fve

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/subtle"
	"errors"
)

const (
	ccmNonceSize = 12
	ccmTagSize   = 16
	sealedHeader = ccmNonceSize + ccmTagSize // the body of a sealed datum: nonce, tag, ciphertext
)

var errSeal = errors.New("the seal does not open with this key")

// unseal opens the body of a sealed datum: AES-CCM (NIST SP 800-38C) with a nonce of 12 bytes, a tag of 16 bytes that
// stands before the ciphertext, lengths of 3 bytes and no associated data.
func unseal(key, body []byte) ([]byte, error) {
	if len(body) < sealedHeader {
		return nil, errors.New("a sealed key is too short")
	}
	if len(body)-sealedHeader >= 1<<16 {
		return nil, errors.New("a sealed key is too long")
	}
	c, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	nonce, tag, sealed := body[:ccmNonceSize], body[ccmNonceSize:sealedHeader], body[sealedHeader:]
	var counter [aes.BlockSize]byte
	counter[0] = 15 - ccmNonceSize - 1
	copy(counter[1:], nonce)
	stream := cipher.NewCTR(c, counter[:])
	want := make([]byte, ccmTagSize)
	stream.XORKeyStream(want, tag) // the first block of key stream is the tag's
	plain := make([]byte, len(sealed))
	stream.XORKeyStream(plain, sealed)
	if subtle.ConstantTimeCompare(ccmMAC(c, nonce, plain), want) != 1 {
		clear(plain)
		return nil, errSeal
	}
	return plain, nil
}

// ccmMAC is CBC-MAC over the first block (flags, nonce, length) and the text, padded with zeros.
func ccmMAC(c cipher.Block, nonce, plain []byte) []byte {
	mac := make([]byte, aes.BlockSize)
	mac[0] = (ccmTagSize-2)/2<<3 | (15 - ccmNonceSize - 1)
	copy(mac[1:], nonce)
	mac[13], mac[14], mac[15] = byte(len(plain)>>16), byte(len(plain)>>8), byte(len(plain))
	c.Encrypt(mac, mac)
	for len(plain) > 0 {
		n := subtle.XORBytes(mac, mac, plain[:min(len(plain), aes.BlockSize)])
		plain = plain[n:]
		c.Encrypt(mac, mac)
	}
	return mac
}
