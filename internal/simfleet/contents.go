package simfleet

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/fleetmend/fleetmend/internal/simfleet/directory"
)

// The groups of the directory. Machines are members of the group of their site, and those of the group of all.
const allMachines = "CN=Fleet Machines,OU=Groups,DC=fleet,DC=test"

func siteGroup(site string) string { return "CN=" + site + " Machines,OU=Groups,DC=fleet,DC=test" }

// contents makes the directory: the domain and its structure, the machines of the fleet, their recovery keys, and what
// else lies about in a directory that has been used for years.
func (f *Fleet) contents() (*directory.Tree, error) {
	t := directory.NewTree(dnsDomain)
	r := rand.New(rand.NewPCG(f.options.Seed, 0xad))
	build := &contentsBuilder{fleet: f, rand: r, tree: t}
	build.structure()
	build.machines()
	build.leftovers()
	build.reinstalled()
	build.primaryGroups()
	return t, build.err
}

type contentsBuilder struct {
	fleet *Fleet
	rand  *rand.Rand
	tree  *directory.Tree
	err   error
}

func (b *contentsBuilder) add(dn string, attributes ...directory.Attribute) {
	if b.err == nil {
		b.err = b.tree.Add(directory.Object{DN: dn, Attributes: attributes})
	}
}

// plain adds an object of the structure: class, category, GUID and times, and what is given.
func (b *contentsBuilder) plain(dn string, classes []string, kind string, more ...directory.Attribute) {
	guid, at := randomGUID(b.rand), b.fleet.options.Incident.Add(-5*365*24*time.Hour)
	b.add(dn, append([]directory.Attribute{
		directory.Attr("objectClass", classes...), directory.Attr("objectCategory", category(kind)), directory.Attr("objectGUID", string(guid[:])),
		directory.Attr("whenCreated", directory.Time(at)), directory.Attr("whenChanged", directory.Time(at)),
	}, more...)...)
}

// halfAnHour in the negative steps of 100 ns in which the directory keeps spans of time.
const halfAnHour = "-18000000000"

func (b *contentsBuilder) structure() {
	top := directory.DomainDN(dnsDomain)
	b.plain(top, []string{"top", "domain", "domainDNS"}, "Domain-DNS", directory.Attr("dc", "fleet"), directory.Attr("objectSid", mustSID(domainSID(b.fleet.options.Seed))),
		directory.Attr("lockoutThreshold", strconv.Itoa(max(b.fleet.options.Lockout, 0))),
		directory.Attr("lockOutObservationWindow", halfAnHour), directory.Attr("lockoutDuration", halfAnHour))
	container := []string{"top", "container"}
	for _, name := range []string{"CN=Users", "CN=Computers", "CN=Deleted Objects", "CN=Configuration", "CN=Schema,CN=Configuration", "CN=Partitions,CN=Configuration", "CN=Sites,CN=Configuration", "CN=Subnets,CN=Sites,CN=Configuration"} {
		b.plain(name+","+top, container, "Container")
	}
	units := []string{"OU=Groups," + top, "OU=Retired," + top}
	subnets := map[string]string{}
	for _, h := range b.fleet.members {
		for _, u := range unitsOf(h.info.OU) {
			if !slices.Contains(units, u) {
				units = append(units, u)
			}
		}
		subnets[h.info.Subnet] = h.info.Site
	}
	for _, u := range units {
		name, _, _ := strings.Cut(strings.TrimPrefix(u, "OU="), ",")
		b.plain(u, []string{"top", "organizationalUnit"}, "Organizational-Unit", directory.Attr("ou", name))
	}
	b.configuration(top, subnets)
	b.plain("CN=System,"+top, container, "Container")
	b.plain("CN=Password Settings Container,CN=System,"+top, []string{"top", "msDS-PasswordSettingsContainer"}, "ms-DS-Password-Settings-Container", directory.Attr("cn", "Password Settings Container"))
	for _, a := range b.fleet.accounts {
		b.user(a, top)
	}
}

