package program

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"syscall"
	"unsafe"

	"github.com/fleetmend/fleetmend/remediate/media/pe"
	"github.com/fleetmend/fleetmend/remediate/windows"
)

// golang.org/x/sys/windows is not used for this: it is made of the package net, which Windows PE may do without.
var (
	advapi32              = syscall.NewLazyDLL("advapi32.dll")
	regLoadKey            = advapi32.NewProc("RegLoadKeyW")
	regUnLoadKey          = advapi32.NewProc("RegUnLoadKeyW")
	regSetValueEx         = advapi32.NewProc("RegSetValueExW")
	regDeleteValue        = advapi32.NewProc("RegDeleteValueW")
	regCreateKeyEx        = advapi32.NewProc("RegCreateKeyExW")
	regDeleteKey          = advapi32.NewProc("RegDeleteKeyW")
	regFlushKey           = advapi32.NewProc("RegFlushKey")
	lookupPrivilegeValue  = advapi32.NewProc("LookupPrivilegeValueW")
	adjustTokenPrivileges = advapi32.NewProc("AdjustTokenPrivileges")
)

// hive is a registry file that is loaded below HKEY_LOCAL_MACHINE under this name.
type hive string

// LoadHive loads a registry file. Windows brings it up to date with its logs, which a machine that crashed leaves behind.
func (machine) LoadHive(file string) (pe.Hive, error) {
	for _, name := range []string{"SeBackupPrivilege", "SeRestorePrivilege"} {
		if err := enable(name); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	h := hive("fleetmend-" + strings.ToUpper(filepath.Base(file)))
	_ = h.Close() // what a start that was killed left loaded; there is none most of the time
	path, err := syscall.UTF16PtrFromString(file)
	if err != nil {
		return nil, err
	}
	name, err := syscall.UTF16PtrFromString(string(h))
	if err != nil {
		return nil, err
	}
	return h, call(regLoadKey, uintptr(syscall.HKEY_LOCAL_MACHINE), uintptr(unsafe.Pointer(name)), uintptr(unsafe.Pointer(path)))
}

// enable turns on a privilege that the account has. One that it does not have is noticed when it is needed.
func enable(name string) error {
	wide, err := syscall.UTF16PtrFromString(name)
	if err != nil {
		return err
	}
	own, err := syscall.GetCurrentProcess()
	if err != nil {
		return err
	}
	var token syscall.Token
	if err := syscall.OpenProcessToken(own, syscall.TOKEN_ADJUST_PRIVILEGES|syscall.TOKEN_QUERY, &token); err != nil {
		return err
	}
	defer token.Close() //nolint:errcheck // a handle
	want := struct {
		count      uint32
		luid       [2]uint32
		attributes uint32
	}{count: 1, attributes: 2} // SE_PRIVILEGE_ENABLED
	if ok, _, err := lookupPrivilegeValue.Call(0, uintptr(unsafe.Pointer(wide)), uintptr(unsafe.Pointer(&want.luid))); ok == 0 {
		return err
	}
	if ok, _, err := adjustTokenPrivileges.Call(uintptr(token), 0, uintptr(unsafe.Pointer(&want)), 0, 0, 0); ok == 0 {
		return err
	}
	return nil
}

// call calls a function that returns an error code. Pointers among the arguments stay valid meanwhile.
//
//go:uintptrescapes
func call(f *syscall.LazyProc, args ...uintptr) error {
	if code, _, _ := f.Call(args...); code != 0 {
		return syscall.Errno(code)
	}
	return nil
}

// Close implements [pe.Hive].
func (h hive) Close() error {
	name, err := syscall.UTF16PtrFromString(string(h))
	if err != nil {
		return err
	}
	return call(regUnLoadKey, uintptr(syscall.HKEY_LOCAL_MACHINE), uintptr(unsafe.Pointer(name)))
}

// with opens a key for as long as act lasts; an open one would keep the file from being unloaded.
func (h hive) with(key string, access uint32, act func(syscall.Handle) error) error {
	path, err := syscall.UTF16PtrFromString(strings.TrimSuffix(string(h)+`\`+key, `\`))
	if err != nil {
		return err
	}
	var k syscall.Handle
	if err := syscall.RegOpenKeyEx(syscall.HKEY_LOCAL_MACHINE, path, 0, access, &k); err != nil {
		return err
	}
	return errors.Join(act(k), syscall.RegCloseKey(k))
}

// HasKey implements [pe.Hive].
func (h hive) HasKey(key string) (bool, error) {
	return there(h.with(key, syscall.KEY_QUERY_VALUE, func(syscall.Handle) error { return nil }))
}

func there(err error) (bool, error) {
	if errors.Is(err, syscall.ERROR_FILE_NOT_FOUND) || errors.Is(err, syscall.ERROR_PATH_NOT_FOUND) {
		return false, nil
	}
	return err == nil, err
}

// Get implements [pe.Hive].
func (h hive) Get(key, name string) (v windows.Value, ok bool, err error) {
	wide, err := syscall.UTF16PtrFromString(name)
	if err != nil {
		return v, false, err
	}
	ok, err = there(h.with(key, syscall.KEY_QUERY_VALUE, func(k syscall.Handle) error {
		var kind, size uint32
		if err := syscall.RegQueryValueEx(k, wide, nil, &kind, nil, &size); err != nil {
			return err
		}
		raw := make([]byte, size+1) // never empty: its address is needed
		if err := syscall.RegQueryValueEx(k, wide, nil, &kind, &raw[0], &size); err != nil {
			return err
		}
		v = windows.DecodeValue(kind, raw[:size])
		return nil
	}))
	return v, ok, err
}

// Set implements [pe.Hive].
func (h hive) Set(key, name string, v windows.Value) error {
	kind, raw, err := v.Encode()
	if err != nil {
		return err
	}
	return h.change(key, name, func(k syscall.Handle, name *uint16) error {
		return call(regSetValueEx, uintptr(k), uintptr(unsafe.Pointer(name)), 0, uintptr(kind), uintptr(unsafe.Pointer(unsafe.SliceData(raw))), uintptr(len(raw)))
	})
}

// Delete implements [pe.Hive].
func (h hive) Delete(key, name string) error {
	_, err := there(h.change(key, name, func(k syscall.Handle, name *uint16) error {
		return call(regDeleteValue, uintptr(k), uintptr(unsafe.Pointer(name)))
	}))
	return err
}

// change changes a value and waits until it is on the disk.
func (h hive) change(key, name string, act func(syscall.Handle, *uint16) error) error {
	wide, err := syscall.UTF16PtrFromString(name)
	if err != nil {
		return err
	}
	return h.with(key, syscall.KEY_QUERY_VALUE|syscall.KEY_SET_VALUE, func(k syscall.Handle) error {
		if err := act(k, wide); err != nil {
			return err
		}
		return call(regFlushKey, uintptr(k))
	})
}

// MakeKey implements [pe.Hive]. It waits until the key is on the disk.
func (h hive) MakeKey(key string) error {
	wide, err := syscall.UTF16PtrFromString(string(h) + `\` + key)
	if err != nil {
		return err
	}
	var made syscall.Handle
	const all = 0xf003f // KEY_ALL_ACCESS
	if err := call(regCreateKeyEx, uintptr(syscall.HKEY_LOCAL_MACHINE), uintptr(unsafe.Pointer(wide)), 0, 0, 0, all, 0, uintptr(unsafe.Pointer(&made)), 0); err != nil {
		return err
	}
	return errors.Join(call(regFlushKey, uintptr(made)), syscall.RegCloseKey(made))
}

// RemoveKey implements [pe.Hive]. Windows refuses one that has keys below it.
func (h hive) RemoveKey(key string) error {
	wide, err := syscall.UTF16PtrFromString(string(h) + `\` + key)
	if err != nil {
		return err
	}
	return call(regDeleteKey, uintptr(syscall.HKEY_LOCAL_MACHINE), uintptr(unsafe.Pointer(wide)))
}

// Inside implements [pe.Hive].
func (h hive) Inside(key string) (values int, below []string, err error) {
	err = h.with(key, syscall.KEY_QUERY_VALUE|syscall.KEY_ENUMERATE_SUB_KEYS, func(k syscall.Handle) error {
		var keys, longest, count uint32
		if err := syscall.RegQueryInfoKey(k, nil, nil, nil, &keys, &longest, nil, &count, nil, nil, nil, nil); err != nil {
			return err
		}
		values = int(count)
		for n := range keys {
			name, size := make([]uint16, longest+1), longest+1
			if err := syscall.RegEnumKeyEx(k, n, &name[0], &size, nil, nil, nil, nil); err != nil {
				return err
			}
			below = append(below, syscall.UTF16ToString(name[:size]))
		}
		return nil
	})
	return values, below, err
}
