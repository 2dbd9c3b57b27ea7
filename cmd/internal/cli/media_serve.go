package cli

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/inventory"
	"github.com/fleetmend/fleetmend/remediate/media/pxe"
)

func newMediaBundle(a *app) *cobra.Command {
	var add []string
	cmd := &cobra.Command{
		Use: "bundle SOURCE FOLDER", Short: "Make a folder from which machines start over the network",
		Long: `Take an image made by media build (or a Windows ISO, or a boot.wim) apart into a folder for media serve or for any PXE
server: boot.wim, the boot files, an iPXE script, hashes and a README. iPXE and wimboot are yours to add; README.txt says from where.`,
		Example: "fleetmend media bundle fleetmend.img netboot --add ipxe.efi --add undionly.kpxe --add wimboot",
		Args:    exactly(2, "a source and a new folder"),
		RunE: func(cmd *cobra.Command, args []string) error {
			b, err := pxe.Bundle(cmd.Context(), pxe.BundleOptions{From: args[0], Dir: args[1], Extra: add})
			if err != nil {
				return err
			}
			return one(a.out, a.streams.Out, b, func(w io.Writer) error {
				fmt.Fprintf(w, "%s: %s, %d MB\n", b.Dir, counted(len(b.Files), "file", "files"), b.Bytes>>20)
				for _, t := range b.Warnings {
					fmt.Fprintln(w, "WARNING: "+t)
				}
				return nil
			})
		},
	}
	cmd.Flags().StringArrayVar(&add, "add", nil, "a file to put into the folder: ipxe.efi, undionly.kpxe, wimboot (repeat it)")
	exits(cmd, exitTimeout, exitInterrupted)
	return cmd
}

type serveFlags struct {
	address, machines, cert, key string
	dhcp, boot, tftp, http       int
	loaders                      map[string]string
	dryRun, forget, once         bool
}

func newMediaServe(a *app) *cobra.Command {
	var s serveFlags
	cmd := &cobra.Command{
		Use: "serve FOLDER", Short: "Start machines over the network, until Ctrl-C",
		Long: `Serve the folder of media bundle with proxyDHCP, TFTP and HTTP. No address is given out: your DHCP server goes on doing that,
and must not name a boot file itself. Start with --dry-run, which answers nothing and shows who asks.

Each machine that asks is kept in the inventory by its MAC address and UUID. Files of single machines come from folders
below --machine-files, named by MAC address (52-54-00-12-34-56) or UUID; each is given once per start. Nobody can
check who a machine says it is: put only sealed key bundles there.`,
		Example: "sudo fleetmend media serve netboot --address 192.0.2.10 --dry-run\nsudo fleetmend media serve netboot --address 192.0.2.10\nfleetmend media serve netboot --address 192.0.2.10 --dhcp-port 0 --tftp-port 0",
		Args:    exactly(1, "the folder to serve"),
		RunE:    func(cmd *cobra.Command, args []string) error { return a.mediaServe(cmd.Context(), args[0], s) },
	}
	f := cmd.Flags()
	f.StringVar(&s.address, "address", "", "IPv4 address of this computer in the network of the machines")
	f.BoolVar(&s.dryRun, "dry-run", false, "answer nothing, only show who asks and what it would get")
	f.BoolVar(&s.once, "once", false, "leave a machine alone that has fetched boot.wim, if its firmware starts from the network first")
	f.StringVar(&s.machines, "machine-files", "", "folder with one folder for each machine that gets files of its own")
	f.StringToStringVar(&s.loaders, "loader", nil, "first program by firmware: bios, x64, arm64 or ia32, as x64=ipxe.efi (default: found by name)")
	f.StringVar(&s.cert, "tls-cert", "", "certificate for HTTPS instead of HTTP (PEM)")
	f.StringVar(&s.key, "tls-key", "", "its key (PEM)")
	f.IntVar(&s.dhcp, "dhcp-port", 67, "port of proxyDHCP (0: off)")
	f.IntVar(&s.boot, "boot-port", 4011, "port of the boot server for UEFI")
	f.IntVar(&s.tftp, "tftp-port", 69, "port of TFTP (0: off)")
	f.IntVar(&s.http, "http-port", 8080, "port of HTTP (0: off)")
	f.BoolVar(&s.forget, "no-inventory", false, "do not keep who asked in the inventory")
	exits(cmd, exitTimeout)
	return cmd
}

