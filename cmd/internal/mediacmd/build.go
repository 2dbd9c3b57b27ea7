package mediacmd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/fleetmend/fleetmend/cmd/internal/command"
	"github.com/fleetmend/fleetmend/internal/desk"
	deskmedia "github.com/fleetmend/fleetmend/internal/desk/media"
	"github.com/fleetmend/fleetmend/internal/desk/runs"
	"github.com/fleetmend/fleetmend/internal/prose"
	"github.com/fleetmend/fleetmend/internal/terminal"
	"github.com/fleetmend/fleetmend/remediate/media"
	"github.com/fleetmend/fleetmend/remediate/media/aboard"
)

// buildFlags are the flags of media build.
type buildFlags struct {
	deskmedia.BuildRequest
	iso              bool
	secureBoot, size string
	next             string
}

func newBuild(c *command.Context) *cobra.Command {
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
fleetmend media build winre.wim --next medium --keys vault --reason "INC-1234"
fleetmend media build winre.wim --run last --keys keys.csv --passphrase-file phrase.txt`,
		Args: command.Exactly(1, "a WIM or a Windows ISO"),
		RunE: c.At(func(ctx context.Context, d *desk.Desk, args []string) error {
			b.Spec.Source = args[0]
			if err := b.read(); err != nil {
				return err
			}
			built, err := deskmedia.Build(ctx, d, b.BuildRequest)
			if err != nil {
				return err
			}
			if built.Awaited > 0 {
				c.Say("for %s, as run %s; when sticks come back: `fleetmend media collect STICK`", prose.Machines(built.Awaited), built.Run)
			}
			return c.Page(built, built.Text())
		}),
	}
	b.add(c, cmd)
	command.Exits(cmd, command.ExitNothing, command.ExitTimeout, command.ExitInterrupted)
	return command.Formats(cmd, terminal.OneFormats...)
}

func (b *buildFlags) add(c *command.Context, cmd *cobra.Command) {
	f, s := cmd.Flags(), &b.Spec
	f.StringVar(&b.Out, "out", "", "file to write (default: fleetmend.img or fleetmend.iso)")
	f.BoolVar(&b.iso, "iso", false, "an ISO instead of a USB image")
	f.StringArrayVarP(&b.Playbooks, "playbook", "p", nil, "playbook by name or file; may be given several times")
	f.StringToStringVar(&b.Set, "set", nil, "name=value for a parameter of the playbooks")
	f.StringVar(&b.Run, "run", "", "run of the journal that this medium belongs to: its playbook, its machines")
	f.StringVar(&b.next, "next", "", "medium: for the machines of the incident whose next step is a boot medium, and their keys; results come home into a run of their own")
	c.IncidentFlag(cmd, &b.Incident, "incident of --next (default: the open one)")
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
	f.StringVar(&b.Keys.From, "keys", "", "keys to seal onto the medium: vault, or a CSV file with machine, key_id and recovery_password")
	f.StringSliceVar(&b.Keys.Machines, "machines", nil, "only the keys of these machines (default with --run: those that are not repaired)")
	f.StringVar(&b.Keys.PassphraseFile, "passphrase-file", "", "file with the passphrase of the keys on the medium in its first line")
	f.StringVar(&b.Keys.Reason, "reason", "", "why keys leave the vault, for the audit")
	f.StringVar(&b.Keys.Vault.PassphraseFile, "vault-passphrase-file", "", "file with the vault's passphrase in its first line (default: you are asked)")
	f.StringVar(&b.Keys.Vault.Identity, "vault-identity", "", "age identity file that unlocks the vault")
	f.BoolVar(&b.Keys.Vault.Keyring, "vault-keyring", false, "unlock the vault with your keyring, and with nothing else")
	cmd.MarkFlagsMutuallyExclusive("vault-passphrase-file", "vault-identity", "vault-keyring")
	f.DurationVar(&b.Keys.Expire, "keys-expire", 7*24*time.Hour, "after this time the keys are not used any more")
	f.StringVar(&b.Collector.Address, "collector", "", "address that machines may report to, https://host:port")
	f.StringVar(&b.Collector.CA, "collector-ca", "", "PEM file of the collector's certificate authority")
	f.StringVar(&b.Collector.TokenFile, "collector-token-file", "", "file with a token for one use")
	command.Complete(cmd, "secure-boot", "auto", "2011", "2023")
	command.Complete(cmd, "next", nextMedium)
	command.Complete(cmd, "choose", "auto", "menu")
	command.CompleteBy(cmd, "run", c.Offering(runs.IDs))
	command.CompleteBy(cmd, "playbook", command.Playbooks)
}

// nextMedium is the only word of --next.
const nextMedium = "medium"

// read completes the request with what flags and the environment say in words.
func (b *buildFlags) read() (err error) {
	s := &b.Spec
	s.Format, s.SecureBoot = media.USB, media.SecureBoot(b.secureBoot)
	if b.iso {
		s.Format = media.ISO
	}
	if s.Size, err = deskmedia.ParseSize(b.size); err != nil {
		return err
	}
	if s.Time, err = deskmedia.SourceDate(os.Getenv("SOURCE_DATE_EPOCH")); err != nil {
		return err
	}
	switch b.Next = b.next == nextMedium; {
	case b.next != "" && !b.Next:
		return command.Usage(fmt.Errorf("--next %q: a medium is built for those whose next step is %s", b.next, nextMedium), "`fleetmend incident status` shows what comes next")
	case b.Incident != "" && !b.Next:
		return command.Usage(errors.New("--incident stands with --next medium"), "a medium for a run is built with --run")
	}
	return nil
}
