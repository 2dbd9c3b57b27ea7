package textfile

import "os"

const openFlags = os.O_RDONLY

// syncFolder has nothing to do: NTFS journals a rename, and Windows has no call for it.
func syncFolder(string) error { return nil }

// readByOthers knows nothing of access lists: who may read a file of a folder of the user's own is the user.
func readByOthers(string) string { return "" }
