package keys

import (
	"errors"

	"github.com/fleetmend/fleetmend/bitlocker"
	"github.com/fleetmend/fleetmend/bitlocker/audit"
	"github.com/fleetmend/fleetmend/bitlocker/entra"
	"github.com/fleetmend/fleetmend/bitlocker/mssql"
	"github.com/fleetmend/fleetmend/bitlocker/sheet"
)

// The words in which a face speaks of keys and of the log of who read them. They are those of the vault, which no face knows.

type (
	// KeyRef is a recovery key without its password.
	KeyRef = bitlocker.KeyRef
	// SnapshotReport says what a copy of the vault holds.
	SnapshotReport = bitlocker.SnapshotReport
	// Entry is one line of the log of who read keys.
	Entry = audit.Entry
	// Filter says which of them.
	Filter = audit.Filter
	// Head is the last of them, to compare with later.
	Head = audit.Head
	// Log is that log.
	Log = audit.Log
	// Action is what was done with a key.
	Action = audit.Action
	// Screen says what the terminal can show.
	Screen = sheet.Screen
)

// Why a password is not there.
var (
	ErrNotHeld   = bitlocker.ErrNotHeld
	ErrNotStored = bitlocker.ErrNotStored
)

// Rejected reports whether a source of keys refused the sign-in.
func Rejected(err error) bool {
	return errors.Is(err, entra.ErrSignIn) || errors.Is(err, mssql.ErrSignIn)
}

// ParseHead reads the head of a log, Phonetic spells a letter, Terminal shows a key so large that it can be read across a room.
var (
	ParseHead = audit.ParseHead
	Phonetic  = sheet.Phonetic
	Terminal  = sheet.Terminal
)
