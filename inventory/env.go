package inventory

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// env is a machine as an expression sees it.
type env struct {
	ID           string    `expr:"id"`
	Name         string    `expr:"name"`
	FQDN         string    `expr:"fqdn"`
	Address      string    `expr:"address"`
	Domain       string    `expr:"domain"`
	OU           string    `expr:"ou"`
	Site         string    `expr:"site"`
	Subnet       string    `expr:"subnet"`
	Class        string    `expr:"class"`
	OS           osEnv     `expr:"os"`
	Serial       string    `expr:"serial"`
	Manufacturer string    `expr:"manufacturer"`
	Model        string    `expr:"model"`
	Owner        string    `expr:"owner"`
	Priority     int       `expr:"priority"`
	Enabled      bool      `expr:"enabled"`
	Gone         bool      `expr:"gone"`
	Tags         []string  `expr:"tags"`
	Groups       []string  `expr:"groups"`
	NestedGroups []string  `expr:"nested_groups"`
	Sources      []string  `expr:"sources"`
	Health       string    `expr:"health"`
	HealthReason string    `expr:"health_reason"`
	LastSeen     time.Time `expr:"last_seen"`
	Probe        probeEnv  `expr:"probe"`
	Installed    time.Time `expr:"installed"`
	Encrypted    string    `expr:"encrypted"`
	Conflicts    int       `expr:"conflicts"`
	Case         caseEnv   `expr:"case"`
}

type osEnv struct {
	Name    string `expr:"name"`
	Version string `expr:"version"`
	Build   int    `expr:"build"`
}

type probeEnv struct {
	Done  bool      `expr:"done"`
	Open  bool      `expr:"open"`
	WinRM bool      `expr:"winrm"`
	At    time.Time `expr:"at"`
	Auth  []string  `expr:"auth"`
}

func (e *env) fill(m *Machine) {
	*e = env{ID: m.ID, Name: m.Name, FQDN: m.FQDN, Address: m.Address, Domain: m.Domain, OU: m.OU, Site: m.Site, Subnet: m.Subnet,
		Class: string(m.Class), OS: osEnv(m.OS), Serial: m.Serial, Manufacturer: m.Manufacturer, Model: m.Model, Owner: m.Owner,
		Priority: m.Priority, Enabled: m.Enabled, Gone: m.Gone, Tags: m.Tags, Groups: m.Groups, NestedGroups: m.NestedGroups, Sources: m.Sources,
		Health: string(m.Health), HealthReason: m.HealthReason, LastSeen: m.LastSeen, Installed: m.Installed, Encrypted: m.Encrypted, Conflicts: len(m.Conflicts)}
	if p := m.Probe; p != nil {
		e.Probe = probeEnv{true, p.Open, p.WinRM, p.At, p.Auth}
	}
}

// Field documents one field of a selector expression, for completion and manuals.
type Field struct {
	Name   string
	Type   string   // text, number, yes/no, time, list
	Doc    string   // one line
	Values []string // where only these are valid
}

// Fields are the fields of a selector expression.
func Fields() []Field {
	return []Field{
		{"name", "text", "short host name in upper case; compared without regard to case", nil},
		{"fqdn", "text", "DNS name in lower case; compared without regard to case", nil},
		{"address", "text", "host or host:port to connect to", nil},
		{"domain", "text", "DNS name of the domain; compared without regard to case", nil},
		{"ou", "text", "distinguished name of the parent", nil},
		{"site", "text", "site", nil},
		{"subnet", "text", "subnet as 10.1.2.0/24", nil},
		{"class", "text", "kind of machine", strs(Classes())},
		{"os.name", "text", "product, as \"Windows 11 Enterprise\"", nil},
		{"os.version", "text", "version as the source gives it", nil},
		{"os.build", "number", "build, as 22631", nil},
		{"serial", "text", "serial number", nil},
		{"manufacturer", "text", "manufacturer", nil},
		{"model", "text", "model", nil},
		{"owner", "text", "owner or main user", nil},
		{"priority", "number", "order inside a wave, lower first", nil},
		{"enabled", "yes/no", "the account is enabled", nil},
		{"gone", "yes/no", "no source lists the machine any more", nil},
		{"tags", "list", "tags: \"canary\" in tags", nil},
		{"groups", "list", "groups: \"CN=Tills,DC=fleet,DC=test\" in groups; those it is in itself", nil},
		{"nested_groups", "list", "groups that its groups are in, at any depth", nil},
		{"sources", "list", "sources that know the machine", nil},
		{"health", "text", "present opinion", strs(Healths())},
		{"health_reason", "text", "why", nil},
		{"case.verdict", "text", "where it stands in the incident", CaseVerdicts()},
		{"case.since", "time", "since when", nil},
		{"case.route", "text", "how it is reached", CaseRoutes()},
		{"case.keys", "text", "what is known of its recovery key", CaseKeys()},
		{"case.next", "text", "what comes next", CaseSteps()},
		{"case.out", "text", "why it does not count in the incident", []string{"replaced", "excluded", "gone", "disabled", ""}},
		{"case.incident", "text", "the incident", nil},
		{"last_seen", "time", "last known alive, never counts as long ago: last_seen < ago(\"30d\")", nil},
		{"installed", "time", "when it was last set up: installation of Windows, enrolment, creation of its account", nil},
		{"encrypted", "text", "its system disk is encrypted, as a source says", []string{"yes", "no", ""}},
		{"probe.done", "yes/no", "was probed", nil},
		{"probe.open", "yes/no", "last probe found the port open", nil},
		{"probe.winrm", "yes/no", "last probe found WinRM answering", nil},
		{"probe.at", "time", "time of the last probe", nil},
		{"probe.auth", "list", "authentication schemes WinRM offered", nil},
		{"conflicts", "number", "number of conflicts of the merge", nil},
		{"id", "text", "the inventory's own ID", nil},
	}
}

func strs[T ~string](v []T) []string {
	out := make([]string, len(v))
	for i := range v {
		out[i] = string(v[i])
	}
	return out
}

// parseAge reads "30d", "2w", "12h", "90m" or a sum of them as "1d12h".
func parseAge(s string) (time.Duration, error) {
	var sum time.Duration
	rest := strings.TrimSpace(s)
	for rest != "" {
		i := strings.IndexFunc(rest, func(r rune) bool { return r < '0' || r > '9' })
		if i <= 0 {
			break
		}
		n, err := strconv.Atoi(rest[:i])
		unit, ok := map[byte]time.Duration{'w': 7 * 24 * time.Hour, 'd': 24 * time.Hour, 'h': time.Hour, 'm': time.Minute, 's': time.Second}[rest[i]]
		if err != nil || !ok || n > 100_000_000 {
			break
		}
		if unit > 0 && time.Duration(n) > (1<<62-sum)/unit {
			break
		}
		sum += time.Duration(n) * unit
		if rest = rest[i+1:]; rest == "" {
			return sum, nil
		}
	}
	return 0, fmt.Errorf("%q is no age (write 30d, 2w or 12h)", s)
}
