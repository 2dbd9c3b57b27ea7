package pxe

import (
	"net/http"
	"net/netip"
	"path"
	"strings"
)

// mostKnown bounds what is remembered of machines; nobody's network is larger, and who floods it with addresses gains nothing.
const mostKnown = 1 << 16

// acquaintances remember which machine has which address, because TFTP and HTTP do not say whom they serve, and which
// machines have been started.
type acquaintances struct {
	at      map[netip.Addr]Client
	started map[string]bool // by MAC address
}

// note learns from an event, and completes it with the name of the machine.
func (k *acquaintances) note(e *Event) {
	if k.at == nil {
		k.at, k.started = map[netip.Addr]Client{}, map[string]bool{}
	}
	c := &e.Client
	known, met := k.at[c.Address]
	switch {
	case c.MAC == "":
		c.MAC, c.UUID = known.MAC, known.UUID
	case c.Address.IsValid() && (met || len(k.at) < mostKnown):
		k.at[c.Address] = *c
	}
	if e.whole && c.MAC != "" && strings.EqualFold(path.Base(e.File), "boot.wim") && len(k.started) < mostKnown {
		k.started[c.MAC] = true
	}
}

// fetched says what a request of HTTP for a file got of its size.
func fetched(r *http.Request, sent, size int64) (what string, whole, answered bool) {
	switch {
	case r.Method == http.MethodHead:
		return "asked for the size of", false, true
	case sent == size:
		return "fetched", true, true
	case r.Header.Get("Range") != "":
		return "fetched a part of", false, true
	case r.Header.Get("If-Modified-Since") != "" && sent == 0:
		return "has already", false, true
	}
	return "did not get all of", false, false
}
