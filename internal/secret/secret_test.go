package secret_test

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"

	"github.com/fleetmend/fleetmend/internal/secret"
)

const planted = "Planted-Passw0rd!"

func TestNoFormatterShowsIt(t *testing.T) {
	s := secret.New(planted)
	type holder struct {
		S      secret.String
		P      *secret.String
		hidden secret.String // fmt cannot call its methods
	}
	h := holder{s, &s, s}
	var seen bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%T %v"} {
		fmt.Fprintf(&seen, verb, s)
		fmt.Fprintf(&seen, verb, h)
		fmt.Fprintf(&seen, verb, &h)
	}
	fmt.Fprintln(&seen, s, h, errors.New(s.String()), fmt.Errorf("wrapped %v", h))
	asJSON, err := json.Marshal(h)
	if err != nil {
		t.Fatal(err)
	}
	asYAML, err := yaml.Marshal(h)
	if err != nil {
		t.Fatal(err)
	}
	asXML, err := xml.Marshal(h)
	if err != nil {
		t.Fatal(err)
	}
	seen.Write(asJSON)
	seen.Write(asYAML)
	seen.Write(asXML)
	slog.New(slog.NewJSONHandler(&seen, nil)).Info("x", "s", s, "h", h)
	slog.New(slog.NewTextHandler(&seen, nil)).Info("x", "s", s, "h", h)
	for _, form := range []string{planted, fmt.Sprintf("%x", planted), fmt.Sprintf("%X", planted)} {
		if strings.Contains(seen.String(), form) {
			t.Fatalf("a formatter printed the secret: %s", seen.String())
		}
	}
	if !strings.Contains(seen.String(), secret.Dots) {
		t.Fatal("dots expected")
	}
	if !h.hidden.Equal(secret.New(planted)) || s.Equal(secret.New("other")) {
		t.Fatal("Equal is wrong")
	}
	if s.Reveal() != planted || s.IsZero() || !secret.New("").IsZero() {
		t.Fatal("Reveal or IsZero is wrong")
	}
}
