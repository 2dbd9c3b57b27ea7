package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/fleetmend/fleetmend/internal/connect"
	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/internal/textfile"
	"github.com/fleetmend/fleetmend/remediate/journal"
	"github.com/fleetmend/fleetmend/remediate/media"
	"github.com/fleetmend/fleetmend/remediate/media/aboard"
	"github.com/fleetmend/fleetmend/remediate/media/carried"
	"github.com/fleetmend/fleetmend/remediate/media/compile"
	"github.com/fleetmend/fleetmend/remediate/playbook"
)

// buildFlags are the flags of media build.
type buildFlags struct {
	spec           media.Spec
	out            string
	iso            bool
	secureBoot     string
	size           string
	playbooks      []string
	set            map[string]string
	run            string
	keys           string
	machines       []string
	passphraseFile string
	keysExpire     time.Duration
	vault          access
	reason         string
	collectorCA    string
	collectorToken string
	collector      string
}

func newMediaBuild(a *app) *cobra.Command {
	var b buildFlags
	cmd := &cobra.Command{
		Use: "build SOURCE", Short: "Build a USB image or an ISO from your own Windows PE",
		Long: `Build a boot medium. SOURCE is winre.wim (C:\Windows\System32\Recovery on any Windows 10 or 11), the boot.wim or ISO of a
Windows installation, or an install.wim, of which the winre.wim is taken. It is only read.

A release carries the program for the medium; from a source checkout it is compiled with your Go. With --run the
playbook of a run is taken and the results of the medium are collected into that run. Set SOURCE_DATE_EPOCH to give
all files one time; the same input gives the same bytes, but for the sealed keys.`,
		Example: `fleetmend media build winre.wim --playbook crowdstrike-channel-file-291
fleetmend media build Win11.iso --run last --driver drivers/vmd --message "Service desk: 555-0100"
fleetmend media build Win11.iso --winre --iso --secure-boot 2023 --playbook fix.yaml --out repair.iso
fleetmend media build winre.wim --run last --keys vault --reason "INC-1234" --keys-expire 72h
fleetmend media build winre.wim --run last --keys keys.csv --passphrase-file phrase.txt`,
		Args: exactly(1, "a WIM or a Windows ISO"),
		RunE: func(cmd *cobra.Command, args []string) error {
			b.spec.Source = args[0]
			return a.mediaBuild(cmd.Context(), b)
		},
	}
	b.add(cmd)
	exits(cmd, exitNothing, exitTimeout, exitInterrupted)
	return cmd
}

func (b *buildFlags) add(cmd *cobra.Command) {
	f, s := cmd.Flags(), &b.spec
	f.StringVar(&b.out, "out", "", "file to write (default: fleetmend.img or fleetmend.iso)")
	f.BoolVar(&b.iso, "iso", false, "an ISO instead of a USB image")
	f.StringArrayVarP(&b.playbooks, "playbook", "p", nil, "playbook by name or file; may be given several times")
	f.StringToStringVar(&b.set, "set", nil, "name=value for a parameter of the playbooks")
	f.StringVar(&b.run, "run", "", "run of the journal that this medium belongs to: its playbook, its machines")
	f.StringVar(&s.Settings.Choose, "choose", aboard.Auto, "with several playbooks: auto (by detection) or menu")
	f.StringVar(&s.Image, "image", "", "image in the source by number or name (default: the one that starts)")
	f.BoolVar(&s.WinRE, "winre", false, "take winre.wim out of the install.wim of an ISO")
	f.StringVar(&s.BootFiles, "boot-files", "", "folder or ISO to take the boot files from, before the source")
	f.StringVar(&b.secureBoot, "secure-boot", "auto", "2011, 2023 or auto: whose signature the boot files carry")
	f.StringVar(&s.Agent, "agent", "", "fleetmend-pe.exe to put aboard (default: that which a release carries, or compiled from the checkout)")
	f.StringArrayVar(&s.Drivers, "driver", nil, "folder with .inf, .cat and .sys files; may be given several times")
	f.StringVar(&b.size, "size", "", "size of the stick, for example 8GB (default: as small as possible)")
	f.StringVar(&s.Label, "label", "FLEETMEND", "name of the volume")
	f.BoolVar(&s.Prompt, "prompt", false, "ISO: ask for a key before starting, as Microsoft's discs do")
	f.StringVar(&s.Settings.Site, "site", "", "site, recorded on the medium")
	f.StringVar(&s.Settings.Message, "message", "", "line to show at the end: whom to call")
	f.BoolVar(&s.Settings.NoReboot, "no-reboot", false, "do not restart the machine at the end")
	f.BoolVar(&s.NoBitLocker, "no-bitlocker", false, "no machine is encrypted: take a source without BitLocker tools")
	f.StringVar(&b.keys, "keys", "", "keys to seal onto the medium: vault, or a CSV file with machine, key_id and recovery_password")
	f.StringSliceVar(&b.machines, "machines", nil, "only the keys of these machines (default with --run: those that are not repaired)")
	f.StringVar(&b.passphraseFile, "passphrase-file", "", "file with the passphrase of the keys on the medium in its first line")
	f.StringVar(&b.reason, "reason", "", "why keys leave the vault, for the audit")
	f.StringVar(&b.vault.passphraseFile, "vault-passphrase-file", "", "file with the vault's passphrase in its first line (default: you are asked)")
	f.StringVar(&b.vault.identity, "vault-identity", "", "age identity file that unlocks the vault")
	f.BoolVar(&b.vault.keyring, "vault-keyring", false, "unlock the vault with your keyring, and with nothing else")
	cmd.MarkFlagsMutuallyExclusive("vault-passphrase-file", "vault-identity", "vault-keyring")
	f.DurationVar(&b.keysExpire, "keys-expire", 7*24*time.Hour, "after this time the keys are not used any more")
	f.StringVar(&b.collector, "collector", "", "address that machines may report to, https://host:port")
	f.StringVar(&b.collectorCA, "collector-ca", "", "PEM file of the collector's certificate authority")
	f.StringVar(&b.collectorToken, "collector-token-file", "", "file with a token for one use")
	complete(cmd, "secure-boot", "auto", "2011", "2023")
	complete(cmd, "choose", "auto", "menu")
}

