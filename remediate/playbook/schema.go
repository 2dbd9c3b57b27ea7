package playbook

// The keys of the YAML form, in the order in which they are shown and written; those of actions and conditions stand in the
// rows of their kinds (kinds.go).
var (
	playbookKeys = []string{"playbook", "summary", "references", "tool", "params", "detect", "fix", "verify", "reboot"}
	paramKeys    = []string{"summary", "pattern", "default"}
	windowKeys   = []string{"after", "before"}
	versionKeys  = []string{"min", "max"}

	reboots       = []string{string(RebootNever), string(RebootIfFixed), string(RebootAlways)}
	serviceStarts = []string{string(StartAuto), string(StartManual), string(StartDisabled), string(StartSystem), string(StartBoot)}
	states        = []string{"running", "stopped"}
	shells        = []string{"powershell", "cmd"}
	registryTypes = []string{"dword", "qword", "string", "expand-string", "multi-string", "binary"}
)

// The limits of a playbook. They keep one envelope small enough for every route.
const (
	maxFile    = 1 << 20   // bytes of a playbook's file
	maxWire    = 256 << 10 // bytes of its JSON form
	maxSteps   = 64        // conditions of a list, actions of the fix, arguments of a script
	maxParams  = 32
	maxBody    = 48 << 10 // bytes of a script's body
	maxPut     = 48 << 10 // bytes of a file that is put
	maxHeader  = 4 << 10  // bytes of a header
	maxText    = 4 << 10  // bytes of any other text
	maxTimeout = 24 * 60 * 60
	maxDepth   = 40 // nesting of the YAML
)
