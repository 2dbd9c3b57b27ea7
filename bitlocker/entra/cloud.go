package entra

import (
	"fmt"
	"slices"
	"strings"

	"github.com/fleetmend/fleetmend/internal/hint"
)

// Cloud is where a tenant lives.
type Cloud struct {
	Name      string
	Authority string // signs in
	Graph     string // endpoint of Microsoft Graph
}

// clouds is Microsoft's table of national cloud deployments.
var clouds = []Cloud{
	{"public", "https://login.microsoftonline.com/", "https://graph.microsoft.com"},
	{"usgov", "https://login.microsoftonline.us/", "https://graph.microsoft.us"},         // GCC High
	{"usgov-dod", "https://login.microsoftonline.us/", "https://dod-graph.microsoft.us"}, // DoD
	{"china", "https://login.chinacloudapi.cn/", "https://microsoftgraph.chinacloudapi.cn"},
}

// CloudNames gives the names that [CloudByName] knows.
func CloudNames() []string {
	names := make([]string, len(clouds))
	for i, c := range clouds {
		names[i] = c.Name
	}
	return names
}

// CloudByName finds a cloud; empty is the public one.
func CloudByName(name string) (Cloud, error) {
	if name == "" {
		return clouds[0], nil
	}
	i := slices.IndexFunc(clouds, func(c Cloud) bool { return strings.EqualFold(c.Name, name) })
	if i < 0 {
		return Cloud{}, hint.Wrap(fmt.Errorf("find cloud %q: not known", name), "known are "+strings.Join(CloudNames(), ", "))
	}
	return clouds[i], nil
}
