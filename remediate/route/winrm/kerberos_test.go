package winrm_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/fleetmend/fleetmend/internal/kerberos"
	"github.com/fleetmend/fleetmend/internal/kerberos/mitlab"
	"github.com/fleetmend/fleetmend/internal/secret"
	"github.com/fleetmend/fleetmend/remediate/route"
	"github.com/fleetmend/fleetmend/remediate/route/winrm"
)

// TestKerberosSealedAgainstPyspnego: tickets of MIT's KDC, accepted by MIT's library, for every cipher; nothing readable is on the wire.
func TestKerberosSealedAgainstPyspnego(t *testing.T) {
	lab := mitlab.Start(t, "")
	account, err := kerberos.New(kerberos.Config{Realm: mitlab.Realm, KDCs: []kerberos.KDC{{Name: "kdc.mit.test", Address: lab.Address}}},
		kerberos.Credential{User: "user18", Password: secret.New(mitlab.Password)})
	if err != nil {
		t.Fatal(err)
	}
	payload := bytes.Repeat([]byte("every byte \x00\x01\xff--Encrypted Boundary\r\n"), 6000) // three Sends
	for kind := range mitlab.Ciphers {
		t.Run(fmt.Sprint(kind), func(t *testing.T) {
			host := fmt.Sprintf("ws%d.mit.test", kind)
			t.Setenv("KRB5_KTNAME", lab.Dir+"/services.keytab")
			t.Setenv("KRB5_CONFIG", lab.Dir+"/krb5.conf")
			t.Setenv("KRB5_HOST", host)
			a := startAcceptor(t)
			target := route.Target{Name: "WS", FQDN: host, Address: "127.0.0.1:" + a.port}
			var wire recorder
			r, err := winrm.New(winrm.Config{Auth: winrm.AuthKerberos, Account: account, ReceiveTimeout: patience, Dial: wire.dial})
			if err != nil {
				t.Fatal(err)
			}
			out, err := r.Run(t.Context(), target, "echo <&>", payload)
			if err != nil || out.ExitCode != 7 || !bytes.Equal(out.Stdout, payload) {
				t.Fatalf("exit %d, %d bytes, %v\n%s", out.ExitCode, len(out.Stdout), err, a.said())
			}
			if seen := string(wire.bytes()); strings.Contains(seen, "<s:") || strings.Contains(seen, ":Envelope") || !strings.Contains(seen, "session-encrypted") {
				t.Error("SOAP in the clear was on the wire")
			}
		})
	}
}
