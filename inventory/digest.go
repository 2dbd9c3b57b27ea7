package inventory

import (
	"context"
	"database/sql"
	"encoding/binary"
	"errors"
	"strings"
	"time"

	"github.com/fleetmend/fleetmend/internal/sqlitefile"
)

// The digest of the inventory holds every machine as it was merged. What changes one notes its ID in digest_log, by triggers of the
// file itself (migration 8), so that no writer can forget it: those machines are read from their records.

// stale is how many machines may have changed before the digest is made anew.
const stale = 1000

// streamIn calls do with every machine, in no order. It returns the digest to be kept; nil where that which is kept does.
func streamIn(ctx context.Context, tx *sql.Tx, do func(*Machine) error) (*kept, error) {
	made := &kept{}
	err := tx.QueryRowContext(ctx, "SELECT (SELECT n FROM generation), coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'digest_log'), 0)").
		Scan(&made.generation, &made.Number)
	if err != nil {
		return nil, err
	}
	var changed []string
	var machine Machine
	is := map[string]bool{}
	found, err := sqlitefile.ReadDigest(ctx, tx, "", func(number int64, _ int) error {
		return each(ctx, tx, "SELECT DISTINCT id FROM digest_log WHERE n > ?", func(scan func(...any) error) error {
			var id string
			err := scan(&id)
			changed, is[id] = append(changed, id), true
			return err
		}, number)
	}, func(row string) error {
		machine = Machine{}
		if err := machine.unpack(row); err != nil || is[machine.ID] {
			return err
		}
		return made.hand(&machine, len(changed) > stale, do)
	})
	if err != nil {
		return nil, err
	}
	if !found {
		return made, readAll(ctx, tx, func(m *Machine) error { return made.hand(m, true, do) })
	}
	others, err := loadOnly(ctx, tx, changed)
	for n := range others {
		if err == nil {
			err = made.hand(&others[n], len(changed) > stale, do)
		}
	}
	if len(changed) <= stale {
		made = nil
	}
	return made, err
}

// kept is a digest that was made while machines were read.
type kept struct {
	sqlitefile.Digest
	generation int64
	packed     []byte
}

// hand gives a machine to do. Where it is kept, that is the machine as it will be read from the digest.
func (k *kept) hand(m *Machine, keep bool, do func(*Machine) error) error {
	if keep {
		k.packed = m.pack(k.packed[:0])
		k.Add(k.packed)
		*m = Machine{}
		if err := m.unpack(string(k.packed)); err != nil {
			return err
		}
	}
	return do(m)
}

// keep writes a digest that was made.
func (s *Store) keep(ctx context.Context, made *kept) {
	if made == nil {
		return
	}
	s.db.KeepDigest(ctx, "", &made.Digest, sqlitefile.Keeping{Forget: "DELETE FROM digest_log WHERE n <= ?", Unchanged: func(ctx context.Context, tx *sql.Tx) (same bool, err error) {
		err = tx.QueryRowContext(ctx, "SELECT n = ? FROM generation", made.generation).Scan(&same)
		return same, err
	}})
}

// pack appends the machine as it is in a digest: how long its identity is, its identity, and the rest.
func (m *Machine) pack(to []byte) []byte {
	c := codec{writes: true}
	c.identity(m)
	identity := len(c.out)
	c.rest(m)
	to = binary.AppendUvarint(to, uint64(identity)) //nolint:gosec // a length
	return append(to, c.out...)
}

var errDigest = errors.New("the digest of the inventory does not have the form it was written in")

// unpack fills an empty machine. The texts of its identity are in memory of their own, the others parts of packed: who goes through
// 50,000 machines may keep who they are, and not the rest with it.
func (m *Machine) unpack(packed string) error {
	size, width := sqlitefile.Uvarint(packed)
	if width <= 0 || size > uint64(len(packed)-width) { //nolint:gosec // a length
		return errDigest
	}
	end := width + int(size) //nolint:gosec // no more than packed has
	c := codec{in: strings.Clone(packed[width:end])}
	c.identity(m)
	if c.bad || c.in != "" {
		return errDigest
	}
	c.in = packed[end:]
	c.rest(m)
	if c.bad || c.in != "" {
		return errDigest
	}
	return nil
}

