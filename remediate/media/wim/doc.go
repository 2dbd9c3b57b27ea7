// Package wim reads Windows imaging files (boot.wim, winre.wim, install.wim) and writes a changed copy of one.
//
// [Open] gives the images and their files; [File.Plan] works out everything about a changed copy (size, hashes, counts)
// before a byte is written, and [Plan.WriteTo] or [InjectFile] then writes it in one pass. Existing data is copied as it
// is, never recompressed; new files are stored raw, as bootmgr and every WIM reader accept.
//
// The package never changes the file it reads, holds no more than the metadata of one image and a few buffers in memory,
// and does not handle solid (ESD), split or non-standard-chunk files: it refuses them and says what to do instead.
//
// Format: "Windows Imaging File Format" (Microsoft, 2007); MS-XCA for XPRESS; the LZX variant of MS-PATCH with a 32 KiB
// window. A [File] is safe for concurrent use.
package wim
