package winrm

import (
	"strings"
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
		"no memory to begin":       {Output{ExitCode: 0xc0000142}, agent.ErrNoResult, route.Busy},
		"no memory, as it says":    {Output{ExitCode: 0xc0000142, Stderr: []byte(clixml + "x</S></Objs>")}, agent.ErrNoResult, route.Unknown},
		"no memory after a result": {Output{ExitCode: 0xc0000142, Stdout: []byte("@@fm")}, agent.ErrMissing, route.Unknown},
		"crashed":                  {Output{ExitCode: 0xe0434352}, agent.ErrNoResult, route.Unknown},
		"unread":                   {Output{ExitCode: 1, Stdout: []byte("@@fm")}, agent.ErrUnread, route.Refused},
	} {
		if got := noResult("WS1", c.out, c.err); got.Class != c.want {
			t.Errorf("%s: class %s, not %s (%v)", name, got.Class, c.want, got)
		}
		if crash := strings.Contains(noResult("WS1", c.out, c.err).Error(), "PowerShell crashed on the machine"); crash != (name == "crashed") {
			t.Errorf("%s: said to be a crash: %t", name, crash)
		}
	}
}

// The numbers with which Windows and .NET end a process (ntstatus.h, corerror.h), by what they mean for a request.
func TestHowAProcessEnds(t *testing.T) {
	for _, code := range []uint32{0xc0000142, 0xc000012d, 0xc0000017} {
		if e := noResult("WS1", Output{ExitCode: int(code)}, agent.ErrNoResult); e.Class != route.Busy {
			t.Errorf("%x: %v", code, e)
		}
	}
	for _, code := range []uint32{0xe0434352, 0x80131623, 0x80131506, 0x8007000e, 0xc00000fd, 0xc0000005, 0xc0000409} {
		if e := noResult("WS1", Output{ExitCode: int(code)}, agent.ErrNoResult); e.Class != route.Unknown || !strings.Contains(e.Error(), "PowerShell crashed on the machine") {
			t.Errorf("%x: %v", code, e)
		}
	}
}
