package machine_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"strings"
	"testing"
	"time"
	"unicode/utf16"

	"github.com/fleetmend/fleetmend/internal/bounded"
	"github.com/fleetmend/fleetmend/internal/simfleet/machine"
	"github.com/fleetmend/fleetmend/internal/simfleet/wsman"
)

func make1(t *testing.T, restart func(time.Duration)) *machine.Machine {
	t.Helper()
	now := time.Date(2024, 7, 19, 12, 0, 0, 0, time.UTC)
	return machine.New(machine.Spec{
		Name: "LON-WS-1", FQDN: "lon-ws-1.fleet.test", Domain: "FLEET", Address: "10.20.0.11", Product: "Windows 11 Enterprise",
		Build: 22631, Serial: "5CG123", Seed: 1, Affected: true, Boot: now.Add(-time.Hour), Now: func() time.Time { return now }, Restart: restart,
	})
}

func run(m *machine.Machine, line, stdin string) (stdout, stderr string, exit uint32) {
	var out, errs bytes.Buffer
	exit = m.Run(context.Background(), wsman.Command{User: `FLEET\admin`, Line: line, Stdin: strings.NewReader(stdin), Stdout: &out, Stderr: &errs})
	return out.String(), errs.String(), exit
}

func encoded(script string) string {
	var raw []byte
	for _, u := range utf16.Encode([]rune(script)) {
		raw = binary.LittleEndian.AppendUint16(raw, u)
	}
	return "PowerShell -NoProfile -NonInteractive -ExecutionPolicy Unrestricted -EncodedCommand " + base64.StdEncoding.EncodeToString(raw)
}

// passOn is what Ansible's raw ends its scripts with.
const passOn = "\nIf (-not $?) { If (Get-Variable LASTEXITCODE -ErrorAction SilentlyContinue) { exit $LASTEXITCODE } Else { exit 1 } }"

