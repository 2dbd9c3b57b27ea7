package machine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/fleetmend/fleetmend/internal/simfleet/wsman"
	"github.com/fleetmend/fleetmend/remediate/windows"
)

// tools are the programs of System32; it implements windows.Tools.
type tools struct{ *Machine }

// maxScript bounds what a script step may say.
const maxScript = 64 << 10

// Run implements windows.Tools.
func (t *tools) Run(_ context.Context, name string, args ...string) ([]string, int, error) {
	name = strings.ToLower(base(name))
	switch strings.TrimSuffix(name, ".exe") {
	case "bcdedit":
		return t.bcdedit(args)
	case "shutdown":
		return t.shutdown(args)
	case "sc":
		return t.sc(args)
	case "reg":
		return t.reg(args)
	}
	return nil, 0, fmt.Errorf("run %s: %w", name, fs.ErrNotExist)
}

var errSignedOnly = errors.New("a policy of this machine (MachinePolicy) lets no script run that is not signed: the execution policy is AllSigned")

// Forbids implements windows.Tools.
func (t *tools) Forbids(shell string) error {
	if shell == "powershell" && t.spec.SignedOnly {
		return errSignedOnly
	}
	return nil
}

// Script implements windows.Tools.
func (t *tools) Script(ctx context.Context, shell, body string, args []string) (string, int, error) {
	var out bounded
	p := t.process(ctx, wsman.Command{User: t.spec.Domain + `\SYSTEM`, Stdin: strings.NewReader(""), Stdout: &out, Stderr: &out})
	for i, a := range args {
		p.set("FLEETMEND_ARG"+strconv.Itoa(i+1), a) // as agent.ps1 does
	}
	var exit uint32
	switch shell {
	case "cmd":
		exit = p.file(body, nil)
	case "powershell":
		exit = p.script(body)
	default:
		return "", 0, fmt.Errorf("script shell %q is unknown", shell)
	}
	return out.String(), int(int32(exit)), nil
}

// bounded keeps the first part of what is written to it.
type bounded struct{ bytes.Buffer }

func (b *bounded) Write(p []byte) (int, error) {
	if room := maxScript - b.Len(); room > 0 {
		b.Buffer.Write(p[:min(room, len(p))])
	}
	return len(p), nil
}

const invalidParameter = "The parameter is incorrect."

