package csv

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/fleetmend/fleetmend/internal/lazyregexp"
	"github.com/fleetmend/fleetmend/internal/table"
	"github.com/fleetmend/fleetmend/inventory"
)

// reading collects rows, those of one machine together.
type reading struct {
	o        Options
	report   *Report
	columns  []Column
	used     []bool // of columns that may mean something else
	dates    table.Dates
	findings table.Findings
	entries  []*entry
	byName   map[string][]*entry // by short name, in whichever form it stood
}

// entry is a machine. Its name is the short one in lower case, whichever form the table has.
type entry struct {
	line         int
	name, domain string // domain in NetBIOS form, where the name came with one
	named        bool   // by a column of names
	fields       map[string]string

	wrong error  // of a name that is none
	said  string // that name
	notes []note // on cells
}

type note struct{ column, what string }

func (e *entry) note(column, what string) { e.notes = append(e.notes, note{column, what}) }

// key tells the machine from others of the source.
func (e *entry) key() string {
	if fqdn := e.fields["fqdn"]; fqdn != "" {
		return strings.ToLower(fqdn)
	}
	return e.name
}

func (t *reading) take(r table.Row) error {
	if len(r.Cells) > len(t.columns) && !table.Blank(r.Cells[len(t.columns):]) {
		return fmt.Errorf("%d cells, but the header has %d", len(r.Cells), len(t.columns))
	}
	if t.isHeader(r.Cells) {
		return errors.New("the header stands here again, as where tables were put together")
	}
	e := &entry{line: r.Line, fields: map[string]string{}}
	for i, c := range r.Cells[:min(len(r.Cells), len(t.columns))] {
		if t.columns[i].Field == "" {
			continue
		}
		value, damage := table.Value(c)
		if damage == "" && t.columns[i].Field != "macs" { // four addresses of digits alone look the same
			if damage = table.Misplaced(value); damage != "" && slices.Contains([]string{"name", "fqdn"}, t.columns[i].Field) {
				e.wrong = fmt.Errorf("column %q holds %s", t.columns[i].Header, damage)
				continue
			}
		}
		if damage != "" {
			e.note(t.columns[i].Header, "holds "+string(damage))
			continue
		}
		if value != "" {
			t.cell(e, i, value)
		}
	}
	if system := e.system(); system != "" { // whatever its name is
		t.report.Other = append(t.report.Other, fmt.Sprintf("line %d: %s runs %s", r.Line, cmp.Or(e.key(), e.said, "a machine without name"), system))
		if t.report.Systems == nil {
			t.report.Systems = map[string]int{}
		}
		t.report.Systems[system]++
		return nil
	}
	switch {
	case e.name != "" && e.wrong != nil:
		e.note("", e.wrong.Error())
	case e.name != "":
	case e.wrong != nil:
		return e.wrong
	case e.fields["address"] == "":
		return errors.New("no name")
	default:
		e.name = strings.ToLower(e.fields["address"])
	}
	for _, n := range e.notes {
		t.findings.Add(r.Line, n.column, n.what)
	}
	t.add(e)
	return nil
}

// isHeader reports whether a row is the header once more.
func (t *reading) isHeader(cells []string) bool {
	if len(cells) < len(t.columns) {
		return false
	}
	for i, c := range t.columns {
		if strings.Trim(cells[i], " \t\ufeff") != c.Header {
			return false
		}
	}
	return true
}

// cell takes one value.
func (t *reading) cell(e *entry, i int, value string) {
	column := t.columns[i]
	field := column.Field
	if column.soft != nil {
		if !column.soft(value) {
			return
		}
		t.used[i] = true
	}
	if damage := table.Rounded(value); damage != "" && isIdentity(field) {
		if field == "name" || field == "fqdn" {
			e.wrong = fmt.Errorf("column %q holds %s", column.Header, damage)
		} else {
			e.note(column.Header, "holds "+string(damage))
		}
		return
	}
	switch field {
	case "name", "fqdn":
		if err := e.host(field, value); errors.Is(err, errOther) {
			e.note(column.Header, err.Error())
		} else if err != nil && e.wrong == nil {
			e.wrong, e.said = fmt.Errorf("column %q: %w (write the name of one machine, as WS1, CORP\\WS1 or ws1.corp.example)", column.Header, err), value
		}
		return
	case dnField:
		_, parent, ok := cutRDN(value)
		if !ok {
			parent = value
		}
		field, value = "ou", parent
	case "class":
		value = classWord(value)
	case "last_seen", "installed":
		at, err := t.dates.Read(value)
		if err != nil {
			e.note(column.Header, err.Error())
			return
		}
		if at.IsZero() {
			return
		}
		value = at.Format(time.RFC3339)
	}
	if e.fields[field] != "" { // a second column of the same meaning fills gaps only
		return
	}
	if err := inventory.CheckField(field, value); err != nil {
		e.note(column.Header, err.Error())
		return
	}
	e.fields[field] = value
}

var errOther = errors.New("names another machine than a column before it, whose name was taken")

// cut reports whether a name is the other one after the 15 characters of NetBIOS.
func cut(name, whole string) bool { return len(name) == 15 && strings.HasPrefix(whole, name) }

