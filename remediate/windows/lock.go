package windows

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"syscall"
	"time"

	"github.com/fleetmend/fleetmend/remediate/agent"
)

// Process says who works, for the lock in a run's folder.
type Process struct {
	Host    string // name of the computer
	PID     int
	Started int64                             // Unix seconds
	Alive   func(pid int, started int64) bool // whether a process of this computer is still there
}

var ownStart = time.Now().Unix()

func ownProcess() Process {
	host, _ := os.Hostname()
	return Process{host, os.Getpid(), ownStart, func(pid int, started int64) bool {
		if pid == os.Getpid() {
			return started == ownStart
		}
		p, err := os.FindProcess(pid)
		if err != nil {
			return false
		}
		return runtime.GOOS == "windows" || !errors.Is(p.Signal(syscall.Signal(0)), os.ErrProcessDone)
	}}
}

// lock is lock.json: a request of this run is at work. A shell outlives its connection, so a second request may come while
// the first is at work; it is answered with busy, and asked again. It is stale when its process is gone, or, where another
// computer made it (Windows PE, on the same disk), when it is two minutes old: that computer does not run any more.
type lock struct {
	V       int    `json:"v"`
	Nonce   string `json:"nonce"`
	By      string `json:"by"`
	Host    string `json:"host"`
	Boot    int64  `json:"boot"` // Unix seconds, -1 where it is unknown
	PID     int    `json:"pid"`
	Started int64  `json:"started"`           // Unix seconds
	Taken   int64  `json:"taken"`             // Unix seconds
	Renewed int64  `json:"renewed,omitempty"` // what Taken was called before
}

const (
	lockName   = "lock.json"
	lockPeriod = 120 // seconds
)

func (r *run) stale(l lock) bool {
	if l.Host != r.Process.Host {
		return r.Now().Unix()-max(l.Taken, l.Renewed) > lockPeriod
	}
	if l.PID == r.Process.PID && l.Nonce == r.request.Nonce {
		return true // this very request, begun again
	}
	return !r.Process.Alive(l.PID, l.Started)
}

// held returns the lock that another request holds, or nil; stale is the text of one that holds nobody any more, "" where
// there is none.
func (r *run) held() (l *lock, stale string, err error) {
	l = &lock{}
	found, err := r.read(lockName, "nonce", l)
	damaged := errors.As(err, new(damage))
	if err != nil && !damaged || !found && !damaged {
		return nil, "", err
	}
	raw, err := r.raw(lockName)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, "", nil // it ended just now
	}
	if err != nil {
		return nil, "", err
	}
	if !damaged {
		if r.stale(*l) {
			return nil, string(raw) + "\n", nil
		}
		return l, "", nil
	}
	files, err := r.Files.List(r.folder) // half written, or left by a power cut
	for _, f := range files {
		if fold(f.Name) == fold(lockName) && r.Now().Sub(f.Modified) > lockPeriod*time.Second {
			return nil, string(raw) + "\n", nil
		}
	}
	return &lock{}, "", err
}

// breakLock moves a stale lock away. Of two requests that find it stale one gets it; the other may get hold of the lock that
// the first has made meanwhile, and gives it back.
func (r *run) breakLock(stale string) error {
	path, old := join(r.folder, lockName), join(r.folder, "lock-"+r.request.Nonce+".old")
	if err := r.Files.Move(path, old); err != nil {
		return nil //nolint:nilerr // another request was quicker: the lock is asked for anew
	}
	raw, err := r.raw("lock-" + r.request.Nonce + ".old")
	if err != nil {
		return err
	}
	if string(raw)+"\n" != stale {
		return r.Files.Move(old, path)
	}
	return r.Files.Remove(old)
}

func busy(result *agent.Result, l lock) {
	result.Outcome = agent.Busy
	result.Message = fmt.Sprintf("another request of this run is at work on this machine (process %d)", l.PID)
}

// enter takes the lock; false where another request holds it, which the result then says.
func (r *run) enter(result *agent.Result) (bool, error) {
	if r.locked {
		return true, nil
	}
	other, stale, err := r.held()
	if err != nil {
		return false, err
	}
	if other != nil {
		busy(result, *other)
		return false, nil
	}
	path := join(r.folder, lockName)
	if stale != "" {
		if err := r.breakLock(stale); err != nil {
			return false, fmt.Errorf("remove a stale lock: %w", err)
		}
	}
	mine := lock{1, r.request.Nonce, "go", r.Process.Host, -1, r.Process.PID, r.Process.Started, r.Now().Unix(), 0}
	if result.Uptime >= 0 {
		mine.Boot = r.Now().Unix() - result.Uptime
	}
	raw, err := json.Marshal(mine)
	if err != nil {
		return false, err
	}
	made := r.Files.Create(path, raw)
	var now lock
	_, err = r.read(lockName, "nonce", &now)
	if made == nil && errors.As(err, new(damage)) {
		_ = r.Files.Remove(path)
		return false, errors.New("the lock of this run could not be written: is the disk full?")
	}
	if err != nil || now.Nonce != mine.Nonce || now.PID != mine.PID {
		if made == nil || now.Nonce != "" {
			busy(result, now)
			return false, nil
		}
		return false, fmt.Errorf("write %s: %w", lockName, cmpErr(made, err))
	}
	r.locked = true
	return true, nil
}

func (r *run) leave() {
	if r.locked {
		_ = r.Files.Remove(join(r.folder, lockName)) // a stale one is noticed
	}
	r.locked = false
}

// notBegun: another request of this run that began since may have cured what detect was to find, and is at work yet.
func (r *run) notBegun(result *agent.Result) error {
	if begun, err := r.exists(join(r.folder, "manifest.json")); err != nil || begun {
		busy(result, lock{})
		return err
	}
	return nil
}
