package simfleet

import (
	"testing"

	"github.com/fleetmend/fleetmend/internal/bounded"
)

func FuzzTakeApart(f *testing.F) {
	const head = "--Encrypted Boundary\r\n\tContent-Type: application/HTTP-SPNEGO-session-encrypted\r\n\tOriginalContent: type=application/soap+xml;charset=UTF-8;Length="
	const middle = "\r\n--Encrypted Boundary\r\n\tContent-Type: application/octet-stream\r\n"
	good := []byte(head + "2" + middle + "\x10\x00\x00\x000123456789abcdefxy--Encrypted Boundary--\r\n")
	signature, data, err := takeApart(good)
	if err != nil || string(signature) != "0123456789abcdef" || string(data) != "xy" {
		f.Fatalf("%q %q %v", signature, data, err)
	}
	f.Add(good)
	for i := range good {
		if _, _, err := takeApart(good[:i]); err == nil && i < len(good)-2 {
			f.Fatalf("cut at %d and accepted", i)
		}
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		defer bounded.Input(t, len(body))()
		signature, _, err := takeApart(body)
		if err == nil && len(signature) != 16 {
			t.Errorf("signature of %d bytes", len(signature))
		}
	})
}
