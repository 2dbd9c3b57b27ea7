package windows

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"unsafe"
)

// golang.org/x/sys/windows is not used for this: it is made of the package net, which Windows PE may do without.
var (
	advapi32       = syscall.NewLazyDLL("advapi32.dll")
	toDescriptor   = advapi32.NewProc("ConvertStringSecurityDescriptorToSecurityDescriptorW")
	fromDescriptor = advapi32.NewProc("ConvertSecurityDescriptorToStringSecurityDescriptorW")
	namedSecurity  = advapi32.NewProc("GetNamedSecurityInfoW")
	setSecurity    = advapi32.NewProc("SetFileSecurityW")
	setNamed       = advapi32.NewProc("SetNamedSecurityInfoW")
)

const (
	sddlRevision = 1
	fileObject   = 1          // SE_FILE_OBJECT
	ownerRights  = 1          // OWNER_SECURITY_INFORMATION
	groupRights  = 2          // GROUP_SECURITY_INFORMATION
	listRights   = 4          // DACL_SECURITY_INFORMATION
	openRights   = 0x20000000 // UNPROTECTED_DACL_SECURITY_INFORMATION: the folder hands down
	maxRights    = 64 << 10
	// What a person sets of a file's attributes, and FILE_ATTRIBUTE_ARCHIVE.
	ownAttributes = syscall.FILE_ATTRIBUTE_READONLY | syscall.FILE_ATTRIBUTE_HIDDEN | syscall.FILE_ATTRIBUTE_SYSTEM
	archived      = syscall.FILE_ATTRIBUTE_ARCHIVE
)

// makeOwn makes a folder with its rights at once: there is no moment in which others may use it.
func (f *Folder) makeOwn(local string) error {
	text, err := syscall.UTF16PtrFromString(OwnRights)
	if err != nil {
		return err
	}
	path, err := syscall.UTF16PtrFromString(filepath.Join(f.root.Name(), local))
	if err != nil {
		return err
	}
	var descriptor uintptr
	if ok, _, err := toDescriptor.Call(uintptr(unsafe.Pointer(text)), sddlRevision, uintptr(unsafe.Pointer(&descriptor)), 0); ok == 0 {
		return fmt.Errorf("rights: %w", err)
	}
	defer syscall.LocalFree(syscall.Handle(descriptor)) //nolint:errcheck // memory
	attributes := syscall.SecurityAttributes{SecurityDescriptor: descriptor}
	attributes.Length = uint32(unsafe.Sizeof(attributes))
	if err := syscall.CreateDirectory(path, &attributes); err != nil {
		return err
	}
	// The owner of what an administrator makes may be the account.
	if ok, _, err := setSecurity.Call(uintptr(unsafe.Pointer(path)), ownerRights|listRights, descriptor); ok == 0 {
		return fmt.Errorf("rights: %w", err)
	}
	return nil
}

// Marks implements [Marker].
func (f *Folder) Marks(path string) (Marks, error) {
	local, err := f.local(path)
	if err != nil {
		return Marks{}, err
	}
	sddl, err := f.sddl(local)
	if err != nil {
		return Marks{}, err
	}
	name, err := syscall.UTF16PtrFromString(filepath.Join(f.root.Name(), local))
	if err != nil {
		return Marks{}, err
	}
	attributes, err := syscall.GetFileAttributes(name)
	return Marks{sddl, attributes & ownAttributes}, err
}

// Mark implements [Marker].
func (f *Folder) Mark(path string, marks Marks) error {
	local, err := f.local(path)
	if err != nil {
		return err
	}
	name, err := syscall.UTF16PtrFromString(filepath.Join(f.root.Name(), local))
	if err != nil {
		return err
	}
	if marks.SDDL == "" {
		empty := [8]byte{2, 0, 8} // an ACL (revision, size) without entries of its own
		const list = listRights | openRights
		if code, _, _ := setNamed.Call(uintptr(unsafe.Pointer(name)), fileObject, list, 0, 0, uintptr(unsafe.Pointer(&empty)), 0); code != 0 {
			return syscall.Errno(code)
		}
		return nil
	}
	text, err := syscall.UTF16PtrFromString(marks.SDDL)
	if err != nil {
		return err
	}
	var descriptor uintptr
	if ok, _, err := toDescriptor.Call(uintptr(unsafe.Pointer(text)), sddlRevision, uintptr(unsafe.Pointer(&descriptor)), 0); ok == 0 {
		return err
	}
	defer syscall.LocalFree(syscall.Handle(descriptor)) //nolint:errcheck // memory
	if ok, _, err := setSecurity.Call(uintptr(unsafe.Pointer(name)), ownerRights|listRights, descriptor); ok == 0 {
		return err
	}
	return syscall.SetFileAttributes(name, marks.Attributes|archived)
}

// errInvalidFunction is ERROR_INVALID_FUNCTION.
const errInvalidFunction = syscall.Errno(1)

// unlink removes a file. Where a file system does not know the way that os.Root removes (FILE_DISPOSITION_INFORMATION_EX: Wine, and
// drivers older than Windows 10), it is removed by its name; the folders of that name are below the root, and no link.
func (f *Folder) unlink(local string) error {
	err := f.root.Remove(local)
	if !errors.Is(err, errInvalidFunction) {
		return err
	}
	if info, err := f.root.Lstat(local); err != nil || !info.Mode().IsRegular() {
		return errors.Join(errInvalidFunction, err)
	}
	return os.Remove(filepath.Join(f.root.Name(), local))
}

func (f *Folder) proveOwn(folder, local string) error {
	sddl, err := f.sddl(local)
	if err != nil {
		return fmt.Errorf("the rights of %s cannot be read: %w", folder, err)
	}
	return ProveRights(folder, sddl, self()...)
}

func (f *Folder) ownerIsOurs(local string) bool {
	sddl, err := f.sddl(local)
	return err == nil && ProveOwner(sddl, self()...)
}

// sddl is owner, group and rights of what is at a place, as Windows writes them.
func (f *Folder) sddl(local string) (string, error) {
	path, err := syscall.UTF16PtrFromString(filepath.Join(f.root.Name(), local))
	if err != nil {
		return "", err
	}
	var descriptor uintptr
	var text *uint16
	const all = ownerRights | groupRights | listRights
	if code, _, _ := namedSecurity.Call(uintptr(unsafe.Pointer(path)), fileObject, all, 0, 0, 0, 0, uintptr(unsafe.Pointer(&descriptor))); code != 0 {
		return "", syscall.Errno(code)
	}
	defer syscall.LocalFree(syscall.Handle(descriptor)) //nolint:errcheck // memory
	if ok, _, err := fromDescriptor.Call(descriptor, sddlRevision, all, uintptr(unsafe.Pointer(&text)), 0); ok == 0 {
		return "", err
	}
	defer syscall.LocalFree(syscall.Handle(unsafe.Pointer(text))) //nolint:errcheck // memory
	units := unsafe.Slice(text, maxRights)                        // ended by a zero
	end := 0
	for end < maxRights-1 && units[end] != 0 {
		end++
	}
	return syscall.UTF16ToString(units[:end]), nil
}

// self is the SID of the account that this program runs as: SYSTEM in Windows PE.
func self() []string {
	token, err := syscall.OpenCurrentProcessToken()
	if err != nil {
		return nil
	}
	defer token.Close() //nolint:errcheck // only read
	user, err := token.GetTokenUser()
	if err != nil {
		return nil
	}
	sid, err := user.User.Sid.String()
	if err != nil {
		return nil
	}
	return []string{sid}
}
