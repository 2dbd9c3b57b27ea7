//go:build !linux && !darwin && !windows

package statefolder

// kindOf cannot tell.
func kindOf(string) (string, error) { return "", nil }
