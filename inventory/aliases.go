package inventory

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// Aliases gives, by the IDs of machines, the host names under which the sources that list them know them, where these are
// several: a machine that was renamed, or that one source calls by a short name and another by its place in DNS.
func (s *Store) Aliases(ctx context.Context) (map[string][]string, error) {
	out := map[string][]string{}
	err := each(ctx, s.db, `SELECT machine_id, coalesce(by_name, ''), coalesce(by_fqdn, '') FROM records WHERE gone = 0 AND machine_id IN
		(SELECT machine_id FROM records WHERE gone = 0 GROUP BY machine_id HAVING count(*) > 1)`, func(scan func(...any) error) error {
		var id, name, fqdn string
		if err := scan(&id, &name, &fqdn); err != nil {
			return err
		}
		for _, n := range []string{fqdn, strings.TrimSuffix(name, "$")} {
			if n != "" && !slices.Contains(out[id], n) {
				out[id] = append(out[id], n)
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read the names of machines: %w", err)
	}
	for id, names := range out {
		slices.Sort(names)
		if out[id] = names; len(names) < 2 {
			delete(out, id)
		}
	}
	return out, nil
}
