package simfleet

import (
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/fleetmend/fleetmend/internal/simfleet/machine"
)

// Kind is how a machine behaves.
type Kind string

// The kinds, with the outcome that each must have in a run of crowdstrike-channel-file-291.
const (
	Affected   Kind = "affected"    // has the bad channel file; fixed
	Clean      Kind = "clean"       // has the good one; clean
	Slow       Kind = "slow"        // affected, and takes twenty times as long to answer; fixed
	DropBefore Kind = "drop-before" // affected; the first connection is cut during the handshake; fixed
	DropAfter  Kind = "drop-after"  // affected; the reply to the first Receive after the fix began is cut; fixed
	CrashLoop  Kind = "crash-loop"  // affected; up only for seconds between two crashes, until fixed; fixed
	Busy       Kind = "busy"        // affected; the first Create is refused for a quota; fixed
	Broken     Kind = "broken"      // affected; the file is held open and cannot be moved; failed
	Denied     Kind = "denied"      // logs the account on and then denies it the shell; unreachable
	Rejecting  Kind = "rejecting"   // affected; has lost its domain's trust and answers 401 to every good account of it; unreachable
	CutLogon   Kind = "cut-logon"   // affected; cuts the line after the third message of NTLM, for ever; unreachable
	Endless    Kind = "endless"     // affected; writes without end and never answers; unknown
	Narrow     Kind = "narrow"      // affected; its PowerShell is the 32-bit one of a 64-bit Windows; failed
	SignedOnly Kind = "signed-only" // affected; a policy lets it run signed scripts only, and a playbook without scripts is not concerned; fixed
	Refused    Kind = "refused"     // switched off: nothing listens; unreachable
	BlackHole  Kind = "black-hole"  // accepts connections and never answers; unreachable
)

// Outcome returns what a run of the built-in playbook must report for a machine of this kind, in the words of runs.
func (k Kind) Outcome() string {
	switch k {
	case Clean:
		return "clean"
	case Broken, Narrow:
		return "failed"
	case Denied, Rejecting, CutLogon, Refused, BlackHole:
		return "unreachable"
	case Endless:
		return "unknown"
	}
	return "fixed"
}

func (k Kind) affected() bool { return k != Clean && k != Refused && k != BlackHole }

// Kinds are the names of all kinds.
func Kinds() []Kind {
	return []Kind{Affected, Clean, Slow, DropBefore, DropAfter, CrashLoop, Busy, Broken, Denied, Rejecting, CutLogon, Endless, Narrow, SignedOnly, Refused, BlackHole}
}

// Mix is the share of each kind among the machines, 0 to 1; what is left over is clean.
type Mix struct {
	Affected, Slow, DropBefore, DropAfter, CrashLoop, Busy, Broken, Denied, Refused, BlackHole float64
}

// DefaultMix is a bad day as it is: 55 % plainly affected, 30 % clean, and one of everything that goes wrong.
func DefaultMix() Mix {
	return Mix{Affected: .55, Slow: .03, DropBefore: .01, DropAfter: .01, CrashLoop: .02, Busy: .02, Broken: .01, Denied: .01, Refused: .03, BlackHole: .01}
}

func (m Mix) shares() []share {
	return []share{
		{Affected, m.Affected}, {Slow, m.Slow}, {DropBefore, m.DropBefore}, {DropAfter, m.DropAfter}, {CrashLoop, m.CrashLoop},
		{Busy, m.Busy}, {Broken, m.Broken}, {Denied, m.Denied}, {Refused, m.Refused}, {BlackHole, m.BlackHole},
	}
}

type share struct {
	kind     Kind
	fraction float64
}

func (m Mix) check() error {
	sum := 0.0
	for _, s := range m.shares() {
		if s.fraction < 0 || s.fraction > 1 || math.IsNaN(s.fraction) {
			return fmt.Errorf("share of %s machines is %v: must be between 0 and 1", s.kind, s.fraction)
		}
		sum += s.fraction
	}
	if sum > 1+1e-9 {
		return fmt.Errorf("shares of machines add up to %.2f: must be at most 1", sum)
	}
	return nil
}

// checkKinds checks the exact numbers.
func (o *Options) checkKinds() error {
	sum := 0
	for kind, n := range o.Exactly {
		if !slices.Contains(Kinds(), kind) {
			return fmt.Errorf("no kind of machine is called %q", kind)
		}
		if n < 0 {
			return fmt.Errorf("%d machines of kind %s: less than none", n, kind)
		}
		sum += n
	}
	if sum > o.Machines {
		return fmt.Errorf("the exact numbers of machines add up to %d, and the fleet has %d", sum, o.Machines)
	}
	return nil
}

// kinds deals the kinds out: those of exact numbers, then the shares of the others (rounded to the nearest); the order is shuffled.
func (o *Options) kinds(r *rand.Rand) []Kind {
	n := o.Machines
	out := make([]Kind, 0, n)
	for _, kind := range Kinds() {
		for range o.Exactly[kind] {
			out = append(out, kind)
		}
	}
	others := n - len(out)
	for _, s := range o.Mix.shares() {
		for range int(math.Round(s.fraction * float64(others))) {
			if len(out) < n {
				out = append(out, s.kind)
			}
		}
	}
	for len(out) < n {
		out = append(out, Clean)
	}
	r.Shuffle(n, func(i, j int) { out[i], out[j] = out[j], out[i] })
	return out
}

