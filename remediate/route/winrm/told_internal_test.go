package winrm

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/fleetmend/fleetmend/remediate/route"
)

// An account is at home where the machine names its domain, and where it names none: nothing is said against it there.
func TestWhereAnAccountIsAtHome(t *testing.T) {
	fleet, branch := domainNames{"FLEET", "FLEET.TEST"}, domainNames{"BRANCH", "BRANCH.TEST"}
	for _, c := range []struct {
		credential Credential
		in         domainNames
		home       bool
	}{
		{Credential{User: "ada@fleet.test"}, fleet, true}, {Credential{User: "ada@fleet.test"}, branch, false}, {Credential{User: "ada@fleet.test"}, domainNames{}, true},
		{Credential{User: "ada", Domain: "FLEET"}, fleet, true}, {Credential{User: "ada", Domain: "FLEET"}, branch, false}, {Credential{User: "ada", Domain: "FLEET"}, domainNames{}, true},
		{Credential{User: "ada"}, branch, true}, {Credential{User: "ada", Own: true}, branch, true},
	} {
		if got := c.credential.signsIn(route.Target{Name: "WS1"}, c.in); got.Home != c.home {
			t.Errorf("%+v in %v: %+v", c.credential, c.in, got)
		}
	}
}

// A store of our own that cannot be used stops the run; that a machine has no password is of that machine alone.
func TestWhatNoCredentialMeans(t *testing.T) {
	ill := errors.New("ill")
	for want, err := range map[route.Class]error{route.Stopped: &route.StoreError{Store: "the vault", Err: ill}, route.Refused: ill} {
		r := &Route{config: Config{Credential: func(context.Context, route.Target) (Credential, error) { return Credential{}, err }}}
		if _, got := r.credential(t.Context(), route.Target{Name: "WS1"}); route.ClassOf(got) != want || !errors.Is(got, ill) {
			t.Errorf("%v, not %s", got, want)
		}
	}
}

// turned is a seal of one byte that is added to each of the message, in place.
type turned struct{}

func (turned) seal(message []byte) (signature, sealed []byte, err error) {
	for i := range message {
		message[i]++
	}
	return []byte("0123456789abcdef"), message, nil
}

func (turned) unseal(part sealedPart) ([]byte, error) {
	for i := range part.data {
		part.data[i]--
	}
	return part.data, nil
}

// An answer may come sealed in several parts in a row: they are one message, and to open one in place spoils none behind it.
func TestAnAnswerInSeveralParts(t *testing.T) {
	texts := []string{"<one>", "<the second one, which is longer than what is around it>", "", "<three>"}
	var body []byte
	end := "--" + sealedBoundary + "--\r\n"
	for _, text := range texts {
		signature, sealed, _ := turned{}.seal([]byte(text))
		body = appendSealed(bytes.TrimSuffix(body, []byte(end)), len(text), signature, sealed)
	}
	s := &session{link: &link{sealer: turned{}}}
	got, err := s.message("receive", &answer{status: http.StatusOK, contentType: sealedType, body: body})
	if want := strings.Join(texts, ""); err != nil || string(got) != want {
		t.Errorf("%v %q, not %q", err, got, want)
	}
}

// What says nothing on a new connection is given up soon; what has spoken may take as long as an answer may take.
func TestPatienceGrowsWithTheFirstWord(t *testing.T) {
	ours, theirs := net.Pipe()
	defer ours.Close()
	go func() { _, _ = io.Copy(io.Discard, theirs) }()
	l := &link{conn: ours, receive: time.Hour}
	if got := l.patience(); got != firstAnswer {
		t.Errorf("at first: %s", got)
	}
	if err := l.write(t.Context(), soapType, "", nil, ""); err != nil {
		t.Fatal(err)
	}
	if got := l.patience(); got != time.Hour {
		t.Errorf("after a request: %s", got)
	}
}
