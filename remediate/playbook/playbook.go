// Package playbook is the language of repairs: data that says how to detect a trouble, fix it and verify the cure.
//
// [Parse] reads a YAML file strictly (every error has file:line:column) and [Lint] says what is dangerous in it;
// [Builtin] gives the embedded ones. [Playbook.Bind] sets the parameters. The JSON form of a bound Playbook is what
// crosses the wire to an agent. The package never touches a machine and never runs anything.
package playbook

import (
	"fmt"
	"time"
)

// Playbook is one repair. Its JSON form is the wire form that agent.ps1 and the Go interpreter understand; a field
// that is not set is absent there.
type Playbook struct {
	Name       string           `json:"playbook,omitempty"`
	Summary    string           `json:"summary,omitempty"`
	References []string         `json:"references,omitempty"`
	Tool       bool             `json:"tool,omitempty"`   // of use to people, and no cure of a trouble; see [Playbook.Cure]
	Params     map[string]Param `json:"params,omitempty"` // never on the wire: Bind replaces ${name} and drops them
	Detect     []Condition      `json:"detect"`           // all must hold: affected
	Fix        []Action         `json:"fix"`              // in this order
	Verify     []Condition      `json:"verify"`           // all must hold afterwards
	Reboot     Reboot           `json:"reboot,omitempty"`
}

// Cure reports whether the playbook answers the question "is it affected?" and does something about it: it detects, fixes
// and verifies, and does not call itself a tool.
func (p *Playbook) Cure() bool {
	return len(p.Detect) > 0 && len(p.Fix) > 0 && len(p.Verify) > 0 && !p.Tool
}

// Param is a value that the operator gives with --set name=value.
type Param struct {
	Summary string `json:"summary,omitempty"`
	Pattern string `json:"pattern"`           // RE2, must match the whole value
	Default string `json:"default,omitempty"` // empty: required
}

// Reboot says when a machine is restarted after the fix.
type Reboot string

// The reboot policies. The empty policy is RebootNever.
const (
	RebootNever   Reboot = "never"
	RebootIfFixed Reboot = "if-fixed" // when the fix changed something
	RebootAlways  Reboot = "always"   // on every affected machine, also when another fix was there first
)

// Condition is one of: File, NoFile, Registry, RegistryKey, Service, Driver, BCD, OS, Script. Exactly one of these is set.
//
// File holds if at least one file matches the pattern and FileTest; NoFile if none does. Patterns may have * and ? in
// the last part only, case is ignored, and a pattern with a three-letter extension does not find longer ones.
// Registry compares a value: with Equals it must be there and equal (numbers with dword and qword, texts with string and
// expand-string as stored and without regard to case, lists with multi-string element by element, upper-case hex with
// binary; another type is not equal), with Present it must be there or not; with neither it must be there.
// RegistryKey asks whether a key is there, or with Present false whether it is not; what is in it does not matter.
// Service and Driver look at the service's registry key (Present: it is there or not; Start: its start type) and, for
// services, at the state. What is not there has no start type and no state: only present: false holds.
// BCD looks at an element of the boot entry {default}, Equals without regard to case. OS compares the build number of the
// running (or offline) system. Script runs a body and compares its exit code (0 when ExitCode is nil). With OtherCodes those say that the condition
// does not hold, and any other code that it cannot be told; without them every other code says that it does not hold.
type Condition struct {
	File   string `json:"file,omitempty"`
	NoFile string `json:"no-file,omitempty"`
	FileTest

	Registry string `json:"registry,omitempty"` // full key, HKEY_LOCAL_MACHINE\...
	Name     string `json:"name,omitempty"`     // value name; "" is the default value
	Equals   any    `json:"equals,omitempty"`   // string, float64/int64 or []string; also for BCD
	Present  *bool  `json:"present,omitempty"`  // for Registry, RegistryKey, Service, Driver, BCD

	RegistryKey string `json:"registry-key,omitempty"` // full key

	Service string    `json:"service,omitempty"`
	Driver  string    `json:"driver,omitempty"`
	Start   StartType `json:"start,omitempty"`
	State   string    `json:"state,omitempty"` // running or stopped

	BCD string `json:"bcd,omitempty"` // element by bcdedit's name: safeboot

	OS *OSTest `json:"os,omitempty"`

	Script   *Script `json:"script,omitempty"`
	ExitCode *int    `json:"exit-code,omitempty"`

	OtherCodes []int `json:"other-codes,omitempty"`
}

// FileTest narrows a file pattern. All that is set must hold.
type FileTest struct {
	Header   string  `json:"header,omitempty"` // first bytes in upper-case hex
	SHA256   string  `json:"sha256,omitempty"` // upper-case hex
	Modified *Window `json:"modified,omitempty"`

	Version *VersionRange `json:"version,omitempty"`
}

// VersionRange is a range of file versions, as a program's resources hold them: four numbers of 16 bits with dots. Both ends are
// included, "" is open. A file without a version is in no range.
type VersionRange struct {
	Min string `json:"min,omitempty"`
	Max string `json:"max,omitempty"`
}

