package spnego

import (
	"bytes"
	"encoding/asn1"
	"encoding/hex"
	"testing"

	"github.com/fleetmend/fleetmend/internal/bounded"
)

// initToken is a NegTokenInit of NTLM alone as pyspnego writes it, with a mechToken of four bytes.
const initToken = "602506062b0601050502a01b3019a00e300c060a2b06010401823702020aa207040574657374" + "21"

func TestInit(t *testing.T) {
	raw, err := hex.DecodeString(initToken)
	if err != nil {
		t.Fatal(err)
	}
	token, err := Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	if !token.Init || len(token.Mechanisms) != 1 || !token.Mechanisms[0].Equal(OIDNTLM) || string(token.Inner) != "test!" {
		t.Fatalf("token %+v", token)
	}
	if hex.EncodeToString(token.MechanismsDER) != "300c060a2b06010401823702020a" {
		t.Fatalf("mechanisms %x", token.MechanismsDER)
	}
	for i := range raw {
		if _, err := Parse(raw[:i]); err == nil {
			t.Errorf("cut at %d: accepted", i)
		}
	}
}

func TestReplyReadsBack(t *testing.T) {
	for _, reply := range []Reply{
		{State: AcceptIncomplete, Mechanism: OIDNTLM, Inner: []byte("challenge")},
		{State: AcceptCompleted, MIC: bytes.Repeat([]byte{1}, 16)},
		{State: Reject},
	} {
		raw := reply.Marshal()
		token, err := Parse(raw)
		if err != nil || token.Init || !bytes.Equal(token.Inner, reply.Inner) || !bytes.Equal(token.MIC, reply.MIC) {
			t.Errorf("%+v reads back as %+v, %v", reply, token, err)
		}
		// encoding/asn1 as a second opinion on the state and the mechanism.
		var outer asn1.RawValue
		if rest, err := asn1.Unmarshal(raw, &outer); err != nil || len(rest) != 0 || outer.Tag != 1 {
			t.Fatalf("outer %+v %v", outer, err)
		}
		var second struct {
			State     asn1.Enumerated       `asn1:"explicit,tag:0"`
			Mechanism asn1.ObjectIdentifier `asn1:"explicit,optional,tag:1"`
			Inner     []byte                `asn1:"explicit,optional,tag:2"`
			MIC       []byte                `asn1:"explicit,optional,tag:3"`
		}
		if _, err := asn1.Unmarshal(outer.Bytes, &second); err != nil || int(second.State) != reply.State || !second.Mechanism.Equal(reply.Mechanism) {
			t.Errorf("second opinion %+v, %v", second, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	raw, _ := hex.DecodeString(initToken)
	f.Add(raw)
	f.Add(Reply{State: AcceptIncomplete, Mechanism: OIDNTLM, Inner: []byte("x")}.Marshal())
	f.Fuzz(func(t *testing.T, token []byte) {
		defer bounded.Input(t, len(token))()
		_, _ = Parse(token)
	})
}
