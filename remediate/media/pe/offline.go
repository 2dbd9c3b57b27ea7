package pe

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"strings"

	"github.com/fleetmend/fleetmend/internal/textfile"
	"github.com/fleetmend/fleetmend/remediate/windows"
)

// offline is an installation of Windows that does not run. It is the windows.System of its interpreter.
type offline struct {
	files    *windows.Folder
	build    int // read before any registry file is loaded, because nobody else can open it then
	buildErr error
}

const systemHive = `C:\Windows\System32\config\SYSTEM`

// openWindows opens a volume with a Windows on it. Note says why a volume that could be one cannot be used.
func openWindows(root string) (w *offline, note string) {
	files, err := windows.OpenFolder(root)
	if err == nil {
		w = &offline{files: files}
		var hive io.ReadCloser
		if hive, err = files.Open(systemHive); err == nil {
			_ = hive.Close() //nolint:errcheck // only read
			w.build, w.buildErr = w.readBuild()
			return w, ""
		}
		_ = files.Close() //nolint:errcheck // only read
	}
	if errors.Is(err, fs.ErrNotExist) {
		if _, readable := os.ReadDir(root); readable == nil {
			return nil, ""
		}
	}
	return nil, "cannot be read: it is locked by BitLocker, damaged, or not formatted"
}

func (w *offline) close() { _ = w.files.Close() } //nolint:errcheck // a folder handle

// Build is the number of the build by the registry of the installation.
func (w *offline) Build() (int, error) { return w.build, w.buildErr }

func (w *offline) readBuild() (int, error) {
	text, err := w.registry(`C:\Windows\System32\config\SOFTWARE`, `Microsoft\Windows NT\CurrentVersion`, "CurrentBuildNumber")
	if err != nil {
		return 0, fmt.Errorf("read the build of the offline Windows: %w", err)
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		return 0, fmt.Errorf("read the build of the offline Windows: %q is no number", text)
	}
	return n, nil
}

// Uptime is unknown: it does not run.
func (w *offline) Uptime() (int64, error) { return -1, nil }

// Variable knows the variables every installation has.
func (w *offline) Variable(name string) string { return windows.OfflineVariable(name) }

// computerName reads the name from the registry of the installation; "" where it cannot be told.
func (w *offline) computerName() string {
	set, err := w.registry(systemHive, "Select", "Current")
	if err != nil {
		return ""
	}
	n, err := strconv.Atoi(set)
	if err != nil {
		return ""
	}
	name, err := w.registry(systemHive, fmt.Sprintf(`ControlSet%03d\Control\ComputerName\ComputerName`, n), "ComputerName")
	if err != nil {
		return ""
	}
	return strings.ToUpper(name)
}

func (w *offline) registry(file, key, name string) (string, error) {
	f, err := w.files.Open(file)
	if err != nil {
		return "", err
	}
	defer f.Close()
	r, ok := f.(io.ReaderAt)
	if !ok {
		return "", fmt.Errorf("%s cannot be read at any place", file)
	}
	h, err := openHive(r)
	if err != nil {
		return "", err
	}
	return h.text(key, name)
}

// tools are the programs that make sense for an installation that does not run.
type tools struct{ system System }

// Run runs bcdedit.exe and refuses everything else: it would act on Windows PE and not on the installation.
func (t tools) Run(ctx context.Context, name string, args ...string) ([]string, int, error) {
	if !strings.EqualFold(name, "bcdedit.exe") {
		return nil, 0, fmt.Errorf("not possible on an offline installation: %s", name)
	}
	return t.system.BootEdit(ctx, args...)
}

// Script refuses: the installation's PowerShell and cmd do not run.
func (tools) Script(context.Context, string, string, []string) (string, int, error) {
	return "", 0, errors.New("not possible on an offline installation: script")
}

// Forbids refuses nothing: no script runs here.
func (tools) Forbids(string) error { return nil }

// writeWhole writes JSON aside, makes it durable and renames it.
func writeWhole(name string, v any) error {
	raw, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	return textfile.Write(name, textfile.Shared, func(w io.Writer) error {
		_, err := w.Write(append(raw, '\n'))
		return err
	})
}
