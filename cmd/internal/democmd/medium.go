package democmd

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	deskmedia "github.com/fleetmend/fleetmend/internal/desk/media"
	"github.com/fleetmend/fleetmend/internal/prose"
	"github.com/fleetmend/fleetmend/internal/question"
	"github.com/fleetmend/fleetmend/remediate/journal"
	"github.com/fleetmend/fleetmend/remediate/media"
	"github.com/fleetmend/fleetmend/remediate/media/aboard"
	"github.com/fleetmend/fleetmend/remediate/media/practice"
	"github.com/fleetmend/fleetmend/remediate/playbook"
)

// wantsMedium asks at the end of a demonstration.
func (c *demo) wantsMedium(ctx context.Context, left int) bool {
	if !c.CanAsk() {
		return false
	}
	_, err := c.Ask(ctx, question.Question{ID: "demo.medium", Kind: question.YesNo, Text: fmt.Sprintf("%s could not be repaired over the network. Build a USB image for them?", prose.Machines(left))})
	return err == nil
}

// demoMedium builds a USB image for what a run could not reach, from a Windows PE in name only.
func (c *demo) demoMedium(ctx context.Context, j *journal.Journal, r *journal.Run, left int, dir string, story tell) (string, error) {
	p, err := j.Plan(ctx, r.ID)
	if err != nil {
		return "", err
	}
	story("\n6. %s could not be repaired over the network. A stick is built to start them from instead.", prose.Machines(left))
	source, image := filepath.Join(dir, "practice.wim"), filepath.Join(dir, "fleetmend.img")
	wim, err := practice.WIM(ctx, "amd64")
	if err != nil {
		return "", err
	}
	if err := os.WriteFile(source, wim, 0o600); err != nil {
		return "", err
	}
	story("   No Windows PE is at hand here, so a small WIM is made that is one in name only: the image is built and checked like a real one, but there is no Windows on it to start.")
	d, err := c.Desk()
	if err != nil {
		return "", err
	}
	program, err := deskmedia.Program(ctx, d, "amd64", dir)
	if err != nil {
		story("   The repair program for Windows PE is not at hand either; a stand-in takes its place.")
		program = filepath.Join(dir, "fleetmend-pe.exe")
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
	story("   %s: %.0f MB, medium %s, every file compared with its hash.", image, float64(built.Size)/(1<<20), built.Medium.ID)
	for _, line := range built.Starts {
		story("   %s", line)
	}
	story("   Look into it: fleetmend media inspect %s", image)
	story("   With your own Windows PE: fleetmend media build winre.wim --run %s", r.ID)
	story("   When sticks come back: fleetmend media collect E:\\\n")
	return image, nil
}
