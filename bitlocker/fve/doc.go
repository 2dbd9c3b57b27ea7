// Package fve reads what BitLocker keeps in clear at the head of a volume: its state, its encryption method and its
// protectors, and says which key opens it.
//
// Most callers need [Read], which takes a volume, a partition or an image of one, and [Volume.TryPassword], which proves
// that a recovery password opens it. [Open] opens a device or an image read-only; [Partitions] finds the volumes of a
// whole disk.
//
// The package never writes a byte, never decrypts data of the volume, never hands out a volume's key, and believes
// nothing it has read: whatever the bytes, it answers or returns an error, and holds at most a few hundred kilobytes.
//
// The format is described in "BitLocker Drive Encryption (BDE) format" of the libbde project and in the sources of
// dislocker and cryptsetup. Volumes of Windows 7 and later and BitLocker To Go were checked against volumes made by
// Windows; the layout of Windows Vista, encryption on write, and volumes during a conversion are read by description.
package fve
