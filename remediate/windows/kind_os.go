package windows

import (
	"errors"
	"fmt"
	"strconv"

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
	revision := 0
	if want.MinRevision > 0 || want.MaxRevision > 0 { // a build that nothing has updated has none
		v, err := r.value(versionKey, "UBR")
		if err != nil {
			return false, err
		}
		if v != nil && v.Type == "dword" && len(v.Data) == 1 {
			revision, _ = strconv.Atoi(v.Data[0][1:]) // a dword is a number
		}
	}
	late := build > want.MinBuild || build == want.MinBuild && revision >= want.MinRevision
	early := want.MaxBuild == 0 || build < want.MaxBuild || build == want.MaxBuild && (want.MaxRevision == 0 || revision <= want.MaxRevision)
	return late && early, nil
}
