package cases

import (
	"fmt"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/fleetmend/fleetmend/internal/commandline"
	"github.com/fleetmend/fleetmend/internal/prose"
	"github.com/fleetmend/fleetmend/remediate/casefile"
)

// maxSites bounds the sites of a text; the data has all.
const maxSites = 12

// Text is the one screen of an incident, for people.
func (s *Status) Text(width int) string {
	var b strings.Builder
	i := &s.Incident
	state := "open"
	if !i.IsOpen() {
		state = "closed by " + i.ClosedBy + " " + prose.Minute(i.Closed)
	}
	since := "opened " + prose.Minute(i.Opened)
	if !i.Start.IsZero() {
		since = "since " + prose.Minute(i.Start)
	}
	fmt.Fprintf(&b, "%s: %s, %s, %s\n", i.ID, prose.OneLine(i.Playbook), since, state)
	fmt.Fprintf(&b, "%s: %s; %d left to fix\n", prose.Machines(s.Machines), prose.Counts(s.Verdicts, casefile.Verdicts()...), s.Left)
	if len(s.Out) > 0 {
		fmt.Fprintf(&b, "not counted: %s\n", prose.Counts(s.Out, "replaced", "excluded", "disabled", "gone"))
	}
	if s.Verdicts[casefile.Fixed] > 0 {
		fmt.Fprintf(&b, "fixed by: %s%s\n", prose.Counts(s.By, "run", "medium", "hand"), s.pace())
	}
	s.sites(&b)
	s.next(&b, width)
	for n, text := range s.Missing {
		fmt.Fprint(&b, lead(n, "\nMissing\n"), prose.Wrapped("  "+prose.OneLine(text), width), "\n")
	}
	var ages []string
	for _, a := range s.Ages {
		age := prose.Ago(a.At, s.At)
		if age == "" {
			age = "never"
		}
		ages = append(ages, a.What+" "+age)
	}
	fmt.Fprintf(&b, "\n%s\n", prose.Wrapped("As of "+prose.Minute(s.At)+", event "+fmt.Sprint(s.Number)+": "+prose.OneLine(strings.Join(ages, ", ")), width))
	return b.String()
}

// lead is a heading before the first line of a part.
func lead(n int, heading string) string {
	if n == 0 {
		return heading
	}
	return ""
}

func (s *Status) sites(b *strings.Builder) {
	if len(s.Sites) < 2 {
		return
	}
	b.WriteByte('\n')
	table := tabwriter.NewWriter(b, 0, 4, 2, ' ', tabwriter.AlignRight)
	row := func(cells ...string) { _, _ = fmt.Fprint(table, "  "+strings.Join(cells, "\t")+"\t\n") } // into memory
	head := []string{"site", "left", "of"}
	for _, v := range casefile.Verdicts() {
		head = append(head, string(v))
	}
	row(head...)
	for n, site := range s.Sites {
		if n == maxSites {
			row(fmt.Sprintf("and %d more", len(s.Sites)-n), "", "")
			break
		}
		name := prose.OneLine(site.Name)
		if name == "" {
			name = "(none)"
		}
		cells := []string{name, strconv.Itoa(site.Left), strconv.Itoa(site.Machines)}
		for _, v := range casefile.Verdicts() {
			cells = append(cells, prose.Number(site.Verdicts[v]))
		}
		row(cells...)
	}
	_ = table.Flush() // into memory
}

// does is what a step is called.
var does = map[casefile.Verb]string{
	casefile.Resume: "go on with the run that stopped", casefile.Fix: "run the cure", casefile.Retry: "try again", casefile.Probe: "look whether they answer",
	casefile.GetKey: "get the recovery key", casefile.Start: "start from a boot medium", casefile.Rotate: "replace the recovery key", casefile.ByHand: "look at by hand",
	casefile.Wait: "wait",
}

func (s *Status) next(b *strings.Builder, width int) {
	for n, group := range s.Next {
		fmt.Fprintf(b, "%s  %5d  %s\n", lead(n, "\nNext\n"), group.Machines, does[group.Verb])
		for _, why := range group.Why {
			b.WriteString(prose.Wrapped(fmt.Sprintf("           %d: %s", why.Machines, prose.OneLine(why.Text)), width) + "\n")
		}
		for _, line := range group.Commands {
			fmt.Fprintf(b, "         %s\n", line)
		}
	}
}

// pace says how fast it goes, and when it ends at that rate.
func (s *Status) pace() string {
	if s.Rate.LastHour == 0 {
		return ""
	}
	text := fmt.Sprintf("; %d in the last hour", s.Rate.LastHour)
	if !s.Rate.End.IsZero() {
		text += ", at which rate the last one is done " + in(s.Rate.End.Sub(s.At))
	}
	return text
}

