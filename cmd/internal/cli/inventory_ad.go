package cli

import (
	"context"
	"errors"
	"time"

	"github.com/fleetmend/fleetmend/inventory/ad"
)

// syncInventory reads the directory into the inventory and prints what came of it.
func (a *app) syncInventory(ctx context.Context, f syncFlags) error {
	source, err := a.directorySource(ctx, f.dcs)
	if err != nil {
		return err
	}
	if _, err := a.openStore(ctx); err != nil {
		return err
	}
	summary, err := a.syncSource(ctx, source, f.full)
	if err != nil {
		if !errors.Is(err, context.Canceled) {
			a.stillUsable(ctx, source.Name())
		}
		return err
	}
	all := []syncSummary{summary}
	switch a.out.Format {
	case "json":
		return writeJSON(a.streams.Out, all)
	case "yaml":
		return writeYAML(a.streams.Out, all)
	}
	return writeSyncs(a.streams.Out, all)
}

// syncSource brings the store up to date with one source.
func (a *app) syncSource(ctx context.Context, source *ad.Source, full bool) (syncSummary, error) {
	began := time.Now()
	read, report, err := source.Sync(ctx, a.store, full)
	if err != nil {
		return syncSummary{}, err
	}
	s := syncSummary{
		Source: source.Name(), DC: joined(read.DCs), Mode: "changes", Why: read.Why, Unseen: read.Unseen, Called: read.Called, Read: read.Machines, LeftOut: read.LeftOut,
		Referrals: read.Referrals, Remarks: read.Problems, DurationMS: time.Since(began).Milliseconds(),
	}
	if read.Full {
		s.Mode = "full"
	}
	s.take(report)
	return s, nil
}