// Info is what is known of a machine from outside.
type Info struct {
	Name     string `json:"name"`
	FQDN     string `json:"fqdn"`
	Address  string `json:"address"` // host:port
	Site     string `json:"site"`
	OU       string `json:"ou"`
	Subnet   string `json:"subnet"`
	OS       string `json:"os"`
	Build    int    `json:"build"`
	Class    string `json:"class"` // workstation, server, dc
	Serial   string `json:"serial"`
	Priority int    `json:"priority"`
	Kind     Kind   `json:"kind"`
	Expected string `json:"expected"` // outcome of a run of crowdstrike-channel-file-291
	Domain   string `json:"domain"`   // NetBIOS name, as the challenge of NTLM gives it

	domain int // its number
}

var sites = []string{"LON", "NYC", "FRA", "SIN", "SYD", "SAO"}

var products = []struct {
	name  string
	build int
}{
	{"Windows 11 Enterprise", 22631}, {"Windows 11 Enterprise", 22631}, {"Windows 11 Enterprise", 26100}, {"Windows 11 Enterprise", 22621},
	{"Windows 10 Enterprise", 19045}, {"Windows 10 Enterprise", 19045},
}

var serverProducts = []struct {
	name  string
	build int
}{{"Windows Server 2022 Standard", 20348}, {"Windows Server 2019 Standard", 17763}, {"Windows Server 2025 Datacenter", 26100}}

// cast draws the machines of a fleet. It depends on seed, n and mix alone.
func cast(o *Options) []*host {
	r := rand.New(rand.NewPCG(o.Seed, 0x291))
	kinds := o.kinds(r)
	hosts := make([]*host, o.Machines)
	perSite := map[string]int{}
	for i := range hosts {
		site := sites[r.IntN(len(sites))]
		perSite[site]++
		info := describe(r, site, perSite[site], kinds[i], o)
		info.join(i % o.Domains)
		hosts[i] = &host{info: info, seed: r.Uint64(), drawn: r.Float64()}
	}
	return hosts
}

// describe makes up one machine. The first of a site is its domain controller (in fleets that are not tiny), the second
// belongs to the administrators and goes first.
func describe(r *rand.Rand, site string, number int, kind Kind, o *Options) Info {
	info := Info{Site: site, Kind: kind, Expected: kind.Outcome(), Priority: 50, Class: "workstation"}
	unit := "Workstations"
	p := products[r.IntN(len(products))]
	server := r.IntN(10) == 0
	switch {
	case number == 1 && o.Machines >= 20:
		info.Class, info.Priority, unit = "dc", 90, "Domain Controllers"
		info.Name = site + "-DC-01"
	case number == 2:
		info.Priority, unit = 10, "IT"
		info.Name = site + "-IT-01"
	case server:
		info.Class, info.Priority, unit = "server", 70, "Servers"
		info.Name = fmt.Sprintf("%s-SRV-%04d", site, number)
	default:
		info.Name = fmt.Sprintf("%s-WS-%05d", site, number)
	}
	if info.Class != "workstation" {
		p = serverProducts[r.IntN(len(serverProducts))]
	}
	info.OS, info.Build = p.name, p.build
	info.OU = "OU=" + unit + ",OU=" + site
	if unit == "Domain Controllers" {
		info.OU = "OU=Domain Controllers"
	}
	info.Subnet = fmt.Sprintf("10.%d.%d.0/24", slices.Index(sites, site)+20, (number-1)/200)
	const letters = "0123456789ABCDEFGHJKLMNPQRSTUVWXYZ"
	serial := []byte("5CG")
	for range 7 {
		serial = append(serial, letters[r.IntN(len(letters))])
	}
	info.Serial = string(serial)
	return info
}

// shutdownTime is what Windows takes at least to go down, however soon it was asked to.
const shutdownTime = 50 * time.Millisecond

// specLocked is the inside of a machine; the host's lock is held.
func (h *host) specLocked() machine.Spec {
	o := &h.fleet.options
	number := 10 + h.seed%240
	return machine.Spec{
		Name: h.info.Name, FQDN: h.info.FQDN, Domain: h.info.Domain, Product: h.info.OS, Build: h.info.Build, Serial: h.info.Serial,
		Address: strings.TrimSuffix(h.info.Subnet, "0/24") + fmt.Sprint(number), Seed: h.seed,
		Affected: h.info.Kind.affected(), Stuck: h.info.Kind == Broken, Flood: h.flood(),
		Narrow: h.info.Kind == Narrow, SignedOnly: h.info.Kind == SignedOnly,
		Boot: h.started, Lab: h.fleet.lab,
		Volumes: h.volumes(), Escrow: h.escrow, Language: language(h.info.Site),
		Restart: func(delay time.Duration) { h.restartIn(max(time.Duration(float64(delay)*o.TimeScale), shutdownTime)) },
	}
}

// flood is how much the machine has to say before the agent's answer.
func (h *host) flood() int64 {
	if h.info.Kind == Endless {
		return math.MaxInt64
	}
	return h.fault.Flood
}

// language is what the programs of a machine speak.
func language(site string) string {
	if site == "FRA" { // the administrators there installed German
		return "de"
	}
	return "en"
}

func sortByName(infos []Info) {
	slices.SortFunc(infos, func(a, b Info) int { return cmp.Compare(a.Name, b.Name) })
}
