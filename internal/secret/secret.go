// Package secret holds values that must never be seen by accident: passwords, recovery passwords, tokens.
//
// [New] wraps one, [String.Reveal] hands it out at the single place that needs it. Every other way of looking at it
// (fmt with any verb, JSON, YAML, text encoding, slog) gives dots. The package never writes a value anywhere.
package secret

import (
	"crypto/subtle"
	"fmt"
	"log/slog"
)

// Dots is what every formatter prints in place of a secret.
const Dots = "******"

// String is a secret text. The zero value is an empty secret. It is immutable and safe for concurrent use. Two of them
// are compared by [String.Equal]; == compares identities.
type String struct {
	// A pointer, because fmt cannot call Format on a String in an unexported field of somebody's struct and prints what
	// it finds there: so it finds an address.
	value *string
}

// New wraps value.
func New(value string) String {
	if value == "" {
		return String{}
	}
	return String{&value}
}

// Reveal returns the value itself. Call it where the value is used, and keep the result in no struct.
func (s String) Reveal() string {
	if s.value == nil {
		return ""
	}
	return *s.value
}

// IsZero reports whether there is no secret at all.
func (s String) IsZero() bool { return s.value == nil }

// Equal compares two secrets in a time that does not depend on where they differ.
func (s String) Equal(other String) bool {
	return subtle.ConstantTimeCompare([]byte(s.Reveal()), []byte(other.Reveal())) == 1
}

// Format prints dots for every verb and flag.
func (s String) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(Dots)) }

// String prints dots.
func (s String) String() string { return Dots }

// MarshalText encodes dots; it serves JSON, XML and YAML encoders alike.
func (s String) MarshalText() ([]byte, error) { return []byte(Dots), nil }

// MarshalJSON encodes dots as a JSON string.
func (s String) MarshalJSON() ([]byte, error) { return []byte(`"` + Dots + `"`), nil }

// MarshalYAML encodes dots.
func (s String) MarshalYAML() (any, error) { return Dots, nil }

// LogValue logs dots.
func (s String) LogValue() slog.Value { return slog.StringValue(Dots) }
