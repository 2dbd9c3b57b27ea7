package pesign

import (
	"bytes"
	"crypto"
	"crypto/rsa"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"math/big"

	"golang.org/x/crypto/cryptobyte"
	tags "golang.org/x/crypto/cryptobyte/asn1"
)

var (
	oidSignedData = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 2}
	oidIndirect   = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 311, 2, 1, 4}
	oidDigest     = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 4} // attribute messageDigest
	oidNested     = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 311, 2, 4, 1}

	hashes = map[string]crypto.Hash{
		"1.3.14.3.2.26":          crypto.SHA1,
		"2.16.840.1.101.3.4.2.1": crypto.SHA256,
		"2.16.840.1.101.3.4.2.2": crypto.SHA384,
		"2.16.840.1.101.3.4.2.3": crypto.SHA512,
	}

	context0 = tags.Tag(0).ContextSpecific().Constructed()
	context1 = tags.Tag(1).ContextSpecific().Constructed()

	errASN1 = errors.New("the signature is not well formed")
)

// Signed is a PKCS #7 SignedData as Authenticode uses it.
type signed struct {
	content []byte // of SpcIndirectDataContent, without tag and length: what is hashed
	hash    crypto.Hash
	digest  []byte // of the PE file
	certs   []*x509.Certificate
	info    signerInfo
}

type signerInfo struct {
	issuer    []byte
	serial    *big.Int
	hash      crypto.Hash
	attrs     []byte // authenticated attributes, without tag and length
	signature []byte
	nested    [][]byte // whole ContentInfos
}

func parseSigned(der []byte) (*signed, error) {
	var info, explicit, data, algorithms, encap, certs, signers cryptobyte.String
	var typ asn1.ObjectIdentifier
	var version int
	var hasCerts bool
	in := cryptobyte.String(der)
	if !in.ReadASN1(&info, tags.SEQUENCE) || !info.ReadASN1ObjectIdentifier(&typ) || !typ.Equal(oidSignedData) ||
		!info.ReadASN1(&explicit, context0) || !explicit.ReadASN1(&data, tags.SEQUENCE) ||
		!data.ReadASN1Integer(&version) || !data.ReadASN1(&algorithms, tags.SET) || !data.ReadASN1(&encap, tags.SEQUENCE) ||
		!data.ReadOptionalASN1(&certs, &hasCerts, context0) || !data.SkipOptionalASN1(context1) || !data.ReadASN1(&signers, tags.SET) {
		return nil, errASN1
	}
	s := &signed{}
	if err := s.parseContent(encap); err != nil {
		return nil, err
	}
	for !certs.Empty() {
		var raw cryptobyte.String
		var tag tags.Tag
		if !certs.ReadAnyASN1Element(&raw, &tag) || len(s.certs) > 64 {
			return nil, errASN1
		}
		// A certificate that does not parse cannot vouch for anything; the others still may.
		if c, err := x509.ParseCertificate(raw); err == nil && !endless(c) {
			s.certs = append(s.certs, c)
		}
	}
	return s, s.info.parse(signers)
}

// Endless tells that checking a signature with the key of c would take very long. Secure Boot uses at most 4096 bits.
func endless(c *x509.Certificate) bool {
	key, ok := c.PublicKey.(*rsa.PublicKey)
	return ok && key.N.BitLen() > 16384
}

func (s *signed) parseContent(encap cryptobyte.String) error {
	var typ, alg asn1.ObjectIdentifier
	var explicit, spc, attribute, digestInfo, algorithm cryptobyte.String
	if !encap.ReadASN1ObjectIdentifier(&typ) || !typ.Equal(oidIndirect) || !encap.ReadASN1(&explicit, context0) ||
		!explicit.ReadASN1(&spc, tags.SEQUENCE) {
		return fmt.Errorf("%w: it signs no PE file", errASN1)
	}
	s.content = spc
	if !spc.ReadASN1(&attribute, tags.SEQUENCE) || !spc.ReadASN1(&digestInfo, tags.SEQUENCE) ||
		!digestInfo.ReadASN1(&algorithm, tags.SEQUENCE) || !algorithm.ReadASN1ObjectIdentifier(&alg) ||
		!digestInfo.ReadASN1Bytes(&s.digest, tags.OCTET_STRING) {
		return errASN1
	}
	var ok bool
	if s.hash, ok = hashes[alg.String()]; !ok {
		return fmt.Errorf("the hash algorithm %v is not known", alg)
	}
	return nil
}

