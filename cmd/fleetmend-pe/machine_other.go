//go:build !windows

package main

// Drives: only Windows has drives with letters; elsewhere the program is tried out with --root.
func (machine) Drives() []string { return nil }

// Firmware is not read elsewhere.
func (machine) Firmware() []byte { return nil }
