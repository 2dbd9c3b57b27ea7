package settings

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"

	"github.com/fleetmend/fleetmend/internal/hint"
)

// decodeStrictly decodes YAML into target and refuses keys it does not know, with their line and the nearest known key.
func decodeStrictly(file string, data []byte, target any) error {
	var document yaml.Node
	if err := yaml.Unmarshal(data, &document); err != nil {
		return fmt.Errorf("%s: %s", file, strings.TrimPrefix(err.Error(), "yaml: "))
	}
	if len(document.Content) == 0 {
		return nil
	}
	if err := checkKeys(file, document.Content[0], reflect.TypeOf(target).Elem(), ""); err != nil {
		return err
	}
	if err := document.Content[0].Decode(target); err != nil {
		return fmt.Errorf("%s: %s", file, strings.TrimPrefix(err.Error(), "yaml: "))
	}
	return nil
}

func checkKeys(file string, node *yaml.Node, kind reflect.Type, within string) error {
	if kind.Kind() != reflect.Struct || node.Kind != yaml.MappingNode {
		if kind.Kind() == reflect.Struct {
			return fmt.Errorf("%s:%d:%d: %s must hold keys and values", file, node.Line, node.Column, strings.TrimSuffix(within, "."))
		}
		return nil
	}
	fields := map[string]reflect.Type{}
	for i := range kind.NumField() {
		if tag := kind.Field(i).Tag.Get("yaml"); tag != "" && tag != "-" {
			fields[tag] = kind.Field(i).Type
		}
	}
	names := make([]string, 0, len(fields))
	for name := range fields {
		names = append(names, name)
	}
	slices.Sort(names)
	var errs []error
	for i := 0; i+1 < len(node.Content); i += 2 {
		key := node.Content[i]
		field, known := fields[key.Value]
		if !known {
			err := fmt.Errorf("%s:%d:%d: unknown key %q", file, key.Line, key.Column, within+key.Value)
			if near := hint.Nearest(key.Value, names); near != "" {
				err = hint.Wrapf(err, "did you mean %s%s?", within, near)
			} else {
				err = hint.Wrapf(err, "the keys here are %s", strings.Join(names, ", "))
			}
			errs = append(errs, err)
			continue
		}
		errs = append(errs, checkKeys(file, node.Content[i+1], field, within+key.Value+"."))
	}
	return errors.Join(errs...)
}
