package bitlocker

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"

	"github.com/fleetmend/fleetmend/bitlocker/audit"
	"github.com/fleetmend/fleetmend/internal/hint"
)

// ErrNotHeld is returned for a key whose reference is known and whose password is not in the vault.
var ErrNotHeld = errors.New("its password is not in the vault")

// AmbiguousError says that the vault holds different passwords for one key ID. It is never guessed which is right.
type AmbiguousError struct {
	ID   KeyID
	Refs []KeyRef
}

func (e *AmbiguousError) Error() string {
	places := make([]string, len(e.Refs))
	for i, r := range e.Refs {
		places[i] = fmt.Sprintf("(%d) %s in %s", i+1, r.Machine.Label(), r.Source)
	}
	return fmt.Sprintf("key %s has different passwords: %s", e.ID, strings.Join(places, ", "))
}

// Reveal gives the password that the vault holds for a key ID. Before that it writes the audit; without a reason, or
// where the audit cannot be written, it gives nothing. Several sources may hold the same key: where their passwords
// differ, it returns [*AmbiguousError], and [Vault.RevealAll] takes the reference that the operator chose.
func (v *Vault) Reveal(ctx context.Context, id KeyID, reason string) (RecoveryKey, error) {
	refs, err := v.held(ctx, id)
	if err != nil {
		return RecoveryKey{}, fmt.Errorf("reveal key %s: %w", id, err)
	}
	return v.RevealAgreed(ctx, reason, refs...)
}

// RevealAgreed is [Vault.RevealAll] for references of one key ID: it gives the first where all hold one password, and an
// [*AmbiguousError] and none where they do not, which the audit says as well.
func (v *Vault) RevealAgreed(ctx context.Context, reason string, refs ...KeyRef) (RecoveryKey, error) {
	keys, err := v.RevealAll(ctx, audit.Reveal, reason, refs...)
	if err != nil {
		return RecoveryKey{}, err
	}
	for _, k := range keys[1:] {
		if k.Password.Equal(keys[0].Password) {
			continue
		}
		entries := make([]audit.Entry, len(refs))
		for i, ref := range refs {
			entries[i] = entry(audit.Refused, ref, reason)
			entries[i].Detail = "not shown: there are different passwords for this key ID"
		}
		ambiguous := hint.Wrap(fmt.Errorf("reveal: %w", &AmbiguousError{ID: k.ID, Refs: refs}), "one of them is wrong: show each with --which 1, --which 2, and try both")
		return RecoveryKey{}, errors.Join(ambiguous, v.record(ctx, entries...))
	}
	return keys[0], nil
}

// held lists the references of a key ID whose passwords are in the vault.
func (v *Vault) held(ctx context.Context, id KeyID) ([]KeyRef, error) {
	found, err := v.Find(ctx, Query{KeyID: id.Prefix()})
	if err != nil {
		return nil, err
	}
	var refs []KeyRef
	for _, m := range found.Matches {
		if m.State == StateSealed && m.ID == id {
			refs = append(refs, m.KeyRef)
		}
	}
	if len(refs) == 0 {
		m := found.Matches[0]
		err := ErrNotHeld
		switch m.State {
		case StateDenied:
			err = errors.Join(ErrReadDenied, err)
		case StateMissing:
			err = errors.Join(ErrNotStored, err)
		case StateInvalid:
			err = fmt.Errorf("%w, because what %s gave cannot be right: %s", err, m.Source, m.Note)
		case StateUnknown, StateSealed:
		}
		return nil, hint.Wrapf(err, "read it from %s (`fleetmend keys show` does, when the source can be reached)", m.Source)
	}
	return refs, nil
}

// RevealAll gives the passwords that the vault holds for these references, in order, all or none, for an action such as
// [audit.Sheet] or [audit.Media]. Each is in the audit before any is given.
func (v *Vault) RevealAll(ctx context.Context, action audit.Action, reason string, refs ...KeyRef) ([]RecoveryKey, error) {
	key := v.dataKey()
	switch {
	case len(refs) == 0:
		return nil, fmt.Errorf("%s keys: none was named", action)
	case strings.TrimSpace(reason) == "":
		return nil, noReason()
	case key == nil:
		return nil, fmt.Errorf("%s key %s: %w", action, refs[0].ID, locked())
	}
	defer clear(key)
	out := make([]RecoveryKey, len(refs))
	entries := make([]audit.Entry, len(refs))
	for i, ref := range refs {
		p, err := v.password(ctx, key, ref)
		if err != nil {
			return nil, fmt.Errorf("%s key %s of %s: %w", action, ref.ID, ref.Machine.Label(), err)
		}
		out[i] = RecoveryKey{KeyRef: ref, Password: p}
		entries[i] = entry(action, ref, reason)
	}
	if err := v.record(ctx, entries...); err != nil {
		return nil, fmt.Errorf("%s keys: %w", action, err)
	}
	return out, nil
}

func noReason() error {
	return hint.Wrap(errors.New("a reason is needed to reveal a key"), "give it with --reason, such as the number of the ticket")
}

func entry(action audit.Action, ref KeyRef, reason string) audit.Entry {
	return audit.Entry{Action: action, Machine: ref.Machine.Label(), KeyID: string(ref.ID), Source: ref.Source, Reason: reason}
}

