// Package dclab starts the Samba laboratory domain for tests: a real LDAP server and Kerberos KDC on one loopback
// address.
//
// A test binary calls [Run] from its TestMain and [Lab.Need] in each test that wants the domain; the first of them
// starts it (about 25 s; on a loaded computer minutes) on a loopback address and in a folder of this process alone, so that
// several may be up side by side; the end of the binary takes it down. Such tests run with
// FLEETMEND_LONG=1 or where FLEETMEND_LABS names the folder of samba-dc.sh; where that, Samba or root is absent they skip
// and say so. It never touches a directory other than its own.
package dclab

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/fleetmend/fleetmend/internal/directory"
	"github.com/fleetmend/fleetmend/internal/secret"
)

// What the seed of the laboratory contains.
const (
	Domain   = "fleet.test"
	BaseDN   = "DC=fleet,DC=test"
	Host     = "dc1.fleet.test"
	Admin    = "Administrator@fleet.test"
	AdminPW  = "Passw0rd!Admin"
	Machines = 500 // in OU=Bulk; five more in OU=HQ
)

// patience is how long the domain may take to come and to go.
const patience = 4 * time.Minute

// Lab is one domain on one address.
type Lab struct {
	Address string
	Dir     string

	start sync.Once
	skip  string
	err   error
	up    bool
}

// Run runs the tests of a binary with a laboratory and gives the exit code.
func Run(m *testing.M, lab *Lab) int {
	code := m.Run()
	if err := lab.stop(); err != nil {
		fmt.Fprintln(os.Stderr, "take down the laboratory:", err) //nolint:forbidigo // test support: there is no command line above it
		code = max(code, 1)
	}
	return code
}

// Need starts the domain, or skips the test with the reason.
func (l *Lab) Need(t *testing.T) {
	t.Helper()
	l.start.Do(l.bring)
	if l.skip != "" {
		t.Skip("Samba laboratory: " + l.skip)
	}
	if l.err != nil {
		t.Fatal("start the Samba laboratory: ", l.err)
	}
}

func (l *Lab) bring() {
	script, reason := available()
	if l.skip = reason; reason != "" {
		return
	}
	if l.Dir, l.err = os.MkdirTemp("", "fleetmend-dc-"); l.err != nil {
		return
	}
	l.Dir = filepath.Join(l.Dir, "fleetmend-dc")
	l.Address = fmt.Sprintf("127.77.%d.%d", os.Getpid()/250%250, 1+os.Getpid()%250)
	l.up = true
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	out, err := l.command(ctx, script, "up", fmt.Sprint(Machines)).CombinedOutput()
	switch {
	case ctx.Err() != nil:
		l.skip = fmt.Sprintf("was not up within %v on this computer", patience)
	case err != nil && !l.answers(ctx):
		l.err = fmt.Errorf("%w: %s", err, out)
	}
}

// answers waits for the domain controller: the script gives up after ten seconds, which a loaded computer may need.
func (l *Lab) answers(ctx context.Context) bool {
	for l.alive() && ctx.Err() == nil {
		dial, cancel := context.WithTimeout(ctx, time.Second)
		conn, err := (&net.Dialer{}).DialContext(dial, "tcp", net.JoinHostPort(l.Address, "636"))
		if err == nil {
			cancel()
			return conn.Close() == nil
		}
		<-dial.Done() // once a second
		cancel()
	}
	return false
}

// process is the domain controller; nil when it was never started.
func (l *Lab) process() *os.Process {
	text, err := os.ReadFile(filepath.Join(l.Dir, "samba.pid"))
	if err != nil {
		return nil
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return nil
	}
	process, _ := os.FindProcess(pid) // always found on Unix
	return process
}

func (l *Lab) alive() bool {
	process := l.process()
	return process != nil && running(process)
}

// running is false also for a process that has ended and is not waited for: the laboratory's parent is long gone.
func running(process *os.Process) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", process.Pid))
	_, state, _ := strings.Cut(string(stat), ") ")
	return err == nil && !strings.HasPrefix(state, "Z")
}

func (l *Lab) command(ctx context.Context, script string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "bash", append([]string{script}, args...)...)
	cmd.WaitDelay = time.Second                                         // what the script started may outlive it
	cmd.Env = append(os.Environ(), "DC_DIR="+l.Dir, "DC_IP="+l.Address) //nolint:forbidigo // test support: there is no command line above it
	return cmd
}

func (l *Lab) stop() error {
	if !l.up {
		return nil
	}
	// Not with the script's destroy: that removes the folder while the domain controller still writes into it.
	if process := l.process(); process != nil {
		_ = process.Signal(syscall.SIGTERM) //nolint:errcheck // it may have ended by itself
		for deadline := time.Now().Add(patience); running(process); <-time.After(20 * time.Millisecond) {
			if time.Now().After(deadline) {
				return fmt.Errorf("the domain controller (process %d) does not end", process.Pid)
			}
		}
	}
	return os.RemoveAll(filepath.Dir(l.Dir))
}

// available gives the script, or why there can be no laboratory.
func available() (script, reason string) {
	dir := os.Getenv("FLEETMEND_LABS")                   //nolint:forbidigo // test support: there is no command line above it
	if dir == "" && os.Getenv("FLEETMEND_LONG") != "1" { //nolint:forbidigo // test support: there is no command line above it
		return "", "takes half a minute; set FLEETMEND_LONG=1"
	}
	if dir == "" {
		root, err := exec.CommandContext(context.Background(), "go", "env", "GOMOD").Output()
		if err != nil {
			return "", "the module root is unknown"
		}
		dir = filepath.Join(filepath.Dir(strings.TrimSpace(string(root))), "..", "shared", "labs")
		if _, err := os.Stat(dir); err != nil { // a worktree lies one deeper
			dir = filepath.Join(dir, "..", "..", "..", "shared", "labs")
		}
	}
	script = filepath.Join(dir, "samba-dc.sh")
	if _, err := os.Stat(script); err != nil {
		return "", "no samba-dc.sh; set FLEETMEND_LABS to its folder"
	}
	if os.Geteuid() != 0 {
		return "", "needs root"
	}
	for _, program := range []string{"samba", "samba-tool", "ldbadd", "openssl", "python3"} {
		if _, err := exec.LookPath(program); err != nil {
			return "", "no " + program + " here; see docs/labs.md"
		}
	}
	return script, ""
}

// Config connects to the domain as a user.
func (l *Lab) Config(t *testing.T, method directory.Method, user, password string) directory.Config {
	t.Helper()
	c, err := l.Reach(method, user, password)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// Reach is [Lab.Config] where there is no test: in a process that a test started, with the Address and Dir of its domain.
func (l *Lab) Reach(method directory.Method, user, password string) (directory.Config, error) {
	pem, err := os.ReadFile(filepath.Join(l.Dir, "pki", "ca.pem"))
	if err != nil {
		return directory.Config{}, err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	return directory.Config{Domain: Domain, DCs: []directory.DC{{Host: Host, Address: l.Address}}, Method: method, RootCAs: roots,
		Credential: directory.Credential{User: user, Password: secret.New(password)}}, nil
}

// Dial connects and closes with the test.
func (l *Lab) Dial(t *testing.T, c directory.Config) *directory.Conn {
	t.Helper()
	conn, err := directory.Dial(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// Closed gives an address of the laboratory's host where nothing listens.
func Closed(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}

// TLS is for other clients of the domain.
func TLS(c directory.Config) *tls.Config {
	return &tls.Config{RootCAs: c.RootCAs, ServerName: Host, MinVersion: tls.VersionTLS12}
}
