package media

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fleetmend/fleetmend/bitlocker"
	"github.com/fleetmend/fleetmend/internal/desk"
	"github.com/fleetmend/fleetmend/internal/question"
	"github.com/fleetmend/fleetmend/internal/secret"
	"github.com/fleetmend/fleetmend/internal/textfile"
	"github.com/fleetmend/fleetmend/inventory"
)

// answers is somebody who answers by the ID of the question, and notes what he was asked.
type answers struct {
	by    question.Answers
	asked []string
}

func (a *answers) Ask(ctx context.Context, q question.Question) (question.Answer, error) {
	a.asked = append(a.asked, q.ID)
	if answer, ok := a.by[q.ID]; ok {
		return answer, nil
	}
	return question.Nobody{}.Ask(ctx, q)
}

const passphrase = "correct horse battery"

// keyed is a desk whose vault holds keys of two machines of one name, of one that was renamed, and of one that the inventory does
// not know. It gives the IDs of the first three.
func keyed(t *testing.T, who question.Asker) (d *desk.Desk, said *[]string, ids []string) {
	t.Helper()
	d, said = work(t, desk.Options{Ask: who})
	ctx := t.Context()
	store, err := d.Inventory(ctx)
	if err != nil {
		t.Fatal(err)
	}
	guid := func(n int) string { return fmt.Sprintf("%08d-0000-0000-0000-000000000000", n) }
	var records []inventory.Record
	for i, name := range []string{"TWIN", "TWIN", "NEWNAME"} {
		records = append(records, inventory.Record{Source: "ad", SourceKey: guid(i + 1), SeenAt: time.Now(), Fields: map[string]string{
			"name": name, "fqdn": fmt.Sprintf("%s.d%d.test", strings.ToLower(name), i), "claims.object_guid": guid(i + 1)}})
	}
	if _, err := store.Import(ctx, "ad", records); err != nil {
		t.Fatal(err)
	}
	for i := range records {
		m, err := store.Lookup(ctx, guid(i+1))
		if err != nil || len(m) != 1 {
			t.Fatalf("%+v, %v", m, err)
		}
		ids = append(ids, m[0].ID)
	}
	vault, err := d.Vault(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := vault.ProtectWithPassphrase(ctx, secret.New(passphrase)); err != nil {
		t.Fatal(err)
	}
	password, err := bitlocker.ParsePassword("111111-222222-333333-444444-555555-666666-000011-000022")
	if err != nil {
		t.Fatal(err)
	}
	var keys []bitlocker.RecoveryKey
	for i, m := range []bitlocker.Machine{
		{Name: "TWIN", GUID: guid(1), FQDN: "twin.d0.test"}, {Name: "TWIN", GUID: guid(2), FQDN: "twin.d1.test"}, {Name: "OLDNAME", GUID: guid(3)}, {Name: "STRANGER"},
	} {
		id := bitlocker.KeyID(fmt.Sprintf("0000000%d-AAAA-BBBB-CCCC-000000000000", i+1))
		keys = append(keys, bitlocker.RecoveryKey{KeyRef: bitlocker.KeyRef{ID: id, Source: "ad", SourceKey: string(id), Machine: m}, Password: password})
	}
	if err := vault.Put(ctx, keys...); err != nil {
		t.Fatal(err)
	}
	vault.Lock()
	return d, said, ids
}

func request() KeysRequest {
	return KeysRequest{From: FromVault, Expire: time.Hour, Reason: "INC-1"}
}

// TestKeysComeByMachineID: of two machines of one name each gets its own key, and a renamed one the key that was filed under its
// old name.
func TestKeysComeByMachineID(t *testing.T) {
	who := &answers{by: question.Answers{
		"vault.passphrase": {Secret: secret.New(passphrase)}, "media.passphrase": {Secret: secret.New("horse battery staple")}}}
	d, said, ids := keyed(t, who)
	vault, err := d.Vault(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	store, err := d.Inventory(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for w, want := range map[wanted]string{ // first digits of the key IDs
		{ids[0], "TWIN"}: "1", {ids[1], "TWIN"}: "2", {ids[2], "NEWNAME"}: "3",
		{"", "twin"}:     "12", // by name: all that are called so
		{"", "STRANGER"}: "4", {"no-such-id", "STRANGER"}: "4", {"", "OLDNAME"}: "3", {"", "NOBODY"}: "",
	} {
		known, err := identified(t.Context(), store, w)
		if err != nil {
			t.Fatal(err)
		}
		held, err := heldBy(t.Context(), vault, w.name, known)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, ref := range held {
			got = append(got, string(ref.ID[7:8]))
		}
		if slices.Sort(got); strings.Join(got, "") != want {
			t.Errorf("%v: keys %v, want %q", w, got, want)
		}
	}
	b, phrase, err := request().bundle(t.Context(), d, []wanted{{ids[1], "TWIN"}, {"", "NOBODY"}, {ids[0], "TWIN"}}, time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	if len(b.Keys) != 2 || b.Keys[0].ID[7] != '2' || b.Keys[1].ID[7] != '1' || b.Keys[0].Machine != "TWIN" || phrase.Reveal() != "horse battery staple" || !b.Expires.Equal(b.Made.Add(time.Hour)) {
		t.Errorf("%+v", b)
	}
	if len(*said) != 1 || !strings.Contains((*said)[0], "no key in the vault: NOBODY") {
		t.Errorf("said: %v", *said)
	}
	var nothing *NothingError
	if _, _, err := request().bundle(t.Context(), d, []wanted{{"", "NOBODY"}}, time.Time{}); !errors.As(err, &nothing) {
		t.Errorf("none at all: %v", err)
	}
	log, err := d.Audit(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if report, err := log.Verify(t.Context()); err != nil {
		t.Errorf("audit: %+v, %v", report, err)
	}
}

// TestNothingIsAskedTooLate: what is missing is asked for in an order in which nothing has happened yet, and nobody to ask is said.
func TestNothingIsAskedTooLate(t *testing.T) {
	who := &answers{}
	d, _, ids := keyed(t, who)
	var needed *question.NeededError
	_, _, err := request().bundle(t.Context(), d, []wanted{{ids[0], "TWIN"}}, time.Time{})
	if !errors.As(err, &needed) || needed.Question.ID != "media.passphrase" || !slices.Equal(who.asked, []string{"media.passphrase"}) {
		t.Errorf("%v, asked %v", err, who.asked)
	}
	name := filepath.Join(t.TempDir(), "phrase")
	if err := textfile.Write(name, textfile.Private, func(w io.Writer) error {
		_, err := w.Write([]byte("horse battery staple\n"))
		return err
	}); err != nil {
		t.Fatal(err)
	}
	r := request()
	r.PassphraseFile, r.Reason = name, ""
	if _, _, err := r.bundle(t.Context(), d, []wanted{{ids[0], "TWIN"}}, time.Time{}); !errors.As(err, &needed) || needed.Question.ID != "keys.reason" {
		t.Errorf("no reason: %v", err)
	}
	r.Reason = "INC-1"
	if _, _, err := r.bundle(t.Context(), d, []wanted{{ids[0], "TWIN"}}, time.Time{}); !errors.Is(err, bitlocker.ErrLocked) {
		t.Errorf("a locked vault: %v", err)
	}
	r.Expire = 0
	if _, _, err := r.bundle(t.Context(), d, nil, time.Time{}); err == nil || !strings.Contains(err.Error(), "no time from now") {
		t.Errorf("no expiry: %v", err)
	}
}