func in(d time.Duration) string {
	switch {
	case d < 2*time.Minute:
		return "in a minute"
	case d < 2*time.Hour:
		return fmt.Sprintf("in %d minutes", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("in %d hours", int(d.Hours()))
	}
	return fmt.Sprintf("in %d days", int(d.Hours()/24))
}

// maxNames bounds the names of a text; the data has all.
const maxNames = 20

// Text says who was marked as what, and how program takes it back.
func (m Marked) Text(program commandline.Program) string {
	var b strings.Builder
	if m.Machines > 0 {
		fmt.Fprintf(&b, "%s marked as %s in %s; taken back by: %s\n", prose.Machines(m.Machines), m.As, m.Incident,
			program.In(fmt.Sprintf("`fleetmend incident mark --undo --act %d --incident %s`", m.Act, m.Incident)))
	}
	for _, part := range []struct {
		what  string
		names []string
	}{{"not in the inventory", m.Unknown}, {"the name of several machines, none of which was marked", m.Several}} {
		if len(part.names) > 0 {
			fmt.Fprintf(&b, "%d %s:\n", len(part.names), part.what)
		}
		for n, name := range part.names {
			if n == maxNames {
				fmt.Fprintf(&b, "  and %d more; -o json lists all\n", len(part.names)-n)
				break
			}
			fmt.Fprintf(&b, "  %s\n", prose.OneLine(name))
		}
	}
	return b.String()
}

// Text is everything that is known of a machine, a field in a line with where it came from, as of now.
func (f *File) Text(now time.Time) string {
	var b strings.Builder
	line := func(field, format string, args ...any) {
		fmt.Fprintf(&b, "%s%s\n", prose.Pad(field, 14), prose.OneLine(fmt.Sprintf(format, args...)))
	}
	m := &f.Machine
	f.fields(line, now)
	if c := m.Case; c != nil {
		line("case", "%s in %s: %s", c.Verdict, c.Incident, c.Because)
		if c.Next != "" {
			line("route", "%s: %s", c.Route, c.RouteWhy)
			line("keys", "%s", c.Keys)
			line("next", "%s: %s", c.Next, c.NextWhy)
		}
	}
	if p := m.Probe; p != nil {
		line("probe", "%s %s, %s, offers %s %s", p.Word(), prose.Ago(p.At, now), p.Latency.Round(time.Millisecond), strings.Join(p.Auth, ", "), p.Error)
	}
	for _, r := range m.Records {
		gone := ""
		if r.Gone {
			gone = ", gone there"
		}
		line("record", "%s %s, seen %s%s", r.Source, r.SourceKey, prose.Ago(r.SeenAt, now), gone)
	}
	for _, c := range m.Conflicts {
		line("conflict", "%s", c)
	}
	for _, v := range f.Visits {
		state := string(v.Machine.Outcome)
		if state == "" {
			state = string(v.Machine.State)
		}
		line("run", "%s", strings.TrimSuffix(fmt.Sprintf("%s %s (%s) by %s, %s, %s: %s", v.Run, v.Playbook, v.Mode, v.Machine.Route, state, prose.Ago(v.Started, now), v.Machine.Reason), ": "))
	}
	return b.String()
}

func (f *File) fields(line func(field, format string, args ...any), now time.Time) {
	m := &f.Machine
	for _, r := range []struct{ field, value string }{
		{"name", m.Name}, {"fqdn", m.FQDN}, {"address", m.Address}, {"domain", m.Domain}, {"ou", m.OU}, {"site", m.Site},
		{"subnet", m.Subnet}, {"class", string(m.Class)}, {"os.name", m.OS.Name}, {"os.version", m.OS.Version},
		{"os.build", prose.Number(m.OS.Build)}, {"serial", m.Serial}, {"manufacturer", m.Manufacturer}, {"model", m.Model},
		{"owner", m.Owner}, {"macs", strings.Join(m.MACs, ", ")}, {"priority", fmt.Sprint(m.Priority)}, {"tags", strings.Join(m.Tags, ", ")},
		{"groups", strings.Join(m.Groups, ", ")}, {"health", strings.TrimSpace(string(m.Health) + " " + m.HealthReason)},
		{"last_seen", prose.Second(m.LastSeen)}, {"installed", prose.Second(m.Installed)}, {"encrypted", m.Encrypted}, {"smbios", m.Claims.SMBIOS}, {"sid", m.Claims.SID}, {"object_guid", m.Claims.ObjectGUID},
	} {
		if r.value == "" {
			continue
		}
		origin := ""
		if o, ok := m.Provenance[r.field]; ok {
			origin = "   (" + o.Source + ", " + prose.Ago(o.SeenAt, now) + ")"
		}
		line(r.field, "%s%s", r.value, origin)
	}
}
