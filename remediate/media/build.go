package media

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/internal/textfile"
	"github.com/fleetmend/fleetmend/remediate/media/aboard"
	"github.com/fleetmend/fleetmend/remediate/media/content"
	"github.com/fleetmend/fleetmend/remediate/media/fat"
	"github.com/fleetmend/fleetmend/remediate/media/gpt"
	"github.com/fleetmend/fleetmend/remediate/media/iso"
	"github.com/fleetmend/fleetmend/remediate/media/wim"
)

// Report says what was built.
type Report struct {
	Medium     aboard.Medium `json:"medium"`
	Format     Format        `json:"format"`
	Size       int64         `json:"size"` // of the image in bytes
	Files      int           `json:"files"`
	Loader     string        `json:"loader"`   // where the boot manager came from and who signed it
	Starts     []string      `json:"starts"`   // which machines it starts
	Sums       string        `json:"sums"`     // SHA-256 of the list of hashes; names the medium beyond doubt
	Warnings   []string      `json:"warnings"` // in plain words
	Components []Component   `json:"components"`
}

// Plan is a medium worked out and not yet written. Close it.
type Plan struct {
	report Report
	source *source
	boots  func() error
	size   int64
	write  func(context.Context, io.Writer) error
	sums   *sums
}

// Size returns the size of the image in bytes.
func (p *Plan) Size() int64 { return p.size }

// Report says what is built; its Sums is there after writing.
func (p *Plan) Report() Report {
	r := p.report
	r.Sums = p.sums.digest()
	return r
}

// Close gives the files back.
func (p *Plan) Close() error { return errors.Join(p.boots(), p.source.close()) }

// WriteTo writes the image in order and in one pass.
func (p *Plan) WriteTo(ctx context.Context, w io.Writer) error {
	p.sums.reset()
	return p.write(ctx, w)
}

// Build writes a medium to the file out, which appears under its name only when it is complete and on disk. An existing
// file is replaced.
func Build(ctx context.Context, spec Spec, out string) (r Report, err error) {
	p, err := NewPlan(ctx, spec)
	if err != nil {
		return Report{}, err
	}
	defer func() { err = errors.Join(err, p.Close()) }()
	textfile.Sweep(filepath.Dir(out)) // half an image of a build that was killed
	if err := checkSpace(filepath.Dir(out), p.Size()); err != nil {
		return Report{}, fmt.Errorf("write %s: %w", out, err)
	}
	if a, errA := os.Stat(out); errA == nil {
		if b, errB := os.Stat(spec.Source); errB == nil && os.SameFile(a, b) {
			return Report{}, fmt.Errorf("%s is the source itself; give the image another name", out)
		}
		if !a.Mode().IsRegular() {
			return Report{}, hint.Wrap(fmt.Errorf("%s is not a regular file", out), "build a file first; `fleetmend media write` puts it onto a stick")
		}
	}
	aside, err := textfile.Create(out, textfile.Private)
	if err != nil {
		return Report{}, fmt.Errorf("write %s: %w", out, err)
	}
	defer aside.Discard()
	image := newImageFile(aside.File)
	if err = p.WriteTo(ctx, image); err == nil {
		err = image.finish()
	}
	if err == nil {
		err = aside.Commit()
	}
	if err != nil {
		return Report{}, fmt.Errorf("write %s: %w", out, noSpace(err, p.Size()))
	}
	return p.Report(), nil
}

// NewPlan opens everything, checks it and lays the medium out. Nothing is written.
func NewPlan(ctx context.Context, spec Spec) (_ *Plan, err error) {
	if spec, err = spec.normal(); err != nil {
		return nil, err
	}
	p := &Plan{sums: newSums(), boots: func() error { return nil }}
	if p.source, err = openSource(ctx, spec); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, p.Close())
		}
	}()
	s := p.source
	if spec.Agent == "" && spec.FindAgent != nil {
		if spec.Agent, err = spec.FindAgent(ctx, s.image.Architecture); err != nil {
			return nil, err
		}
	}
	agent, err := readAgent(spec.Agent, s.image.Architecture)
	if err != nil {
		return nil, err
	}
	arch := agent.arch
	places, boots, err := bootPlaces(spec, s)
	if err != nil {
		return nil, err
	}
	p.boots = boots
	found, err := loaders(places, arch)
	if err != nil {
		return nil, err
	}
	l, err := choose(found, spec.SecureBoot)
	if err != nil {
		return nil, err
	}
	boot, err := gather(places, l, arch, spec.Prompt)
	if err != nil {
		return nil, err
	}
	p.report = Report{
		Format: spec.Format, Loader: fmt.Sprintf("%s of %s, %s", l.path, l.name, signedBy(l.file)),
		Starts: startsOn(l.file), Warnings: append([]string{}, boot.warnings...), Components: componentsOf(s.files),
	}
	if spec.NoBitLocker && !hasComponent(s.files, bitLocker) {
		p.warn("no BitLocker tools aboard: locked disks cannot be repaired with this medium")
	}
	for _, b := range spec.Playbooks {
		limits, err := checkOffline(b, s.files)
		if err != nil {
			return nil, err
		}
		p.report.Warnings = append(p.report.Warnings, limits...)
	}
	if len(spec.Drivers) > 0 && !hasComponent(s.files, loadDrv) {
		return nil, hint.Wrap(errors.New("there are drivers to take along, but this Windows PE has no drvload.exe"), whereFrom)
	}
	return p, p.layOut(ctx, spec, agent, boot)
}

func (p *Plan) warn(text string) { p.report.Warnings = append(p.report.Warnings, text) }

