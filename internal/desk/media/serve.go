package media

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"github.com/fleetmend/fleetmend/internal/connect"
	"github.com/fleetmend/fleetmend/internal/desk"
	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/inventory"
	"github.com/fleetmend/fleetmend/remediate/media/pxe"
)

// ServeRequest says what is served to whom. Ports of 0 switch a service off.
type ServeRequest struct {
	Folder, Address        string // the folder of media bundle; IPv4 of this computer in the network of the machines
	Machines               string // folder with one folder for each machine that gets files of its own; empty: none
	Cert, Key              string // PEM files for HTTPS; empty: HTTP
	DHCP, Boot, TFTP, HTTP int
	Loaders                map[string]string // first program by firmware; absent: found by name
	DryRun, Once           bool
	Forget                 bool // do not keep who asked in the inventory
	Event                  func(pxe.Event)
}

// Server opens the folder and the ports. Its Serve runs until the context ends; whoever does not call it closes it. Each machine
// that asks is kept in the inventory, by its MAC address and UUID.
func Server(ctx context.Context, d *desk.Desk, r ServeRequest) (*pxe.Server, error) {
	c, err := r.config()
	if err != nil {
		return nil, err
	}
	keep := func(pxe.Client) {}
	if !r.Forget {
		if keep, err = keeper(ctx, d); err != nil {
			return nil, err
		}
	}
	c.OnEvent = func(e pxe.Event) {
		if r.Event != nil {
			r.Event(e)
		}
		if e.Client.MAC != "" {
			keep(e.Client)
		}
	}
	return pxe.New(ctx, c)
}

func (r ServeRequest) config() (c pxe.Config, err error) {
	c = pxe.Config{Dir: r.Folder, DHCP: r.DHCP, Boot: r.Boot, TFTP: r.TFTP, HTTP: r.HTTP, Loaders: r.Loaders, DryRun: r.DryRun, Once: r.Once}
	if c.Address, err = netip.ParseAddr(r.Address); err != nil || !c.Address.Is4() {
		return c, hint.Mistake(fmt.Errorf("--address %q is not an IPv4 address", r.Address), "give the address of this computer in the network of the machines")
	}
	for kind := range r.Loaders {
		if _, ok := pxe.LoaderNames()[kind]; !ok {
			return c, hint.Mistake(fmt.Errorf("--loader knows no firmware %q", kind), "bios, x64, arm64 or ia32")
		}
	}
	for _, port := range []int{r.DHCP, r.Boot, r.TFTP, r.HTTP} {
		if port < 0 || port > 65535 {
			return c, hint.Mistake(fmt.Errorf("%d is not a port", port), "0 switches a service off")
		}
	}
	if (r.Cert == "") != (r.Key == "") {
		return c, hint.Mistake(errors.New("--tls-cert and --tls-key belong together"), "give both or none")
	}
	if r.Cert != "" {
		pair, err := connect.KeyPair(r.Cert, r.Key)
		if err != nil {
			return c, hint.Wrap(fmt.Errorf("load the certificate: %w", err), "give a certificate with its chain and its key, both as PEM")
		}
		c.TLS = &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}
	}
	if r.Machines != "" {
		root, err := os.OpenRoot(r.Machines)
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

// keeper writes each machine into the inventory once. A failure is said once and stops nothing.
func keeper(ctx context.Context, d *desk.Desk) (func(pxe.Client), error) {
	store, err := d.Inventory(ctx)
	if err != nil {
		return nil, err
	}
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
		_, err := store.Import(ctx, "pxe", []inventory.Record{{Source: "pxe", SourceKey: c.MAC, SeenAt: d.Now(), Fields: fields}})
		if err != nil && !failed && ctx.Err() == nil {
			failed = true
			d.Tell(fmt.Sprintf("fleetmend: who asks is not kept in the inventory: %v", err))
		}
	}, nil
}
