package keyscmd

import (
	"cmp"
	"context"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/fleetmend/fleetmend/cmd/internal/command"
	"github.com/fleetmend/fleetmend/internal/desk"
	"github.com/fleetmend/fleetmend/internal/desk/keys"
	"github.com/fleetmend/fleetmend/internal/prose"
	"github.com/fleetmend/fleetmend/internal/terminal"
)

var foundColumns = []terminal.Column[keys.Key]{
	terminal.Col("key id", func(k keys.Key) string { return string(k.ID) }),
	terminal.Col("machine", func(k keys.Key) string { return k.Machine.Label() }),
	terminal.Col("volume", func(k keys.Key) string { return string(k.Volume) }),
	terminal.Col("escrowed", func(k keys.Key) string { return cmp.Or(prose.Minute(k.Created), "not said") }),
	terminal.Col("source", func(k keys.Key) string { return strings.Join(k.Sources(), ", ") }),
	terminal.Col("source read", func(k keys.Key) string { return prose.Ago(k.Places[0].SourceSynced, time.Now()) }),
	terminal.Col("password", func(k keys.Key) string { return keys.PasswordText(k.State) }),
	terminal.Col("remark", keys.Key.Remark),
	terminal.WideCol("serial", func(k keys.Key) string { return k.Serial }),
	terminal.WideCol("owner", func(k keys.Key) string { return k.Owner }),
	terminal.WideCol("site", func(k keys.Key) string { return k.Site }),
	terminal.WideCol("dn", func(k keys.Key) string { return k.Machine.DN }),
	terminal.WideCol("volume id", func(k keys.Key) string { return k.VolumeID }),
}

func newFind(c *command.Context) *cobra.Command {
	var now bool
	cmd := &cobra.Command{
		Use: "find QUERY", Short: "Find keys by the digits on the recovery screen, host name, serial number or user",
		Long: `Find keys by at least 8 digits of the key ID, as the recovery screen shows them, or by host name, serial number
or user of the machine; the inventory knows the last two. Where nothing is called so, what begins so is
shown; with a * at the end of a name all that begin so at once. Every key that fits is shown, the newest first: the
key ID on the screen decides. A key that several places keep is one row that names them all. It needs no passphrase, and no
password is shown.

A key may be newer than the last reading: with --now Active Directory is asked for the digits first, in one search.

It ends with 6 where nothing fits, and says where it looked.`,
		Example: "fleetmend keys find 4C4B6D8A\nfleetmend keys find WS00042\nfleetmend keys find 'LON-*' -o csv\nfleetmend keys find PF3ABCDE\nfleetmend keys find 4C4B6D8A --now",
		Args:    command.Exactly(1, "digits of a key ID, a host name, a serial number or a user"), ValidArgsFunction: command.First(command.Completing(c.MachineNames)),
		RunE: c.At(func(ctx context.Context, d *desk.Desk, args []string) error {
			found, err := keys.Find(ctx, d, keys.Query{Text: args[0], Now: now})
			if err != nil {
				return coded(err)
			}
			if err := command.List(c, found.Keys, foundColumns); err != nil {
				return err
			}
			if found.Beginning {
				c.Say("Nothing is called %s; these begin so.", args[0])
			}
			if n := len(found.Colliding); n > 0 {
				c.Say("%d keys begin with %s. More digits from the recovery screen decide which it is.", n, strings.ToUpper(args[0]))
			}
			return nil
		}),
	}
	cmd.Flags().BoolVar(&now, "now", false, "ask Active Directory for the digits first")
	command.Exits(cmd, command.ExitNothing, command.ExitAuth)
	return command.Formats(cmd, terminal.ListFormats...)
}
