package connect

import (
	"cmp"
	"context"
	"errors"
	"strings"
	"time"

	"github.com/fleetmend/fleetmend/internal/directory"
	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/inventory/ad"
	"github.com/fleetmend/fleetmend/remediate/route"
	"github.com/fleetmend/fleetmend/remediate/route/winrm"
)

// controllers begins the IDs under which domain controllers stand in the ledger of sign-ins.
const controllers = "dc:"

// guard lets the ledger of sign-ins count what the directory is sent for a user: the same account as at machines.
func (c *Connector) guard(ctx context.Context, user, domain string) directory.Guard {
	if c.Ledger == nil {
		return nil
	}
	return guardBy(ctx, user, domain, func() (route.Ledger, string, error) { return c.ledger(ctx, user, domain) })
}

// guardBy is guard with a ledger that is got when the first secret leaves.
func guardBy(ctx context.Context, user, domain string, get func() (route.Ledger, string, error)) directory.Guard {
	if _, of := ad.SplitAccount(user); of == "" && !strings.Contains(user, "=") {
		user += "@" + domain
	}
	return func(dc directory.DC) (func(directory.Verdict), error) {
		ledger, netbios, err := get()
		if err != nil {
			return nil, err
		}
		who := route.Account{Name: user, Key: winrm.AccountKey(user), Domain: netbios, Home: true, Final: true}
		trial, err := ledger.Try(ctx, who, route.Target{ID: controllers + dc.Host, Name: dc.Host, Address: dc.Address}, nobodyElse)
		if no := (*route.BarredError)(nil); errors.As(err, &no) {
			return nil, keptBack(no)
		}
		if err != nil {
			return nil, err
		}
		return func(v directory.Verdict) { settle(ctx, trial, v) }, nil
	}
}

// keptBack is why nothing was sent, for a command that has no flag for more sign-ins.
func keptBack(no *route.BarredError) error {
	told := *no
	told.More = 0
	if no.More == 0 {
		return hint.Wrapf(&told, "nothing was sent, so that the account is not locked; see that user and password are right, and try again")
	}
	return hint.Wrapf(&told, "nothing was sent, so that the account is not locked; `sign-ins: %d` under run: in the settings lets it be sent at once%s", no.More, no.Unless())
}

// nobodyElse says that a domain controller alone is asked.
func nobodyElse(context.Context, route.Target, func(string) (route.Trial, error)) error {
	return route.ErrNoProof
}

func settle(ctx context.Context, trial route.Trial, v directory.Verdict) {
	switch v {
	case directory.Accepted:
		trial.Accepted()
	case directory.Refused:
		_ = trial.Refused(context.WithoutCancel(ctx)) //nolint:errcheck // the directory's own words are told
	case directory.Unjudged:
		trial.Unjudged()
	default:
		trial.Unanswered()
	}
}

// ledger is that of a user of the directory, one for all connections, and the NetBIOS name of the domain.
func (c *Connector) ledger(ctx context.Context, user, domain string) (route.Ledger, string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	known, ok := c.ledgers[user]
	if !ok {
		var err error
		if known.ledger, known.netbios, err = c.Ledger(ctx, user, domain); err != nil {
			return nil, "", err
		}
		if c.ledgers == nil {
			c.ledgers = map[string]counting{}
		}
		c.ledgers[user] = known
	}
	label, _, _ := strings.Cut(domain, ".")
	return known.ledger, cmp.Or(known.netbios, strings.ToUpper(label)), nil
}

type counting struct {
	ledger  route.Ledger
	netbios string
}

// askingControllers is a ledger that asks a domain controller by LDAP, where that is who took an account before.
type askingControllers struct {
	route.Ledger
	connect    *Connector
	credential winrm.Credential
}

// controllerPatience is how long a domain controller may take to say whether an account is good.
const controllerPatience = 5 * time.Second

// Try implements [route.Ledger].
func (a askingControllers) Try(ctx context.Context, account route.Account, t route.Target, ask route.Ask) (route.Trial, error) {
	return a.Ledger.Try(ctx, account, t, func(ctx context.Context, witness route.Target, begin func(string) (route.Trial, error)) error {
		host, ok := strings.CutPrefix(witness.ID, controllers)
		if !ok {
			return ask(ctx, witness, begin)
		}
		config, err := a.connect.reach(nil)
		if err != nil || config.Credential.LoggedOn {
			return route.ErrNoProof
		}
		config.DCs, config.Timeout = []directory.DC{{Host: host, Address: witness.Address}}, controllerPatience
		config.Credential = directory.Credential{User: account.Name, Password: a.credential.Password}
		config.Guard = func(directory.DC) (func(directory.Verdict), error) {
			trial, err := begin("")
			return func(v directory.Verdict) { settle(ctx, trial, v) }, err
		}
		conn, err := directory.Dial(ctx, config)
		if err != nil {
			return err
		}
		return conn.Close()
	})
}
