package journal

import (
	"context"
	"database/sql"
	"fmt"
	"maps"
	"slices"
)

// Claim says which run has a machine: one run at a time works on it. A run that died keeps its claims until it is resumed or
// cancelled, because only its machines know what became of them.
type Claim struct {
	Run      string
	Operator string
	Owner    *Owner // nil: nobody works on that run
	Same     string // name of the machine of the same run that it is, by what the inventory has learned since; else empty
}

// HasIt stands in what is said of a machine that another run has.
const HasIt = " has it"

// String is "run 20240719-041233-k3f9x2 of eve has it (process 4711 on HOST, since ...)".
func (c Claim) String() string {
	if c.Same != "" {
		return fmt.Sprintf("it is the machine %s of the same run: the inventory has joined them since the plan was frozen", c.Same)
	}
	if c.Owner == nil {
		return fmt.Sprintf("run %s of %s%s, and nobody works on that run: resume or cancel it first", c.Run, c.Operator, HasIt)
	}
	return fmt.Sprintf("run %s of %s%s (%s)", c.Run, c.Operator, HasIt, c.Owner)
}

// ClaimedError says that another run has a machine.
type ClaimedError struct {
	Machine string // name
	Claim   Claim
}

func (e *ClaimedError) Error() string { return fmt.Sprintf("machine %s: %s", e.Machine, e.Claim) }

// Claims returns the machines that runs have claimed now, by machine ID.
func (j *Journal) Claims(ctx context.Context) (map[string]Claim, error) {
	rows, err := j.db.QueryContext(ctx, "SELECT c.machine, r.id, r.operator FROM claims c JOIN runs r ON r.n = c.run")
	if err != nil {
		return nil, fmt.Errorf("read claims: %w", err)
	}
	all := map[string]Claim{}
	_, err = collect(rows, func(rows *sql.Rows) (struct{}, error) {
		var machine string
		var c Claim
		err := rows.Scan(&machine, &c.Run, &c.Operator)
		all[machine] = c
		return struct{}{}, err
	})
	if err != nil {
		return nil, fmt.Errorf("read claims: %w", err)
	}
	owners := map[string]*Owner{}
	for machine, c := range all {
		owner, known := owners[c.Run]
		if !known {
			if owner, err = j.owner(c.Run); err != nil {
				return nil, err
			}
			owners[c.Run] = owner
		}
		c.Owner = owner
		all[machine] = c
	}
	return all, nil
}

// owner is the process that works on a run, nil where there is none.
func (j *Journal) owner(run string) (*Owner, error) {
	owner, held, err := j.Owner(run)
	if err != nil || !held {
		return nil, err
	}
	return &owner, nil
}

// claims reports whether a machine in this state belongs to its run alone.
func claims(s State) bool { return s == Leased || s == Running || s == Rebooting }

// freeAll frees what a run in which no machine is in flight any more has left: names under which a process before this one
// claimed a machine, which this one may not know it by.
const (
	freeOne     = "DELETE FROM claims WHERE machine = ? AND run = ?"
	freeAll     = "DELETE FROM claims WHERE run = ?1 AND NOT EXISTS (SELECT 1 FROM machines WHERE run = ?1 AND state IN ('leased', 'running', 'rebooting'))"
	freeMany    = "DELETE FROM claims WHERE run = ? AND machine IN (SELECT value FROM json_each(?))"
	claimMany   = "INSERT INTO claims (machine, run) SELECT value, ? FROM json_each(?) WHERE true ON CONFLICT DO NOTHING"
	claimedMany = "SELECT c.machine, r.id, r.operator FROM claims c JOIN runs r ON r.n = c.run WHERE c.run != ? AND c.machine IN (SELECT value FROM json_each(?))"
)

// claim takes the machines that ops lease, all in one statement, and returns what each leases and those that other runs have.
func (s *Session) claim(ops []op) (leases [][]string, taken map[string]Claim, err error) {
	leases = make([][]string, len(ops))
	var ids []string
	for i, o := range ops {
		if o.lease != nil {
			leases[i] = o.lease()
			ids = append(ids, leases[i]...)
		}
	}
	taken, err = s.claimAll(ids)
	return leases, taken, err
}

