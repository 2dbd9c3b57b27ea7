package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/fleetmend/fleetmend/bitlocker"
	"github.com/fleetmend/fleetmend/bitlocker/csv"
	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/internal/question"
	"github.com/fleetmend/fleetmend/internal/secret"
	"github.com/fleetmend/fleetmend/internal/textfile"
	"github.com/fleetmend/fleetmend/remediate/media"
	"github.com/fleetmend/fleetmend/remediate/media/keybundle"
)

// keySource gives the recovery keys of machines, by name; all it has where none is named.
type keySource interface {
	Keys(ctx context.Context, machines []string) ([]keybundle.Key, error)
}

// buildKeys seals the keys of the selected machines into the specification.
func (a *app) buildKeys(ctx context.Context, b buildFlags, s *media.Spec) (err error) {
	if b.keys == "" {
		return nil
	}
	if b.keysExpire <= 0 {
		return usage(errorf("--keys-expire %s is no time from now", b.keysExpire), "for example 72h")
	}
	var source keySource = keyFile(b.keys)
	if b.keys == keysOfVault {
		if len(b.machines) == 0 {
			return usage(errors.New("say whose keys are to leave the vault"), "give --run, or --machines with their names")
		}
		source = keyVault{a, b.vault, b.reason}
	}
	if s.Passphrase, err = a.passphrase(ctx, b.passphraseFile); err != nil {
		return err
	}
	if err := keybundle.CheckPassphrase(s.Passphrase); err != nil { // before a key is revealed
		return err
	}
	keys, err := source.Keys(ctx, b.machines)
	if err != nil {
		return err
	}
	if len(keys) == 0 {
		return coded(exitNothing, hint.Wrap(errorf("%s has no key of the selected machines", b.keys), "compare the column machine with --machines"))
	}
	made := time.Now().UTC().Truncate(time.Minute)
	if !s.Time.IsZero() {
		made = s.Time
	}
	s.Keys = &keybundle.Bundle{Made: made, Expires: made.Add(b.keysExpire), Keys: keys}
	return nil
}

func (a *app) passphrase(ctx context.Context, file string) (secret.String, error) {
	if file != "" {
		return a.secretFrom(file, "--passphrase-file names a file with the passphrase in its first line")
	}
	if !a.canAsk() {
		return secret.String{}, usage(errors.New("the keys need a passphrase, and there is nobody to ask"), "give --passphrase-file")
	}
	answer, err := a.Ask(ctx, question.Question{ID: "media.passphrase", Kind: question.NewSecret, Text: "Passphrase of the keys, to be typed at the machines"})
	return answer.Secret, err
}

// keyFile is a table or text with recovery keys, in any form that keys import takes.
type keyFile string

// Keys reads the keys of the machines. A row of theirs that cannot be used is an error that names its line, never its
// digits.
func (name keyFile) Keys(ctx context.Context, machines []string) ([]keybundle.Key, error) {
	data, err := textfile.Bytes(string(name), maxImport)
	if err != nil {
		return nil, fmt.Errorf("read keys: %w", err)
	}
	source, report, err := csv.Read(bytes.NewReader(data), csv.Options{Source: "csv:" + filepath.Base(string(name)), File: string(name)})
	if err != nil {
		return nil, fmt.Errorf("read keys of %s: %w", string(name), err)
	}
	if len(machines) > 0 && report.Columns["name"]+report.Columns["fqdn"] == "" && len(report.Columns) > 0 {
		return nil, hint.Wrap(fmt.Errorf("read keys of %s: no column names the machine, so that the keys of %s cannot be picked", string(name), someOf(machines)),
			"add a column machine to the table")
	}
	for _, bad := range report.BadRows {
		if len(machines) == 0 || bad.Machine == "" || containsFold(machines, bad.Machine) {
			return nil, hint.Wrap(fmt.Errorf("read keys of %s, %s", string(name), bad), "correct or remove the line")
		}
	}
	var keys []keybundle.Key
	for _, ref := range source.Refs() {
		machine := ref.Machine.Name
		if len(machines) > 0 && !containsFold(machines, machine) {
			continue
		}
		password, err := source.Password(ctx, ref)
		if err != nil {
			return nil, hint.Wrap(fmt.Errorf("read keys of %s: key %s of %s: %w", string(name), ref.ID, ref.Machine.Label(), err), "correct or remove the line")
		}
		k := keybundle.Key{Machine: machine, ID: bundleID(ref.ID), Password: secret.New(password.Reveal())}.Normal()
		if err := k.Check(); err != nil {
			return nil, fmt.Errorf("read keys of %s: %w", string(name), err)
		}
		keys = append(keys, k)
	}
	return keys, nil
}

// bundleID is the key ID that stands on a medium: empty where it is not known, so that the key is tried everywhere.
func bundleID(id bitlocker.KeyID) string {
	if !id.Known() {
		return ""
	}
	return string(id)
}