func (s *serveFlags) config(dir string) (c pxe.Config, err error) {
	c = pxe.Config{Dir: dir, DHCP: s.dhcp, Boot: s.boot, TFTP: s.tftp, HTTP: s.http, Loaders: s.loaders, DryRun: s.dryRun, Once: s.once}
	if c.Address, err = netip.ParseAddr(s.address); err != nil || !c.Address.Is4() {
		return c, usage(errorf("--address %q is not an IPv4 address", s.address), "give the address of this computer in the network of the machines")
	}
	for kind := range s.loaders {
		if _, ok := pxe.LoaderNames()[kind]; !ok {
			return c, usage(errorf("--loader knows no firmware %q", kind), "bios, x64, arm64 or ia32")
		}
	}
	for _, port := range []int{s.dhcp, s.boot, s.tftp, s.http} {
		if port < 0 || port > 65535 {
			return c, usage(errorf("%d is not a port", port), "0 switches a service off")
		}
	}
	if (s.cert == "") != (s.key == "") {
		return c, usage(errorf("--tls-cert and --tls-key belong together"), "give both or none")
	}
	if s.cert != "" {
		pair, err := tls.LoadX509KeyPair(s.cert, s.key)
		if err != nil {
			return c, hint.Wrap(fmt.Errorf("load the certificate: %w", err), "give a certificate with its chain and its key, both as PEM")
		}
		c.TLS = &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}
	}
	if s.machines != "" {
		root, err := os.OpenRoot(s.machines)
		if err != nil {
			return c, hint.Wrap(fmt.Errorf("open the files of machines: %w", err), "make the folder, with one folder in it for each machine, named by MAC address (52-54-00-12-34-56) or UUID")
		}
		c.Machine = func(_ context.Context, who pxe.Client) ([]pxe.File, error) { return machineFiles(root, who) }
	}
	return c, nil
}

// machineFiles reads the folder of a machine: by MAC address, else by UUID.
func machineFiles(root *os.Root, who pxe.Client) ([]pxe.File, error) {
	for _, name := range []string{strings.ReplaceAll(who.MAC, ":", "-"), who.UUID} {
		if name == "" {
			continue
		}
		entries, err := fs.ReadDir(root.FS(), name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		var files []pxe.File
		for _, e := range entries {
			if !e.Type().IsRegular() {
				continue
			}
			b, err := root.ReadFile(filepath.Join(name, e.Name()))
			if err != nil {
				return nil, err
			}
			files = append(files, pxe.File{Name: e.Name(), Content: b})
		}
		return files, nil
	}
	return nil, nil
}

func (a *app) mediaServe(ctx context.Context, dir string, s serveFlags) error {
	c, err := s.config(dir)
	if err != nil {
		return err
	}
	var keep func(pxe.Client)
	if !s.forget {
		store, err := a.openStore(ctx)
		if err != nil {
			return err
		}
		keep = a.keepClients(ctx, store)
	}
	c.OnEvent = func(e pxe.Event) {
		a.showEvent(e)
		if keep != nil && e.Client.MAC != "" {
			keep(e.Client)
		}
	}
	server, err := pxe.New(ctx, c)
	if err != nil {
		return err
	}
	for _, kind := range []string{"bios", "x64", "arm64", "ia32"} {
		if name := server.Loaders()[kind]; name != "" {
			a.say("%s machines start with %s", kind, name)
		}
	}
	for _, w := range server.Lacking() {
		a.say("WARNING: %s", w)
	}
	if s.dryRun {
		a.say("dry run: nothing is answered. Ctrl-C ends it.")
	} else {
		a.say("serving %s on %s %s. Ctrl-C ends it.", dir, s.address, server.Base())
	}
	return server.Serve(ctx)
}

func (a *app) showEvent(e pxe.Event) {
	if a.jsonLines || a.out.Format == "json" {
		_ = writeJSONLine(a.streams.Out, e)
		return
	}
	who := e.Client.MAC
	if who == "" && e.Client.Address.IsValid() {
		who = e.Client.Address.String()
	}
	kind := ""
	if e.Client.Known {
		kind = " " + e.Client.Arch.String()
	}
	fmt.Fprintf(a.streams.Out, "%s  %-4s  %s%s  %s  %s\n", e.Time.Format(time.TimeOnly), e.Service, who, kind, oneLine(e.What), oneLine(e.File))
}

// keepClients writes each machine into the inventory once. A failure is said once and stops nothing.
func (a *app) keepClients(ctx context.Context, store *inventory.Store) func(pxe.Client) {
	seen, failed := map[string]bool{}, false
	return func(c pxe.Client) {
		key := c.MAC + " " + c.UUID
		if mac, err := net.ParseMAC(c.MAC); seen[key] || len(seen) > 100_000 || err != nil || len(mac) != 6 {
			return
		}
		seen[key] = true
		fields := map[string]string{"macs": c.MAC}
		if c.UUID != "" {
			fields["claims.smbios"] = c.UUID
		}
		_, err := store.Import(ctx, "pxe", []inventory.Record{{Source: "pxe", SourceKey: c.MAC, SeenAt: time.Now(), Fields: fields}})
		if err != nil && !failed && ctx.Err() == nil {
			failed = true
			a.say("fleetmend: who asks is not kept in the inventory: %v", err)
		}
	}
}