// host takes a name in any form. An address in its place is an address. Of several names the first is taken, but where it is cut.
func (e *entry) host(field, value string) error {
	if ip, err := netip.ParseAddr(value); err == nil {
		if e.fields["address"] == "" {
			e.fields["address"] = ip.String()
		}
		return nil
	}
	name, fqdn, domain := inventory.HostName(value)
	if err := inventory.CheckField("name", name); err != nil {
		return fmt.Errorf("name %q %w", value, errors.Unwrap(err))
	}
	if had := e.fields["name"]; field == "name" && e.named && !cut(had, name) && name != had {
		if cut(name, had) {
			return nil
		}
		return errOther
	}
	e.named = e.named || field == "name"
	if e.domain == "" {
		e.domain = domain
	}
	if fqdn != "" && e.fields["fqdn"] == "" {
		if err := inventory.CheckField("fqdn", fqdn); err != nil {
			return err
		}
		e.fields["fqdn"] = fqdn
	}
	if field == "fqdn" && fqdn == "" && e.fields["name"] != "" {
		return nil // a DNS name without a domain tells nothing new
	}
	if e.fields["name"] == "" || field == "name" {
		e.fields["name"] = name
	}
	if e.name == "" || fqdn != "" && len(e.name) == 15 && strings.HasPrefix(strings.ToLower(name), e.name) { // NetBIOS names end after 15 characters
		e.name = strings.ToLower(name)
	}
	return nil
}

// version finds what consoles write behind the name of the system, as "Windows 11 Pro 22H2 10.0.22621.1".
var version = lazyregexp.New(`\b(?:10|6)\.[0-9]\.[0-9]{4,5}(?:\.[0-9]+)?\b`)

// system names the system of a machine that runs no Windows. Where the column of the system is coarse ("Windows") and that
// of the version is not ("Windows Server 2019"), it brings them in order.
func (e *entry) system() string {
	name, release := e.fields["os.name"], e.fields["os.version"]
	other := inventory.OtherSystem(name)
	if name == "" {
		other = inventory.OtherSystem(release)
	}
	if other != "" {
		return other
	}
	if strings.Contains(strings.ToLower(release), "windows") && (name == "" || strings.EqualFold(name, "windows")) {
		e.fields["os.name"] = release
		delete(e.fields, "os.version")
		if number := version.FindString(release); number != "" {
			e.fields["os.version"] = number
		}
	}
	return ""
}

// add notes an entry, or fills what is missing where the same machine stands there already.
func (t *reading) add(e *entry) {
	var same []*entry
	for _, other := range t.byName[e.name] {
		if !apart(other, e) {
			same = append(same, other)
		}
	}
	if len(same) != 1 {
		if others := t.byName[e.name]; len(others) > 0 {
			t.report.Duplicates = append(t.report.Duplicates,
				fmt.Sprintf("%s stands in lines %d and %d with different keys; they are taken for two machines", e.name, others[0].line, e.line))
		}
		t.byName[e.name] = append(t.byName[e.name], e)
		t.entries = append(t.entries, e)
		return
	}
	first := same[0]
	what := "say the same"
	if diff := difference(first.fields, e.fields); diff != "" {
		what = "differ in " + diff
	}
	t.report.Duplicates = append(t.report.Duplicates,
		fmt.Sprintf("%s stands in lines %d and %d, which %s; line %d was taken", e.name, first.line, e.line, what, first.line))
	for field, value := range e.fields {
		if first.fields[field] == "" {
			first.fields[field] = value
		}
	}
	if first.domain == "" {
		first.domain = e.domain
	}
}

// identity are the fields that tell two machines of one name apart.
var identity = append([]string{"fqdn", "serial"}, slices.DeleteFunc(inventory.RecordFields(), func(f string) bool { return !strings.HasPrefix(f, "claims.") })...)

// isIdentity reports whether a field is of use only with all its characters.
func isIdentity(field string) bool {
	return slices.Contains(identity, field) || slices.Contains([]string{"name", "address", "macs", "owner"}, field)
}

func apart(a, b *entry) bool {
	if a.domain != "" && b.domain != "" && a.domain != b.domain {
		return true
	}
	return slices.ContainsFunc(identity, func(f string) bool {
		return a.fields[f] != "" && b.fields[f] != "" && !strings.EqualFold(a.fields[f], b.fields[f])
	})
}

// difference names the fields in which two rows contradict each other.
func difference(a, b map[string]string) string {
	var out []string
	for _, f := range inventory.RecordFields() {
		if a[f] != "" && b[f] != "" && a[f] != b[f] {
			out = append(out, f)
		}
	}
	return strings.Join(out, ", ")
}

// keyAmong gives a key to one of several machines of a name.
func (t *reading) keyAmong(e *entry) string {
	key := e.key()
	for _, f := range identity[1:] {
		if e.fields[f] != "" {
			key += "|" + strings.TrimPrefix(f, "claims.") + "=" + strings.ToLower(e.fields[f])
		}
	}
	if e.domain != "" && e.fields["fqdn"] == "" {
		key += "|domain=" + strings.ToLower(e.domain)
	}
	return key
}

// classWord knows the words of consoles for the kinds of machines.
func classWord(v string) string {
	switch strings.ToLower(v) {
	case "workstation", "desktop", "laptop", "notebook", "portable", "client", "pc", "tablet":
		return string(inventory.Workstation)
	case "server", "member server", "memberserver":
		return string(inventory.Server)
	case "domain controller", "domaincontroller", "dc", "primary domain controller", "backup domain controller":
		return string(inventory.DomainController)
	}
	return v
}

// cutRDN takes the first part off a distinguished name (RFC 4514); a comma after a backslash belongs to the name.
func cutRDN(dn string) (first, parent string, ok bool) {
	for i := 0; i < len(dn); i++ {
		switch dn[i] {
		case '\\':
			i++
		case ',':
			return dn[:i], strings.TrimSpace(dn[i+1:]), true
		}
	}
	return dn, "", false
}
