package simfleet

import (
	"strings"

	"github.com/fleetmend/fleetmend/internal/simfleet/directory"
)

// domains are those that a fleet can have. The directory of the first is served.
var domains = []struct{ netbios, dns string }{
	{netbiosDomain, dnsDomain}, {"BRANCH", "branch.test"}, {"PLANT", "plant.test"}, {"LAB", "lab.test"},
}

// domains makes the account of each domain. Where all trust each other, all have one password.
func (f *Fleet) domains() []*account {
	out := []*account{f.account}
	for i := 1; i < f.options.Domains; i++ {
		password := f.options.Password
		if f.options.Distrust && i == f.options.Domains-1 {
			password = newPassword()
		}
		out = append(out, newAccount(accountName, domains[i].netbios, domains[i].dns, password, f.options.Lockout))
	}
	return out
}

// join completes a description by the names that come from the domain with this number.
func (i *Info) join(number int) {
	d := domains[number]
	i.domain, i.Domain = number, d.netbios
	i.FQDN = strings.ToLower(i.Name) + "." + d.dns
	i.OU += "," + directory.DomainDN(d.dns)
}

// members are the machines of the domain whose directory is served, with their numbers in the fleet.
func (f *Fleet) members(yield func(int, *host) bool) {
	for i, h := range f.hosts {
		if h.info.domain == 0 && !yield(i, h) {
			return
		}
	}
}