// Joined tells the journal which machines the inventory has joined: the ID that each had -> its present one. Runs whose session is opened
// afterwards claim such a machine under all of its IDs, so that no two work on it because their plans call it differently.
func (j *Journal) Joined(former map[string]string) {
	all := map[string][]string{} // present ID -> all
	for _, old := range slices.Sorted(maps.Keys(former)) {
		present := former[old]
		if all[present] == nil {
			all[present] = []string{present}
		}
		all[present] = append(all[present], old)
	}
	kin := map[string][]string{}
	for _, ids := range all {
		for _, id := range ids {
			kin[id] = ids
		}
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.kin = kin
}

// under are the IDs under which machines are to be claimed. One that is another machine of this run, which has its claim, is
// taken.
func (s *Session) under(ids []string, taken map[string]Claim) (list []string) {
	for _, id := range ids {
		same := s.kin[id]
		if same == nil {
			list = append(list, id)
			continue
		}
		for _, each := range same {
			if holder, held := s.mine[each]; held && holder != id {
				taken[id] = Claim{Run: s.id, Operator: s.plan.Operator, Owner: self(s.id), Same: s.rows[s.index[holder]].name}
				break
			}
		}
		if _, is := taken[id]; is {
			continue
		}
		for _, each := range same {
			s.mine[each] = id
		}
		list = append(list, same...)
	}
	return list
}

// called are the IDs under which this run has claimed a machine.
func (s *Session) called(id string) (list []string) {
	same := s.kin[id]
	if same == nil {
		return []string{id}
	}
	for _, each := range same {
		if s.mine[each] == id {
			list = append(list, each)
		}
	}
	return list
}

// claimAll claims machines, and returns those that are taken, by the ID they were asked for with.
func (s *Session) claimAll(ids []string) (map[string]Claim, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	taken := map[string]Claim{}
	all := s.under(ids, taken)
	if len(all) == 0 {
		return taken, nil
	}
	list, err := encode(all)
	if err != nil {
		return nil, err
	}
	stmt, err := s.statement(claimMany)
	if err != nil {
		return nil, err
	}
	done, err := stmt.ExecContext(context.Background(), s.n, list)
	if err != nil {
		return nil, err
	}
	if n, err := done.RowsAffected(); err != nil || n == int64(len(all)) {
		return taken, err
	}
	rows, err := s.conn.QueryContext(context.Background(), claimedMany, s.n, list)
	if err != nil {
		return nil, err
	}
	_, err = collect(rows, func(rows *sql.Rows) (struct{}, error) {
		var machine string
		var c Claim
		err := rows.Scan(&machine, &c.Run, &c.Operator)
		if s.kin[machine] != nil {
			machine = s.mine[machine]
		}
		taken[machine] = c
		return struct{}{}, err
	})
	if err != nil {
		return nil, err
	}
	for machine, c := range taken {
		if c.Same != "" {
			continue
		}
		if c.Owner, err = s.journal.owner(c.Run); err != nil {
			return nil, err
		}
		taken[machine] = c
	}
	return taken, nil
}

// reclaim makes sure that what was in flight belongs to the run. It does, except in a journal of a version without claims,
// where two runs may have died with the same machine: then the newer one has it.
func (s *Session) reclaim(ctx context.Context) error {
	rows, err := s.conn.QueryContext(ctx, `SELECT id, EXISTS (SELECT 1 FROM claims c WHERE c.machine = m.id AND c.run = m.run)
		FROM machines m WHERE run = ? AND state IN ('leased', 'running', 'rebooting')`, s.n)
	if err != nil {
		return fmt.Errorf("read claims of run %s: %w", s.id, err)
	}
	var ids []string
	_, err = collect(rows, func(rows *sql.Rows) (id string, err error) {
		var claimed bool
		err = rows.Scan(&id, &claimed)
		if !claimed || s.kin[id] != nil { // it may have been joined with another since
			ids = append(ids, id)
		}
		return id, err
	})
	if err != nil {
		return fmt.Errorf("read claims of run %s: %w", s.id, err)
	}
	taken, err := s.claimAll(ids)
	if err != nil {
		return fmt.Errorf("claim machines of run %s: %w", s.id, explain(err))
	}
	return s.barred(ids, taken)
}

// barred refuses machines that other runs have.
func (s *Session) barred(ids []string, taken map[string]Claim) error {
	for _, id := range ids {
		if c, claimed := taken[id]; claimed {
			return &ClaimedError{Machine: s.rows[s.index[id]].name, Claim: c}
		}
	}
	return nil
}

// free gives up the claims that are over.
func (b *batch) free() error {
	var over []string
	for _, id := range b.leaves {
		if pos, known := b.s.index[id]; !known || !claims(b.s.rows[pos].state) {
			names := b.s.called(id)
			over = append(over, names...)
			for _, name := range names {
				delete(b.s.mine, name)
			}
		}
	}
	if len(over) == 0 {
		return nil
	}
	list, err := encode(over)
	if err != nil {
		return err
	}
	return b.s.exec(freeMany, b.s.n, list)
}
