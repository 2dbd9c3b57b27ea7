package cases

import (
	"cmp"
	"fmt"

	"github.com/fleetmend/fleetmend/internal/textfile"
	"github.com/fleetmend/fleetmend/remediate/plan"
	"github.com/fleetmend/fleetmend/remediate/playbook"
)

// Said is what the command of a plan named as its work, and what it said of it beside the parameters, as flags have it.
type Said struct {
	Playbook, Script, Command string   // one of them; none where nobody knows the script's file any more
	Arguments                 []string // --arg, of the script
	Reboot                    string   // --reboot, where that is not as the playbook has it
	Force                     bool     // --force, where lint finds errors
	AcceptPermanent           bool     // what the playbook does cannot be undone, and a run of it needs to be told that this is meant
}

// SaidOf is what the command of a plan said. A playbook that is not there any more, or another one now, tells less.
func SaidOf(p *plan.Plan) Said {
	said := Said{Playbook: cmp.Or(p.PlaybookFile, p.Playbook.Name), AcceptPermanent: len(p.Playbook.Permanent()) > 0}
	switch {
	case playbook.IsScript(p.PlaybookFile):
		said = Said{Script: p.PlaybookFile, Arguments: arguments(p)}
	case p.PlaybookFile == "" && p.Playbook.OfCommand():
		said = Said{Command: p.Playbook.Fix[0].Script.Body}
	case p.PlaybookFile == "" && (p.Playbook.OfScript() || p.Playbook.OfPair()):
		return Said{}
	}
	source, err := SourceOf(p)
	if err != nil || source.Digest != p.PlaybookDigest {
		return said
	}
	bound, err := source.Bind(p.Parameters)
	if err != nil {
		return said
	}
	if bound.Reboot != p.Playbook.Reboot {
		said.Reboot = string(p.Playbook.Reboot)
	}
	for _, f := range playbook.LintBound(source, bound) {
		said.Force = said.Force || f.Severity == playbook.SeverityError && f.Rule != playbook.RuleFirmware
		said.AcceptPermanent = said.AcceptPermanent || f.Severity == playbook.SeverityError && f.Rule == playbook.RuleFirmware
	}
	return said
}

// arguments are those of a plan's script.
func arguments(p *plan.Plan) []string {
	if len(p.Playbook.Fix) != 1 || p.Playbook.Fix[0].Script == nil {
		return nil
	}
	return p.Playbook.Fix[0].Script.Args
}

// words are the flags of Said beside the work itself.
func (s Said) words() (words []string) {
	if s.Reboot != "" {
		words = append(words, "--reboot", s.Reboot)
	}
	if s.Force {
		words = append(words, "--force")
	}
	if s.AcceptPermanent {
		words = append(words, "--accept-permanent")
	}
	return words
}

// SourceOf is what a plan was bound from as it is now: a playbook, the file of a script, or the command that the plan holds. One of a file
// that is not there is an fs.ErrNotExist.
func SourceOf(p *plan.Plan) (*playbook.Source, error) {
	switch file := p.PlaybookFile; {
	case playbook.IsScript(file):
		body, err := textfile.Bytes(file, MaxScript)
		if err != nil {
			return nil, fmt.Errorf("read the script: %w", err)
		}
		return playbook.FromScriptFile(file, body, arguments(p)...)
	case file == "" && p.Playbook.OfCommand():
		return playbook.FromCommand(p.Playbook.Fix[0].Script.Body)
	}
	return playbook.Find(cmp.Or(p.PlaybookFile, p.Playbook.Name))
}

// MaxScript is how many bytes the file of a script may have.
const MaxScript = 16 << 20
