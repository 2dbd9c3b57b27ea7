package ad

import (
	"context"
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"

	"github.com/fleetmend/fleetmend/internal/directory"
	"github.com/fleetmend/fleetmend/internal/hint"
)

// readGroups reads how groups lie within each other, in every domain, and finds those that limit the scope.
func (r *reading) readGroups(ctx context.Context) error {
	if err := r.each(ctx, (*domain).readEdges); err != nil {
		return err
	}
	for _, name := range r.Groups {
		var found []string
		for _, d := range r.domains {
			some, err := d.groupsNamed(ctx, name)
			if err != nil {
				return err
			}
			found = append(found, some...)
		}
		switch {
		case len(found) == 0 && len(r.Missing) > 0:
			r.problem("the group %q is in none of the domains that could be read", name)
		case len(found) == 0:
			return hint.Wrap(fmt.Errorf("there is no group %q", name), "write its distinguished, account or common name, as CN=Tills,OU=Groups,"+r.domains[0].conn.Root.DefaultNamingContext)
		case len(found) > 1:
			return hint.Wrapf(fmt.Errorf("%d groups are called %q", len(found), name), "write the distinguished name of one: %s", strings.Join(found, "  "))
		default:
			r.wanted = append(r.wanted, strings.ToLower(found[0]))
		}
	}
	return nil
}

const groupFilter = "(objectCategory=group)"

// readEdges reads of each group that is in others in which.
func (d *domain) readEdges(ctx context.Context) error {
	var partial []string
	_, err := d.conn.Search(ctx, directory.Query{Filter: "(&" + groupFilter + "(memberOf=*))", Attributes: []string{"memberOf", "sAMAccountName"}}, func(e *directory.Entry) error {
		if e.Partial("memberOf") {
			partial = append(partial, e.DN)
		}
		d.groups[e.DN] = e.Text("sAMAccountName")
		d.edges[strings.ToLower(e.DN)] = e.Texts("memberOf")
		return nil
	})
	for _, dn := range partial {
		if err == nil {
			d.edges[strings.ToLower(dn)], err = d.memberOf(ctx, dn)
		}
	}
	return err
}

// memberOf reads all groups that an object is in.
func (d *domain) memberOf(ctx context.Context, dn string) (groups []string, err error) {
	err = d.conn.EachValue(ctx, dn, "memberOf", func(v []byte) error { groups = append(groups, string(v)); return nil })
	return groups, err
}

// findPrimary finds the groups that computers have as their primary group, which no list of members shows: it stands in
// the computer as the last part of the group's SID (MS-ADTS 3.1.1.4.5.18 on primaryGroupID).
func (d *domain) findPrimary(ctx context.Context) error {
	var clauses []string
	for _, o := range d.objects {
		if _, asked := d.rids[o.primary]; o.domain != d || asked || strings.Trim(o.primary, "0123456789") != "" {
			continue
		}
		d.rids[o.primary] = ""
		clauses = append(clauses, "(objectSid="+d.sid+"-"+o.primary+")")
	}
	if d.sid == "" || len(clauses) == 0 {
		return nil
	}
	slices.Sort(clauses)
	return d.findGroups(ctx, clauses, func(e *directory.Entry) {
		if sid, err := directory.SID(e.Bytes("objectSid")); err == nil {
			d.rids[strings.TrimPrefix(sid, d.sid+"-")] = e.DN
		}
	})
}

// findGroups reads the groups that fit one of the clauses, and their account names.
func (d *domain) findGroups(ctx context.Context, clauses []string, found func(*directory.Entry)) error {
	for some := range slices.Chunk(clauses, atOnce) {
		q := directory.Query{Filter: "(&" + groupFilter + "(|" + strings.Join(some, "") + "))", Attributes: []string{"objectSid", "sAMAccountName"}}
		if _, err := d.conn.Search(ctx, q, func(e *directory.Entry) error {
			d.groups[e.DN] = e.Text("sAMAccountName")
			found(e)
			return nil
		}); err != nil {
			return err
		}
	}
	return nil
}