func (v *Vault) password(ctx context.Context, key []byte, ref KeyRef) (Password, error) {
	var sealed []byte
	err := v.db.QueryRowContext(ctx, `SELECT p.sealed FROM passwords p JOIN refs r ON r.id = p.ref WHERE r.source = ? AND r.source_key = ? AND r.key_id = ?`,
		ref.Source, ref.SourceKey, ref.ID).Scan(&sealed)
	if errors.Is(err, sql.ErrNoRows) {
		return Password{}, ErrNotHeld
	}
	if err != nil {
		return Password{}, err
	}
	return unseal(key, ref, sealed)
}

// RevealFrom gives a password read from its source now. The audit is written before the source is asked; where nothing
// comes of it, a second entry says why. An unlocked vault keeps the password. Whether the vault is unlocked does not
// matter otherwise.
func (v *Vault) RevealFrom(ctx context.Context, src Source, ref KeyRef, reason string) (RecoveryKey, error) {
	return v.ReadFrom(ctx, audit.Reveal, src, ref, reason)
}

// ReadFrom is [Vault.RevealFrom] for another action, such as [audit.Sheet].
func (v *Vault) ReadFrom(ctx context.Context, action audit.Action, src Source, ref KeyRef, reason string) (RecoveryKey, error) {
	if strings.TrimSpace(reason) == "" {
		return RecoveryKey{}, noReason()
	}
	if err := v.record(ctx, entry(action, ref, reason)); err != nil {
		return RecoveryKey{}, fmt.Errorf("reveal key %s: %w", ref.ID, err)
	}
	p, err := v.fetch(ctx, src, ref)
	if err != nil {
		refused := entry(audit.Refused, ref, reason)
		refused.Detail = err.Error()
		return RecoveryKey{}, errors.Join(fmt.Errorf("reveal key %s of %s: %w", ref.ID, ref.Machine.Label(), err), v.record(ctx, refused))
	}
	return RecoveryKey{KeyRef: ref, Password: p}, nil
}

// fetch reads one password from its source, notes what came of it, and seals it where the vault is unlocked.
func (v *Vault) fetch(ctx context.Context, src Source, ref KeyRef) (Password, error) {
	p, err := src.Password(ctx, ref)
	if err == nil && p.IsZero() {
		err = ErrNotStored
	}
	if err != nil {
		return Password{}, errors.Join(err, v.note(ctx, ref, err))
	}
	if v.dataKey() != nil {
		return p, v.Put(ctx, RecoveryKey{KeyRef: ref, Password: p})
	}
	return p, nil
}

// note keeps the source's refusal with the reference, for the coverage report. Other errors say nothing about the key.
func (v *Vault) note(ctx context.Context, ref KeyRef, cause error) error {
	return v.write(ctx, func(tx *sql.Tx) error { return v.noteIn(ctx, tx, ref, cause) })
}

func (v *Vault) noteIn(ctx context.Context, tx *sql.Tx, ref KeyRef, cause error) error {
	var state State
	var bad *PasswordError
	text := ""
	switch {
	case errors.Is(cause, ErrReadDenied):
		state = StateDenied
	case errors.Is(cause, ErrNotStored):
		state = StateMissing
	case errors.As(cause, &bad):
		state, text = StateInvalid, bad.Error()
	default:
		return nil
	}
	// What is sealed already stays, whatever the source says now.
	_, err := tx.ExecContext(ctx, "UPDATE refs SET state = ?, state_note = ?, state_at = ? WHERE source = ? AND source_key = ? AND state != ?",
		state, text, nanos(v.now()), ref.Source, ref.SourceKey, StateSealed)
	return err
}

// Put seals passwords into the vault, all or none, and their references with them. The vault must be unlocked.
func (v *Vault) Put(ctx context.Context, keys ...RecoveryKey) error {
	return v.put(ctx, keys, nil)
}

// put seals passwords and notes refusals, all or none.
func (v *Vault) put(ctx context.Context, keys []RecoveryKey, refused []FetchFailure) error {
	data := v.dataKey()
	if data == nil {
		return fmt.Errorf("store keys: %w", locked())
	}
	defer clear(data)
	err := v.write(ctx, func(tx *sql.Tx) error {
		put, err := newPutter(ctx, tx)
		if err != nil {
			return err
		}
		defer put.close()
		refs := make([]KeyRef, len(keys))
		for i, k := range keys {
			refs[i] = k.KeyRef
		}
		if err := put.look(refs); err != nil {
			return err
		}
		for _, k := range keys {
			at, err := put.ref(k.KeyRef, v.now(), StateSealed)
			if err != nil {
				return err
			}
			if err := v.putPassword(put, data, at, k); err != nil {
				return err
			}
		}
		if err := put.touch(v.now()); err != nil {
			return err
		}
		for _, f := range refused {
			if err := v.noteIn(ctx, tx, f.Ref, f.Err); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("store keys: %w", err)
	}
	return nil
}

// putPassword seals a password under its reference, which was written just before, a new one as sealed.
func (v *Vault) putPassword(put *putter, data []byte, at placed, k RecoveryKey) error {
	if k.Password.IsZero() || k.ID == "" || k.Source == "" || k.SourceKey == "" {
		return fmt.Errorf("key %q of %s is not complete", k.ID, k.Machine.Label())
	}
	if !at.isNew {
		if done, err := v.keep(put, data, at.id, k); done || err != nil {
			return err
		}
	}
	sealed, err := seal(data, k.KeyRef, k.Password)
	if err != nil {
		return err
	}
	now := nanos(v.now())
	if _, err := put.exec(put.password, at.id, sealed, now); err != nil || at.isNew {
		return err
	}
	_, err = put.exec(put.sealed, string(StateSealed), now, at.id)
	return err
}
