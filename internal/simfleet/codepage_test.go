package simfleet_test

import (
	"bytes"
	"net/http"
	"strings"
	"testing"

	"github.com/fleetmend/fleetmend/internal/simfleet"
)

// What programs print comes in the code page that the shell was made with, and the machine's own where none was asked for.
func TestCodePages(t *testing.T) {
	f := start(t, open(1, simfleet.Mix{}))
	for page, want := range map[string]string{"": "Z\x81rich ?\r\n", "437": "Z\x81rich ?\r\n", "1252": "Z\xfcrich ?\r\n", "65001": "Zürich 東\r\n", "nonsense": "Z\x81rich ?\r\n"} {
		c := basic(t, f, first(f), "http")
		c.page = page
		if out, _, _ := c.run("echo Zürich 東"); out != want {
			t.Errorf("code page %q: %q", page, out)
		}
	}
	c := basic(t, f, first(f), "http")
	c.page = "437"
	if out, _, _ := c.run("chcp 65001 & echo Zürich"); !strings.HasSuffix(out, "Zürich\r\n") {
		t.Errorf("after chcp: %q", out)
	}
	// Bytes that go through are not touched.
	shell := c.create()
	more := c.command(shell, "more", false)
	if status, reply := c.input(shell, more, []byte("Zürich"), true); status != http.StatusOK {
		t.Fatalf("send: %d %s", status, reply)
	}
	if out, _, _, _ := c.output(shell, more); out != "Zürich" {
		t.Errorf("more: %q", out)
	}
}

// A request that is too large gets Windows' answer, even while it is still being written, in the clear and sealed.
func TestRequestTooLarge(t *testing.T) {
	f := start(t, open(1, simfleet.Mix{}))
	user, domain, password := f.Account()
	sealed := dial(t, f, first(f), "http")
	if status := sealed.logon(user, domain, password.Reveal(), nil); status != http.StatusOK {
		t.Fatalf("sign in: %d", status)
	}
	for name, c := range map[string]*client{"clear": basic(t, f, first(f), "http"), "TLS": basic(t, f, first(f), "https"), "sealed": sealed} {
		shell := c.create()
		more := c.command(shell, "more", false)
		status, reply := c.input(shell, more, bytes.Repeat([]byte("x"), 1_100_000), false)
		if status != http.StatusRequestEntityTooLarge || reply != "" {
			t.Errorf("%s: %d %q", name, status, reply)
		}
	}
}
