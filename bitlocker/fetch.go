package bitlocker

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/fleetmend/fleetmend/bitlocker/audit"
)

// FetchReport says what became of passwords that were asked for.
type FetchReport struct {
	Sealed, Denied, Missing, Invalid int
	Failed                           []FetchFailure // each that was not sealed, with its reason
}

// FetchFailure is one password that was not got.
type FetchFailure struct {
	Ref KeyRef
	Err error
}

// Fetch reads passwords from their source into the vault, for machines in question or as a snapshot in peacetime, and
// goes on past those that are refused. Each is in the audit before it is asked for. It stops with an error where ctx ends
// or the vault cannot be written; what was read until then is in the vault.
//
// A disk is slow where one waits for it, so the audit and the vault are written for a group of passwords at once. A group
// takes a source about half a second: one password where each is a request to a slow service, hundreds of a table. If the
// program is killed in between, the audit names at most one group that was not read.
func (v *Vault) Fetch(ctx context.Context, src Source, reason string, refs ...KeyRef) (FetchReport, error) {
	var report FetchReport
	if strings.TrimSpace(reason) == "" {
		return report, noReason()
	}
	if v.dataKey() == nil {
		return report, fmt.Errorf("fetch keys of %s: %w", src.Name(), locked())
	}
	for size := firstGroup; len(refs) > 0; {
		group := refs[:min(size, len(refs))]
		refs = refs[len(group):]
		began := time.Now()
		if err := v.fetchGroup(ctx, src, reason, group, &report); err != nil {
			return report, fmt.Errorf("fetch keys of %s: %w", src.Name(), err)
		}
		if took := time.Since(began); took < groupTime {
			size = min(2*size, largestGroup)
		} else {
			size = max(size/2, 1)
		}
	}
	return report, nil
}

// fetchPage is how many references are held in memory while all passwords of a source are read.
const fetchPage = 1024

// FetchMissing is [Vault.Fetch] for every key of a source whose password is not in the vault.
func (v *Vault) FetchMissing(ctx context.Context, src Source, reason string) (FetchReport, error) {
	var report FetchReport
	for after := int64(0); ; {
		refs, last, err := v.unsealed(ctx, src.Name(), after)
		if err != nil || len(refs) == 0 {
			return report, err
		}
		page, err := v.Fetch(ctx, src, reason, refs...)
		report.Sealed, report.Denied, report.Missing, report.Invalid = report.Sealed+page.Sealed, report.Denied+page.Denied, report.Missing+page.Missing, report.Invalid+page.Invalid
		report.Failed = append(report.Failed, page.Failed...)
		if err != nil {
			return report, err
		}
		after = last
	}
}

// unsealed reads a page of references behind the row after.
func (v *Vault) unsealed(ctx context.Context, source string, after int64) (refs []KeyRef, last int64, err error) {
	rows, err := v.db.QueryContext(ctx, "SELECT id, "+refColumns+" FROM refs WHERE source = ? AND state != ? AND id > ? ORDER BY id LIMIT ?", source, StateSealed, after, fetchPage)
	if err != nil {
		return nil, 0, fmt.Errorf("read keys of %s: %w", source, err)
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var ref KeyRef
		if err := scanRef(rows, &ref, &last); err != nil {
			return nil, 0, fmt.Errorf("read keys of %s: %w", source, err)
		}
		refs = append(refs, ref)
	}
	return refs, last, rows.Err()
}

const (
	firstGroup   = 4
	largestGroup = 512
	groupTime    = 500 * time.Millisecond
)

func (v *Vault) fetchGroup(ctx context.Context, src Source, reason string, group []KeyRef, report *FetchReport) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	entries := make([]audit.Entry, len(group))
	for i, ref := range group {
		entries[i] = entry(audit.Fetch, ref, reason)
	}
	if err := v.record(ctx, entries...); err != nil {
		return err
	}
	var got []RecoveryKey
	var refused []FetchFailure
	var stopped error
	for i, ref := range group {
		if stopped = ctx.Err(); stopped != nil {
			stopped = errors.Join(stopped, v.notAsked(ctx, group[i:], reason))
			break
		}
		p, err := src.Password(ctx, ref)
		if err == nil && p.IsZero() {
			err = ErrNotStored
		}
		if err != nil {
			refused = append(refused, FetchFailure{ref, err})
			continue
		}
		got = append(got, RecoveryKey{KeyRef: ref, Password: p})
	}
	// What the source gave, and has noted, is not thrown away because somebody pressed Ctrl-C.
	if err := v.put(context.WithoutCancel(ctx), got, refused); err != nil {
		return errors.Join(stopped, err)
	}
	report.Sealed += len(got)
	for _, f := range refused {
		report.failed(f)
	}
	return stopped
}

// notAsked takes back in the audit what a group was to read and did not.
func (v *Vault) notAsked(ctx context.Context, refs []KeyRef, reason string) error {
	entries := make([]audit.Entry, len(refs))
	for i, ref := range refs {
		entries[i] = entry(audit.Refused, ref, reason)
		entries[i].Detail = "not asked for: the reading was stopped before"
	}
	return v.record(context.WithoutCancel(ctx), entries...)
}

func (r *FetchReport) failed(f FetchFailure) {
	var bad *PasswordError
	switch {
	case errors.Is(f.Err, ErrReadDenied):
		r.Denied++
	case errors.Is(f.Err, ErrNotStored):
		r.Missing++
	case errors.As(f.Err, &bad):
		r.Invalid++
	}
	r.Failed = append(r.Failed, f)
}
