package machine

import (
	"crypto/md5"
	"crypto/sha1" //nolint:gosec // certutil -hashfile defaults to it
	"crypto/sha256"
	"encoding/hex"
	"hash"
	"io"
	"path"
	"strconv"
	"strings"
	"time"
)

// commands is every internal and external command that this cmd knows.
var commands map[string]runnable

func init() {
	commands = map[string]runnable{
		"hostname": func(p *process, _ string) uint32 { p.out("%s\r\n", p.spec.Name); return 0 },
		"whoami":   func(p *process, _ string) uint32 { p.out("%s\r\n", strings.ToLower(p.user)); return 0 },
		"ver": func(p *process, _ string) uint32 {
			p.out("\r\nMicrosoft Windows [Version %s]\r\n", versionOf(p.spec.Build))
			return 0
		},
		"rem":        func(*process, string) uint32 { return 0 },
		"echo":       (*process).echo,
		"cd":         (*process).chdir,
		"chdir":      (*process).chdir,
		"chcp":       (*process).chcp,
		"dir":        (*process).listing,
		"type":       (*process).typeFile,
		"more":       (*process).more,
		"del":        (*process).del,
		"erase":      (*process).del,
		"set":        (*process).showSet,
		"ping":       (*process).ping,
		"ipconfig":   (*process).ipconfig,
		"certutil":   (*process).certutil,
		"cmd":        (*process).nested,
		"powershell": (*process).powershell,
		"sc":         tool("sc.exe"),
		"reg":        tool("reg.exe"),
		"bcdedit":    tool("bcdedit.exe"),
		"shutdown":   tool("shutdown.exe"),
		"manage-bde": (*process).manageBDE,
	}
}

// tool runs a program that tools knows too, and prints what it says.
func tool(name string) runnable {
	return func(p *process, rest string) uint32 {
		output, exit, err := (&tools{p.Machine}).Run(p.ctx, name, arguments(rest)...)
		if err != nil {
			return p.fail(1, "%v\r\n", err)
		}
		for _, line := range output {
			p.out("%s\r\n", line)
		}
		return uint32(exit)
	}
}

func (p *process) echo(rest string) uint32 {
	switch text := strings.TrimPrefix(rest, " "); {
	case strings.TrimSpace(rest) == "":
		p.out("ECHO is on.\r\n")
	case strings.EqualFold(strings.TrimSpace(rest), "off"), strings.EqualFold(strings.TrimSpace(rest), "on"): // commands are never shown
	default:
		p.out("%s\r\n", text)
	}
	return 0
}

func (p *process) chdir(rest string) uint32 {
	target := strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(rest), "/d"))
	if target == "" {
		p.out("%s\r\n", p.dir)
		return 0
	}
	if where := p.absolute(target); p.disk.hasFolder(where) {
		p.dir = where
		return 0
	}
	return p.fail(1, "The system cannot find the path specified.\r\n")
}

// nested is cmd /c LINE.
func (p *process) nested(rest string) uint32 {
	rest = strings.TrimSpace(rest)
	for {
		word, after := firstWord(rest)
		switch strings.ToLower(word) {
		case "/c", "/k", "/r":
			inner := *p
			return inner.line(unwrapped(after))
		case "/q", "/d", "/s", "/a", "/u":
			rest = strings.TrimSpace(after)
		default:
			return p.fail(1, "This simulated cmd runs /c only.\r\n")
		}
	}
}

func (p *process) listing(rest string) uint32 {
	bare, target := false, p.dir
	for _, a := range arguments(rest) {
		switch {
		case strings.EqualFold(a, "/b"):
			bare = true
		case !strings.HasPrefix(a, "/"):
			target = p.absolute(a)
		}
	}
	folder, pattern := target, "*"
	if !p.disk.hasFolder(target) {
		folder, pattern = parent(target), base(target)
	}
	files, err := p.disk.List(folder)
	if err != nil {
		return p.fail(1, "File Not Found\r\n")
	}
	if !bare {
		p.out(" Volume in drive C is Windows\r\n\r\n Directory of %s\r\n\r\n", p.absolute(folder))
	}
	count, size := 0, int64(0)
	if pattern == "*" {
		for _, name := range p.disk.subfolders(folder) {
			if bare {
				p.out("%s\r\n", name)
			} else {
				p.out("%s    <DIR>          %s\r\n", p.now().UTC().Format("01/02/2006  03:04 PM"), name)
			}
			count++
		}
	}
	for _, f := range files {
		if ok, _ := path.Match(strings.ToLower(pattern), strings.ToLower(f.Name)); !ok {
			continue
		}
		count++
		size += f.Size
		if bare {
			p.out("%s\r\n", f.Name)
		} else {
			p.out("%s %17d %s\r\n", f.Modified.Format("01/02/2006  03:04 PM"), f.Size, f.Name)
		}
	}
	if count == 0 {
		return p.fail(1, "File Not Found\r\n")
	}
	if !bare {
		p.out("%16d File(s) %14d bytes\r\n", count, size)
	}
	return 0
}

