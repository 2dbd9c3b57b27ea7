//go:build !windows

package fve

import "os"

func devicePath(path string) string { return path }

func deviceSize(f *os.File) (int64, error) { return sizeBySeek(f) }
