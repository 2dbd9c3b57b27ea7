package kerberos

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/internal/network"
)

const (
	largestAnswer = 1 << 20         // bytes; a ticket with a thousand groups takes 20 KB
	hedge         = 3 * time.Second // after which a question without a secret goes to the next KDC as well
	slow          = 5 * time.Second // an answer that took longer is worth a word
	sitsOut       = time.Minute     // how long a KDC that did not answer is asked last
	mostKDCs      = 32
	mostParallel  = 16
)

// pool are the KDCs of a realm.
type pool struct {
	realm string
	now   func() time.Time

	mu   sync.Mutex
	kdcs []*kdc
}

// kdc is one of them.
type kdc struct {
	name, address string
	timeout       time.Duration
	dial          func(ctx context.Context, network, address string) (net.Conn, error)
	log           *slog.Logger
	gate          gate
	out           time.Time // until when it is asked last; guarded by the pool
}

// pool finds the KDCs of a realm: those of the settings, or those that DNS names (RFC 4120 section 7.2.3.2), the site's first.
func (a *Account) pool(ctx context.Context, realm string) (*pool, error) {
	a.mu.Lock()
	known := a.pools[strings.ToUpper(realm)]
	a.mu.Unlock()
	if known != nil {
		return known, nil
	}
	p := &pool{realm: realm, now: a.config.now}
	if len(a.config.KDCs) > 0 && strings.EqualFold(realm, a.config.Realm) {
		for _, k := range a.config.KDCs {
			p.add(a, k)
		}
	} else if err := a.discover(ctx, p); err != nil {
		return nil, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if known := a.pools[strings.ToUpper(realm)]; known != nil {
		return known, nil
	}
	a.pools[strings.ToUpper(realm)] = p
	return p, nil
}

func (a *Account) discover(ctx context.Context, p *pool) error {
	domain := strings.ToLower(p.realm)
	names := []string{"dc._msdcs." + domain, domain}
	if a.config.Site != "" {
		names = append([]string{a.config.Site + "._sites." + names[0]}, names...)
	}
	var last error
	for _, name := range names {
		_, found, err := a.config.Resolver.LookupSRV(ctx, "kerberos", "tcp", name)
		last = cmp.Or(err, last)
		for _, srv := range found {
			host := strings.ToLower(strings.TrimSuffix(srv.Target, "."))
			p.add(a, KDC{host, net.JoinHostPort(host, fmt.Sprint(srv.Port))})
		}
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if len(p.kdcs) == 0 {
		return &Error{Reason: Silent, Err: hint.Wrapf(fmt.Errorf("DNS names no Kerberos server of %s: %w", p.realm, cmp.Or(last, errors.New("no answer"))),
			"check the realm, or name its domain controllers in the settings")}
	}
	return nil
}

// add takes each once.
func (p *pool) add(a *Account, k KDC) {
	address := cmp.Or(k.Address, k.Name)
	if _, _, err := net.SplitHostPort(address); err != nil {
		address = net.JoinHostPort(strings.Trim(address, "[]"), "88")
	}
	if len(p.kdcs) < mostKDCs && !slices.ContainsFunc(p.kdcs, func(k *kdc) bool { return k.address == address }) {
		p.kdcs = append(p.kdcs, &kdc{name: k.Name, address: address, timeout: a.config.Timeout, dial: a.config.DialTCP, log: a.config.Logger,
			gate: gate{limit: a.config.Parallel}})
	}
}

// inOrder are the KDCs, those that did not answer lately last.
func (p *pool) inOrder() []*kdc {
	p.mu.Lock()
	defer p.mu.Unlock()
	now, list := p.now(), slices.Clone(p.kdcs)
	slices.SortStableFunc(list, func(x, y *kdc) int {
		return cmp.Compare(bit(now.Before(x.out)), bit(now.Before(y.out)))
	})
	return list
}

func bit(b bool) int {
	if b {
		return 1
	}
	return 0
}

func (p *pool) mark(k *kdc, until time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	k.out = until
}

// ask puts a question in which no secret is: to one KDC, and where it is silent for a while or cannot be reached, to the next as well.
// The first answer counts.
func (p *pool) ask(ctx context.Context, message []byte) ([]byte, *kdc, error) {
	type answer struct {
		kdc *kdc
		b   []byte
		err error
	}
	asking, cancel := context.WithCancel(ctx)
	list := p.inOrder()
	answers := make(chan answer, len(list))
	asked, open := 0, 0
	next := func() {
		k := list[asked]
		asked++
		open++
		go func() {
			b, err := k.exchange(asking, message)
			answers <- answer{k, b, err}
		}()
	}
	defer func() {
		cancel()
		for ; open > 0; open-- {
			<-answers // each ends with its connection
		}
	}()
	next()
	patience := time.NewTimer(hedge)
	defer patience.Stop()
	var reasons []string
	for {
		select {
		case a := <-answers:
			open--
			if a.err == nil {
				p.mark(a.kdc, time.Time{})
				return a.b, a.kdc, nil
			}
			if ctx.Err() != nil {
				return nil, nil, context.Cause(ctx)
			}
			p.mark(a.kdc, p.now().Add(sitsOut))
			reasons = append(reasons, a.err.Error())
			if asked < len(list) {
				next()
				patience.Reset(hedge)
			} else if open == 0 {
				return nil, nil, failed(Silent, "open TCP port 88 to a domain controller; what needs no Kerberos goes on",
					"no Kerberos server of %s answers: %s", p.realm, strings.Join(reasons, "; "))
			}
		case <-patience.C:
			if asked < len(list) {
				for _, k := range list[:asked] {
					p.mark(k, p.now().Add(sitsOut))
				}
				next()
				patience.Reset(hedge)
			}
		}
	}
}

// exchange is one question and its answer over TCP (RFC 4120 section 7.2.2).
func (k *kdc) exchange(ctx context.Context, message []byte) (b []byte, err error) {
	if err := k.gate.enter(ctx); err != nil {
		return nil, err
	}
	began := time.Now()
	limited, cancel := context.WithTimeout(ctx, k.timeout)
	defer cancel()
	defer func() {
		late := limited.Err() != nil
		k.gate.leave(err == nil, late && ctx.Err() == nil)
		if took := time.Since(began); err == nil && took > slow {
			k.log.Warn(fmt.Sprintf("the Kerberos server %s is slow: it took %d s", k.name, int(took.Seconds())))
		}
		if late && ctx.Err() == nil {
			err = fmt.Errorf("%s did not answer within %v", k.name, k.timeout)
		}
	}()
	conn, err := k.dial(limited, "tcp", k.address)
	if err != nil {
		return nil, network.Plain(k.name, err)
	}
	defer conn.Close()
	release := context.AfterFunc(limited, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer release()
	if _, err := conn.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(message))), message...)); err != nil { //nolint:gosec // a message is small
		return nil, network.Plain(k.name, err)
	}
	var size [4]byte
	if _, err := io.ReadFull(conn, size[:]); err != nil {
		return nil, network.Plain(k.name, err)
	}
	n := binary.BigEndian.Uint32(size[:])
	if n == 0 || n > largestAnswer {
		return nil, fmt.Errorf("%s: %w", k.name, errMalformed)
	}
	b = make([]byte, n)
	if _, err := io.ReadFull(conn, b); err != nil {
		return nil, network.Plain(k.name, err)
	}
	if is(b, tagError) {
		if e, err := parseError(b); err == nil && e.ErrorCode == codeUnavailable {
			return nil, fmt.Errorf("%s is not in service", k.name)
		}
	}
	return b, nil
}

