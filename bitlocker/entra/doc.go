// Package entra reads BitLocker recovery keys from Microsoft Entra ID through Microsoft Graph, and has Intune replace
// them.
//
// Most callers need [New] and hand the [Source] to the key desk: it lists keys by pages without their passwords, and
// reads one password when asked. [Source.Rotate] asks Intune for a new one.
//
// Each password that is read writes an entry into the tenant's audit log; the package therefore never reads one that was
// not asked for. It never stores or logs tokens, passwords or answers of the server, and sends the token to no host but
// that of the chosen cloud. Requests are slow on purpose: the rate that Graph allows here is not documented.
package entra
