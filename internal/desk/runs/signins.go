package runs

import (
	"context"
	"fmt"

	"github.com/fleetmend/fleetmend/internal/desk"
	"github.com/fleetmend/fleetmend/internal/prose"
	"github.com/fleetmend/fleetmend/remediate/plan"
)

// bearing says in the rules of a plan how many sign-ins the account of the settings bears: half of what locks it, where its domain
// told, unless somebody said a number.
func bearing(ctx context.Context, d *desk.Desk, o plan.Options) (plan.Options, error) {
	w := d.Settings.WinRM
	if w.Auth == "certificate" || w.Credentials == "laps" || w.User == "" {
		return o, nil // nothing that can be locked, or accounts of which nobody tells
	}
	bears, err := d.Bears(ctx, w.User)
	if err != nil {
		return o, err
	}
	o.SignInWindow = bears.Rule.Window
	switch {
	case !o.SignInsSaid:
		o.SignIns, o.SignInsWhy = bears.Rule.Limit, bears.Why
	case bears.Known && o.SignIns > bears.Rule.Limit:
		o.SignInsWhy = fmt.Sprintf("as you said, which is more than %s (%d): so many wrong ones in a row may lock the account", bears.Why, bears.Rule.Limit)
	case o.SignIns > bears.Rule.Limit:
		o.SignInsWhy = "as you said; " + bears.Why + ", so see that it is at most half of the threshold"
	default:
		o.SignInsWhy = "as you said"
	}
	return o, nil
}

// SignInsText says how often a password may be sent in vain, and why; "" where none is, or the plan is of an older version.
func SignInsText(o plan.Options) string {
	if o.SignInsWhy == "" {
		return ""
	}
	return fmt.Sprintf("at most %s without an answer: %s", prose.Counted(o.SignIns, "sign-in", "sign-ins"), prose.OneLine(o.SignInsWhy))
}
