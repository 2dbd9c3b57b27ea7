package mediacmd

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/fleetmend/fleetmend/cmd/internal/command"
	"github.com/fleetmend/fleetmend/internal/desk"
	deskmedia "github.com/fleetmend/fleetmend/internal/desk/media"
	"github.com/fleetmend/fleetmend/internal/prose"
	"github.com/fleetmend/fleetmend/internal/terminal"
	"github.com/fleetmend/fleetmend/remediate/media/pxe"
)

func newBundle(c *command.Context) *cobra.Command {
	var add []string
	cmd := &cobra.Command{
		Use: "bundle SOURCE FOLDER", Short: "Make a folder from which machines start over the network",
		Long: `Take an image made by media build (or a Windows ISO, or a boot.wim) apart into a folder for media serve or for any PXE
server: boot.wim, the boot files, an iPXE script, hashes and a README. iPXE and wimboot are yours to add; README.txt says from where.`,
		Example: "fleetmend media bundle fleetmend.img netboot --add ipxe.efi --add undionly.kpxe --add wimboot",
		Args:    command.Exactly(2, "a source and a new folder"),
		RunE: func(cmd *cobra.Command, args []string) error {
			b, err := pxe.Bundle(cmd.Context(), pxe.BundleOptions{From: args[0], Dir: args[1], Extra: add})
			if err != nil {
				return err
			}
			return c.Page(b, b.Text())
		},
	}
	cmd.Flags().StringArrayVar(&add, "add", nil, "a file to put into the folder: ipxe.efi, undionly.kpxe, wimboot (repeat it)")
	command.Exits(cmd, command.ExitTimeout, command.ExitInterrupted)
	return command.Formats(cmd, terminal.OneFormats...)
}

func newServe(c *command.Context) *cobra.Command {
	var s deskmedia.ServeRequest
	cmd := &cobra.Command{
		Use: "serve FOLDER", Short: "Start machines over the network, until Ctrl-C",
		Long: `Serve the folder of media bundle with proxyDHCP, TFTP and HTTP. No address is given out: your DHCP server goes on doing that,
and must not name a boot file itself. Start with --dry-run, which answers nothing and shows who asks.

Each machine that asks is kept in the inventory by its MAC address and UUID. Files of single machines come from folders
below --machine-files, named by MAC address (52-54-00-12-34-56) or UUID; each is given once per start. Nobody can
check who a machine says it is: put only sealed key bundles there.`,
		Example: "sudo fleetmend media serve netboot --address 192.0.2.10 --dry-run\nsudo fleetmend media serve netboot --address 192.0.2.10\nfleetmend media serve netboot --address 192.0.2.10 --dhcp-port 0 --tftp-port 0",
		Args:    command.Exactly(1, "the folder to serve"),
		RunE: c.At(func(ctx context.Context, d *desk.Desk, args []string) error {
			s.Folder = args[0]
			s.Event = func(e pxe.Event) { showEvent(c, e) }
			server, err := deskmedia.Server(ctx, d, s)
			if err != nil {
				return err
			}
			for _, kind := range []string{"bios", "x64", "arm64", "ia32"} {
				if name := server.Loaders()[kind]; name != "" {
					c.Say("%s machines start with %s", kind, name)
				}
			}
			for _, w := range server.Lacking() {
				c.Say("WARNING: %s", w)
			}
			if s.DryRun {
				c.Say("dry run: nothing is answered. Ctrl-C ends it.")
			} else {
				c.Say("serving %s on %s %s. Ctrl-C ends it.", s.Folder, s.Address, server.Base())
			}
			return server.Serve(ctx)
		}),
	}
	f := cmd.Flags()
	f.StringVar(&s.Address, "address", "", "IPv4 address of this computer in the network of the machines")
	f.BoolVar(&s.DryRun, "dry-run", false, "answer nothing, only show who asks and what it would get")
	f.BoolVar(&s.Once, "once", false, "leave a machine alone that has fetched boot.wim, if its firmware starts from the network first")
	f.StringVar(&s.Machines, "machine-files", "", "folder with one folder for each machine that gets files of its own")
	f.StringToStringVar(&s.Loaders, "loader", nil, "first program by firmware: bios, x64, arm64 or ia32, as x64=ipxe.efi (default: found by name)")
	f.StringVar(&s.Cert, "tls-cert", "", "certificate for HTTPS instead of HTTP (PEM)")
	f.StringVar(&s.Key, "tls-key", "", "its key (PEM)")
	f.IntVar(&s.DHCP, "dhcp-port", 67, "port of proxyDHCP (0: off)")
	f.IntVar(&s.Boot, "boot-port", 4011, "port of the boot server for UEFI (0: off)")
	f.IntVar(&s.TFTP, "tftp-port", 69, "port of TFTP (0: off)")
	f.IntVar(&s.HTTP, "http-port", 8080, "port of HTTP (0: off)")
	f.BoolVar(&s.Forget, "no-inventory", false, "do not keep who asked in the inventory")
	command.Exits(cmd, command.ExitTimeout)
	return command.Formats(cmd, terminal.Table, terminal.JSON)
}

func showEvent(c *command.Context, e pxe.Event) {
	if c.JSONLines || c.Output.Format == terminal.JSON {
		_ = terminal.WriteJSONLine(c.Out, e)
		return
	}
	fmt.Fprintln(c.Out, prose.OneLine(e.Text()))
}