func (b *contentsBuilder) configuration(top string, subnets map[string]string) {
	partitions := "CN=Partitions,CN=Configuration," + top
	for _, p := range []struct{ name, partition, netbios, flags string }{
		{netbiosDomain, top, netbiosDomain, "3"}, {"Enterprise Configuration", "CN=Configuration," + top, "", "1"}, {"Enterprise Schema", "CN=Schema,CN=Configuration," + top, "", "1"},
	} {
		more := []directory.Attribute{directory.Attr("nCName", p.partition), directory.Attr("dnsRoot", dnsDomain), directory.Attr("systemFlags", p.flags)}
		if p.netbios != "" {
			more = append(more, directory.Attr("nETBIOSName", p.netbios))
		}
		b.plain("CN="+p.name+","+partitions, []string{"top", "crossRef"}, "Cross-Ref", more...)
	}
	for _, s := range sites {
		b.plain("CN="+s+",CN=Sites,CN=Configuration,"+top, []string{"top", "site"}, "Site")
	}
	b.controller()
	for _, subnet := range sortedKeys(subnets) {
		b.plain("CN="+subnet+",CN=Subnets,CN=Sites,CN=Configuration,"+top, []string{"top", "subnet"}, "Subnet",
			directory.Attr("siteObject", "CN="+subnets[subnet]+",CN=Sites,CN=Configuration,"+top))
	}
	for _, a := range []struct{ cn, name, flags string }{
		{"ms-LAPS-Password", "msLAPS-Password", "904"}, {"ms-LAPS-EncryptedPassword", "msLAPS-EncryptedPassword", "904"},
		{"ms-LAPS-PasswordExpirationTime", "msLAPS-PasswordExpirationTime", "0"}, {"ms-Mcs-AdmPwd", "ms-Mcs-AdmPwd", "904"},
		{"ms-FVE-RecoveryPassword", "msFVE-RecoveryPassword", "664"}, {"ms-FVE-KeyPackage", "msFVE-KeyPackage", "664"},
	} {
		b.plain("CN="+a.cn+",CN=Schema,CN=Configuration,"+top, []string{"top", "attributeSchema"}, "Attribute-Schema",
			directory.Attr("lDAPDisplayName", a.name), directory.Attr("searchFlags", a.flags))
	}
}

// controller is the domain controller as a server of its site.
func (b *contentsBuilder) controller() {
	name, site := b.fleet.controllerPlace()
	settings := b.tree.SettingsDN(name, site)
	_, server, _ := strings.Cut(settings, ",")
	_, servers, _ := strings.Cut(server, ",")
	b.plain(servers, []string{"top", "serversContainer"}, "Servers-Container")
	b.plain(server, []string{"top", "server"}, "Server", directory.Attr("dNSHostName", name))
	invocation := randomGUID(b.rand)
	b.plain(settings, []string{"top", "applicationSettings", "nTDSDSA"}, "NTDS-DSA", directory.Attr("invocationId", string(invocation[:])))
}

func sortedKeys(m map[string]string) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

func (b *contentsBuilder) user(a directory.Account, top string) {
	control := "512"
	if a.Refuse == "533" {
		control = "514"
	}
	b.plain("CN="+a.User+",CN=Users,"+top, []string{"top", "person", "organizationalPerson", "user"}, "Person",
		directory.Attr("cn", a.User), directory.Attr("sAMAccountName", a.User), directory.Attr("userPrincipalName", a.User+"@"+dnsDomain),
		directory.Attr("userAccountControl", control), directory.Attr("sAMAccountType", "805306368"), directory.Attr("displayName", a.User),
		directory.Attr("objectSid", mustSID(domainSID(b.fleet.options.Seed)+"-"+strconv.Itoa(1000+len(a.User)))))
}

func (b *contentsBuilder) machines() {
	members := map[string][]string{}
	for _, h := range b.fleet.members {
		group := siteGroup(h.info.Site)
		members[h.info.Site] = append(members[h.info.Site], h.dn())
		if b.err == nil {
			b.err = b.tree.Add(h.computer([]string{group}))
		}
		for _, k := range h.recoveryKeys() {
			if b.err == nil {
				b.err = b.tree.Add(k.object(h.dn(), b.rand))
			}
		}
	}
	var groups []string
	group := []string{"top", "group"}
	for _, s := range sites {
		if len(members[s]) == 0 {
			continue
		}
		groups = append(groups, siteGroup(s))
		b.plain(siteGroup(s), group, "Group", directory.Attr("cn", s+" Machines"), directory.Attr("sAMAccountName", s+" Machines"),
			directory.Attr("groupType", "-2147483646"), directory.Attr("member", members[s]...), directory.Attr("memberOf", allMachines))
	}
	b.plain(allMachines, group, "Group", directory.Attr("cn", "Fleet Machines"), directory.Attr("sAMAccountName", "Fleet Machines"),
		directory.Attr("groupType", "-2147483646"), directory.Attr("member", groups...))
}

// primaryGroups are those that machines are in without being listed as members.
func (b *contentsBuilder) primaryGroups() {
	for _, g := range [][2]string{{"515", "Domain Computers"}, {"516", "Domain Controllers"}} {
		b.plain("CN="+g[1]+",CN=Users,"+directory.DomainDN(dnsDomain), []string{"top", "group"}, "Group", directory.Attr("cn", g[1]), directory.Attr("sAMAccountName", g[1]),
			directory.Attr("groupType", "-2147483646"), directory.Attr("objectSid", mustSID(domainSID(b.fleet.options.Seed)+"-"+g[0])))
	}
}