func (i *signerInfo) parse(signers cryptobyte.String) error {
	var si, id, issuer, algorithm, attrs, unauth cryptobyte.String
	var alg asn1.ObjectIdentifier
	var version int
	var has bool
	i.serial = new(big.Int)
	if !signers.ReadASN1(&si, tags.SEQUENCE) || !si.ReadASN1Integer(&version) || !si.ReadASN1(&id, tags.SEQUENCE) ||
		!id.ReadASN1Element(&issuer, tags.SEQUENCE) || !id.ReadASN1Integer(i.serial) ||
		!si.ReadASN1(&algorithm, tags.SEQUENCE) || !algorithm.ReadASN1ObjectIdentifier(&alg) ||
		!si.ReadOptionalASN1(&attrs, &has, context0) || !si.SkipASN1(tags.SEQUENCE) ||
		!si.ReadASN1Bytes(&i.signature, tags.OCTET_STRING) || !si.ReadOptionalASN1(&unauth, &has, context1) {
		return errASN1
	}
	i.issuer, i.attrs = issuer, attrs
	var ok bool
	if i.hash, ok = hashes[alg.String()]; !ok {
		return fmt.Errorf("the hash algorithm %v is not known", alg)
	}
	return eachAttribute(unauth, func(typ asn1.ObjectIdentifier, values cryptobyte.String) error {
		for typ.Equal(oidNested) && !values.Empty() {
			var v cryptobyte.String
			if !values.ReadASN1Element(&v, tags.SEQUENCE) {
				return errASN1
			}
			i.nested = append(i.nested, v)
		}
		return nil
	})
}

func eachAttribute(list cryptobyte.String, fn func(asn1.ObjectIdentifier, cryptobyte.String) error) error {
	for !list.Empty() {
		var attr, values cryptobyte.String
		var typ asn1.ObjectIdentifier
		if !list.ReadASN1(&attr, tags.SEQUENCE) || !attr.ReadASN1ObjectIdentifier(&typ) || !attr.ReadASN1(&values, tags.SET) {
			return errASN1
		}
		if err := fn(typ, values); err != nil {
			return err
		}
	}
	return nil
}

// Signer finds the certificate of the signer among those in the signature.
func (s *signed) signer() *x509.Certificate {
	for _, c := range s.certs {
		if c.SerialNumber.Cmp(s.info.serial) == 0 && bytes.Equal(c.RawIssuer, s.info.issuer) {
			return c
		}
	}
	return nil
}

// Verify checks that the holder of the certificate signed this content.
func (s *signed) verify(c *x509.Certificate) error {
	h := s.hash
	if len(s.info.attrs) > 0 {
		h = s.info.hash
	}
	sum := h.New()
	sum.Write(s.content)
	content := sum.Sum(nil)
	toVerify := content
	if len(s.info.attrs) > 0 {
		var digest []byte
		err := eachAttribute(s.info.attrs, func(typ asn1.ObjectIdentifier, values cryptobyte.String) error {
			if typ.Equal(oidDigest) && !values.ReadASN1Bytes(&digest, tags.OCTET_STRING) {
				return errASN1
			}
			return nil
		})
		if err != nil {
			return err
		}
		if !bytes.Equal(digest, content) {
			return errors.New("what is signed is not what the signature says")
		}
		// The attributes are signed under the tag of a SET, not under the one they are stored with.
		var b cryptobyte.Builder
		b.AddASN1(tags.SET, func(b *cryptobyte.Builder) { b.AddBytes(s.info.attrs) })
		set, err := b.Bytes()
		if err != nil {
			return errASN1
		}
		sum.Reset()
		sum.Write(set)
		toVerify = sum.Sum(nil)
	}
	key, ok := c.PublicKey.(*rsa.PublicKey)
	if !ok {
		return fmt.Errorf("keys of type %T are not used by Secure Boot", c.PublicKey)
	}
	if err := rsa.VerifyPKCS1v15(key, h, toVerify, s.info.signature); err != nil {
		return errors.New("the signature does not fit the certificate of its signer")
	}
	return nil
}
