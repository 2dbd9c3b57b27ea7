// Package bitlocker is the key desk: it knows where the BitLocker recovery passwords of a fleet are escrowed, finds the
// right one by what the recovery screen shows, guards those it holds, and hands one over with a reason and a record.
//
// Most callers need [Vault.Find], which answers from key references that hold no secret and needs no unlocking, and
// [Vault.Reveal], which writes the audit before it gives a password. A [Source] is a place where keys are escrowed; its
// sub-packages are the sources, the audit log, the coverage report and the printed sheet.
//
// The package never reads, logs or prints a recovery password of its own accord, never writes one to disk in clear, never
// guesses between two keys, and never removes a reference: what a directory has forgotten is flagged and kept.
package bitlocker
