package pesign

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
)

// File is what a PE file says about itself.
type File struct {
	Machine    Machine
	Subsystem  uint16      // EFIApplication for a boot loader
	Signatures []Signature // in the order of the file; a nested one follows the one that holds it
}

// Signature is one Authenticode signature.
type Signature struct {
	Nested bool        // stored inside the one before it; firmware does not look there
	Hash   crypto.Hash // of the file
	Digest []byte      // that the signer signed
	// Problem says why the signature does not hold: the file was changed, the signature does not fit, or it cannot be
	// read. nil means that file and signature belong together; whom to trust is another question.
	Problem error
	// Chain is the signer's certificate and those above it, as far as the file brings them and each is really signed
	// by the next. Empty if the signer's certificate is missing.
	Chain []*x509.Certificate
	// Authority is the Microsoft Secure Boot authority in the chain; empty if there is none. Its certificate is
	// known by fingerprint, not by name.
	Authority Authority
}

// Signer returns the certificate of the signer, nil if the file does not bring it.
func (s Signature) Signer() *x509.Certificate {
	if len(s.Chain) == 0 {
		return nil
	}
	return s.Chain[0]
}

// Issuer returns the name of whoever stands above the last certificate of the chain, or is that certificate if it signed
// itself.
func (s Signature) Issuer() string {
	if len(s.Chain) == 0 {
		return ""
	}
	return s.Chain[len(s.Chain)-1].Issuer.String()
}

const maxSignatures = 32

// Inspect reads a PE file of the given size. It returns [ErrNotPE] or a [*DamagedError] for a file that is none or is
// damaged; a signature that does not hold is no error but has a Problem.
func Inspect(r io.ReaderAt, size int64) (*File, error) {
	l, err := readLayout(r, size)
	if err != nil {
		return nil, err
	}
	f := &File{Machine: l.machine, Subsystem: l.subsystem}
	table := make([]byte, l.table.n)
	if _, err := r.ReadAt(table, l.table.off); err != nil && len(table) > 0 {
		return nil, fmt.Errorf("read PE certificates: %w", err)
	}
	d := &digester{l: l, known: map[crypto.Hash][]byte{}}
	for len(table) >= 8 && len(f.Signatures) < maxSignatures {
		n, kind := int64(le.Uint32(table)), le.Uint16(table[6:])
		if n == 0 { // padding
			break
		}
		if n < 8 || n > int64(len(table)) {
			return nil, damaged("a certificate of %d bytes in a table of %d", n, len(table))
		}
		if kind == 2 { // PKCS #7
			if err := f.add(d, table[8:n], false); err != nil {
				return nil, err
			}
		}
		table = table[min((n+7)&^7, int64(len(table))):]
	}
	return f, nil
}

// Authorities lists the Microsoft authorities whose signature on the file holds and is one that firmware looks at.
func (f *File) Authorities() (list []Authority) {
	for _, s := range f.Signatures {
		if s.Problem == nil && !s.Nested && s.Authority != "" {
			list = append(list, s.Authority)
		}
	}
	return list
}

type digester struct {
	l     *layout
	known map[crypto.Hash][]byte
}

func (d *digester) digest(h crypto.Hash) ([]byte, error) {
	if b := d.known[h]; b != nil {
		return b, nil
	}
	b, err := d.l.digest(h)
	d.known[h] = b
	return b, err
}

// Add appends a signature and those nested in it. Its error is one of reading the file.
func (f *File) add(d *digester, der []byte, nested bool) error {
	if len(f.Signatures) >= maxSignatures {
		return nil
	}
	s, err := parseSigned(der)
	if err != nil {
		f.Signatures = append(f.Signatures, Signature{Nested: nested, Problem: err})
		return nil
	}
	sig := Signature{Nested: nested, Hash: s.hash, Digest: s.digest}
	want, err := d.digest(s.hash)
	if err != nil {
		return err
	}
	signer := s.signer()
	switch {
	case !bytes.Equal(want, s.digest):
		sig.Problem = errors.New("the file was changed after it was signed")
	case signer == nil:
		sig.Problem = errors.New("the certificate of the signer is missing")
	default:
		sig.Problem = s.verify(signer)
	}
	sig.Chain = chain(signer, s.certs)
	for _, c := range sig.Chain {
		if a := authorityOf(c); a != "" {
			sig.Authority = a
			break
		}
	}
	f.Signatures = append(f.Signatures, sig)
	for _, n := range s.info.nested {
		if err := f.add(d, n, true); err != nil {
			return err
		}
	}
	return nil
}

// Chain follows the certificates upwards; each must be signed by the next.
func chain(c *x509.Certificate, all []*x509.Certificate) []*x509.Certificate {
	var list []*x509.Certificate
	for c != nil && len(list) < 10 {
		list = append(list, c)
		if bytes.Equal(c.RawIssuer, c.RawSubject) {
			break
		}
		var next *x509.Certificate
		for _, p := range all {
			if bytes.Equal(p.RawSubject, c.RawIssuer) && p.CheckSignature(c.SignatureAlgorithm, c.RawTBSCertificate, c.Signature) == nil {
				next = p
				break
			}
		}
		c = next
	}
	return list
}
