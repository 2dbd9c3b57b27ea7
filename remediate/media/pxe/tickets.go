package pxe

import (
	"crypto/rand"
	"net/netip"
	"sync"
	"time"
)

// File is given to one machine only.
type File struct {
	Name    string // as it appears in \Windows\System32 of the started system
	Content []byte
}

const (
	ticketLife  = 15 * time.Minute
	mostTickets = 4096
	mostFiles   = 16
	mostContent = 16 << 20 // bytes of one machine
)

// tickets are the one-time tokens under which machines fetch their own files. They live in memory.
type tickets struct {
	mu  sync.Mutex
	all map[string]*ticket
}

type ticket struct {
	client Client
	until  time.Time
	files  map[string][]byte
}

// issue makes a token for the files of a client. When there are too many, the oldest goes.
func (t *tickets) issue(c Client, files []File, now time.Time) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.all == nil {
		t.all = map[string]*ticket{}
	}
	oldest := ""
	for token, k := range t.all {
		if now.After(k.until) {
			delete(t.all, token)
		} else if oldest == "" || k.until.Before(t.all[oldest].until) {
			oldest = token
		}
	}
	if len(t.all) >= mostTickets {
		delete(t.all, oldest)
	}
	token := rand.Text()
	k := &ticket{client: c, until: now.Add(ticketLife), files: map[string][]byte{}}
	for _, f := range files {
		k.files[f.Name] = f.Content
	}
	t.all[token] = k
	return token
}

// redeem hands out a file, once, to the address that got the token.
func (t *tickets) redeem(token, name string, from netip.Addr, now time.Time) ([]byte, Client, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	k := t.all[token]
	if k == nil || now.After(k.until) || k.client.Address != from {
		return nil, Client{}, false
	}
	b, ok := k.files[name]
	delete(k.files, name)
	if len(k.files) == 0 {
		delete(t.all, token)
	}
	return b, k.client, ok
}
