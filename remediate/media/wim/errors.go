package wim

import (
	"errors"
	"fmt"

	"github.com/fleetmend/fleetmend/internal/hint"
)

// Errors a caller may branch on.
var (
	// ErrNotWIM means the file does not begin like a WIM.
	ErrNotWIM = errors.New("not a WIM file")
	// ErrNoImage means that no image answers to the index or name asked for.
	ErrNoImage = errors.New("no such image in the WIM")
)

// Kind says why a WIM is refused.
type Kind string

// The kinds of WIM that are refused.
const (
	Solid           Kind = "solid"             // ESD: LZMS or packed resources
	Split           Kind = "split"             // part of a .swm set
	WriteInProgress Kind = "write-in-progress" // an interrupted write
	Pipable         Kind = "pipable"           // wimlib's own layout, which Windows does not read
	ChunkSize       Kind = "chunk-size"        // not 32 KiB
	Codec           Kind = "codec"             // an unknown compression
)

// UnsupportedError tells that the file is a WIM of a kind that is refused. Its remedy is a hint on the returned error.
type UnsupportedError struct {
	Kind   Kind
	Detail string
}

func (e *UnsupportedError) Error() string { return "WIM not usable: " + e.Detail }

var remedies = map[Kind]string{
	Solid: "This is an .esd (solid, LZMS) file, which Windows cannot boot either. Export the image you need to a normal WIM first: " +
		"dism /Export-Image /SourceImageFile:install.esd /SourceIndex:1 /DestinationImageFile:install.wim /Compress:max, " +
		"or: wimlib-imagex export install.esd 1 install.wim --compress=LZX",
	Split: "This is one part of a split (.swm) set. Join the parts first: wimlib-imagex join joined.wim first.swm other*.swm, " +
		"or: dism /Export-Image with /SWMFile",
	WriteInProgress: "Something was interrupted while it wrote this file, or is still writing it. Take the original again " +
		"(from the Windows ISO or the ADK), or repair it with: wimlib-imagex optimize FILE",
	Pipable:   "Windows does not read such a file. Copy it, and bring the copy into the usual layout: wimlib-imagex optimize COPY.wim --not-pipable",
	ChunkSize: "The Windows boot manager reads only 32 KiB chunks. Export a copy: wimlib-imagex export FILE all copy.wim --compress=LZX --chunk-size=32768",
	Codec:     "Export a copy with LZX compression: wimlib-imagex export FILE all copy.wim --compress=LZX",
}

func unsupported(k Kind, format string, args ...any) error {
	return hint.Wrap(&UnsupportedError{k, fmt.Sprintf(format, args...)}, remedies[k])
}

// TruncatedError tells that the file ends before something its tables promise.
type TruncatedError struct {
	What   string // what is cut off
	Offset int64  // where it begins, in bytes
	Need   int64  // where it should end
	Size   int64  // where the file ends
}

func (e *TruncatedError) Error() string {
	return fmt.Sprintf("WIM is cut off: %s lies at bytes %d to %d, the file ends at %d (%d bytes missing)", e.What, e.Offset, e.Need, e.Size, e.Need-e.Size)
}

func truncated(what string, off, need, size int64) error {
	return hint.Wrap(&TruncatedError{what, off, need, size}, "The copy or download of this file is incomplete: copy it again and compare its size and hash with the original.")
}

// CorruptError tells that something inside the file contradicts itself or its checksum.
type CorruptError struct {
	What   string
	Reason string
}

func (e *CorruptError) Error() string { return fmt.Sprintf("WIM is damaged: %s: %s", e.What, e.Reason) }

func corrupt(what, format string, args ...any) error {
	return hint.Wrap(&CorruptError{what, fmt.Sprintf(format, args...)}, "The file is damaged: copy it again from its source and compare the hash.")
}
