package windows

import (
	"bytes"
	"encoding/json"
	"fmt"
	"time"

	"github.com/fleetmend/fleetmend/remediate/agent"
	"github.com/fleetmend/fleetmend/remediate/playbook"
)

// Case is a machine before, a playbook, and what each request to it must answer and leave behind. docs/playbooks-cases.md
// describes the files; remediate/agent/conformance.ps1 runs the same ones through agent.ps1.
type Case struct {
	About    string            `json:"about"`
	Skip     map[string]string `json:"skip"` // for the runner only: why a case cannot run there
	Root     string            `json:"root"`
	Playbook playbook.Playbook `json:"playbook"`
	Before   CaseState         `json:"before"`
	Steps    []CaseStep        `json:"steps"`
}

// CaseState is a machine, or what is to change about one.
type CaseState struct {
	Files      []CaseFile                `json:"files"`
	Remove     []string                  `json:"remove"`
	Move       []CaseMove                `json:"move"`   // files or folders that somebody moves
	Damage     []string                  `json:"damage"` // files whose last byte becomes another
	Registry   map[string]map[string]any `json:"registry"`
	Links      []CaseLink                `json:"links"`
	SDDL       map[string]string         `json:"sddl"` // owner and rights of folders, where they are not ours
	Services   map[string]string         `json:"services"`
	Dependents map[string][]string       `json:"dependents"`
	SCM        map[string]uint64         `json:"scm"`    // start types that the service controller knows
	Booted     bool                      `json:"booted"` // the machine has started: the controller reads the registry
	BCD        map[string]string         `json:"bcd"`
	OtherBCD   map[string]string         `json:"bcd-other"` // of another Windows, which is {default} then
	Tools      map[string][]struct {
		Arguments string   `json:"arguments"`
		Output    []string `json:"output"`
		Exit      int      `json:"exit"`
	} `json:"tools"`
	Scripts []CaseScript `json:"scripts"`
	Uptime  *int64       `json:"uptime"`
	Plus    CasePlus     `json:"plus"`
}

// CasePlus is trouble that a machine has. The last two are PowerShell's alone: the Go interpreter must do as if there were
// none.
type CasePlus struct {
	NeverStops       string   `json:"never-stops"`
	NeverStarts      string   `json:"never-starts"`
	InUse            []string `json:"in-use"` // files that a program holds open without sharing
	Locked           []string `json:"locked"` // and these cannot be read either
	Meanwhile        string   `json:"written-meanwhile"`
	WMIHangs         bool     `json:"wmi-hangs"`
	SlashIsBackslash bool     `json:"slash-is-backslash"`
	NoRegistryTools  bool     `json:"registry-tools-disabled"`
	ICACLSFails      string   `json:"icacls-fails"` // the agent's alone
	ToolHangs        string   `json:"tool-hangs"`
	NoExitCode       string   `json:"no-exit-code"`
}

// CaseMove is a file, or a folder with all that is in it, that is elsewhere now.
type CaseMove struct {
	From string `json:"from"`
	To   string `json:"to"`
}

// CaseLink is a link to a folder or a file.
type CaseLink struct {
	Path string `json:"path"`
	To   string `json:"to"`
}

// CaseFile is a file with its content in hex.
type CaseFile struct {
	Path     string    `json:"path"`
	Hex      string    `json:"hex"`
	Modified time.Time `json:"modified"`
}

// CaseScript says what a script of the playbook does on the machine of the case.
type CaseScript struct {
	Body   string     `json:"body"`
	Exit   int        `json:"exit"`
	Output string     `json:"output"`
	Hangs  bool       `json:"hangs"`
	Ends   string     `json:"ends"` // "never": it does not begin; "error": an error ends it; "": its exit code
	Files  []CaseFile `json:"files"`
	Remove []string   `json:"remove"`
}

// CaseStep is one request, with what it must answer and leave behind. Nil means that a thing is not looked at.
type CaseStep struct {
	Mode     agent.Mode                 `json:"mode"`
	Run      string                     `json:"run"`
	Record   string                     `json:"record"`
	Room     int                        `json:"room"`
	Agent    string                     `json:"agent"` // "": it is sent; named; asked: named, and sent because the machine asks for it
	Change   CaseState                  `json:"change"`
	Expect   map[string]any             `json:"expect"`
	Steps    *[]map[string]any          `json:"steps"` // of the result
	Files    *[]CaseFile                `json:"files"`
	Registry *map[string]map[string]any `json:"registry"`
	Services map[string]string          `json:"services"`
	SCM      map[string]uint64          `json:"scm"`
	BCD      map[string]string          `json:"bcd"`
	OtherBCD map[string]string          `json:"bcd-other"`
	SDDL     map[string]string          `json:"sddl"`
	Ours     *bool                      `json:"ours"` // whether our folder is there
	Called   *[]string                  `json:"called"`
	Agents   *[]string                  `json:"agents"` // names of the files in the folder of kept agents
}

// ParseCase reads a case file strictly. @AGENT@ stands for the hash of the agent.
func ParseCase(data []byte) (Case, error) {
	decoder := json.NewDecoder(bytes.NewReader(bytes.ReplaceAll(data, []byte("@AGENT@"), []byte(agent.Digest()))))
	decoder.DisallowUnknownFields()
	decoder.UseNumber()
	var c Case
	if err := decoder.Decode(&c); err != nil {
		return Case{}, fmt.Errorf("read case: %w", err)
	}
	return c, nil
}

// reporter takes note of what is not as a case says; a *testing.T is one.
type reporter interface {
	Errorf(format string, args ...any)
}

// findings is the reporter of Rehearse.
type findings struct{ said []string }

func (f *findings) Errorf(format string, args ...any) {
	f.said = append(f.said, fmt.Sprintf(format, args...))
}
