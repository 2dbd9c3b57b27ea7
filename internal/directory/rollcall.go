package directory

import (
	"context"
	"fmt"
	"strings"
)

// Searcher is what a roll call needs; *[Conn] is one.
type Searcher interface {
	Search(ctx context.Context, q Query, emit func(*Entry) error) (Summary, error)
}

// Computers is the filter for all computer objects, whatever their state and age.
const Computers = "(objectCategory=computer)"

// ComputerGUIDs calls the roll of the computers below base (empty: of the domain) and gives the objectGUID of each by its
// distinguished name in lower case. The GUID is what stays of a computer when it is renamed or moved; what hangs below it
// knows it by its name alone. Computers whose GUID cannot be read are left out.
func ComputerGUIDs(ctx context.Context, s Searcher, base string) (map[string]string, error) {
	out := map[string]string{}
	_, err := s.Search(ctx, Query{Base: base, Filter: Computers, Attributes: []string{"objectGUID"}}, func(e *Entry) error {
		if id, err := GUID(e.Bytes("objectGUID")); err == nil {
			out[strings.ToLower(e.DN)] = id
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("call the roll of computers: %w", err)
	}
	return out, nil
}

// FilterGUID is the filter for the object with a GUID in the form that [GUID] gives.
func FilterGUID(id string) (string, error) {
	b, err := GUIDBytes(id)
	if err != nil {
		return "", err
	}
	return "(objectGUID=" + FilterBytes(b) + ")", nil
}
