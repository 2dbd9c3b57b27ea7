package bitlocker

import (
	"database/sql"
	"errors"
	"fmt"
	"strings"
)

// keep sees to it that a password which is held under a reference is not lost when its source gives another one, as a second
// file of the same name may for a machine of the same name. The older one moves to a reference of its own beside it, under the
// source key with a number behind it. It reports that there is nothing left to do where the new one is held already, here
// or beside.
func (v *Vault) keep(put *putter, data []byte, id int64, k RecoveryKey) (done bool, err error) {
	var sealed []byte
	if err := put.held.QueryRowContext(put.ctx, id).Scan(&sealed); errors.Is(err, sql.ErrNoRows) {
		return false, nil
	} else if err != nil {
		return false, err
	}
	older, err := unseal(data, k.KeyRef, sealed)
	if err != nil { // damaged: there is nothing to keep
		return false, nil //nolint:nilerr // the new one takes its place
	}
	if older.Equal(k.Password) {
		return true, nil
	}
	base, _, _ := strings.Cut(k.SourceKey, "#")
	beside, err := put.beside(data, k.Source, base)
	if err != nil {
		return false, err
	}
	for _, p := range beside {
		if p.Equal(k.Password) {
			return true, nil
		}
	}
	ref := k.KeyRef
	if put.before.Source == k.Source && put.before.SourceKey == k.SourceKey {
		ref = put.before
	}
	for n := 2; ; n++ {
		ref.SourceKey = fmt.Sprintf("%s#%d", base, n)
		if _, taken := beside[ref.SourceKey]; !taken {
			break
		}
	}
	if !ref.ID.Known() {
		ref.ID = KeyID(ref.SourceKey)
	}
	put.kept++
	moved, err := put.ref(ref, v.now(), StateSealed)
	if err != nil {
		return false, err
	}
	return false, v.putPassword(put, data, moved, RecoveryKey{KeyRef: ref, Password: older})
}

// beside gives the passwords of the references that share a source key but for the number behind it; the zero one where none
// is held.
func (p *putter) beside(data []byte, source, base string) (map[string]Password, error) {
	rows, err := p.family.QueryContext(p.ctx, source, base)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	out := map[string]Password{}
	for rows.Next() {
		ref := KeyRef{Source: source}
		var sealed []byte
		if err := rows.Scan(&ref.SourceKey, &ref.ID, &sealed); err != nil {
			return nil, err
		}
		if ref.SourceKey != base && !strings.HasPrefix(ref.SourceKey, base+"#") {
			continue
		}
		out[ref.SourceKey] = Password{}
		if password, err := unseal(data, ref, sealed); err == nil {
			out[ref.SourceKey] = password
		}
	}
	return out, rows.Err()
}
