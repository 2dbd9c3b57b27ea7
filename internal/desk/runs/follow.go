package runs

import (
	"context"

	"github.com/fleetmend/fleetmend/internal/desk"
)

// Follow calls each with the events of a run after the one numbered after, as they are committed: none is lost to who is slow. It
// returns the run when it goes on no more.
func Follow(ctx context.Context, d *desk.Desk, id string, after int64, each func([]Event) error) (*Run, error) {
	j, err := d.Journal(ctx)
	if err != nil {
		return nil, err
	}
	return j.Follow(ctx, id, after, each)
}

// CatchUp brings progress to where the run stands, without its events one by one.
func CatchUp(ctx context.Context, d *desk.Desk, id string, progress *Progress) error {
	j, err := d.Journal(ctx)
	if err != nil {
		return err
	}
	at, err := j.Standing(ctx, id)
	if err != nil {
		return err
	}
	progress.Stand(at)
	return nil
}
