package inventory

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// SourceInfo says what the store knows of a source.
type SourceInfo struct {
	Source  string    `json:"source"`
	Records int       `json:"records"`
	Gone    int       `json:"gone"`             // of those, marked as gone
	ReadAt  time.Time `json:"read_at"`          // last import
	FullAt  time.Time `json:"full_at,omitzero"` // last complete listing
	Cursor  string    `json:"cursor,omitempty"` // where an incremental reading goes on
}

// Sources lists the sources by name, so that the age of what is known can be shown.
func (s *Store) Sources(ctx context.Context) ([]SourceInfo, error) {
	var out []SourceInfo
	err := each(ctx, s.db, `SELECT s.source, count(r.source_key), coalesce(sum(r.gone), 0), s.read_at, s.full_at, s.cursor
		FROM sources s LEFT JOIN records r ON r.source = s.source GROUP BY s.source ORDER BY s.source`, func(scan func(...any) error) error {
		var i SourceInfo
		var read, full int64
		if err := scan(&i.Source, &i.Records, &i.Gone, &read, &full, &i.Cursor); err != nil {
			return err
		}
		i.ReadAt, i.FullAt = fromNanos(read), fromNanos(full)
		out = append(out, i)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list sources: %w", err)
	}
	return out, nil
}

// SourceAges lists the sources as [Store.Sources] does, without counting their records.
func (s *Store) SourceAges(ctx context.Context) ([]SourceInfo, error) {
	var out []SourceInfo
	err := each(ctx, s.db, "SELECT source, read_at, full_at, cursor FROM sources ORDER BY source", func(scan func(...any) error) error {
		var i SourceInfo
		var read, full int64
		err := scan(&i.Source, &read, &full, &i.Cursor)
		i.ReadAt, i.FullAt = fromNanos(read), fromNanos(full)
		out = append(out, i)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list sources: %w", err)
	}
	return out, nil
}

// SetCursor notes where the next incremental reading of a source goes on; call it after the import succeeded.
func (s *Store) SetCursor(ctx context.Context, source, cursor string) error {
	if err := s.db.Writable(); err != nil {
		return fmt.Errorf("note cursor of %s: %w", source, err)
	}
	res, err := s.db.ExecContext(ctx, "UPDATE sources SET cursor = ? WHERE source = ?", cursor, source)
	if err != nil {
		return fmt.Errorf("note cursor of %s: %w", source, err)
	}
	if n, err := res.RowsAffected(); err != nil || n == 0 {
		return errors.Join(fmt.Errorf("note cursor of %s: the source was never read", strings.TrimSpace(source)), err)
	}
	return nil
}
