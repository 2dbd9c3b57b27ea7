// Package pesign reads the Authenticode signatures of a PE file, all of them: a boot file may carry several, and which
// certificate authority each goes back to decides which computers start it under Secure Boot.
//
// [Inspect] reads a file; [File.Authorities] lists the authorities whose signature holds. The hash of the file is
// computed and compared, the signature is checked with the key of its signer, and the certificates are checked upwards as
// far as the file brings them.
//
// The package trusts nothing by itself and asks no network: it knows the fingerprints of Microsoft's Secure Boot
// authorities, but not what a certain firmware has in its db and dbx. Dates are shown and not judged, as firmware does.
//
// Format: "Windows Authenticode Portable Executable Signature Format" (Microsoft, 2008) and PKCS #7 (RFC 2315).
package pesign
