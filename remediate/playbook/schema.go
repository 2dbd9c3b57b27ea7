package playbook

// The keys of the YAML form, in the order in which they are shown and written.
var (
	playbookKeys = []string{"playbook", "summary", "references", "params", "detect", "fix", "verify", "reboot"}
	paramKeys    = []string{"summary", "pattern", "default"}

	conditionKinds = []string{"file", "no-file", "registry", "service", "driver", "bcd", "os", "script"}
	conditionKeys  = map[string][]string{
		"file":     {"file", "header", "sha256", "modified"},
		"no-file":  {"no-file", "header", "sha256", "modified"},
		"registry": {"registry", "name", "equals", "present"},
		"service":  {"service", "start", "state", "present"},
		"driver":   {"driver", "start", "present"},
		"bcd":      {"bcd", "equals", "present"},
		"os":       {"os"},
		"script":   {"script", "exit-code"},
	}
	osKeys     = []string{"min-build", "max-build"}
	windowKeys = []string{"after", "before"}

	actionKinds = []string{"quarantine", "put", "registry", "service", "driver", "bcd", "script"}
	actionKeys  = map[string][]string{
		"quarantine": {"file", "header", "sha256", "modified"},
		"put":        {"file", "content", "base64", "hex", "sha256"},
		"registry":   {"key", "name", "type", "value", "delete"},
		"service":    {"name", "start", "stop"},
		"driver":     {"name", "start"},
		"bcd":        {"delete", "set", "value"},
		"script":     {"shell", "body", "args", "timeout", "ok", "undo"},
	}
	// A script that only looks has nothing to undo.
	scriptConditionKeys = []string{"shell", "body", "args", "timeout", "ok"}

	reboots       = []string{string(RebootNever), string(RebootIfFixed), string(RebootAlways)}
	serviceStarts = []string{string(StartAuto), string(StartManual), string(StartDisabled), string(StartSystem), string(StartBoot)}
	states        = []string{"running", "stopped"}
	shells        = []string{"powershell", "cmd"}
	registryTypes = []string{"dword", "qword", "string", "expand-string", "multi-string"}
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