func (t *tools) bcdedit(args []string) ([]string, int, error) {
	if len(args) == 0 {
		args = []string{"/enum"}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	rest := args[1:]
	if len(rest) > 0 && strings.HasPrefix(rest[0], "{") {
		switch strings.ToLower(rest[0]) {
		case "{default}", "{current}":
		default:
			return []string{"The boot configuration data store could not be opened.", "The system cannot find the file specified."}, 1, nil
		}
		rest = rest[1:]
	}
	switch strings.ToLower(args[0]) {
	case "/enum":
		out := []string{"", "Windows Boot Loader", "-------------------", "identifier              {11111111-2222-3333-4444-555555555555}"}
		for _, name := range slices.SortedFunc(maps.Keys(t.bcd), compareElements) {
			out = append(out, fmt.Sprintf("%-23s %s", name, t.bcd[name]))
		}
		return out, 0, nil
	case "/set":
		if len(rest) != 2 {
			return []string{invalidParameter}, 1, nil
		}
		if t.bcd[strings.ToLower(rest[0])] != rest[1] {
			t.turned++
		}
		t.bcd[strings.ToLower(rest[0])] = rest[1]
		return []string{"The operation completed successfully."}, 0, nil
	case "/deletevalue":
		if len(rest) != 1 {
			return []string{invalidParameter}, 1, nil
		}
		if _, ok := t.bcd[strings.ToLower(rest[0])]; !ok {
			return []string{"An error occurred while attempting to delete the specified data element.", "Element not found."}, 1, nil
		}
		delete(t.bcd, strings.ToLower(rest[0]))
		t.turned++
		return []string{"The operation completed successfully."}, 0, nil
	}
	return []string{"The parameter is incorrect."}, 1, nil
}

func compareElements(a, b string) int {
	if a == "identifier" || b == "identifier" {
		return strings.Compare(strings.TrimPrefix(a, "identifier"), strings.TrimPrefix(b, "identifier"))
	}
	return strings.Compare(a, b)
}

func (t *tools) shutdown(args []string) ([]string, int, error) {
	again, delay := false, 30*time.Second
	for i := 0; i < len(args); i++ {
		switch strings.ToLower(strings.Replace(args[i], "-", "/", 1)) {
		case "/r", "/g":
			again = true
		case "/t":
			if i++; i >= len(args) {
				return []string{invalidParameter}, 87, nil
			}
			n, err := strconv.Atoi(args[i])
			if err != nil || n < 0 || n > 315360000 {
				return []string{invalidParameter + "(87)"}, 87, nil
			}
			delay = time.Duration(n) * time.Second
		case "/f":
		case "/c", "/d":
			i++
		case "/a":
			return []string{"Unable to abort the system shutdown because no shutdown was in progress.(1116)"}, 1116, nil
		default:
			return []string{invalidParameter + "(87)"}, 87, nil
		}
	}
	if !again {
		return []string{"This simulated machine restarts (/r) only; nobody could switch it on again."}, 5, nil
	}
	if t.restart(delay) {
		return []string{"A system shutdown has already been scheduled.(1190)"}, 1190, nil
	}
	return nil, 0, nil
}

func (t *tools) sc(args []string) ([]string, int, error) {
	if len(args) == 0 || !strings.EqualFold(args[0], "query") {
		return []string{"ERROR:  Unrecognized command"}, 1639, nil
	}
	var out []string
	for _, s := range serviceSpecs {
		if len(args) > 1 && !strings.EqualFold(args[1], s.name) || len(args) == 1 && s.kind&0x30 == 0 {
			continue
		}
		kind, _, ok := t.service(s.name)
		if !ok {
			continue
		}
		now, _, _ := t.State(s.name)
		running := now == windows.StateRunning
		if kind&0x30 == 0 {
			running = s.running
		}
		state, kindName := "1  STOPPED", map[uint64]string{1: "KERNEL_DRIVER", 2: "FILE_SYSTEM_DRIVER", 0x10: "WIN32_OWN_PROCESS", 0x20: "WIN32_SHARE_PROCESS", 0x110: "WIN32_OWN_PROCESS (interactive)"}[kind]
		if running {
			state = "4  RUNNING"
		}
		out = append(out, "", "SERVICE_NAME: "+s.name, fmt.Sprintf("        TYPE               : %x  %s", kind, kindName), "        STATE              : "+state,
			"        WIN32_EXIT_CODE    : 0  (0x0)", "        SERVICE_EXIT_CODE  : 0  (0x0)", "        CHECKPOINT         : 0x0", "        WAIT_HINT          : 0x0")
	}
	if len(args) > 1 && out == nil {
		return []string{"[SC] EnumQueryServicesStatus:OpenService FAILED 1060:", "", "The specified service does not exist as an installed service.", ""}, 1060, nil
	}
	return out, 0, nil
}

var registryTypes = map[string]string{"string": "REG_SZ", "expand-string": "REG_EXPAND_SZ", "dword": "REG_DWORD", "qword": "REG_QWORD", "multi-string": "REG_MULTI_SZ", "binary": "REG_BINARY"}

func (t *tools) reg(args []string) ([]string, int, error) {
	if len(args) < 2 || !strings.EqualFold(args[0], "query") {
		return []string{"ERROR: Invalid syntax.", `Type "REG /?" for usage.`}, 1, nil
	}
	notFound := []string{"", "ERROR: The system was unable to find the specified registry key or value."}
	if ok, _ := t.registry.HasKey(args[1]); !ok {
		return notFound, 1, nil
	}
	only, filter := "", false
	for i := 2; i < len(args); i++ {
		switch strings.ToLower(args[i]) {
		case "/v":
			if i++; i >= len(args) {
				return []string{"ERROR: Invalid syntax.", `Type "REG QUERY /?" for usage.`}, 1, nil
			}
			only, filter = args[i], true
		case "/ve":
			filter = true
		}
	}
	values, keys := t.registry.below(args[1])
	name := foldKey(args[1])
	if len(values) > 0 {
		name = values[0].Key
	}
	out := []string{"", name}
	for _, v := range values {
		if filter && !strings.EqualFold(v.Name, only) {
			continue
		}
		out = append(out, fmt.Sprintf("    %s    %s    %s", v.Name, registryTypes[v.Type], registryText(v.Data)))
	}
	if filter && len(out) == 2 {
		return notFound, 1, nil
	}
	if !filter {
		out = append(append(out, ""), keys...)
	}
	return append(out, ""), 0, nil
}

func registryText(data any) string {
	switch d := data.(type) {
	case uint64:
		return "0x" + strconv.FormatUint(d, 16)
	case []string:
		return strings.Join(d, `\0`)
	case []byte:
		return strings.ToUpper(fmt.Sprintf("%x", d))
	}
	return fmt.Sprint(data)
}

// Stop implements windows.Services.
func (m *Machine) Stop(_ context.Context, name string) error { return m.control("stop", name, false) }

// Start implements windows.Services.
func (m *Machine) Start(_ context.Context, name string) error { return m.control("start", name, true) }

func (m *Machine) control(verb, name string, running bool) error {
	_, ok, err := m.State(name)
	if err != nil || !ok {
		return errors.Join(fmt.Errorf("%s service %q: %w", verb, name, fs.ErrNotExist), err)
	}
	if _, start, _ := m.service(name); running && start == 4 {
		return fmt.Errorf("start service %q: the service cannot be started because it is disabled", name)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.running[strings.ToLower(name)] != running {
		m.turned++
	}
	m.running[strings.ToLower(name)] = running
	return nil
}
