package winrm

import (
	"bytes"
	"encoding/binary"
	"errors"
	"reflect"
	"strings"
	"testing"

	mzwinrm "github.com/masterzen/winrm"

	"github.com/fleetmend/fleetmend/internal/bounded"
	"github.com/fleetmend/fleetmend/internal/secret"
)

func FuzzSealed(f *testing.F) {
	whole := appendSealed(nil, 5, bytes.Repeat([]byte{1}, 16), []byte("hello"))
	f.Add(sealedType, whole)
	f.Add(sealedType, append(whole[:len(whole)-len("--"+sealedBoundary+"--\r\n")], whole...))
	f.Add(sealedType, whole[:len(whole)-30])
	f.Add(`multipart/encrypted;protocol="application/HTTP-SPNEGO-session-encrypted";boundary=x`, []byte("--x\r\n\tContent-Type: a\r\n"))
	f.Add(soapType, []byte("<s:Envelope/>"))
	f.Fuzz(func(t *testing.T, contentType string, body []byte) {
		defer bounded.Input(t, len(contentType)+len(body))()
		parts, err := parseSealed(contentType, body)
		if err != nil && !errors.Is(err, errMultipart) && !errors.Is(err, errPlain) {
			t.Fatalf("unclassified: %v", err)
		}
		for _, part := range parts {
			if len(part.signature) > longestSignature || !bytes.Contains(body, part.data) {
				t.Fatal("a part that is not in the body")
			}
		}
	})
}

func TestSealedRoundTrip(t *testing.T) {
	data := []byte("--" + sealedBoundary + "--\r\n and the boundary inside")
	signature := bytes.Repeat([]byte{7}, 16)
	parts, err := parseSealed(sealedType, appendSealed(nil, len(data), signature, data))
	if err != nil || len(parts) != 1 || !bytes.Equal(parts[0].data, data) || !bytes.Equal(parts[0].signature, signature) {
		t.Fatalf("%v %q", err, parts)
	}
	for _, cut := range []int{1, 2, 5, 40, 100, 150} {
		whole := appendSealed(nil, len(data), signature, data)
		if _, err := parseSealed(sealedType, whole[:len(whole)-len("--\r\n")-cut]); !errors.Is(err, errMultipart) {
			t.Errorf("cut by %d: %v", cut, err)
		}
	}
	wrong := bytes.Replace(appendSealed(nil, len(data), signature, data), []byte("Length="), []byte("Length=1"), 1)
	if _, err := parseSealed(sealedType, wrong); !errors.Is(err, errMultipart) {
		t.Errorf("a wrong length: %v", err)
	}
}

func FuzzReply(f *testing.F) {
	f.Add([]byte(receiveReply))
	f.Add([]byte(createReply))
	f.Add([]byte("<html>"))
	f.Add([]byte(strings.Replace(receiveReply, "</s:Body>", "a<s:Text/>b </s:Body>", 1)))
	f.Fuzz(func(t *testing.T, body []byte) {
		defer bounded.Input(t, len(body))()
		sameReply(t, body)
		out := &output{limit: 1 << 10}
		r, err := parseReply(body, out)
		if err != nil && !errors.Is(err, errNotSOAP) && !errors.Is(err, errTooMuch) {
			t.Fatalf("unclassified: %v", err)
		}
		if err == nil && r == nil || len(out.Stdout)+len(out.Stderr) > 1<<10 {
			t.Fatal("no reply, or more output than allowed")
		}
	})
}

// sameReply demands that the scanner reads what it takes as the decoder does.
func sameReply(t *testing.T, body []byte) {
	t.Helper()
	quick, slow := &output{limit: 1 << 10}, &output{limit: 1 << 10}
	r, ok, err := scanReply(bytes.Clone(body), quick)
	if !ok {
		if len(quick.Stdout)+len(quick.Stderr) > 0 {
			t.Error("the scanner wrote output of a message that it does not take")
		}
		return
	}
	want, wantErr := decodeReply(bytes.Clone(body), slow)
	if (err == nil) != (wantErr == nil) || err != nil && err.Error() != wantErr.Error() || !reflect.DeepEqual(r, want) ||
		!bytes.Equal(quick.Stdout, slow.Stdout) || !bytes.Equal(quick.Stderr, slow.Stderr) {
		t.Errorf("scanned  %+v, %v, %q\ndecoded %+v, %v, %q", r, err, quick.Stdout, want, wantErr, slow.Stdout)
	}
}

