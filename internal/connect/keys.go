package connect

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/fleetmend/fleetmend/bitlocker"
	"github.com/fleetmend/fleetmend/bitlocker/ad"
	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/internal/settings"
)

// keySource is one kind of place that keeps recovery keys.
type keySource struct {
	kind  string // the word before the colon of the names of its sources
	known func(settings.Settings) bool
	open  func(context.Context, *Connector) (bitlocker.Source, error)
}

// keySources are the places that can be asked, in the order in which they are.
var keySources = []keySource{
	{"ad", func(s settings.Settings) bool { return s.Directory.Domain != "" }, adSource},
	{"entra", func(s settings.Settings) bool { return s.Entra.Tenant != "" }, entraSource},
	{"mssql", func(s settings.Settings) bool { return s.MSSQL.Server != "" }, sqlSource},
}

// KeyKinds are the words of the sources of keys that can be asked.
func KeyKinds() []string {
	var kinds []string
	for _, s := range keySources {
		kinds = append(kinds, s.kind)
	}
	return kinds
}

// KeySources makes the sources of keys that the settings know: all of them, or the one kind named.
func (c *Connector) KeySources(ctx context.Context, kind string) ([]bitlocker.Source, error) {
	if kind != "" && !slices.Contains(KeyKinds(), kind) {
		return nil, hint.Mistake(fmt.Errorf("%q is none of %s", kind, strings.Join(KeyKinds(), ", ")), "a table is read with `fleetmend keys import FILE`")
	}
	var out []bitlocker.Source
	for _, s := range keySources {
		if s.kind != kind && (kind != "" || !s.known(c.Settings)) {
			continue
		}
		source, err := s.open(ctx, c)
		if err != nil {
			return nil, err
		}
		out = append(out, source)
	}
	if len(out) == 0 {
		return nil, hint.Mistake(errors.New("the settings name no directory that keeps keys"), "write a section directory (Active Directory), entra or mssql into fleetmend.yaml, or read a table with `fleetmend keys import FILE`")
	}
	return out, nil
}

// KeySource makes the source of a name such as "ad:fleet.test", to read a password from it now.
func (c *Connector) KeySource(ctx context.Context, name string) (bitlocker.Source, error) {
	kind, _, _ := strings.Cut(name, ":")
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if !slices.Contains(KeyKinds(), kind) {
		return nil, hint.Wrapf(fmt.Errorf("%w, and %s cannot be asked for it", bitlocker.ErrNotHeld, name), "bring it in again, with `fleetmend keys import FILE` or import-snapshot")
	}
	sources, err := c.KeySources(ctx, kind)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", bitlocker.ErrNotHeld, err)
	}
	if sources[0].Name() != name {
		return nil, hint.Wrapf(fmt.Errorf("%w; it is in %s, and the settings name %s", bitlocker.ErrNotHeld, name, sources[0].Name()), "name %s in the settings to read it there", name)
	}
	return sources[0], nil
}

func adSource(ctx context.Context, c *Connector) (bitlocker.Source, error) {
	config, err := c.Directory(ctx, nil)
	if err != nil {
		return nil, err
	}
	source := ad.New(ad.Options{Directory: config, Bases: c.Settings.Directory.OUs, Deleted: true, Warn: c.warn})
	c.own(source)
	return source, nil
}

func (c *Connector) warn(text string) { c.Tell("remark: " + text) }
