package windows

import (
	"errors"
	"fmt"

	"github.com/fleetmend/fleetmend/remediate/playbook"
)

var osTest = testKind{
	name:  "os",
	words: func(playbook.Condition) string { return "os" },
	holds: func(r *run, c playbook.Condition) (bool, error) { return r.osHolds(*c.OS) },
}

func (r *run) osHolds(want playbook.OSTest) (bool, error) {
	if r.request.Root != "" {
		return false, errors.New("not possible on an offline installation: os")
	}
	build, err := r.System.Build()
	if err != nil {
		return false, fmt.Errorf("the build number is unknown: %w", err)
	}
	return build >= want.MinBuild && (want.MaxBuild == 0 || build <= want.MaxBuild), nil
}