// layOut makes the changed image and the file system around it.
func (p *Plan) layOut(ctx context.Context, spec Spec, agent program, boot *bootSet) error {
	in, err := newInside(spec, p.source, agent, boot.loader)
	if err != nil {
		return err
	}
	p.report.Medium = in.medium
	image, err := p.source.wim.Plan(ctx, wim.Options{Image: p.source.image.Index, SetBoot: true, Time: spec.Time}, in.changes)
	if err != nil {
		return fmt.Errorf("change a copy of %s: %w", p.source.name, err)
	}
	entries := append(boot.entries, in.outside...)
	entries = append(entries, content.Entry{Path: "sources/boot.wim", Size: image.Size(),
		Open: func(ctx context.Context) (io.ReadCloser, error) { return content.Stream(ctx, image.WriteTo), nil }})
	if spec.Format == ISO {
		efisys, err := p.efisys(boot, spec)
		if err != nil {
			return err
		}
		entries = append(entries, efisys)
	}
	for i := range entries {
		entries[i] = p.sums.watch(entries[i])
	}
	entries = append(entries, p.sums.entry())
	p.report.Files = len(entries)
	if spec.Keys != nil {
		sealed, err := sealKeys(spec)
		if err != nil {
			return err
		}
		entries = append(entries, sealed) // random, so not among the hashes
	}
	if spec.Format == ISO {
		return p.layOutDisc(spec, boot, entries)
	}
	entries = append(entries, content.Entry{Path: aboard.Dir + "/" + aboard.ResultsDir, Dir: true})
	return p.layOutStick(spec, entries)
}

const gptTail = 1 << 20 // room for the backup table

func (p *Plan) layOutStick(spec Spec, entries []content.Entry) error {
	o := fat.Options{Label: spec.Label, Hidden: gpt.PartitionOffset / 512, Slack: spec.Slack, Time: spec.Time}
	if spec.Size > 0 {
		o.Size = max(spec.Size-gpt.PartitionOffset-gptTail, 512) &^ 511
	}
	volume, err := fat.NewPlan(o, entries)
	if missing := (*fat.NoSpaceError)(nil); errors.As(err, &missing) {
		return hint.Wrap(fmt.Errorf("the stick of %s is too small: %s more are needed", bytesText(spec.Size), bytesText(missing.Missing())),
			"take a larger stick, fewer drivers, or winre.wim, which is smaller than the boot.wim of a disc")
	}
	if err != nil {
		return fmt.Errorf("lay out the stick: %w", err)
	}
	id, err := hex.DecodeString(p.report.Medium.ID)
	if err != nil {
		return err
	}
	disk, err := gpt.New(volume.Size(), gpt.Options{Name: spec.Label, Seed: id, Size: spec.Size &^ 511})
	if err != nil {
		return fmt.Errorf("lay out the stick: %w", err)
	}
	p.size, p.report.Size = disk.Size, disk.Size
	p.write = func(ctx context.Context, w io.Writer) error { return disk.WriteTo(ctx, w, volume.WriteTo) }
	return nil
}

func (p *Plan) layOutDisc(spec Spec, boot *bootSet, entries []content.Entry) error {
	o := iso.Options{Volume: spec.Label, Time: spec.Time}
	if boot.etfsboot {
		o.Boot = append(o.Boot, iso.Boot{Platform: iso.BIOS, Path: etfsbootPath})
	} else {
		p.warn("the source has no etfsboot.com: the disc starts on UEFI machines only")
	}
	o.Boot = append(o.Boot, iso.Boot{Platform: iso.UEFI, Path: efisysPath})
	image, err := iso.NewPlan(o, entries)
	if err != nil {
		return fmt.Errorf("lay out the disc: %w", err)
	}
	p.size, p.report.Size = image.Size(), image.Size()
	p.write = image.WriteTo
	p.warn("a disc cannot be written: results of the machines stay on their screens only, and keys cannot be refreshed")
	if spec.Keys != nil {
		p.warn("a disc cannot be wiped: destroy it when its keys are done with, and keep its passphrase elsewhere")
	}
	return nil
}

// efisys is the volume in the disc that UEFI firmware starts: Microsoft's own where the source has it, else one that
// holds the boot manager.
func (p *Plan) efisys(boot *bootSet, spec Spec) (content.Entry, error) {
	if boot.efisys != nil {
		return *boot.efisys, nil
	}
	p.warn("the source has no efisys.bin: the disc starts through a volume made here, which was tried with firmware but not with Microsoft's boot manager; a stick is the surer way")
	keep := func(e content.Entry) bool {
		return e.Path != "bootmgr" && e.Path != "boot/BCD" && e.Path != etfsbootPath && e.Path != "bootmgr.efi"
	}
	var list []content.Entry
	for _, e := range boot.entries {
		if keep(e) {
			list = append(list, e)
		}
	}
	volume, err := fat.NewPlan(fat.Options{Type: fat.Small, Time: spec.Time}, list)
	if err != nil {
		return content.Entry{}, fmt.Errorf("lay out the boot volume of the disc: %w", err)
	}
	return content.Entry{Path: efisysPath, Size: volume.Size(), Open: func(ctx context.Context) (io.ReadCloser, error) {
		return content.Stream(ctx, volume.WriteTo), nil
	}}, nil
}

// bytesText is a size for people.
func bytesText(n int64) string {
	switch {
	case n >= 10<<30:
		return fmt.Sprintf("%d GB", (n+1<<29)>>30)
	case n >= 1<<30:
		return fmt.Sprintf("%.1f GB", float64(n)/(1<<30))
	case n >= 1<<20:
		return fmt.Sprintf("%d MB", (n+1<<20-1)>>20)
	}
	return fmt.Sprintf("%d kB", (n+1023)>>10)
}

func sortedKeys(m map[string]bool) []string {
	var list []string
	for k := range m {
		list = append(list, k)
	}
	slices.Sort(list)
	return list
}

func sha(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}
