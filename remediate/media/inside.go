package media

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"

	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/remediate/media/aboard"
	"github.com/fleetmend/fleetmend/remediate/media/content"
	"github.com/fleetmend/fleetmend/remediate/media/keybundle"
	"github.com/fleetmend/fleetmend/remediate/media/pesign"
	"github.com/fleetmend/fleetmend/remediate/media/wim"
	"github.com/fleetmend/fleetmend/remediate/playbook"
)

// winpeshl and startnet start the program: Windows PE looks for the first and, without it, for the second. Images made for
// setup or recovery bring a winpeshl.ini of their own, so both are put in. A prompt stays when the program ends.
const (
	winpeshl = "[LaunchApps]\r\n" +
		"%SYSTEMROOT%\\System32\\wpeinit.exe\r\n" +
		"%SYSTEMDRIVE%\\fleetmend\\fleetmend-pe.exe\r\n" +
		"%SYSTEMROOT%\\System32\\cmd.exe, /k\r\n"
	startnet = "@echo off\r\nwpeinit\r\n%SYSTEMDRIVE%\\fleetmend\\fleetmend-pe.exe\r\n"
)

const readme = "This is a fleetmend boot medium. Start a broken machine from it; it repairs the Windows there and leaves a\r\n" +
	"result in fleetmend\\results. Bring the stick back and run: fleetmend media collect\r\n\r\n" +
	"What lies here wins over what is inside sources\\boot.wim, so these can be refreshed without a new build:\r\n" +
	"  fleetmend\\settings.json      settings\r\n" +
	"  fleetmend\\playbooks\\*.yaml   playbooks (all of them together replace those inside)\r\n" +
	"  fleetmend\\drivers\\...        drivers, loaded besides those inside\r\n" +
	"  fleetmend\\keys.age           sealed recovery keys\r\n\r\n" +
	"fleetmend media verify, or sha256sum -c sums.sha256, tells whether anything else was changed.\r\n"

// program is fleetmend-pe.exe.
type program struct {
	raw  []byte
	arch string
}

const maxProgram = 64 << 20

// readAgent reads the program and compares its architecture with that of the image.
func readAgent(name, want string) (program, error) {
	f, err := os.Open(name)
	if err != nil {
		return program{}, fmt.Errorf("open the program for the medium: %w", err)
	}
	defer f.Close()
	raw, err := io.ReadAll(io.LimitReader(f, maxProgram))
	if err != nil {
		return program{}, fmt.Errorf("read the program for the medium: %w", err)
	}
	pe, err := pesign.Inspect(bytes.NewReader(raw), int64(len(raw)))
	if err != nil {
		return program{}, hint.Wrap(fmt.Errorf("program %q: %w", name, err), "give fleetmend-pe.exe, which comes with every release of fleetmend")
	}
	arch := peArch(pe.Machine)
	if want != "" && want != arch {
		return program{}, hint.Wrap(fmt.Errorf("program %q is for %s, but the Windows PE of the source is for %s, which has no emulation", name, arch, want),
			"take fleetmend-pe.exe for "+want+", or a source for "+arch)
	}
	return program{raw, arch}, nil
}

// inside is what goes into the image and, as far as it is to be found there too, beside it.
type inside struct {
	medium  aboard.Medium
	changes []wim.Change
	outside []content.Entry
}

func newInside(spec Spec, s *source, agent program, l loader) (*inside, error) {
	in := &inside{medium: aboard.Medium{
		Version: 1, Made: spec.Time.UTC(), Run: spec.Settings.Run, Source: s.name, Arch: agent.arch, SecureBoot: string(l.signedFor()),
	}}
	if spec.Time.IsZero() {
		in.medium.Made = spec.Time
	}
	id := sha256.New()
	if _, err := io.Copy(id, io.NewSectionReader(s.raw, 0, 208)); err != nil { // the header names the WIM: GUID, places and sizes
		return nil, fmt.Errorf("read source: %w", err)
	}
	put := func(name string, b []byte) {
		in.changes = append(in.changes, wim.PutBytes(path.Join(aboard.Dir, name), b))
		fmt.Fprintf(id, "%s %s\n", name, sha(b))
	}
	put(aboard.Program, agent.raw)
	for i, p := range spec.Playbooks {
		text, err := json.Marshal(wireForm(p))
		if err != nil {
			return nil, fmt.Errorf("playbook %s: %w", p.Name, err)
		}
		file := fmt.Sprintf("%s/%02d-%s.json", aboard.PlaybooksDir, i+1, p.Name)
		put(file, text)
		in.medium.Playbooks = append(in.medium.Playbooks, aboard.Item{Name: p.Name, Digest: playbook.Digest(p), File: file})
	}
	changes, names, err := drivers(spec.Drivers, agent.arch)
	if err != nil {
		return nil, err
	}
	for _, c := range changes {
		r, err := c.Open()
		if err != nil {
			return nil, fmt.Errorf("read driver: %w", err)
		}
		sum := sha256.New()
		_, err = io.Copy(sum, r)
		if err = errors.Join(err, r.Close()); err != nil {
			return nil, fmt.Errorf("read driver: %w", err)
		}
		fmt.Fprintf(id, "%s %x\n", c.Path, sum.Sum(nil))
	}
	in.changes, in.medium.Drivers = append(in.changes, changes...), names
	if spec.Keys != nil {
		in.medium.Keys = keysAboard(spec.Keys)
	}
	fmt.Fprintf(id, "%s %s %s\n", spec.Label, sha(l.raw), asText(in.medium))
	settings := spec.Settings
	fmt.Fprintf(id, "%s\n", asText(settings))
	in.medium.ID = hex.EncodeToString(id.Sum(nil)[:8])
	if settings.Run == "" {
		settings.Run = "medium-" + in.medium.ID // results of a medium that belongs to no run still have one name
	}
	put(aboard.SettingsFile, []byte(asText(settings)))
	put(aboard.MediumFile, []byte(asText(in.medium)))
	in.changes = append(in.changes,
		wim.PutBytes("Windows/System32/winpeshl.ini", []byte(winpeshl)), wim.PutBytes("Windows/System32/startnet.cmd", []byte(startnet)))
	in.outside = []content.Entry{
		content.Bytes(aboard.Dir+"/"+aboard.MediumFile, []byte(asText(in.medium))), content.Bytes("README.txt", []byte(readme)),
	}
	return in, nil
}

// wireForm drops what a machine does not need but keeps the summary, which the menu shows.
func wireForm(p playbook.Playbook) playbook.Playbook {
	p.Params, p.References = nil, nil
	return p
}

func asText(v any) string {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil { // the types of this package hold nothing that JSON cannot say
		panic(err)
	}
	return string(b) + "\n"
}

func keysAboard(b *keybundle.Bundle) *aboard.Keys {
	machines := map[string]bool{}
	for _, k := range b.Keys {
		machines[k.Machine] = true
	}
	return &aboard.Keys{Count: len(b.Keys), Machines: len(machines), Expires: b.Expires.UTC()}
}

func sealKeys(spec Spec) (content.Entry, error) {
	var sealed bytes.Buffer
	if err := keybundle.Seal(&sealed, *spec.Keys, spec.Passphrase); err != nil {
		return content.Entry{}, err
	}
	return content.Bytes(aboard.Dir+"/"+aboard.KeysFile, sealed.Bytes()), nil
}
