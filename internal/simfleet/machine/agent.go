package machine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/fleetmend/fleetmend/internal/simfleet/wsman"
	"github.com/fleetmend/fleetmend/remediate/agent"
	"github.com/fleetmend/fleetmend/remediate/windows"
)

// maxEnvelope bounds what the bootstrap reads from its standard input.
const maxEnvelope = 8 << 20

// agent answers the agent's command line as bootstrap and agent.ps1 do; ok is false for any other command line.
func (m *Machine) agent(ctx context.Context, c wsman.Command) (exit uint32, ok bool) {
	if !isAgent(c.Line) {
		return 0, false
	}
	if m.lab != nil {
		return m.inLab(ctx, c), true
	}
	stdin, err := io.ReadAll(io.LimitReader(c.Stdin, maxEnvelope))
	if err != nil {
		return 1, true
	}
	if m.spec.Flood > 0 {
		if _, _, err := agent.DecodeStdin(stdin); err == nil && !m.chatter(c.Stdout) {
			return 1, true
		}
	}
	request, result, err := m.answer(ctx, stdin, isNamed(c.Line))
	switch {
	case errors.Is(err, windows.ErrNotKept):
		_, _ = io.WriteString(c.Stdout, agent.Send(agent.Digest())+"\r\n")
		return 92, true
	case err != nil:
		_, _ = fmt.Fprintf(c.Stdout, "fleetmend: %v\r\n", err)
		return 91, true
	}
	for _, line := range agent.Lines(request.Nonce, result) {
		if _, err := io.WriteString(c.Stdout, line+"\r\n"); err != nil {
			return 1, true
		}
	}
	if result.Outcome == agent.Failed {
		return 1, true
	}
	return 0, true
}

// chatter writes the output that comes before the answer on a machine that has much to say.
func (m *Machine) chatter(to io.Writer) bool {
	for left := m.spec.Flood; left > 0; left -= int64(len(flood)) {
		if _, err := to.Write(flood[:min(left, int64(len(flood)))]); err != nil {
			return false
		}
	}
	return true
}

const narrowSays = "this is a 32-bit PowerShell on a 64-bit Windows: it sees other system files and another registry; start the 64-bit one"

// answer executes a request on this Windows. Nothing but the agent's own lock keeps two from acting at once.
func (m *Machine) answer(ctx context.Context, stdin []byte, named bool) (agent.Request, agent.Result, error) {
	if err := ctx.Err(); err != nil {
		// The command was ended before the agent got its turn: nothing was done and nobody reads this.
		return agent.Request{}, agent.Result{Outcome: agent.Failed, Message: "ended before it began", Uptime: -1}, nil
	}
	if m.spec.Narrow {
		_, request, err := agent.DecodeStdin(stdin)
		return request, agent.Result{V: agent.ResultVersion, Run: request.Run, Outcome: agent.Failed, Message: narrowSays, Uptime: -1}, err //nolint:wrapcheck // it is answered with
	}
	interpreter := windows.New(windows.Parts{
		Files: m.disk, Registry: m.registry, Services: m, Tools: &tools{m}, System: m,
		Now: func() time.Time { return m.now().UTC() },
	})
	before := m.touched()
	request, result, err := interpreter.Answer(ctx, stdin, named)
	if err != nil {
		return request, result, err //nolint:wrapcheck // it is answered with
	}
	m.answers.Add(1)
	m.count(result, before)
	return request, result, nil
}

// count counts an answer in whose course the machine changed, by itself and not by another request beside it.
func (m *Machine) count(result agent.Result, before int64) {
	acts := result.Outcome == agent.Fixed || result.Outcome == agent.Undone || result.Outcome == agent.Failed
	if acts && !result.Repeated && m.touched() != before {
		m.changes.Add(1)
	}
}
