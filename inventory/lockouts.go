package inventory

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// Lockout is after how much an account is locked.
type Lockout struct {
	Threshold int           `json:"threshold"`          // wrong passwords in a row; 0: never
	Window    time.Duration `json:"window"`             // after so long without one they are forgotten
	Duration  time.Duration `json:"duration,omitempty"` // how long it stays locked; 0: until somebody unlocks it
}

// Lockouts is what a domain said of the locking of its accounts.
type Lockouts struct {
	DNS     string             `json:"dns"`
	NetBIOS string             `json:"netbios"`
	Domain  Lockout            `json:"domain"`
	Own     map[string]Lockout `json:"own"`              // of single accounts, by their names without a domain, in lower case
	Hidden  bool               `json:"hidden,omitempty"` // policies of single accounts cannot be seen
	ReadAt  time.Time          `json:"read_at"`
}

// Is reports whether a domain goes by that name.
func (l *Lockouts) Is(domain string) bool {
	return domain != "" && (strings.EqualFold(domain, l.DNS) || strings.EqualFold(domain, l.NetBIOS))
}

// Lockouts returns what is known of the domains that were read.
func (s *Store) Lockouts(ctx context.Context) (all []Lockouts, _ error) {
	err := each(ctx, s.db, "SELECT said FROM lockouts ORDER BY dns", func(scan func(...any) error) error {
		var said string
		if err := scan(&said); err != nil {
			return err
		}
		var l Lockouts
		if err := json.Unmarshal([]byte(said), &l); err != nil {
			return err
		}
		all = append(all, l)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read when accounts are locked: %w", err)
	}
	return all, nil
}

// TakeLockouts keeps what domains said in place of what they said before.
func (s *Store) TakeLockouts(ctx context.Context, all []Lockouts) error {
	if len(all) == 0 {
		return nil
	}
	err := s.write(ctx, func(tx *sql.Tx) error {
		for _, l := range all {
			said, err := json.Marshal(l)
			if err != nil {
				return err
			}
			if _, err := tx.ExecContext(ctx, "INSERT OR REPLACE INTO lockouts (dns, said) VALUES (?,?)", strings.ToLower(l.DNS), string(said)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("keep when accounts are locked: %w", err)
	}
	return nil
}
