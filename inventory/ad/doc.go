// Package ad reads the machines of an Active Directory domain or forest, and the local administrator passwords (LAPS)
// of single ones.
//
// Most callers need two calls: [Source.Sync], which brings a store up to date, and [Password], which reads one LAPS
// password when it is needed. Machines are named by their objectGUID; SID and objectGUID are strong keys of the merge.
// Passwords are never stored and never asked for while listing. [Rights] says what the account may do without reading
// a single secret. The package writes nothing to the directory.
package ad