// codec writes values one after the other, or reads them in the same order.
type codec struct {
	writes bool
	out    []byte
	in     string
	bad    bool
}

// identity is what a machine is found by, beside other sources.
func (c *codec) identity(m *Machine) {
	for _, text := range [...]*string{&m.ID, &m.Name, &m.FQDN, &m.Serial, &m.Claims.ObjectGUID, &m.Claims.EntraDeviceID} {
		c.text(text)
	}
}

// rest is all else that [snapshotMachine] fills.
func (c *codec) rest(m *Machine) {
	for _, text := range [...]*string{&m.Address, &m.Domain, &m.OU, &m.Site, &m.Subnet, (*string)(&m.Class), &m.OS.Name, &m.OS.Version,
		&m.Manufacturer, &m.Model, &m.Owner, (*string)(&m.Health), &m.HealthReason, &m.Encrypted,
		&m.Claims.SID, &m.Claims.IntuneID, &m.Claims.ARMID, &m.Claims.VMID, &m.Claims.FalconAID, &m.Claims.SMBIOS} {
		c.text(text)
	}
	for _, list := range [...]*[]string{&m.MACs, &m.Tags, &m.Sources, &m.Groups, &m.NestedGroups, &m.Conflicts} {
		c.list(list)
	}
	c.int(&m.OS.Build)
	c.int(&m.Priority)
	c.flag(&m.Enabled)
	c.flag(&m.Gone)
	c.time(&m.LastSeen)
	c.time(&m.Installed)
	probed := m.Probe != nil
	if c.flag(&probed); !probed {
		return
	}
	if !c.writes {
		m.Probe = &ProbeResult{}
	}
	c.probe(m.Probe)
}

func (c *codec) probe(p *ProbeResult) {
	c.time(&p.At)
	c.flag(&p.Open)
	c.flag(&p.WinRM)
	c.number((*int64)(&p.Latency))
	c.list(&p.Auth)
	c.text(&p.Product)
	c.text(&p.Error)
}

func (c *codec) number(n *int64) {
	if c.writes {
		c.out = binary.AppendVarint(c.out, *n)
		return
	}
	if len(c.in) > 0 && c.in[0] < 0x80 { // nearly all of them
		*n = int64(c.in[0]>>1) ^ -int64(c.in[0]&1)
		c.in = c.in[1:]
		return
	}
	zigzag, width := sqlitefile.Uvarint(c.in)
	c.bad = c.bad || width <= 0
	c.in = c.in[width:]
	*n = int64(zigzag>>1) ^ -int64(zigzag&1)
}

func (c *codec) int(n *int) {
	wide := int64(*n)
	c.number(&wide)
	*n = int(wide)
}

func (c *codec) flag(is *bool) {
	n := int64(0)
	if *is {
		n = 1
	}
	c.number(&n)
	*is = n != 0
}

func (c *codec) time(t *time.Time) {
	seconds, nanos := t.Unix(), int64(t.Nanosecond())
	c.number(&seconds)
	c.number(&nanos)
	*t = time.Unix(seconds, nanos).UTC()
}

func (c *codec) text(s *string) {
	n := len(*s)
	c.int(&n)
	if c.writes {
		c.out = append(c.out, *s...)
		return
	}
	if n < 0 || n > len(c.in) {
		c.bad, n = true, 0
	}
	*s, c.in = c.in[:n], c.in[n:]
}

// list tells an empty list from none.
func (c *codec) list(l *[]string) {
	n := len(*l)
	if *l == nil {
		n = -1
	}
	c.int(&n)
	if !c.writes && n >= 0 {
		if n > len(c.in) {
			c.bad, n = true, 0
		}
		*l = make([]string, n)
	}
	for i := range *l {
		c.text(&(*l)[i])
	}
}