// codeUnavailable is said by a KDC that cannot reach its directory (RFC 4120 section 7.5.9).
const codeUnavailable = 29

// gate bounds what is asked of one KDC at the same time: half as much after an answer that did not come in time, and slowly more
// again. Its zero value with a limit is ready.
type gate struct {
	mu      sync.Mutex
	limit   int
	used    int
	inARow  int // answers
	waiting []chan struct{}
}

func (g *gate) enter(ctx context.Context) error {
	g.mu.Lock()
	if g.used < g.limit {
		g.used++
		g.mu.Unlock()
		return nil
	}
	turn := make(chan struct{})
	g.waiting = append(g.waiting, turn)
	g.mu.Unlock()
	select {
	case <-turn:
		return nil
	case <-ctx.Done():
	}
	g.mu.Lock()
	i := slices.Index(g.waiting, turn)
	if i >= 0 {
		g.waiting = slices.Delete(g.waiting, i, i+1)
	}
	g.mu.Unlock()
	if i < 0 { // it was let in meanwhile
		g.leave(false, false)
	}
	return context.Cause(ctx)
}

func (g *gate) leave(answered, late bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.used--
	switch {
	case late:
		g.limit, g.inARow = max(g.limit/2, 1), 0
	case answered:
		if g.inARow++; g.inARow >= 4*g.limit && g.limit < mostParallel {
			g.limit, g.inARow = g.limit+1, 0
		}
	}
	for g.used < g.limit && len(g.waiting) > 0 {
		g.used++
		close(g.waiting[0])
		g.waiting = g.waiting[1:]
	}
}
