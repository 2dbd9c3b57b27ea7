package media

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/internal/prose"
	"github.com/fleetmend/fleetmend/remediate/media/usb"
)

// Text says what was built, what starts from it and what is aboard.
func (r Built) Text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: medium %s, %.0f MB, from %s\n", r.File, r.Medium.ID, float64(r.Size)/(1<<20), prose.OneLine(r.Medium.Source))
	fmt.Fprintf(&b, "  boot manager: %s\n", prose.OneLine(r.Loader))
	for _, line := range r.Starts {
		fmt.Fprintf(&b, "  %s\n", prose.OneLine(line))
	}
	for _, p := range r.Medium.Playbooks {
		fmt.Fprintf(&b, "  playbook: %s\n", p.Name)
	}
	for _, d := range r.Medium.Drivers {
		fmt.Fprintf(&b, "  driver: %s\n", prose.OneLine(d))
	}
	if k := r.Medium.Keys; k != nil {
		fmt.Fprintf(&b, "  keys: %d, of %s, sealed, until %s\n", k.Count, prose.Machines(k.Machines), k.Expires.Format("2006-01-02 15:04 UTC"))
	}
	prose.Lines(&b, "left out", r.LeftOut)
	for _, text := range r.Warnings {
		fmt.Fprintf(&b, "  WARNING: %s\n", prose.OneLine(text))
	}
	fmt.Fprintf(&b, "  list of hashes: SHA-256 %s\n", r.Sums)
	return b.String()
}

// ParseSize reads 8GB, 7.5 GiB, 500MB or bytes. GB are those that are printed on sticks: 1000 to the third.
func ParseSize(text string) (int64, error) {
	if text == "" {
		return 0, nil
	}
	units := map[string]float64{"": 1, "b": 1, "kb": 1e3, "mb": 1e6, "gb": 1e9, "tb": 1e12, "kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30, "tib": 1 << 40}
	at := strings.LastIndexAny(text, "0123456789.") + 1
	n, err := strconv.ParseFloat(strings.TrimSpace(text[:at]), 64)
	unit, ok := units[strings.ToLower(strings.TrimSpace(text[at:]))]
	if err != nil || !ok || n <= 0 || n*unit > 1<<50 {
		return 0, hint.Mistake(fmt.Errorf("--size %q is no size", text), "for example 8GB or 500MiB")
	}
	return int64(n * unit), nil
}

// SourceDate is the time that all files of a reproducible build get, of the SOURCE_DATE_EPOCH of the environment; "" is none.
func SourceDate(text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 {
		return time.Time{}, hint.Mistake(fmt.Errorf("SOURCE_DATE_EPOCH is %q", text), "set it to seconds since 1970, or unset it")
	}
	return time.Unix(n, 0).UTC(), nil
}

// Written is how a stick ended.
type Written struct {
	Disk    usb.Disk      `json:"disk"`
	OK      bool          `json:"ok"`
	SHA256  string        `json:"sha256,omitempty"`
	Error   string        `json:"error,omitempty"`
	Touched bool          `json:"touched"` // false: nothing was written to it
	Took    time.Duration `json:"-"`
	Hints   []string      `json:"-"` // what helps against Error
}

func written(results []usb.Result) []Written {
	out := make([]Written, 0, len(results))
	for _, r := range results {
		w := Written{Disk: r.Disk, OK: r.Err == nil, SHA256: r.SHA256, Touched: r.Touched, Took: r.Elapsed}
		if r.Err != nil {
			w.Error, w.Hints = r.Err.Error(), hint.Of(r.Err)
		}
		out = append(out, w)
	}
	return out
}

// Result says in words how the stick ended.
func (w Written) Result() string {
	switch {
	case w.OK:
		return "written and verified"
	case !w.Touched:
		return "NOT WRITTEN, as it was"
	}
	return "NOT USABLE"
}
