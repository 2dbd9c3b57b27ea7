package cli

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/internal/question"
	"github.com/fleetmend/fleetmend/internal/secret"
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

// keyFile is a CSV file with a heading: key_id (or KeyID), recovery_password (or RecoveryKey), and machine.
type keyFile string

// Keys reads the keys of the machines. A row that is malformed is an error that names its line, never its digits.
func (name keyFile) Keys(_ context.Context, machines []string) ([]keybundle.Key, error) {
	f, err := os.Open(string(name))
	if err != nil {
		return nil, fmt.Errorf("read keys: %w", err)
	}
	defer f.Close()
	r := csv.NewReader(f)
	r.FieldsPerRecord = -1
	head, err := r.Read()
	if err != nil {
		return nil, fmt.Errorf("read keys of %s: the file is empty or no CSV", string(name))
	}
	at := keyColumns(head)
	if at["id"] < 0 || at["password"] < 0 || at["machine"] < 0 && len(machines) > 0 {
		return nil, hint.Wrap(fmt.Errorf("read keys of %s: its heading names no key_id, recovery_password or machine", string(name)),
			"the first line must be: machine,key_id,recovery_password")
	}
	var keys []keybundle.Key
	for {
		row, err := r.Read()
		if err == io.EOF {
			return keys, nil
		}
		line, _ := r.FieldPos(0)
		if err != nil {
			return nil, fmt.Errorf("read keys of %s, line %d: not a row of CSV", string(name), line)
		}
		cell := func(column string) string {
			if i := at[column]; i >= 0 && i < len(row) {
				return row[i]
			}
			return ""
		}
		k := keybundle.Key{Machine: cell("machine"), ID: cell("id"), Password: secret.New(cell("password"))}.Normal()
		if len(machines) > 0 && !containsFold(machines, k.Machine) {
			continue
		}
		if err := k.Check(); err != nil {
			return nil, hint.Wrap(fmt.Errorf("read keys of %s, line %d: %w", string(name), line, err), "correct or remove the line")
		}
		keys = append(keys, k)
	}
}

func keyColumns(head []string) map[string]int {
	at := map[string]int{"id": -1, "password": -1, "machine": -1}
	for i, h := range head {
		switch strings.ToLower(strings.Trim(strings.TrimPrefix(h, "\ufeff"), " _")) {
		case "key_id", "keyid", "id", "protector_id":
			at["id"] = i
		case "recovery_password", "recoverypassword", "recoverykey", "recovery_key", "password":
			at["password"] = i
		case "machine", "name", "computer", "computername", "hostname":
			at["machine"] = i
		}
	}
	return at
}
