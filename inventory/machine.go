package inventory

import "time"

// Machine is one Windows computer, merged from every record that is known of it. Its plain fields are the current
// values; Provenance says for each of them which record it came from.
type Machine struct {
	ID           string            `json:"id"`                      // ULID, ours, stable for the life of the store
	Name         string            `json:"name"`                    // short host name in upper case, as NetBIOS has it
	FQDN         string            `json:"fqdn,omitempty"`          // lower case
	Address      string            `json:"address,omitempty"`       // host or host:port to connect to; empty: FQDN, then Name
	Domain       string            `json:"domain,omitempty"`        // DNS name of the AD domain, lower case
	OU           string            `json:"ou,omitempty"`            // distinguished name of the parent
	Site         string            `json:"site,omitempty"`          //
	Subnet       string            `json:"subnet,omitempty"`        // CIDR; from the address where the source has none
	Class        Class             `json:"class,omitempty"`         //
	OS           OS                `json:"os"`                      //
	Serial       string            `json:"serial,omitempty"`        //
	Manufacturer string            `json:"manufacturer,omitempty"`  //
	Model        string            `json:"model,omitempty"`         //
	Owner        string            `json:"owner,omitempty"`         //
	MACs         []string          `json:"macs,omitempty"`          // aa:bb:cc:dd:ee:ff
	Priority     int               `json:"priority"`                // lower goes first inside a wave; see DefaultPriority
	Enabled      bool              `json:"enabled"`                 //
	Tags         []string          `json:"tags,omitempty"`          // sorted, without repetition
	Sources      []string          `json:"sources,omitempty"`       // that know the machine now, sorted
	Groups       []string          `json:"groups,omitempty"`        // that it is in itself; sorted, without repetition
	NestedGroups []string          `json:"nested_groups,omitempty"` // that those are in, at any depth; sorted, without repetition
	Health       Health            `json:"health"`                  //
	HealthReason string            `json:"health_reason,omitempty"`
	LastSeen     time.Time         `json:"last_seen,omitzero"`  // newest a source or a probe saw it alive; zero: never
	Installed    time.Time         `json:"installed,omitzero"`  // newest day a source says it was set up; zero: not known
	Encrypted    string            `json:"encrypted,omitempty"` // yes or no: its system disk, as a source says
	Gone         bool              `json:"gone,omitempty"`      // no source lists it any more
	Probe        *ProbeResult      `json:"probe,omitempty"`
	Case         *Case             `json:"case,omitempty"` // where it stands in an incident; only with an Overlay
	Claims       Claims            `json:"claims"`
	Provenance   map[string]Origin `json:"provenance,omitempty"` // field name as in a selector -> origin
	Records      []Record          `json:"records,omitempty"`
	Conflicts    []string          `json:"conflicts,omitempty"` // one sentence each
}

// The priorities of machines of which nobody said otherwise.
const (
	DefaultPriority = 100
	DCPriority      = 1000
)

// OS is what a source says of the operating system.
type OS struct {
	Name    string `json:"name,omitempty"`    // "Windows 11 Enterprise"
	Version string `json:"version,omitempty"` // "10.0 (22631)" or "10.0.22631.3880", as the source gives it
	Build   int    `json:"build,omitempty"`   // 22631
}

// Class sorts machines by how careful one must be with them.
type Class string

// The classes.
const (
	Workstation      Class = "workstation"
	Server           Class = "server"
	DomainController Class = "dc"
)

// Health is the current opinion about a machine.
type Health string

// The healths.
const (
	HealthUnknown  Health = "unknown"
	HealthSuspect  Health = "suspect"
	HealthAffected Health = "affected"
	HealthHealthy  Health = "healthy"
)

// Claims are the strong keys that identify a machine, each empty where unknown. Two machines with different values of
// one claim are never merged.
type Claims struct {
	SID           string `json:"sid,omitempty"`
	ObjectGUID    string `json:"object_guid,omitempty"` // lower case, with hyphens
	EntraDeviceID string `json:"entra_device_id,omitempty"`
	IntuneID      string `json:"intune_id,omitempty"`
	ARMID         string `json:"arm_id,omitempty"` // lower case
	VMID          string `json:"vm_id,omitempty"`
	FalconAID     string `json:"falcon_aid,omitempty"`
	SMBIOS        string `json:"smbios,omitempty"` // system UUID
}

// Origin says where the value of a field came from.
type Origin struct {
	Source    string    `json:"source"` // "csv:machines.csv", "ad:fleet.test", "operator"
	SourceKey string    `json:"source_key,omitempty"`
	SeenAt    time.Time `json:"seen_at"`
}

// Record is what one source said of a machine, kept as it was said. SeenAt is when the source was read; when the
// machine itself was last alive belongs in the field last_seen (RFC 3339). Fields names are those of [RecordFields];
// lists (tags, groups, macs) are separated by commas.
type Record struct {
	Source    string            `json:"source"`
	SourceKey string            `json:"source_key"` // unique within the source and stable from one reading to the next
	SeenAt    time.Time         `json:"seen_at"`
	Fields    map[string]string `json:"fields"` // names as in a selector: name, fqdn, os.build, claims.sid, ...
	Gone      bool              `json:"gone,omitempty"`
	// Stamp is the source's own note: another text as soon as the record would be. Empty: it takes none.
	Stamp string `json:"-"`
}

// ProbeResult is the answer of a machine to a TCP connect and a WinRM Identify.
type ProbeResult struct {
	At      time.Time     `json:"at"`
	Open    bool          `json:"open"`              // TCP connect succeeded
	WinRM   bool          `json:"winrm"`             // something there speaks WS-Management
	Latency time.Duration `json:"latency_ns"`        // TCP connect
	Auth    []string      `json:"auth,omitempty"`    // schemes offered, as in WWW-Authenticate
	Product string        `json:"product,omitempty"` // ProductVendor and ProductVersion
	Error   string        `json:"error,omitempty"`
}

// Word is the answer in a word or two, for people; nil is a machine that was not asked.
func (p *ProbeResult) Word() string {
	switch {
	case p == nil:
		return "not probed"
	case p.WinRM:
		return "answers"
	case p.Open:
		return "open, no WinRM"
	}
	return "silent"
}
