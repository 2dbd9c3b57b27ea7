package cases

import (
	"cmp"
	"slices"

	"github.com/fleetmend/fleetmend/remediate/plan"
	"github.com/fleetmend/fleetmend/remediate/playbook"
)

// Said is what the command of a plan said of its playbook beside the parameters: --reboot, where that is not as the playbook has it,
// and --force, where lint finds errors. A playbook that is not there any more, or another one now, tells nothing.
func Said(p *plan.Plan) (reboot string, force bool) {
	source, err := playbook.Find(cmp.Or(p.PlaybookFile, p.Playbook.Name))
	if err != nil || source.Digest != p.PlaybookDigest {
		return "", false
	}
	bound, err := source.Bind(p.Parameters)
	if err != nil {
		return "", false
	}
	if bound.Reboot != p.Playbook.Reboot {
		reboot = string(p.Playbook.Reboot)
	}
	return reboot, slices.ContainsFunc(playbook.LintBound(source, bound), func(f playbook.Finding) bool {
		return f.Severity == playbook.SeverityError && f.Rule != playbook.RuleFirmware
	})
}
