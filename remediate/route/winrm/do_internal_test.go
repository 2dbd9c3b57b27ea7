package winrm

import (
	"testing"

	"github.com/fleetmend/fleetmend/remediate/agent"
	"github.com/fleetmend/fleetmend/remediate/route"
)

// What a command that ended without a result means: whether something may have run is told by what PowerShell writes in
// every language.
func TestNoResult(t *testing.T) {
	const clixml = "#< CLIXML\r\n<Objs><S S=\"Error\">"
	for name, c := range map[string]struct {
		out  Output
		err  error
		want route.Class
	}{
		"blocked by antivirus":     {Output{ExitCode: 1, Stderr: []byte(clixml + "FullyQualifiedErrorId : ScriptContainedMaliciousContent,x</S></Objs>")}, agent.ErrNoResult, route.Refused},
		"blocked after a result":   {Output{ExitCode: 1, Stdout: []byte("@@fm"), Stderr: []byte(clixml + "ScriptContainedMaliciousContent</S></Objs>")}, agent.ErrMissing, route.Unknown},
		"PowerShell did not start": {Output{ExitCode: 1, Stderr: []byte("Access is denied.\r\n")}, agent.ErrNoResult, route.Refused},
		"PowerShell failed":        {Output{ExitCode: 1, Stderr: []byte(clixml + "x</S></Objs>")}, agent.ErrNoResult, route.Unknown},
		"the same behind a mark":   {Output{ExitCode: 1, Stderr: []byte("\ufeff" + clixml + "x</S></Objs>")}, agent.ErrNoResult, route.Unknown},
		"busy":                     {Output{Stdout: []byte("@@fm")}, agent.ErrBusy, route.Unknown},
		"unread":                   {Output{ExitCode: 1, Stdout: []byte("@@fm")}, agent.ErrUnread, route.Refused},
	} {
		if got := noResult("WS1", c.out, c.err); got.Class != c.want {
			t.Errorf("%s: class %s, not %s (%v)", name, got.Class, c.want, got)
		}
	}
}
