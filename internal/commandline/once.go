package commandline

import (
	"encoding/csv"
	"errors"
	"fmt"
	"strings"
)

// Value is where a flag of a command line is read into, as package pflag has it.
type Value interface {
	String() string
	Set(text string) error
	Type() string
}

// Once is the value of a flag that takes one: a second, other one and an empty one are errors.
type Once struct {
	Value
	said *string
}

var errEmpty = errors.New("it is empty; leave the flag out where nothing is meant")

// Words are the flag of a name as it was given: --name VALUE, or --name alone where it is true or false. Nothing where it was not given.
func (o *Once) Words(name string) []string {
	switch {
	case o.said == nil || o.Type() == "bool" && o.String() != "true":
		return nil
	case o.Type() == "bool":
		return []string{"--" + name}
	}
	return []string{"--" + name, *o.said}
}

// Set implements [Value].
func (o *Once) Set(text string) error {
	if o.said != nil && *o.said != text {
		return fmt.Errorf("it takes one value, and was given %q before", *o.said)
	}
	o.said = &text
	if err := o.Value.Set(text); err != nil || strings.TrimSpace(text) != "" {
		return err
	}
	return errEmpty
}

// Pairs is the value of a flag that takes name=value, each name once.
type Pairs struct {
	Value
	said map[string]string
}

// Set implements [Value].
func (p *Pairs) Set(text string) error {
	if p.said == nil {
		p.said = map[string]string{}
	}
	given := []string{text}
	if strings.Count(text, "=") > 1 { // several pairs are a line of CSV, as pflag reads them
		given, _ = csv.NewReader(strings.NewReader(text)).Read()
	}
	for _, pair := range given {
		name, value, _ := strings.Cut(pair, "=")
		if before, is := p.said[name]; is && before != value {
			return fmt.Errorf("%s takes one value, and was given %q before", name, before)
		}
		p.said[name] = value
	}
	return p.Value.Set(text)
}
