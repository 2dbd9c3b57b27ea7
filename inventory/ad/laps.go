package ad

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/fleetmend/fleetmend/internal/directory"
	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/internal/secret"
	"github.com/fleetmend/fleetmend/inventory"
)

// LocalAdmin is the local administrator of one machine as LAPS keeps it. It is read when needed and never stored.
type LocalAdmin struct {
	Account  string // empty with legacy LAPS: the built-in Administrator (RID 500), whatever its name
	Password secret.String
	Expires  time.Time // zero: not said
	Changed  time.Time // zero: not said
	Legacy   bool
}

// What keeps a LAPS password from us; test with errors.Is.
var (
	ErrEncrypted = errors.New("the LAPS password is stored encrypted")
	ErrNoRight   = errors.New("the machine has a LAPS password, but this account may not read it")
	ErrNoLAPS    = errors.New("no LAPS password of the machine is visible")
	ErrNoMachine = errNoMachine
	ErrMalformed = errors.New("the stored value is not in the form of Windows LAPS")
	ErrSeveral   = errors.New("the directory has more than one such machine")
)

// IsAnswer tells what the directory said of one machine from a directory that cannot be asked: a connection, a sign-in or
// a search that failed.
func IsAnswer(err error) bool {
	for _, answer := range []error{ErrEncrypted, ErrNoRight, ErrNoLAPS, ErrNoMachine, ErrMalformed, ErrSeveral} {
		if errors.Is(err, answer) {
			return true
		}
	}
	return false
}

// WhyNone is what the directory said of one machine, without who was asked for what, and the remedy; of any other error all that it says.
func WhyNone(err error) string {
	text := err.Error()
	for _, known := range []error{ErrEncrypted, ErrNoRight, ErrNoLAPS, ErrNoMachine, ErrMalformed, ErrSeveral} {
		if errors.Is(err, known) {
			text = known.Error()
		}
	}
	if remedy := strings.Join(hint.Of(err), ", "); remedy != "" {
		text += " (" + remedy + ")"
	}
	return text
}

var lapsAttributes = []string{"msLAPS-Password", "msLAPS-EncryptedPassword", "msLAPS-PasswordExpirationTime", "ms-Mcs-AdmPwd", "ms-Mcs-AdmPwdExpirationTime"}

// Password reads the LAPS password of one machine, found by its objectGUID, else its SID, else its DNS name.
func Password(ctx context.Context, c *directory.Conn, m *inventory.Machine) (LocalAdmin, error) {
	filter, err := machineFilter(m)
	if err != nil {
		return LocalAdmin{}, err
	}
	var found []*directory.Entry
	_, err = c.Search(ctx, directory.Query{Filter: filter, Attributes: lapsAttributes, Limit: 2}, func(e *directory.Entry) error {
		found = append(found, e)
		return nil
	})
	switch {
	case err != nil:
		return LocalAdmin{}, fmt.Errorf("read LAPS password of %s: %w", m.Name, err)
	case len(found) == 0:
		return LocalAdmin{}, hint.Wrap(fmt.Errorf("read LAPS password of %s: %w", m.Name, ErrNoMachine), "ask the domain of the machine; sync the inventory")
	case len(found) > 1:
		return LocalAdmin{}, fmt.Errorf("read LAPS password of %s: %w", m.Name, ErrSeveral)
	}
	a, err := localAdmin(found[0])
	if err != nil {
		return a, fmt.Errorf("read LAPS password of %s: %w", m.Name, err)
	}
	return a, nil
}

func machineFilter(m *inventory.Machine) (string, error) {
	if filter, err := directory.FilterGUID(m.Claims.ObjectGUID); err == nil {
		return filter, nil
	}
	if m.Claims.SID != "" {
		return "(objectSid=" + directory.FilterText(m.Claims.SID) + ")", nil
	}
	if m.FQDN != "" {
		return "(&(objectCategory=computer)(dNSHostName=" + directory.FilterText(m.FQDN) + "))", nil
	}
	return "", hint.Wrap(fmt.Errorf("%w: %s has no GUID, SID or DNS name to find it by", ErrNoMachine, m.Name), "sync the inventory from AD")
}

func localAdmin(e *directory.Entry) (LocalAdmin, error) {
	if text := e.Bytes("msLAPS-Password"); text != nil {
		return windowsLAPS(text, e.Text("msLAPS-PasswordExpirationTime"))
	}
	if e.Bytes("msLAPS-EncryptedPassword") != nil {
		return LocalAdmin{}, hint.Wrap(ErrEncrypted, "run Get-LapsADPassword -AsPlainText on a Windows computer as a user who may decrypt it, and import the result")
	}
	if text := e.Text("ms-Mcs-AdmPwd"); text != "" {
		a := LocalAdmin{Password: secret.New(text), Legacy: true}
		a.Expires, _ = directory.Filetime(e.Text("ms-Mcs-AdmPwdExpirationTime"))
		return a, nil
	}
	if e.Text("msLAPS-PasswordExpirationTime") != "" || e.Text("ms-Mcs-AdmPwdExpirationTime") != "" {
		return LocalAdmin{}, hint.Wrap(ErrNoRight, "ask for the right (Set-LapsADReadPasswordPermission), or use another account")
	}
	return LocalAdmin{}, hint.Wrap(ErrNoLAPS, "LAPS is not set up for this machine, or this account does not see it")
}

// windowsLAPS reads the JSON of MS-ADA2 2.64.
func windowsLAPS(text []byte, expires string) (LocalAdmin, error) {
	var v struct{ N, T, P string }
	// The decoder's error would quote the text.
	if len(text) > 64<<10 || json.Unmarshal(text, &v) != nil || v.P == "" {
		return LocalAdmin{}, hint.Wrap(ErrMalformed, "look at it with Get-LapsADPassword; the machine writes a new one when its password is changed (Reset-LapsPassword)")
	}
	a := LocalAdmin{Account: v.N, Password: secret.New(v.P)}
	if n, err := strconv.ParseInt(v.T, 16, 64); err == nil && n > 0 {
		a.Changed, _ = directory.Filetime(strconv.FormatInt(n, 10))
	}
	a.Expires, _ = directory.Filetime(expires)
	return a, nil
}
