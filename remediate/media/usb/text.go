package usb

import (
	"errors"
	"fmt"
	"strings"

	"github.com/fleetmend/fleetmend/internal/prose"
)

// Text is "/dev/sdb writing 40 % 12 MB/s 30 s left".
func (p Progress) Text() string {
	text := fmt.Sprintf("%s %s %d %%", p.Path, p.Phase, 100*p.Done/max(p.Total, 1))
	if p.Rate > 0 {
		text += fmt.Sprintf(" %s/s", Bytes(p.Rate))
	}
	if p.Left > 0 {
		text += " " + prose.Span(p.Left) + " left"
	}
	return text
}

// Refusal says why the disk is not written without force; empty where it is.
func (d Disk) Refusal() string {
	refused := (*RefusedError)(nil)
	if errors.As(d.Check(false), &refused) {
		return strings.Join(refused.Reasons, "; ")
	}
	return ""
}
