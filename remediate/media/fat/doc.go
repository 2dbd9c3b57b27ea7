// Package fat writes FAT32 (and, for the boot image inside an ISO, FAT12 and FAT16) file systems in one pass and reads
// them back.
//
// [NewPlan] lays a file system out for a list of [content.Entry], and [Plan.WriteTo] streams it; [Open] presents an existing one
// as an [io/fs.FS]. Everything is known before the first byte is written: files lie in one piece each, the tables have
// the exact size, and the same entries and options give the same bytes.
//
// The package never changes a file system that exists, and never writes FAT32 with a file of 4 GiB or more: no FAT can
// hold one.
//
// Format: "Microsoft Extensible Firmware Initiative FAT32 File System Specification" 1.03.
package fat