// groupsNamed gives the groups of a name: distinguished, account or common name.
func (d *domain) groupsNamed(ctx context.Context, name string) (found []string, err error) {
	text := directory.FilterText(name)
	clause := "(|(sAMAccountName=" + text + ")(cn=" + text + "))"
	if strings.Contains(strings.ToLower(name), ",dc=") {
		clause = "(distinguishedName=" + text + ")"
	}
	_, err = d.conn.Search(ctx, directory.Query{Filter: "(&" + groupFilter + clause + ")"}, func(e *directory.Entry) error {
		found = append(found, e.DN)
		return nil
	})
	return found, err
}

// membership is what a computer is in. Computers by the thousand are in the same groups and share one.
type membership struct {
	direct []string          // in itself, by lists of members or as its primary group; sorted
	nested []string          // that those are in, at any depth; sorted, without those in direct
	sum    string            // another text for other groups
	fields map[string]string // of a record
}

// membership gives the groups of a computer. All of its groups must be known by now.
func (o *object) membership() *membership {
	if o.in != nil {
		return o.in
	}
	d := o.domain
	slices.Sort(o.groups)
	said := strings.Join(o.groups, "\x00") + "\x00" + o.primary
	if o.in = d.members[said]; o.in == nil {
		direct := slices.Clone(o.groups)
		if dn := d.rids[o.primary]; dn != "" {
			direct = append(direct, dn)
			slices.Sort(direct)
		}
		direct = slices.Compact(direct)
		nested := d.closure(direct)
		sum := sha256.Sum256([]byte(strings.Join(direct, "\x00") + "\x00\x00" + strings.Join(nested, "\x00")))
		o.in = &membership{direct, nested, string(sum[:]), map[string]string{}}
		for field, groups := range map[string][]string{"groups": direct, "nested_groups": nested} {
			if groups != nil {
				o.in.fields[field] = strings.Join(groups, ";") + ";"
			}
		}
		d.members[said] = o.in
	}
	return o.in
}

// anyOf reports whether one of the groups, in lower case, is among them.
func (m *membership) anyOf(groups []string) bool {
	return slices.ContainsFunc(slices.Concat(m.direct, m.nested), func(g string) bool { return slices.Contains(groups, strings.ToLower(g)) })
}

// closure gives the groups that some groups are in, at any depth, without themselves. Cycles end: none is followed twice.
func (d *domain) closure(direct []string) (nested []string) {
	seen := map[string]bool{}
	for _, g := range direct {
		seen[strings.ToLower(g)] = true
	}
	for todo := slices.Clone(direct); len(todo) > 0; todo = todo[1:] {
		for _, g := range d.edges[strings.ToLower(todo[0])] {
			if key := strings.ToLower(g); !seen[key] {
				seen[key] = true
				nested, todo = append(nested, g), append(todo, g)
			}
		}
	}
	slices.Sort(nested)
	return nested
}

// nameGroups reads the account names of the groups that machines of the scope are in, and forgets those of others.
func (d *domain) nameGroups(ctx context.Context) error {
	var clauses []string
	used := map[string]bool{} // in lower case
	done := map[*membership]bool{}
	for _, o := range d.objects {
		if o.domain != d || !o.inScope() || done[o.membership()] {
			continue
		}
		m := o.membership()
		done[m] = true
		for _, g := range slices.Concat(m.direct, m.nested) {
			used[strings.ToLower(g)] = true
			if _, known := d.groups[g]; !known && domainOf(g) == d.name {
				d.groups[g] = ""
				clauses = append(clauses, "(distinguishedName="+directory.FilterText(g)+")")
			}
		}
	}
	slices.Sort(clauses)
	if err := d.findGroups(ctx, clauses, func(*directory.Entry) {}); err != nil {
		return err
	}
	for g, name := range d.groups {
		if domainOf(g) == d.name && (!used[strings.ToLower(g)] || name == "") {
			delete(d.groups, g)
		}
	}
	return nil
}