func TestCommandLines(t *testing.T) {
	m := make1(t, nil)
	for _, test := range []struct {
		line, stdin, stdout, stderr string // stdout and stderr: contained; with a leading = equal
		exit                        uint32
	}{
		{line: "hostname", stdout: "=LON-WS-1\r\n"},
		{line: "HOSTNAME.EXE", stdout: "=LON-WS-1\r\n"},
		{line: "whoami", stdout: "=fleet\\admin\r\n"},
		{line: "ver", stdout: "[Version 10.0.22631]"},
		{line: "echo  a  b", stdout: "= a  b\r\n"},
		{line: "echo %COMPUTERNAME% %NOPE% 100%", stdout: "=LON-WS-1 %NOPE% 100%\r\n"},
		{line: "echo a&echo b", stdout: "=a\r\nb\r\n"},
		{line: "nope && echo yes", stderr: "'nope' is not recognized", exit: 1},
		{line: "nope 2>nul || echo other", stdout: "=other\r\n", stderr: "="},
		{line: `echo "a & b"`, stdout: "=\"a & b\"\r\n"},
		{line: "echo gone 1>&2", stderr: "gone", stdout: "="},
		{line: "cd", stdout: "=C:\\Users\\admin\r\n"},
		{line: `cd C:\Windows & cd`, stdout: "=C:\\Windows\r\n"},
		{line: `cd C:\Nowhere`, stderr: "cannot find the path", exit: 1},
		{line: `dir /b C:\Windows\System32\drivers\CrowdStrike\C-00000291*.sys`, stdout: "=C-00000291-00000000-00000030.sys\r\nC-00000291-00000000-00000032.sys\r\n"},
		{line: `dir C:\Nowhere`, stdout: `Directory of C:\`, stderr: "File Not Found", exit: 1},
		{line: `dir C:\Windows`, stdout: "<DIR>          System32"},
		{line: `type C:\Users\Public\asset.txt`, stdout: "=Owner of LON-WS-1: see the asset register, serial 5CG123\r\n"},
		{line: `type C:\nope`, stderr: "cannot find the file", exit: 1},
		{line: "set PROCESSOR", stdout: "=PROCESSOR_ARCHITECTURE=AMD64\r\n"},
		{line: "exit 7", exit: 7},
		{line: "exit /b -1", exit: 0xFFFFFFFF},
		{line: "cmd /c exit 5", exit: 5},
		{line: `cmd.exe /q /c "exit 6"`, exit: 6},
		{line: "cmd /c exit 5 & echo still", stdout: "=still\r\n"},
		{line: "more", stdin: "from stdin", stdout: "=from stdin"},
		{line: "ipconfig", stdout: "10.20.0.11"},
		{line: "sc query CSFalconService", stdout: "4  RUNNING"},
		{line: "sc query nope", stdout: "FAILED 1060", exit: 1060},
		{line: `reg query HKLM\SYSTEM\ControlSet001\Services\CSAgent /v Start`, stdout: "Start    REG_DWORD    0x1"},
		{line: `reg query HKLM\Nope`, stdout: "unable to find", exit: 1},
		{line: "bcdedit /enum {default}", stdout: "recoveryenabled         Yes"},
		{line: "bcdedit /deletevalue {default} safeboot", stdout: "Element not found", exit: 1},
		{line: "bcdedit /set {default} safeboot minimal && bcdedit /enum {current}", stdout: "safeboot                minimal"},
		{line: "bcdedit /deletevalue {default} safeboot", stdout: "successfully"},
		{line: `certutil -hashfile C:\Windows\win.ini MD5`, stdout: "MD5 hash of C:\\Windows\\win.ini:\r\n"},
		{line: `certutil -hashfile C:\nope`, stdout: "0x80070002", exit: 0x80070002},
		{line: "dir | find x", stderr: "no pipes", exit: 1},
		{line: "echo x > C:\\file", stderr: "no pipes", exit: 1},
		{line: strings.Repeat("x", 9000), stderr: "too long", exit: 1},

		{line: encoded("hostname"), stdout: "=LON-WS-1\r\n"},
		{line: encoded("hostname" + passOn), stdout: "=LON-WS-1\r\n"},
		{line: encoded("exit 5" + passOn), exit: 5},
		{line: encoded("cmd /c exit 4" + passOn), exit: 4},
		{line: encoded("cmd /c exit 4"), exit: 1},
		{line: encoded("Set-StrictMode -Version Latest\nWrite-Output 'it''s'; $env:COMPUTERNAME"), stdout: "=it's\r\nLON-WS-1\r\n"},
		{line: encoded(`Write-Host "on $env:COMPUTERNAME"`), stdout: "=on LON-WS-1\r\n"},
		{line: encoded(`$PSVersionTable.PSVersion.ToString()`), stdout: "=5.1.22631.1\r\n"},
		{line: encoded(`[Console]::Error.WriteLine('oops'); exit 3`), stderr: "=oops\r\n", exit: 3},
		{line: encoded(`(Get-Item C:\Windows\win.ini).Name`), stdout: "=win.ini\r\n"},
		{line: encoded(`(Get-FileHash 'C:\nope').Hash`), stderr: "Cannot find path 'C:\\nope'", exit: 1},
		{line: encoded(`Get-Content C:\Users\Public\asset.txt`), stdout: "serial 5CG123"},
		{line: encoded("Get-Unknown -Thing"), stderr: `#< CLIXML` + "\r\n" + `<Objs Version="1.1.0.1" xmlns="http://schemas.microsoft.com/powershell/2004/04"><S S="Error">Get-Unknown : The term 'Get-Unknown' is not recognized`, exit: 1},
		{line: `powershell -NoProfile -Command "Write-Output 'plain'"`, stdout: "=plain\r\n"},
		{line: `powershell -Command Get-Unknown`, stderr: "CommandNotFoundException", exit: 1},
		{line: "powershell -EncodedCommand %%%", stderr: "not properly encoded", exit: 0xFFFD0000},
	} {
		stdout, stderr, exit := run(m, test.line, test.stdin)
		if !says(stdout, test.stdout) || !says(stderr, test.stderr) || exit != test.exit {
			t.Errorf("%.120s\n  stdout %q, want %q\n  stderr %q, want %q\n  exit %d, want %d", test.line, stdout, test.stdout, stderr, test.stderr, exit, test.exit)
		}
	}
	if m.Changes() != 0 {
		t.Errorf("%d changes by the agent, which never ran", m.Changes())
	}
}

func says(got, want string) bool {
	if exact, ok := strings.CutPrefix(want, "="); ok {
		return got == exact
	}
	return strings.Contains(got, want) && (want != "" || got == "")
}

func TestShutdown(t *testing.T) {
	var delays []time.Duration
	m := make1(t, func(d time.Duration) { delays = append(delays, d) })
	if _, _, exit := run(m, "shutdown /s /t 0", ""); exit == 0 {
		t.Error("it can be switched off for good")
	}
	if _, _, exit := run(m, `shutdown /r /t 10 /d p:2:4 /c "fleetmend r1"`, ""); exit != 0 {
		t.Errorf("restart: exit %d", exit)
	}
	if out, _, exit := run(m, "shutdown /r /t 0", ""); exit != 1190 || !strings.Contains(out, "already") {
		t.Errorf("second restart: %q, exit %d", out, exit)
	}
	if len(delays) != 1 || delays[0] != 10*time.Second {
		t.Errorf("restarts: %v", delays)
	}
	m.Started(time.Date(2024, 7, 19, 11, 59, 30, 0, time.UTC))
	if up, err := m.Uptime(); err != nil || up != 30 {
		t.Errorf("uptime %d, %v", up, err)
	}
}

func TestDeletingTheFileStopsTheCrashes(t *testing.T) {
	m := make1(t, nil)
	if !m.Crashes() {
		t.Fatal("an affected machine does not crash")
	}
	run(m, `del C:\Windows\System32\drivers\CrowdStrike\C-00000291*.sys`, "")
	if m.Crashes() || len(m.Files()) != 7 {
		t.Errorf("crashes %v, %d files", m.Crashes(), len(m.Files()))
	}
}

func FuzzCommandLine(f *testing.F) {
	for _, line := range []string{`echo "a & b" && dir /b C:\ || exit 3`, "%%%A%", encoded("exit 3"), `reg query "HKLM\x" /v`, "cd ..\\..\\.. & cd", "shutdown /t", "ping -n 0 localhost"} {
		f.Add(line)
	}
	f.Fuzz(func(t *testing.T, line string) {
		defer bounded.Input(t, len(line))()
		if strings.Contains(strings.ToLower(line), "ping") {
			return // takes its time, as it should
		}
		m := machine.New(machine.Spec{Name: "A", FQDN: "a.b", Domain: "D", Build: 1})
		var out bytes.Buffer
		m.Run(context.Background(), wsman.Command{User: `D\u`, Line: line, Stdin: strings.NewReader(""), Stdout: &out, Stderr: &out})
	})
}
