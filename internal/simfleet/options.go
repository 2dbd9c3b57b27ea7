package simfleet

import (
	"errors"
	"fmt"
	"time"

	"github.com/fleetmend/fleetmend/internal/secret"
	"github.com/fleetmend/fleetmend/internal/simfleet/ntlm"
)

// The first domain of a fleet, and its account; domains.go has the others.
const (
	netbiosDomain = "FLEET"
	dnsDomain     = "fleet.test"
	accountName   = "admin"
)

// Options say what fleet to make. The zero value of a field means its default.
type Options struct {
	Machines int           // 100; at most 20,000
	Seed     uint64        // with Machines and Mix it fixes every machine; 0 is a seed like any other
	Mix      *Mix          // DefaultMix
	Exactly  map[Kind]int  // so many of these kinds; Mix is of the other machines
	Password secret.String // a random one
	Latency  time.Duration // of every answer; none

	Incident  time.Time     // when the faulty update came; the last 04:09 UTC that is an hour and a half ago. Times in the directory hang on it
	ClockSkew time.Duration // how far the clock of the domain controller is ahead; none

	AllowBasic       bool           // offer Basic (over HTTPS, and over HTTP with AllowUnencrypted)
	AllowUnencrypted bool           // accept requests in the clear over HTTP
	CBT              ntlm.Hardening // Relaxed
	Lockout          int            // failed logons in a row that lock an account; 10, negative for never
	Domains          int            // how many domains the machines belong to, by turns; 1, at most 4. The directory is that of the first
	Distrust         bool           // the last domain trusts no other: its account of the same name has another password

	// TimeScale is of the delay of shutdown /r /t: 0.05 (10 seconds take half a one) for up to 500 machines, and more with
	// more, up to 1, because a client of thousands of machines is as busy as in life.
	TimeScale float64
	BootMin   time.Duration // how long a machine is off when it restarts: between BootMin (300 ms)
	BootMax   time.Duration // and BootMax (1.5 s)

	// A machine of kind CrashLoop is up between CrashUpMin (2 s) and CrashUpMax (5 s), then down between CrashDownMin
	// (2 s) and CrashDownMax (5 s).
	CrashUpMin, CrashUpMax, CrashDownMin, CrashDownMax time.Duration

	DiskCheck time.Duration // how much longer such a machine takes to restart when it is asked to; 5 s

	// PowerShell is the path of a real one, which then answers what is sent to the agent in the place of the Go interpreter.
	PowerShell string

	Quotas Quotas
	Chunk  int // bytes of output in one Receive; 32 KiB
}

// Quotas are the limits of each machine's WinRM service, with Windows' defaults.
type Quotas struct {
	MaxShellsPerUser int           // 30
	MaxOperations    int           // 1500 per user
	MaxConnections   int           // 300
	MaxEnvelope      int           // 500 KiB
	MaxTimeout       time.Duration // 60 s
	IdleTimeout      time.Duration // 2 h
}

// Faults are what goes wrong with one machine on purpose, on top of its kind.
type Faults struct {
	Drops   []Drop
	Refuse  []Refusal
	Garbage []byte // answered in place of SOAP to every authenticated request
	Flood   int64  // bytes of other output before the agent's answer; set before the machine is first used

	NoEscrow bool // no directory takes a recovery password from it
}

// Drop cuts connections. With an Operation (create, command, send, receive, signal, delete) it cuts the reply to it after
// Byte bytes, counted from the status line; the machine has acted then. Without one it cuts a new connection after Byte
// bytes from the client, TLS included. Times says how often; negative for always.
type Drop struct {
	Operation string
	Byte      int64
	Times     int
}

// Refusal answers an operation with a fault. Times says how often; negative for always.
type Refusal struct {
	Operation string
	Code      uint32
	Times     int
}

const maxMachines = 20_000

func (o *Options) setDefaults() error {
	if o.Machines == 0 {
		o.Machines = 100
	}
	if o.Machines < 1 || o.Machines > maxMachines {
		return fmt.Errorf("%d machines: must be between 1 and %d", o.Machines, maxMachines)
	}
	if o.Mix == nil {
		mix := DefaultMix()
		o.Mix = &mix
	}
	if err := o.Mix.check(); err != nil {
		return err
	}
	if err := o.checkKinds(); err != nil {
		return err
	}
	if o.Domains == 0 {
		o.Domains = 1
	}
	if o.Domains < 1 || o.Domains > len(domains) {
		return fmt.Errorf("%d domains: must be between 1 and %d", o.Domains, len(domains))
	}
	if o.Distrust && o.Domains == 1 {
		return errors.New("a domain that trusts no other needs another one: two domains at least")
	}
	if o.Password.IsZero() {
		o.Password = newPassword()
	}
	switch o.CBT {
	case "":
		o.CBT = ntlm.Relaxed
	case ntlm.None, ntlm.Relaxed, ntlm.Strict:
	default:
		return fmt.Errorf("channel binding %q: must be None, Relaxed or Strict", o.CBT)
	}
	if o.Incident.IsZero() {
		o.Incident = lastIncident(time.Now())
	}
	if o.Lockout == 0 {
		o.Lockout = 10
	}
	if o.TimeScale <= 0 {
		o.TimeScale = min(max(0.05, 0.05*float64(o.Machines)/500), 1)
	}
	if o.Quotas.MaxConnections <= 0 {
		o.Quotas.MaxConnections = 300
	}
	if o.DiskCheck <= 0 {
		o.DiskCheck = 5 * time.Second
	}
	window(&o.BootMin, &o.BootMax, 300*time.Millisecond, 1500*time.Millisecond)
	window(&o.CrashUpMin, &o.CrashUpMax, 2*time.Second, 5*time.Second)
	window(&o.CrashDownMin, &o.CrashDownMax, 2*time.Second, 5*time.Second)
	return nil
}

// window fills in a pair of bounds that is not given, and puts one that is in order.
func window(from, to *time.Duration, a, b time.Duration) {
	if *from == 0 && *to == 0 {
		*from, *to = a, b
	}
	*to = max(*from, *to)
}

// lastIncident is the last 04:09 UTC that lies an hour and a half back, so that its window is over.
func lastIncident(now time.Time) time.Time {
	now = now.UTC()
	at := time.Date(now.Year(), now.Month(), now.Day(), 4, 9, 0, 0, time.UTC)
	if now.Sub(at) < 90*time.Minute {
		at = at.AddDate(0, 0, -1)
	}
	return at
}
