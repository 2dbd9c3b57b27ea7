package ad

import (
	"context"
	"fmt"

	"github.com/fleetmend/fleetmend/internal/directory"
)

// Answer is what could be found out about a right.
type Answer string

// The answers.
const (
	Yes     Answer = "yes"
	No      Answer = "no"
	Unclear Answer = "unclear" // the directory shows the same whether the right or the thing is missing
)

// Right is one answer with what it means and what to do.
type Right struct {
	Answer Answer `json:"answer"`
	Means  string `json:"means"`
	Do     string `json:"do,omitempty"`
}

// Capabilities are what the account of a connection may do.
type Capabilities struct {
	ListMachines Right `json:"list_machines"`
	ListKeys     Right `json:"list_keys"`
	ReadKeys     Right `json:"read_keys"`
	ReadLAPS     Right `json:"read_laps"`
}

// Rights asks whether the account may list machines, list BitLocker keys, read them, and read LAPS passwords. It asks
// for the presence of secrets only: none is sent. AD hides without an error what an account may not see, so a missing
// right to list looks like an empty directory.
func Rights(ctx context.Context, c *directory.Conn) (Capabilities, error) {
	const key = "(objectClass=msFVE-RecoveryInformation)"
	var failed error
	any := func(filter string) bool {
		if failed != nil {
			return false
		}
		sum, err := c.Search(ctx, directory.Query{Filter: filter, Limit: 1}, func(*directory.Entry) error { return nil })
		if err != nil {
			failed = fmt.Errorf("ask for rights: %w", err)
		}
		return sum.Entries > 0
	}
	machines, keys := any("(objectCategory=computer)"), any(key)
	passwords := keys && any("(&"+key+"(msFVE-RecoveryPassword=*))")
	managed := any("(|(msLAPS-PasswordExpirationTime=*)(ms-Mcs-AdmPwdExpirationTime=*))")
	laps := any("(|(msLAPS-Password=*)(msLAPS-EncryptedPassword=*)(ms-Mcs-AdmPwd=*))")
	if failed != nil {
		return Capabilities{}, failed
	}
	out := Capabilities{ListMachines: Right{Yes, "sees computers", ""}, ListKeys: Right{Yes, "sees BitLocker keys", ""},
		ReadKeys: Right{Yes, "may read BitLocker recovery passwords", ""}, ReadLAPS: Right{Yes, "may read LAPS passwords", ""}}
	if !machines {
		out.ListMachines = Right{No, "sees no computer at all", "check the domain and the account; every user of a domain may normally list computers"}
	}
	switch {
	case !keys:
		out.ListKeys = Right{Unclear, "sees no BitLocker key: either it has no right to list them, or none is stored", "delegate List and Read on msFVE-RecoveryInformation, or ask with a domain administrator"}
		out.ReadKeys = Right{Unclear, "sees no key on which this could be tried", out.ListKeys.Do}
	case !passwords:
		out.ReadKeys = Right{No, "sees the keys, but may not read the recovery passwords", "delegate Control Access (a confidential attribute) on msFVE-RecoveryInformation"}
	}
	switch {
	case laps:
	case managed:
		out.ReadLAPS = Right{No, "sees machines with LAPS, but may not read their passwords", "Set-LapsADReadPasswordPermission for this account"}
	default:
		out.ReadLAPS = Right{Unclear, "sees no machine with LAPS", "set up LAPS, or check the account"}
	}
	return out, nil
}
