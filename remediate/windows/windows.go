// Package windows is a Windows under repair: the small interfaces the Go interpreter works on, and the interpreter.
//
// [New] takes the parts, [Interpreter.Do] answers a request exactly as agent.ps1 would (one shared set of conformance
// cases holds both to it). It is used on an offline installation, and by the simulated fleet. It never opens a
// connection and knows no command line.
package windows

import (
	"context"
	"errors"
	"io"
	"time"
)

// Files is the file system of the Windows under repair. Paths are as the running system would say them: drive letter,
// backslashes, any case (matching ignores it). A missing file or folder is an error that is fs.ErrNotExist, an
// existing target of Move or Create is fs.ErrExist; nothing ever overwrites.
type Files interface {
	// List returns the files (not folders) directly in a folder, names as stored, sorted by name.
	List(folder string) ([]FileInfo, error)
	// Open reads a file from its beginning.
	Open(path string) (io.ReadCloser, error)
	// Create writes a new file with its parent folders, whole or not at all.
	Create(path string, content []byte) error
	// Move renames a file, keeping its times; the target's parent folders are made.
	Move(from, to string) error
	// Remove removes a file, or a folder that is empty.
	Remove(path string) error
	// Look reports what a path is. Nothing is followed: a path is a [Link] also where a folder on the way to it is one.
	Look(path string) (Kind, error)
	// Own makes a folder in which SYSTEM and administrators alone may do anything. One that is there already is never
	// changed, only proven: a link, another owner and other rights are errors.
	Own(folder string) error
}

// Marks are what a file has beside its content and its times. Sddl is owner, group and rights as Windows writes them ([MS-DTYP] section
// 2.5.1), "" where there are none. Attributes are those of Windows that a person sets: 1 read-only, 2 hidden, 4 system.
type Marks struct {
	SDDL       string
	Attributes uint32
}

// Marker is a [Files] that knows what files are marked with; a file that is moved keeps its marks.
type Marker interface {
	// Marks reads a file's marks.
	Marks(path string) (Marks, error)
	// Mark gives a file owner, rights and attributes; the group stays. Without rights it gets those that its folder hands down.
	Mark(path string, marks Marks) error
}

// Kind is what a path can be.
type Kind int

// The kinds. A link is a symbolic link or a junction.
const (
	Nothing Kind = iota
	File
	Directory
	Link
)

// FileInfo describes one file.
type FileInfo struct {
	Name     string
	Size     int64
	Modified time.Time // UTC
}

// Registry is the registry of the Windows under repair. Keys are full (HKEY_LOCAL_MACHINE\SYSTEM\CurrentControlSet\...),
// case is ignored. An offline implementation maps CurrentControlSet to the set that Select\Current names.
type Registry interface {
	// Get returns a value; ok is false where the key or the value is absent.
	Get(key, name string) (value Value, ok bool, err error)
	// HasKey reports whether the key exists.
	HasKey(key string) (bool, error)
	// Set writes a value into an existing key.
	Set(key, name string, value Value) error
	// Delete removes a value; an absent one is no error.
	Delete(key, name string) error
}

// Value is a registry value. Data is string for sz and expand-sz, uint64 for dword and qword, []string for multi-sz,
// []byte for binary and every other type, and [Odd] where the bytes do not fit the type. [DecodeValue] makes one of bytes.
type Value struct {
	Type string // string, expand-string, dword, qword, multi-string, binary, none, link, ..., type-N
	Data any
}

// Keys makes and removes registry keys; a [Registry] that can do it implements this, too.
type Keys interface {
	// MakeKey makes a key; one that is there already is no error.
	MakeKey(key string) error
	// RemoveKey removes a key with its values, not one that has keys below it.
	RemoveKey(key string) error
	// Inside returns how many values a key has, and the names of the keys directly below it in no order.
	Inside(key string) (values int, below []string, err error)
}

// Services is what the service controller knows and does; offline there is none (nil).
type Services interface {
	// State reports the state of a service in Windows' own words ([StateRunning] and so on); ok is false where there is no
	// such service.
	State(name string) (state string, ok bool, err error)
	// Dependents returns the services that stop with this one, each before those that it depends on.
	Dependents(name string) ([]string, error)
	// SetStart sets the start type (2 auto, 3 manual, 4 disabled) in the controller and in the registry.
	SetStart(name string, number int) error
	// Stop asks a service to stop and waits until it is stopped, or ctx ends.
	Stop(ctx context.Context, name string) error
	// Start starts a service and waits until it runs, or ctx ends. Undo uses it for what the fix stopped.
	Start(ctx context.Context, name string) error
}

// Tools runs Windows' own programs from System32 (bcdedit.exe, shutdown.exe) and scripts.
type Tools interface {
	// Run returns the output lines of both streams and the exit code; err only when it could not be run at all.
	Run(ctx context.Context, name string, args ...string) (output []string, exit int, err error)
	// Script runs a script body as a playbook's script step; output is bounded by the implementation. The interpreter
	// bounds the time by ctx; err is ctx.Err() when that ran out, and everything that the script started is ended then.
	// A script that did not begin (syntax, blocked, removed) is [ErrNeverRan], one that an error ended is [ErrThrew]:
	// neither has an exit code that answers anything.
	Script(ctx context.Context, shell, body string, args []string) (output string, exit int, err error)
	// Forbids says which policy of the machine lets no script of this shell run; nil where none does.
	Forbids(shell string) error
}

// What a script's end can be beside its exit code.
var (
	ErrNeverRan = errors.New("script did not run")
	ErrThrew    = errors.New("script was ended by an error")
)

// System is what is known of the installation as a whole.
type System interface {
	Build() (int, error)         // 22631
	Uptime() (int64, error)      // seconds; -1 offline
	Variable(name string) string // SystemRoot, ProgramData; "" where unknown
}