func (p *process) typeFile(rest string) uint32 {
	for _, a := range arguments(rest) {
		f, err := p.disk.Open(p.absolute(a))
		if err != nil {
			return p.fail(1, "The system cannot find the file specified.\r\n")
		}
		_, err = io.Copy(bytesOf(p.stdout), f)
		_ = f.Close()
		if err != nil {
			return 1
		}
	}
	return 0
}

// more copies its standard input; from a pipe it ends with it.
func (p *process) more(string) uint32 {
	if _, err := io.Copy(bytesOf(p.stdout), p.stdin); err != nil {
		return 1
	}
	return 0
}

func (p *process) del(rest string) uint32 {
	for _, a := range arguments(rest) {
		if strings.HasPrefix(a, "/") {
			continue
		}
		target := p.absolute(a)
		files, err := p.disk.List(parent(target))
		found := false
		for _, f := range files {
			if ok, _ := path.Match(strings.ToLower(base(target)), strings.ToLower(f.Name)); ok {
				found = true
				if err := p.disk.remove(parent(target) + `\` + f.Name); err != nil {
					p.fail(0, "%s\r\n%v\r\n", parent(target)+`\`+f.Name, err)
				}
			}
		}
		if err != nil || !found {
			p.fail(0, "Could Not Find %s\r\n", target)
		}
	}
	return 0
}

// ping really waits a second between two packets: it is how a command line takes its time.
func (p *process) ping(rest string) uint32 {
	count, host := 4, ""
	args := arguments(rest)
	for i := 0; i < len(args); i++ {
		if strings.EqualFold(args[i], "-n") && i+1 < len(args) {
			i++
			count, _ = strconv.Atoi(args[i])
		} else if !strings.HasPrefix(args[i], "-") {
			host = args[i]
		}
	}
	if host != "127.0.0.1" && !strings.EqualFold(host, "localhost") && !strings.EqualFold(host, p.spec.Name) {
		return p.fail(1, "Ping request could not find host %s. Please check the name and try again.\r\n", host)
	}
	for i := range count {
		if i > 0 {
			timer := time.NewTimer(time.Second)
			select {
			case <-timer.C:
			case <-p.ctx.Done():
				timer.Stop()
				return 1
			}
		}
		p.out("Reply from 127.0.0.1: bytes=32 time<1ms TTL=128\r\n")
		if f, ok := p.stdout.(interface{ Flush() error }); ok {
			_ = f.Flush()
		}
	}
	return 0
}

func (p *process) ipconfig(string) uint32 {
	_, suffix, _ := strings.Cut(p.spec.FQDN, ".")
	p.out("\r\nWindows IP Configuration\r\n\r\n\r\nEthernet adapter Ethernet:\r\n\r\n   Connection-specific DNS Suffix  . : %s\r\n"+
		"   IPv4 Address. . . . . . . . . . . : %s\r\n   Subnet Mask . . . . . . . . . . . : 255.255.255.0\r\n", suffix, p.spec.Address)
	return 0
}

func (p *process) certutil(rest string) uint32 {
	args := arguments(rest)
	if len(args) < 2 || !strings.EqualFold(strings.TrimLeft(args[0], "-/"), "hashfile") {
		return p.fail(1, "CertUtil: this simulated machine knows -hashfile only.\r\n")
	}
	algorithm := "SHA1"
	if len(args) > 2 {
		algorithm = strings.ToUpper(args[2])
	}
	h := newHash(algorithm)
	f, err := p.disk.Open(p.absolute(args[1]))
	if err != nil || h == nil {
		p.out("CertUtil: -hashfile command FAILED: 0x80070002 (WIN32: 2 ERROR_FILE_NOT_FOUND)\r\nCertUtil: The system cannot find the file specified.\r\n")
		return 0x80070002
	}
	_, _ = io.Copy(h, f) // memory to memory
	p.out("%s hash of %s:\r\n%s\r\nCertUtil: -hashfile command completed successfully.\r\n", algorithm, args[1], hex.EncodeToString(h.Sum(nil)))
	return 0
}

func newHash(algorithm string) hash.Hash {
	switch algorithm {
	case "MD5":
		return md5.New()
	case "SHA1":
		return sha1.New()
	case "SHA256":
		return sha256.New()
	}
	return nil
}
