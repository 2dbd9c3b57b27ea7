//go:build !unix

package secret

func noDumps() error { return nil } // Windows writes dumps for Go programs only where GOTRACEBACK=wer asks for them