func (a *app) mediaBuild(ctx context.Context, b buildFlags) error {
	s := b.spec
	s.Format, s.SecureBoot = media.USB, media.SecureBoot(b.secureBoot)
	if b.iso {
		s.Format = media.ISO
	}
	if b.out == "" {
		b.out = map[media.Format]string{media.USB: "fleetmend.img", media.ISO: "fleetmend.iso"}[s.Format]
	}
	var err error
	if s.Size, err = parseSize(b.size); err != nil {
		return err
	}
	if s.Time, err = sourceDate(); err != nil {
		return err
	}
	if err := a.buildPlaybooks(ctx, &b, &s); err != nil {
		return err
	}
	if err := a.buildKeys(ctx, b, &s); err != nil {
		return err
	}
	if s.Settings.Collector, err = b.collectorSettings(a); err != nil {
		return err
	}
	folder, err := os.MkdirTemp("", "fleetmend-pe-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(folder) }()
	s.FindAgent = func(ctx context.Context, arch string) (string, error) { return a.findAgent(ctx, arch, folder) }
	r, err := media.Build(ctx, s, b.out)
	if err != nil {
		return err
	}
	return one(a.out, a.streams.Out, struct {
		File string `json:"file"`
		media.Report
	}{b.out, r}, func(w io.Writer) error { return showBuilt(w, b.out, r) })
}

func showBuilt(w io.Writer, out string, r media.Report) error {
	fmt.Fprintf(w, "%s: medium %s, %.0f MB, from %s\n", out, r.Medium.ID, float64(r.Size)/(1<<20), oneLine(r.Medium.Source))
	fmt.Fprintf(w, "  boot manager: %s\n", oneLine(r.Loader))
	for _, line := range r.Starts {
		fmt.Fprintf(w, "  %s\n", oneLine(line))
	}
	for _, p := range r.Medium.Playbooks {
		fmt.Fprintf(w, "  playbook: %s\n", p.Name)
	}
	for _, d := range r.Medium.Drivers {
		fmt.Fprintf(w, "  driver: %s\n", oneLine(d))
	}
	if k := r.Medium.Keys; k != nil {
		fmt.Fprintf(w, "  keys: %d, of %s, sealed, until %s\n", k.Count, machinesText(k.Machines), k.Expires.Format("2006-01-02 15:04 UTC"))
	}
	for _, text := range r.Warnings {
		fmt.Fprintf(w, "  WARNING: %s\n", oneLine(text))
	}
	_, err := fmt.Fprintf(w, "  list of hashes: SHA-256 %s\n", r.Sums)
	return err
}

// buildPlaybooks takes the playbooks named, or that of the run.
func (a *app) buildPlaybooks(ctx context.Context, b *buildFlags, s *media.Spec) error {
	if b.run != "" {
		j, r, err := a.findRun(ctx, b.run)
		if err != nil {
			return err
		}
		b.run, s.Settings.Run = r.ID, r.ID
		if len(b.playbooks) == 0 {
			p, err := j.Plan(ctx, r.ID)
			if err != nil {
				return err
			}
			s.Playbooks = append(s.Playbooks, p.Playbook)
		}
		machines, err := j.Machines(ctx, r.ID)
		if err != nil {
			return err
		}
		if left := notRepaired(machines); len(b.machines) == 0 {
			if len(left) == 0 {
				return coded(exitNothing, hint.Wrap(errorf("run %s has no machine that still needs a medium", r.ID), "see fleetmend runs show "+r.ID))
			}
			b.machines = left
		}
	}
	if b.run == "" && len(b.playbooks) == 0 {
		return usage(errorf("say what the medium is to do: --playbook or --run"), "fleetmend playbook list shows the built-in ones")
	}
	for _, name := range b.playbooks {
		source, err := playbook.Find(name)
		if err != nil {
			return err
		}
		values := map[string]string{}
		for k, v := range b.set {
			if _, ok := source.Playbook.Params[k]; ok || len(b.playbooks) == 1 {
				values[k] = v
			}
		}
		p, err := source.Bind(values)
		if err != nil {
			return usage(err, "see fleetmend playbook show %s", name)
		}
		s.Playbooks = append(s.Playbooks, p)
	}
	return nil
}

// notRepaired are the names of the machines that a medium may still help.
func notRepaired(machines []journal.Machine) (names []string) {
	for _, m := range machines {
		switch m.Outcome {
		case journal.Fixed, journal.Clean, journal.Undone:
		default:
			names = append(names, m.Target.Name)
		}
	}
	return names
}

// findAgent gives the program for the medium: that which this build carries, or it is compiled from a checkout.
func (a *app) findAgent(ctx context.Context, arch, folder string) (string, error) {
	out := filepath.Join(folder, "fleetmend-pe.exe")
	err := textfile.Write(out, textfile.Shared, func(w io.Writer) error { return carried.Program(w, arch) })
	if !errors.Is(err, carried.ErrNone) {
		return out, err
	}
	for _, find := range []func() (string, error){os.Executable, os.Getwd} { // bin/fleetmend of a checkout, then where we are
		place, wrong := find()
		if wrong != nil {
			continue
		}
		if checkout, ok := compile.Checkout(place); ok {
			if !a.quiet {
				a.say("compiling fleetmend-pe for %s from %s", arch, checkout)
			}
			return out, compile.Program(ctx, checkout, arch, out)
		}
	}
	return "", hint.Wrap(err, "a release carries it; else give --agent PATH, or work in a source checkout with Go installed")
}

func (b *buildFlags) collectorSettings(a *app) (*aboard.Collector, error) {
	if b.collector == "" {
		return nil, nil
	}
	if !strings.HasPrefix(b.collector, "https://") {
		return nil, usage(errorf("--collector %q: only https:// is spoken", b.collector), "give https://host:port")
	}
	if b.collectorCA == "" || b.collectorToken == "" {
		return nil, usage(errorf("--collector needs --collector-ca and --collector-token-file"), "see fleetmend media build --help")
	}
	ca, err := textfile.Read(b.collectorCA, connect.MaxCA)
	if err != nil {
		return nil, err
	}
	token, err := a.secretFrom(b.collectorToken, "--collector-token-file names a file with the token in its first line")
	if err != nil {
		return nil, err
	}
	return &aboard.Collector{Address: b.collector, CA: ca.Content, Token: token.Reveal()}, nil
}

// parseSize reads 8GB, 7.5 GiB, 500MB or bytes. GB are those that are printed on sticks: 1000 to the third.
func parseSize(text string) (int64, error) {
	if text == "" {
		return 0, nil
	}
	units := map[string]float64{"": 1, "b": 1, "kb": 1e3, "mb": 1e6, "gb": 1e9, "tb": 1e12, "kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30, "tib": 1 << 40}
	at := strings.LastIndexAny(text, "0123456789.") + 1
	n, err := strconv.ParseFloat(strings.TrimSpace(text[:at]), 64)
	unit, ok := units[strings.ToLower(strings.TrimSpace(text[at:]))]
	if err != nil || !ok || n <= 0 || n*unit > 1<<50 {
		return 0, usage(fmt.Errorf("--size %q is no size", text), "for example 8GB or 500MiB")
	}
	return int64(n * unit), nil
}

// sourceDate is the time that all files of a reproducible build get.
func sourceDate() (time.Time, error) {
	text := os.Getenv("SOURCE_DATE_EPOCH")
	if text == "" {
		return time.Time{}, nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 {
		return time.Time{}, usage(fmt.Errorf("SOURCE_DATE_EPOCH is %q", text), "set it to seconds since 1970, or unset it")
	}
	return time.Unix(n, 0).UTC(), nil
}

func containsFold(list []string, word string) bool {
	return slices.ContainsFunc(list, func(s string) bool { return strings.EqualFold(s, word) })
}