// What WinRM answers most is scanned, and every message cut anywhere is read as the decoder reads it.
func TestScannedReplies(t *testing.T) {
	declared := strings.Replace(createReply, ` xmlns:rsp="`+shellURI+`"`, "", 1)
	declared = strings.Replace(declared, "<s:Envelope ", `<s:Envelope xmlns:rsp="`+shellURI+`" `, 1)
	for _, body := range []string{receiveReply, declared, strings.Replace(receiveReply, ` End="true"></rsp:Stream>`, ` End="true"/>`, 1), `<s:Envelope xmlns:s="` + nsSOAP + `"/>`} {
		for behind, want := range map[string]bool{"": true, "\n": true, " \r\n\t": true, "x": false, "<": false, "<s:x/>": false} {
			if _, ok, err := scanReply([]byte(body+behind), nil); ok != want || err != nil {
				t.Errorf("scanned %v with %q behind it: %v %s", ok, behind, err, body)
			}
		}
		for i := range body {
			sameReply(t, []byte(body[:i]))
			for _, odd := range []string{"&lt;", "<", ">", "<!-- -->", "]]>", "\r", "\x00", "\"", " x:y='1' ", "</s:Body>", "<s:Text/>", "é", "\xff"} {
				sameReply(t, []byte(body[:i]+odd+body[i:]))
			}
			if body[i] != '>' {
				continue
			}
			for _, odd := range []string{" xmlns='urn:x'", " xmlns:y=''", " xmlns:s='urn:y'", " xmlns:y='urn:y'", " x='a<b'", " x='a&b'", " x='a\tb'", " x = '1'", " x='1'y='2'", " x:='1'", " x", " x='1", "/"} {
				sameReply(t, []byte(body[:i]+odd+body[i:]))
			}
			for _, odd := range []string{"<x/>", "<x:/>", "<s::Text/>", "<s:a:Text/>", "<s:9/>", "<none:Text/>", "<:s/>", "<s:Text>a</s:text>", "<s:Text >a</s:Text >"} {
				sameReply(t, []byte(body[:i+1]+odd+body[i+1:]))
			}
		}
	}
}

const createReply = `<s:Envelope xml:lang="en-US" xmlns:s="http://www.w3.org/2003/05/soap-envelope" xmlns:a="http://schemas.xmlsoap.org/ws/2004/08/addressing" ` +
	`xmlns:x="http://schemas.xmlsoap.org/ws/2004/09/transfer" xmlns:w="http://schemas.dmtf.org/wbem/wsman/1/wsman.xsd"><s:Header>` +
	`<a:Action>http://schemas.xmlsoap.org/ws/2004/09/transfer/CreateResponse</a:Action><a:RelatesTo>uuid:D0</a:RelatesTo></s:Header><s:Body>` +
	`<x:ResourceCreated><a:Address>http://h:5985/wsman</a:Address><a:ReferenceParameters><w:SelectorSet><w:Selector Name="ShellId">67A7</w:Selector>` +
	`</w:SelectorSet></a:ReferenceParameters></x:ResourceCreated><rsp:Shell xmlns:rsp="http://schemas.microsoft.com/wbem/wsman/1/windows/shell">` +
	`<rsp:ShellId>67A7</rsp:ShellId></rsp:Shell></s:Body></s:Envelope>`

const receiveReply = `<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope" xmlns:a="http://schemas.xmlsoap.org/ws/2004/08/addressing" ` +
	`xmlns:rsp="http://schemas.microsoft.com/wbem/wsman/1/windows/shell"><s:Header><a:Action>http://schemas.microsoft.com/wbem/wsman/1/windows/shell/ReceiveResponse` +
	`</a:Action><a:RelatesTo>uuid:D1</a:RelatesTo></s:Header><s:Body><rsp:ReceiveResponse><rsp:Stream Name="stdout" CommandId="C">aGVsbG8=</rsp:Stream>` +
	`<rsp:Stream Name="stderr" CommandId="C">d2Fybg==</rsp:Stream><rsp:Stream Name="stdout" CommandId="C" End="true"></rsp:Stream>` +
	`<rsp:CommandState CommandId="C" State="http://schemas.microsoft.com/wbem/wsman/1/windows/shell/CommandState/Done"><rsp:ExitCode>123</rsp:ExitCode>` +
	`</rsp:CommandState></rsp:ReceiveResponse></s:Body></s:Envelope>`

// The library's parsers and ours must read the same in the same replies.
func TestReplyAgreesWithTheLibrary(t *testing.T) {
	r, err := parseReply([]byte(createReply), nil)
	shell, libraryErr := mzwinrm.ParseOpenShellResponse(createReply)
	if err != nil || libraryErr != nil || r.shellID != shell || shell != "67A7" || r.relatesTo != "uuid:D0" {
		t.Errorf("shell %q and %q, %v, %v", r.shellID, shell, err, libraryErr)
	}
	out := &output{limit: 100}
	if r, err = parseReply([]byte(receiveReply), out); err != nil {
		t.Fatal(err)
	}
	var stdout, stderr bytes.Buffer
	done, exit, err := mzwinrm.ParseSlurpOutputErrResponse(receiveReply, &stdout, &stderr)
	if err != nil || !done || !r.done || exit != r.exitCode || stdout.String() != string(out.Stdout) || stderr.String() != string(out.Stderr) || exit != 123 {
		t.Errorf("%v: done %v, exit %d and %d, %q and %q", err, r.done, exit, r.exitCode, &stdout, out.Stdout)
	}
}

