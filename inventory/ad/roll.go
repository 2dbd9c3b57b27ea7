package ad

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/fleetmend/fleetmend/internal/directory"
	"github.com/fleetmend/fleetmend/inventory"
)

// domain is one domain of a reading.
type domain struct {
	*reading
	conn    *directory.Conn
	name    string
	mark    mark
	sid     string                 // of the domain; empty: not readable
	edges   map[string][]string    // group -> groups it is in, the first in lower case
	rids    map[string]string      // last part of the SID of a primary group -> its distinguished name, empty where there is none
	members map[string]*membership // by what computers say of their groups
}

// object is a computer that answered.
type object struct {
	domain  *domain
	key     string // objectGUID, or the distinguished name where that is not readable
	dn      string
	usn     int64
	groups  []string // that list it as a member
	primary string   // last part of the SID of its primary group
	partial bool     // there are more groups than the directory gave at once

	read    bool // its attributes, not only the roll
	leftOut string
	fields  map[string]string
	in      *membership // kept by membership
	mark    string      // kept by stamp
}

// rollAttributes are what the roll asks: who is there, at which change, under which name, and in which groups.
var rollAttributes = []string{"objectGUID", "uSNChanged", "memberOf", "primaryGroupID"}

// filter picks the computers of the scope. Groups are judged here: the rule for members of members is dear on a domain
// controller, and one level of it says nothing of the others.
func (r *reading) filter() string {
	if r.Disabled {
		return directory.Computers
	}
	return fmt.Sprintf("(&%s(!(userAccountControl:1.2.840.113556.1.4.803:=%d)))", directory.Computers, uacDisabled)
}

// bases gives where to search.
func (d *domain) bases() []string {
	if len(d.Bases) == 0 {
		return []string{d.conn.Root.DefaultNamingContext}
	}
	var out []string
	for _, b := range d.Bases {
		if len(d.domains) == 1 || strings.HasSuffix(strings.ToLower(b), strings.ToLower(d.conn.Root.DefaultNamingContext)) {
			out = append(out, b)
		}
	}
	return out
}

// call calls the roll.
func (d *domain) call(ctx context.Context) error { return d.search(ctx, rollAttributes, false) }

// readAll reads everything, which is a roll call as well.
func (d *domain) readAll(ctx context.Context) error { return d.search(ctx, attributes, true) }

func (d *domain) search(ctx context.Context, attributes []string, read bool) error {
	var partial []*object
	for _, base := range d.bases() {
		sum, err := d.conn.Search(ctx, directory.Query{Base: base, Filter: d.filter(), Attributes: attributes}, func(e *directory.Entry) error {
			if o := d.take(e, read); o.partial {
				partial = append(partial, o)
			}
			return nil
		})
		for _, url := range sum.Referrals {
			if !slices.Contains(d.Referrals, url) {
				d.Referrals = append(d.Referrals, url)
			}
		}
		if err != nil {
			return err
		}
	}
	return d.complete(ctx, partial)
}

// complete reads the groups of those that are in more than a domain controller gives at once, and finds primary groups.
func (d *domain) complete(ctx context.Context, partial []*object) (err error) {
	for _, o := range partial {
		if o.groups, err = d.memberOf(ctx, o.dn); err != nil {
			return err
		}
	}
	return d.findPrimary(ctx)
}

// atOnce is how many objects one question asks for by their GUIDs.
const atOnce = 50

// readChanged reads those whose stamps are not as they were: all in one search where they are many.
func (d *domain) readChanged(ctx context.Context) error {
	var clauses []string
	called := 0
	for _, o := range d.objects {
		if o.domain != d || !o.inScope() {
			continue
		}
		called++
		if stamp, known := d.before.Stamps[o.key]; !d.Full && known && stamp == o.stamp() {
			continue
		}
		if left, known := d.before.LeftOut[o.key]; !d.Full && known && left.Stamp == o.stamp() {
			continue
		}
		clause, err := directory.FilterGUID(o.key)
		if err != nil {
			clause = "(distinguishedName=" + directory.FilterText(o.dn) + ")"
		}
		clauses = append(clauses, clause)
	}
	if len(clauses) > atOnce && len(clauses) > called/4 && len(d.wanted) == 0 {
		return d.readAll(ctx)
	}
	slices.Sort(clauses)
	var partial []*object
	for some := range slices.Chunk(clauses, atOnce) {
		_, err := d.conn.Search(ctx, directory.Query{Filter: "(&" + directory.Computers + "(|" + strings.Join(some, "") + "))", Attributes: attributes}, func(e *directory.Entry) error {
			if o := d.take(e, true); o.partial {
				partial = append(partial, o)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return d.complete(ctx, partial)
}

// take notes a computer that answered.
func (d *domain) take(e *directory.Entry, read bool) *object {
	key, err := directory.GUID(e.Bytes("objectGUID"))
	if err != nil {
		key = strings.ToLower(e.DN)
		if read {
			d.problem("%s: objectGUID: %v; the machine is known by its name", e.DN, err)
		}
	}
	if o := d.objects[key]; o != nil && (o.read || !read) { // OUs may lie within each other
		return &object{}
	}
	o := &object{domain: d, key: key, dn: e.DN, groups: e.Texts("memberOf"), primary: e.Text("primaryGroupID"), partial: e.Partial("memberOf"), read: read}
	o.usn, _ = strconv.ParseInt(e.Text("uSNChanged"), 10, 64)
	if read {
		if o.leftOut = d.leaveOut(e); o.leftOut == "" {
			o.fields = d.fields(e)
		}
	}
	d.objects[key] = o
	return o
}

// inScope reports whether the computer is in one of the groups that limit the scope, if there are any.
func (o *object) inScope() bool {
	return len(o.domain.wanted) == 0 || o.membership().anyOf(o.domain.wanted)
}

// stamp is another text as soon as the computer changed, was moved or renamed, or it or one of its groups joined or left a
// group. It begins with the domain.
func (o *object) stamp() string {
	if o.mark == "" {
		var said [1024]byte
		b := append(append(said[:0], o.domain.mark.Invocation...), 0)
		b = append(append(strconv.AppendInt(b, o.usn, 10), 0), o.dn...)
		sum := sha256.Sum256(append(append(b, 0), o.membership().sum...))
		o.mark = o.domain.name + " " + base64.RawStdEncoding.EncodeToString(sum[:15])
	}
	return o.mark
}

func (o *object) record() inventory.Record {
	maps.Copy(o.fields, o.membership().fields)
	r := o.domain.reading
	return inventory.Record{Source: r.Result.Source, SourceKey: o.key, SeenAt: r.at, Fields: o.fields, Stamp: o.stamp()}
}
