// Package directory is a connection to an Active Directory domain, shared by everything that reads one.
//
// Most callers need two calls: [Dial] finds a domain controller that works and binds to it, and [Conn.Search] streams
// the entries of a query of any size. A password leaves only inside TLS, or not at all (Kerberos): there is no method
// for a simple bind on a plain connection, and no fallback from one method to another. A rejected credential is never
// tried a second time, on no domain controller, because that would lock the account. Referrals are collected and never
// followed. The package writes nothing to the directory.
package directory