// The Send that is filled here must be byte for byte the one the library builds.
func TestSendIsTheLibrarysOwn(t *testing.T) {
	v := &values{to: "http://h:5985/wsman", messageID: newMessageID(), timeout: "PT20S", shellID: "S", commandID: "C", stdin: []byte("a\x00<payload>")}
	want := mzwinrm.NewSendInputRequest(v.to, "S", "C", v.stdin, true, mzwinrm.NewParameters("PT20S", locale, envelopeSize)).String()
	want = strings.TrimSpace(want)
	want = messageIDPattern.ReplaceAllString(want, v.messageID)
	if got := string(shellEnvelopes().sendEnd.fill(nil, v)); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func FuzzChallenge(f *testing.F) {
	f.Add(challenge(flagsWanted, 2, 4, "ABCD", 7, 8, "12345678", 0, 0, ""))
	f.Add(challenge(flagsWanted, 6, 2, "AB", 0, 0, ""))
	f.Add(challenge(flagsWanted&^flagSeal, 0, 0, ""))
	f.Fuzz(func(t *testing.T, message []byte) {
		defer bounded.Input(t, len(message))()
		n := testNTLM(t)
		if _, err := n.authenticate(message, []byte("hash")); err == nil && n.in.cipher == nil {
			t.Fatal("no session after a good challenge")
		}
		if n.in.cipher == nil {
			return
		}
		if _, err := n.unseal(sealedPart{signature: message[:min(len(message), 16)], data: message}); err == nil {
			t.Fatal("a seal out of thin air was accepted")
		}
	})
}

func TestWeakChallengesAreRefused(t *testing.T) {
	good := challenge(flagsWanted, 7, 8, "12345678", 0, 0, "")
	if _, err := testNTLM(t).authenticate(good, nil); err != nil {
		t.Fatalf("the good one: %v", err)
	}
	for bit := range 32 {
		if flagsWanted&(1<<bit) == 0 {
			continue
		}
		if _, err := testNTLM(t).authenticate(challenge(flagsWanted&^(1<<bit), 7, 8, "12345678", 0, 0, ""), nil); !errors.Is(err, errWeak) {
			t.Errorf("without flag %08x: %v", 1<<bit, err)
		}
	}
	for name, message := range map[string][]byte{
		"short": good[:47], "not NTLM": []byte(strings.Repeat("x", 80)), "cut": good[:len(good)-1], "no end": challenge(flagsWanted, 7, 8, "12345678"),
		"short flags": challenge(flagsWanted, 6, 1, "x", 0, 0, ""), "pair too long": challenge(flagsWanted, 2, 400, "x", 0, 0, ""),
	} {
		if _, err := testNTLM(t).authenticate(message, nil); !errors.Is(err, errChallenge) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func testNTLM(t *testing.T) *ntlmClient {
	n, err := newNTLM(Credential{User: "u", Domain: "d", Password: testPassword})
	if err != nil {
		t.Fatal(err)
	}
	n.negotiate()
	return n
}

// challenge builds a CHALLENGE_MESSAGE from flags and (id, length, value) triples.
func challenge(flags uint32, pairs ...any) []byte {
	var info []byte
	for i := 0; i < len(pairs); i += 3 {
		info = binary.LittleEndian.AppendUint16(info, uint16(pairs[i].(int)))
		info = binary.LittleEndian.AppendUint16(info, uint16(pairs[i+1].(int)))
		info = append(info, pairs[i+2].(string)...)
	}
	m := append([]byte("NTLMSSP\x00"), 2, 0, 0, 0)
	m = append(m, 0, 0, 0, 0, 48, 0, 0, 0) // no target name
	m = binary.LittleEndian.AppendUint32(m, flags)
	m = append(m, "\x01\x23\x45\x67\x89\xab\xcd\xef\x00\x00\x00\x00\x00\x00\x00\x00"...)
	m = binary.LittleEndian.AppendUint16(m, uint16(len(info)))
	m = binary.LittleEndian.AppendUint16(m, uint16(len(info)))
	m = binary.LittleEndian.AppendUint32(m, 48)
	return append(m, info...)
}

var testPassword = secret.New("p")
