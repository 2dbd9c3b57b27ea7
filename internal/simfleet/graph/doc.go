// Package graph is a simulated Microsoft Entra tenant with the part of Microsoft Graph that escrows BitLocker recovery
// keys: sign-in (client secret, client certificate, device code), devices, Intune's devices, recovery keys, one key on
// demand, and Intune's rotation.
//
// [New] makes a tenant and [Server.Start] serves it over HTTPS on loopback; unmodified Azure clients work with it when
// they are pointed at it. It refuses by right with 403, throttles on purpose with 429, and keeps an audit of every key
// that was read, as Entra does. It shares no code with our client and never leaves loopback.
//
// The shapes follow Microsoft's reference of Graph v1.0 (bitlockerRecoveryKey, device, managedDevice) and of the identity
// platform's OAuth 2.0 endpoints.
package graph
