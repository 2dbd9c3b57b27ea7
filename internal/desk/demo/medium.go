package demo

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	deskmedia "github.com/fleetmend/fleetmend/internal/desk/media"
	"github.com/fleetmend/fleetmend/internal/desk/runs"
	"github.com/fleetmend/fleetmend/internal/prose"
	"github.com/fleetmend/fleetmend/remediate/journal"
	"github.com/fleetmend/fleetmend/remediate/media"
	"github.com/fleetmend/fleetmend/remediate/media/aboard"
	"github.com/fleetmend/fleetmend/remediate/media/practice"
	"github.com/fleetmend/fleetmend/remediate/playbook"
)

// medium builds a USB image for what a run could not reach, from a Windows PE in name only.
func (s *story) medium(ctx context.Context, r *journal.Run, left int) (string, error) {
	p, err := runs.PlanOf(ctx, s.desk, r.ID)
	if err != nil {
		return "", err
	}
	s.tell("\n6. %s could not be repaired over the network. A stick is built to start them from instead.", prose.Machines(left))
	source, image := filepath.Join(s.Dir, "practice.wim"), filepath.Join(s.Dir, "fleetmend.img")
	wim, err := practice.WIM(ctx, "amd64")
	if err != nil {
		return "", err
	}
	if err := os.WriteFile(source, wim, 0o600); err != nil {
		return "", err
	}
	s.tell("   No Windows PE is at hand here, so a small WIM is made that is one in name only: the image is built and checked like a real one, but there is no Windows on it to start.")
	program, err := deskmedia.Program(ctx, s.desk, "amd64", s.Dir)
	if err != nil {
		s.tell("   The repair program for Windows PE is not at hand either; a stand-in takes its place.")
		program = filepath.Join(s.Dir, "fleetmend-pe.exe")
		if err := os.WriteFile(program, practice.Loader("amd64"), 0o600); err != nil {
			return "", err
		}
	}
	built, err := media.Build(ctx, media.Spec{
		Source: source, Agent: program, Format: media.USB, Playbooks: []playbook.Playbook{p.Playbook},
		Settings: aboard.Settings{Run: r.ID},
	}, image)
	if err != nil {
		return "", err
	}
	check, err := media.Verify(ctx, image)
	if err != nil {
		return "", err
	}
	if !check.OK() {
		return "", fmt.Errorf("the image %s is not as it was built: %v %v", image, check.Changed, check.Missing)
	}
	s.tell("   %s: %.0f MB, medium %s, every file compared with its hash.", image, float64(built.Size)/(1<<20), built.Medium.ID)
	for _, line := range built.Starts {
		s.tell("   %s", line)
	}
	s.tell("   Look into it: `fleetmend media inspect %s`", image)
	s.tell("   With your own Windows PE: `fleetmend media build winre.wim --run %s`", r.ID)
	s.tell("   When sticks come back: `fleetmend media collect STICK`\n")
	return image, nil
}