// Window is a half-open interval of last-write times: After <= t < Before. Zero means open.
type Window struct {
	After  time.Time `json:"after,omitzero"`
	Before time.Time `json:"before,omitzero"`
}

// OSTest compares the build number, e.g. 22631, and the revision that updates give it (UBR, the 7623 of 26100.7623). Zero means
// open; both ends are included. MaxBuild without a revision includes them all.
type OSTest struct {
	MinBuild    int `json:"min-build,omitempty"`
	MinRevision int `json:"min-revision,omitempty"`
	MaxBuild    int `json:"max-build,omitempty"`
	MaxRevision int `json:"max-revision,omitempty"`
}

// StartType is the start type of a service or driver, by its name in Windows' own tools.
type StartType string

// The start types and the registry's numbers for them.
const (
	StartBoot     StartType = "boot"     // 0, drivers only
	StartSystem   StartType = "system"   // 1, drivers only
	StartAuto     StartType = "auto"     // 2
	StartManual   StartType = "manual"   // 3
	StartDisabled StartType = "disabled" // 4
)

// Action is one of: Quarantine, Put, Registry, RegistryKey, Service, Driver, BCD, Script. Exactly one is set. Every action is
// idempotent, says how much it changed, and records what its undo needs before it acts. One that is Optional may fail: that is
// reported, and the fix goes on with the next.
type Action struct {
	Quarantine  *Quarantine     `json:"quarantine,omitempty"`
	Put         *Put            `json:"put,omitempty"`
	Registry    *RegistryChange `json:"registry,omitempty"`
	RegistryKey *RegistryKey    `json:"registry-key,omitempty"`
	Service     *StartChange    `json:"service,omitempty"`
	Driver      *StartChange    `json:"driver,omitempty"`
	BCD         *BCDChange      `json:"bcd,omitempty"`
	Script      *Script         `json:"script,omitempty"`

	Optional bool `json:"optional,omitempty"`
}

// Quarantine moves every matching file into the run's folder on the machine. Undo moves it back.
type Quarantine struct {
	File string `json:"file"`
	FileTest
}

// Put writes a file. An existing file with other content is kept aside first; one with this content is left alone.
type Put struct {
	File   string `json:"file"` // no wildcards
	Hex    string `json:"hex"`  // content; at most 48 KiB decoded
	SHA256 string `json:"sha256"`
}

// RegistryKey makes a key with those above it that are not there. Undo removes those that it made and nobody uses.
type RegistryKey struct {
	Key string `json:"key"`
}

// RegistryChange sets or deletes one value. The key must exist; keys are neither made nor deleted.
type RegistryChange struct {
	Key    string `json:"key"`
	Name   string `json:"name"`
	Type   string `json:"type,omitempty"`   // dword (default for numbers), string (default for text), expand-string, multi-string, qword, binary (upper-case hex)
	Value  any    `json:"value,omitempty"`  // nil only with Delete
	Delete bool   `json:"delete,omitempty"` //
}

// StartChange sets the start type of a service or driver and, for services, may stop it.
type StartChange struct {
	Name  string    `json:"name"`
	Start StartType `json:"start"`
	Stop  bool      `json:"stop,omitempty"`
}

// BCDChange sets or deletes one element of the boot entry {default}. Exactly one of Delete and Set is given.
type BCDChange struct {
	Delete string `json:"delete,omitempty"`
	Set    string `json:"set,omitempty"`
	Value  string `json:"value,omitempty"`
}

// Script runs a body on the machine. Its undo is another body, or nothing. A PowerShell body gets Args as parameters, a
// cmd body as FLEETMEND_ARG1, FLEETMEND_ARG2, ... Both bodies may run more than once when a machine was cut off in the
// middle, and the undo body also when the body itself never ran: they must bear that.
type Script struct {
	Shell   string   `json:"shell"`             // powershell or cmd
	Body    string   `json:"body"`              //
	Args    []string `json:"args,omitempty"`    // data, never part of the command line
	Timeout int      `json:"timeout,omitempty"` // seconds; default 300
	OK      []int    `json:"ok,omitempty"`      // exit codes that mean success; default 0
	Undo    string   `json:"undo,omitempty"`    //
}

// Permanent are the steps of the fix that nothing takes back, each with the reason: "step 2, script: the script has no undo".
func (p *Playbook) Permanent() []string { return p.PermanentOf(func(int) bool { return true }) }

// Undoable reports whether undo takes anything back.
func (p *Playbook) Undoable() bool { return len(p.Permanent()) < len(p.Fix) }

// PermanentOf are those of [Playbook.Permanent] whose number, from 0, was taken.
func (p *Playbook) PermanentOf(taken func(step int) bool) []string {
	var steps []string
	for i, a := range p.Fix {
		if why := actionKind(a.Kind()).permanent(a); why != "" && taken(i) {
			steps = append(steps, fmt.Sprintf("step %d, %s: %s", i+1, a.Kind(), why))
		}
	}
	return steps
}
