// Package ad reads BitLocker recovery keys from Active Directory: the objects of class msFVE-RecoveryInformation below the
// computers.
//
// Most callers need [New] and hand the [Source] to the key desk. [Source.Find] asks the directory itself for what a
// recovery screen shows, on the day the vault is stale or missing. Keys carry the objectGUID of their computer, which stays
// when it is renamed or moved, and [Source.Roll] tells which keys are still there and whose they are.
//
// The package never asks for a password while it lists, never writes to the directory, and never takes silence for an
// answer: an account that may not list keys, one that may list and not read them, and a key that does not exist are three
// different errors, although the directory answers all three with success.
package ad