// leftovers are computer objects without a machine of the fleet behind them: retired and forgotten ones, disabled ones,
// a Linux host, a cluster's name and a managed service account. Fleets that are tiny have none.
func (b *contentsBuilder) leftovers() {
	n := b.fleet.options.Machines
	if n < 20 {
		return
	}
	top, day := directory.DomainDN(dnsDomain), 24*time.Hour
	for i := range max(1, n/50) {
		b.ghost(fmt.Sprintf("OLD-WS-%05d", i+1), "OU=Retired,"+top, "Windows 10 Enterprise", 4096, time.Duration(120+b.rand.IntN(700))*day, nil)
	}
	for i := range max(1, n/40) {
		b.ghost(fmt.Sprintf("OFF-WS-%05d", i+1), "OU=Retired,"+top, "Windows 10 Enterprise", 4098, time.Duration(30+b.rand.IntN(700))*day, nil)
	}
	b.ghost("LNX-01", "CN=Computers,"+top, "Ubuntu", 4096, 2*day, nil)
	b.ghost("CLUSTER-01", "CN=Computers,"+top, "Windows Server 2022 Datacenter", 4096, 3*day, []string{"MSClusterVirtualServer/CLUSTER-01", "MSClusterVirtualServer/cluster-01." + dnsDomain})
	b.ghost("svc-backup", "CN=Users,"+top, "", 4096, 1*day, nil)
}

func (b *contentsBuilder) ghost(name, parent, system string, control int, idle time.Duration, spns []string) {
	r, incident := b.rand, b.fleet.options.Incident
	guid, seen := randomGUID(r), incident.Add(-idle)
	classes, kind := []string{"top", "person", "organizationalPerson", "user", "computer"}, "Computer"
	if system == "" {
		classes, kind = append(classes, "msDS-GroupManagedServiceAccount"), "ms-DS-Group-Managed-Service-Account"
	}
	attributes := []directory.Attribute{
		directory.Attr("objectClass", classes...), directory.Attr("objectCategory", category(kind)), directory.Attr("cn", name), directory.Attr("objectGUID", string(guid[:])),
		directory.Attr("objectSid", mustSID(domainSID(b.fleet.options.Seed)+"-"+strconv.Itoa(30000+b.tree.Len()))),
		directory.Attr("whenCreated", directory.Time(seen.Add(-400*24*time.Hour))), directory.Attr("whenChanged", directory.Time(seen)),
		directory.Attr("userAccountControl", strconv.Itoa(control)), directory.Attr("primaryGroupID", "515"), directory.Attr("sAMAccountName", name+"$"),
		directory.Attr("sAMAccountType", "805306369"), directory.Attr("dNSHostName", strings.ToLower(name)+"."+dnsDomain),
		directory.Attr("lastLogonTimestamp", directory.FileTime(seen)), directory.Attr("pwdLastSet", directory.FileTime(seen.Add(-20*24*time.Hour))),
		directory.Attr("servicePrincipalName", append([]string{"HOST/" + name}, spns...)...),
	}
	if system != "" {
		attributes = append(attributes, directory.Attr("operatingSystem", system), directory.Attr("operatingSystemVersion", "10.0 (19045)"))
	}
	b.add("CN="+name+","+parent, attributes...)
}

// reinstalled are machines that were set up anew: their former object was deleted, and its keys with it. Only somebody
// who asks for deleted objects finds those.
func (b *contentsBuilder) reinstalled() {
	for i, h := range b.fleet.members {
		if i%100 != 57 || h.info.Class != "workstation" {
			continue
		}
		former := h.computer(nil)
		guid := randomGUID(b.rand)
		former.DN = "CN=" + h.info.Name + ",OU=Retired," + directory.DomainDN(dnsDomain)
		for j := range former.Attributes {
			switch former.Attributes[j].Name {
			case "objectGUID":
				former.Attributes[j].Values = []string{string(guid[:])}
			case "objectSid":
				former.Attributes[j].Values = []string{mustSID(domainSID(b.fleet.options.Seed) + "-" + strconv.Itoa(60000+i))}
			}
		}
		k := newRecoveryKey(b.rand, randomGUID(b.rand))
		k.Created = h.identity.created.Add(-300 * 24 * time.Hour)
		if b.err == nil {
			b.err = b.tree.Add(former, k.object(former.DN, b.rand))
		}
		if b.err == nil {
			b.err = b.tree.Delete(former.DN)
		}
	}
}
