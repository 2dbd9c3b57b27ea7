package wsman

import (
	"bytes"
	"context"
	"encoding/base64"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/fleetmend/fleetmend/internal/bounded"
)

func TestDuration(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"PT60S": time.Minute, "PT1M30S": 90 * time.Second, "PT0.5S": 500 * time.Millisecond, "P1DT2H": 26 * time.Hour, "PT60.000S": time.Minute,
	} {
		if got, err := duration(text); err != nil || got != want {
			t.Errorf("duration(%q) = %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "P", "60", "PTS", "PT5", "PT-5S", "P5S", "PT1D", "PT9999999S", "PTxS"} {
		if got, err := duration(text); err == nil && got != 0 {
			t.Errorf("duration(%q) = %v", text, got)
		}
	}
}

// never is a runner that no test here gets to use.
type never struct{}

func (never) Run(context.Context, Command) uint32 { return 1 }

const head = `<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope" xmlns:a="http://schemas.xmlsoap.org/ws/2004/08/addressing" xmlns:w="http://schemas.dmtf.org/wbem/wsman/1/wsman.xsd" xmlns:rsp="http://schemas.microsoft.com/wbem/wsman/1/windows/shell"><s:Header><a:Action>`
const middle = `</a:Action><a:MessageID>uuid:1</a:MessageID><w:ResourceURI>` + resourceCmd + `</w:ResourceURI></s:Header><s:Body>`
const tail = `</s:Body></s:Envelope>`

var requests = []string{
	head + actionCreate + middle + `<rsp:Shell><rsp:IdleTimeOut>PT5S</rsp:IdleTimeOut></rsp:Shell>` + tail,
	head + actionCommand + middle + `<rsp:CommandLine><rsp:Command>ver</rsp:Command></rsp:CommandLine>` + tail,
	head + actionSend + middle + `<rsp:Send><rsp:Stream Name="stdin" CommandId="x">eA==</rsp:Stream></rsp:Send>` + tail,
	head + actionReceive + middle + `<rsp:Receive><rsp:DesiredStream CommandId="x">stdout</rsp:DesiredStream></rsp:Receive>` + tail,
	head + actionSignal + middle + `<rsp:Signal CommandId="x"><rsp:Code>` + signalURI + `terminate</rsp:Code></rsp:Signal>` + tail,
}

// TestSpoiltRequestsGetAnEnvelope sends requests with a few bytes changed; every answer must be an envelope.
func TestSpoiltRequestsGetAnEnvelope(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	s := New(Config{Machine: "M", MaxShellsPerUser: 1e6}, never{})
	defer s.Close()
	for range 500 {
		for _, request := range requests {
			raw := []byte(request)
			for range r.IntN(4) {
				raw[r.IntN(len(raw))] = byte(r.Uint32())
			}
			reply := s.Handle(t.Context(), "u", raw)
			if _, err := parse(reply.Body); err != nil || reply.Status != 200 && reply.Status != 500 {
				t.Fatalf("%q\nanswered %d %s (%v)", raw, reply.Status, reply.Body, err)
			}
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, request := range requests {
		f.Add(request)
	}
	f.Fuzz(func(t *testing.T, request string) {
		defer bounded.Input(t, len(request))()
		if e, err := parse([]byte(request)); err == nil {
			_, _ = duration(e.Header.Timeout)
		}
	})
}

func TestALongTextIsCutOutAndPutBack(t *testing.T) {
	payload := bytes.Repeat([]byte("0123456789"), 3000)
	request := head + actionSend + middle + `<rsp:Send><rsp:Stream Name="stdin" CommandId="x" End="true">` + base64.StdEncoding.EncodeToString(payload) + `</rsp:Stream></rsp:Send>` + tail
	if short, long := cutLong([]byte(request)); len(short) > 2000 || len(long) != 40000 {
		t.Fatalf("%d bytes remain, %d cut out", len(short), len(long))
	}
	e, err := parse([]byte(request))
	if err != nil || len(e.Body.Send.Streams) != 1 {
		t.Fatalf("%+v, %v", e, err)
	}
	s := &e.Body.Send.Streams[0]
	if got, err := s.data(); err != nil || !bytes.Equal(got, payload) || s.End != "true" || s.Command != "x" {
		t.Errorf("%d bytes back, %v", len(got), err)
	}
	if _, err := parse([]byte(strings.Replace(request, "</rsp:Stream>", "", 1))); err == nil {
		t.Error("an envelope that is not well-formed was read")
	}
}
