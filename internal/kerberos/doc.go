// Package kerberos signs in to an Active Directory domain and proves to its machines who one is (RFC 4120, 4121).
//
// Most callers need three calls: [New] makes an [Account], [Account.Prove] lets the domain judge it before anything else
// is done, and [Account.Context] makes what a service is sent; a [Context] then signs and seals messages. The exchanges
// with the domain's key distribution centres (KDCs), the tickets and the contexts are made here; messages, ciphers and
// key tables come from gokrb5. Its client is not used: it sends a password twice when the first try is refused, logs in
// anew whenever a ticket gets old, and takes no context.
//
// A password or key leaves for one KDC at a time, after [Config.Guard] was asked, and a refusal is kept: nothing made of
// that secret is sent a second time. Only AES is spoken. What a KDC, a service or a file says is bounded and never
// trusted to be well-formed. The package knows no LDAP and no HTTP, and writes nothing.
package kerberos
