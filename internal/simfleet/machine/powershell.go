package machine

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode/utf16"

	"github.com/fleetmend/fleetmend/internal/lazyregexp"
)

// powershell is powershell.exe with the options that remote tools use.
func (p *process) powershell(rest string) uint32 {
	for {
		word, after := firstWord(rest)
		option := strings.ToLower(strings.Replace(word, "/", "-", 1))
		switch option {
		case "":
			return p.fail(1, "This simulated PowerShell has no prompt.\r\n")
		case "-noprofile", "-noninteractive", "-nologo", "-nop", "-noni", "-sta", "-mta":
			rest = after
		case "-executionpolicy", "-ex", "-ep", "-inputformat", "-outputformat", "-windowstyle", "-version":
			_, rest = firstWord(after)
		case "-encodedcommand", "-enc", "-e", "-ec", "-encoded":
			word, _ := firstWord(after)
			raw, err := base64.StdEncoding.DecodeString(word)
			if err != nil || len(raw)%2 != 0 {
				return p.fail(0xFFFD0000, "Cannot process the command because the value specified with -EncodedCommand is not properly encoded. "+
					"The value must be Base64 encoded.\r\n")
			}
			units := make([]uint16, len(raw)/2)
			for i := range units {
				units[i] = binary.LittleEndian.Uint16(raw[2*i:])
			}
			errors := &clixml{to: p.stderr}
			inner := *p
			inner.psError = errors
			exit := inner.script(string(utf16.Decode(units)))
			errors.close()
			return exit
		case "-command", "-c":
			rest = after
			fallthrough
		default:
			text := strings.TrimSpace(rest)
			if len(text) > 1 && text[0] == '"' && text[len(text)-1] == '"' {
				text = strings.ReplaceAll(text[1:len(text)-1], `\"`, `"`)
			}
			if text == "-" {
				raw, err := io.ReadAll(io.LimitReader(p.stdin, maxScript))
				if err != nil {
					return 1
				}
				text = string(raw)
			}
			inner := *p
			inner.psError = p.stderr
			return inner.script(text)
		}
	}
}

// clixml frames PowerShell's errors as it does when nobody watches a console.
type clixml struct {
	to    io.Writer
	begun bool
}

func (c *clixml) Write(b []byte) (int, error) {
	if !c.begun {
		c.begun = true
		_, _ = io.WriteString(c.to, "#< CLIXML\r\n"+`<Objs Version="1.1.0.1" xmlns="http://schemas.microsoft.com/powershell/2004/04">`)
	}
	for line := range strings.Lines(string(b)) {
		text := strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;").Replace(strings.TrimRight(line, "\r\n"))
		_, _ = io.WriteString(c.to, `<S S="Error">`+text+`_x000D__x000A_</S>`)
	}
	return len(b), nil
}

func (c *clixml) close() {
	if c.begun {
		_, _ = io.WriteString(c.to, "</Objs>")
	}
}

// script runs statements one after the other. The exit code is that of exit, else 1 where the last statement failed.
func (p *process) script(text string) uint32 {
	if p.psError == nil {
		p.psError = p.stderr
	}
	failed := false
	for _, statement := range statements(text) {
		if p.ctx.Err() != nil {
			return 1
		}
		if passOn.MatchString(statement) {
			if failed {
				return max(p.lastExit, 1)
			}
			continue
		}
		ok := p.statement(statement)
		if p.ended {
			return p.lastExit
		}
		failed = !ok
	}
	if failed {
		return 1
	}
	return 0
}

// passOn is the line that Ansible ends a script with.
var passOn = lazyregexp.New(`(?i)^If \(-not \$\?\) \{ If \(Get-Variable LASTEXITCODE -ErrorAction SilentlyContinue\) \{ exit \$LASTEXITCODE \} Else \{ exit 1 \} \}$`)

// statements splits a script at ends of lines and semicolons outside quotes and braces.
func statements(text string) []string {
	var out []string
	depth, start := 0, 0
	var quote byte
	add := func(end int) {
		if s := strings.TrimSpace(text[start:end]); s != "" && !strings.HasPrefix(s, "#") {
			out = append(out, s)
		}
		start = end + 1
	}
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case quote != 0:
			if c == quote {
				quote = 0
			}
		case c == '\'' || c == '"':
			quote = c
		case c == '{' || c == '(':
			depth++
		case c == '}' || c == ')':
			depth--
		case depth <= 0 && (c == ';' || c == '\n' || c == '\r'):
			add(i)
		}
	}
	add(len(text))
	return out
}

// The forms of statement that this PowerShell knows. Each gets the parts in parentheses.
var forms = []struct {
	pattern *lazyregexp.Regexp
	run     func(p *process, part []string) bool
}{
	{form(`Set-StrictMode .*|\$(?:ErrorActionPreference|ProgressPreference|VerbosePreference)\s*=\s*(?:'\w+'|"\w+")`), func(*process, []string) bool { return true }},
	{form(`try \{ \[Console\]::OutputEncoding = New-Object System\.Text\.UTF8Encoding \} catch \{\}`), psUTF8},
	{form(`\[Console\]::OutputEncoding\s*=.*UTF8.*`), psUTF8},
	{form(`exit(?:\s+(\d+|\$LASTEXITCODE))?`), psExit},
	{form(`\[Console\]::(Error|Out)\.Write(Line)?\((.*)\)`), psConsole},
	{form(`(?:Write-Output|Write-Host|echo)\s+(?:-InputObject\s+)?(.+)`), psWrite},
	{form(`Write-Error\s+(.+)`), psWriteError},
	{form(`Get-Content\s+(?:-(?:Literal)?Path\s+)?('[^']*'|"[^"]*"|\S+)(?:\s+-Raw)?`), psContent},
	{form(`&?\s*((?:powershell|cmd|hostname|whoami|ipconfig|certutil|sc|reg|bcdedit|shutdown|ping|chcp|manage-bde)(?:\.exe|\.com)?)((?:\s.*)?)`), psNative},
	{form(`(.+)`), psExpression},
}

func form(pattern string) *lazyregexp.Regexp { return lazyregexp.New(`(?is)^(?:` + pattern + `)$`) }

func (p *process) statement(text string) bool {
	for _, f := range forms {
		if part := f.pattern.FindStringSubmatch(text); part != nil {
			return f.run(p, part)
		}
	}
	return true
}

func psExit(p *process, part []string) bool {
	p.ended = true
	switch n, err := strconv.ParseUint(part[1], 10, 32); {
	case part[1] == "":
		p.lastExit = 0
	case err == nil:
		p.lastExit = uint32(n)
	}
	return true
}

func psConsole(p *process, part []string) bool {
	text, ok := p.value(part[3])
	if !ok {
		return p.unknown(part[3])
	}
	end := ""
	if part[2] != "" {
		end = "\r\n"
	}
	to := p.stdout
	if strings.EqualFold(part[1], "Error") {
		to = p.stderr
	}
	_, _ = io.WriteString(to, text+end)
	return true
}

func psWrite(p *process, part []string) bool {
	text, ok := p.value(part[1])
	if !ok {
		if strings.ContainsAny(part[1], "$(){}|@`") {
			return p.unknown(part[1])
		}
		text = strings.Join(arguments(part[1]), "\r\n")
	}
	p.out("%s\r\n", text)
	return true
}

func psWriteError(p *process, part []string) bool {
	text, ok := p.value(part[1])
	if !ok {
		return p.unknown(part[1])
	}
	_, _ = fmt.Fprintf(p.psError, "%s\r\n    + CategoryInfo          : NotSpecified: (:) [Write-Error], WriteErrorException\r\n"+
		"    + FullyQualifiedErrorId : Microsoft.PowerShell.Commands.WriteErrorException\r\n", text)
	return false
}

func psContent(p *process, part []string) bool {
	path, ok := p.value(part[1])
	if !ok {
		path = part[1]
	}
	e, ok := p.disk.stat(p.absolute(path))
	if !ok {
		return p.noPath("Get-Content", p.absolute(path))
	}
	p.out("%s\r\n", strings.TrimRight(string(e.content), "\r\n"))
	return true
}

func psNative(p *process, part []string) bool {
	name := strings.ToLower(part[1])
	name = strings.TrimSuffix(strings.TrimSuffix(name, ".exe"), ".com")
	rest, q, ok := p.redirect(strings.ReplaceAll(strings.ReplaceAll(part[2], "> $null", ">nul"), "'", `"`))
	if !ok {
		return p.unknown(part[1])
	}
	ended := p.ended
	p.lastExit = commands[name](&q, " "+rest)
	p.ended = ended
	return p.lastExit == 0
}

func psExpression(p *process, part []string) bool {
	text, ok := p.value(part[1])
	if !ok {
		return p.unknown(part[1])
	}
	p.out("%s\r\n", text)
	return true
}

var (
	psProperty = form(`\(\s*(Get-FileHash|Get-Item)\s+(?:-(?:Literal)?Path\s+)?('[^']*'|"[^"]*"|[^\s)]+)(?:\s+-Algorithm\s+(\w+))?\s*\)\.(\w+)`)
	psFile     = form(`(Get-FileHash|Get-Item)\s+(?:-(?:Literal)?Path\s+)?('[^']*'|"[^"]*"|\S+)(?:\s+-Algorithm\s+(\w+))?()`)
	psVariable = lazyregexp.New(`(?i)\$env:(\w+)|\$\{env:(\w+)\}`)
)

// value evaluates an expression of a known form to the text that PowerShell would show.
func (p *process) value(text string) (string, bool) {
	text = strings.TrimSpace(text)
	switch lower := strings.ToLower(text); {
	case len(text) > 1 && text[0] == '\'' && text[len(text)-1] == '\'' && !strings.Contains(strings.ReplaceAll(text[1:len(text)-1], "''", ""), "'"):
		return strings.ReplaceAll(text[1:len(text)-1], "''", "'"), true
	case len(text) > 1 && text[0] == '"' && text[len(text)-1] == '"' && !strings.Contains(text[1:len(text)-1], `"`):
		inner := psVariable.ReplaceAllStringFunc(text[1:len(text)-1], func(v string) string {
			return p.env[strings.ToUpper(strings.Trim(v[strings.IndexByte(v, ':')+1:], "}"))]
		})
		return inner, !strings.ContainsAny(inner, "$`")
	case psVariable.FindString(text) == text && text != "":
		return p.env[strings.ToUpper(strings.Trim(text[strings.IndexByte(text, ':')+1:], "}"))], true
	case lower == "$psversiontable.psversion.tostring()":
		return "5.1." + strconv.Itoa(p.spec.Build) + ".1", true
	case lower == "$psversiontable.psversion.major":
		return "5", true
	case lower == "$psversiontable.psversion":
		return fmt.Sprintf("\r\nMajor  Minor  Build  Revision\r\n-----  -----  -----  --------\r\n5      1      %-6d 1       \r\n\r\n", p.spec.Build), true
	case lower == "$pid":
		return "4242", true
	case lower == "$executioncontext.sessionstate.languagemode":
		return "FullLanguage", true
	}
	if _, err := strconv.Atoi(text); err == nil {
		return text, true
	}
	for _, f := range []*lazyregexp.Regexp{psProperty, psFile} {
		if part := f.FindStringSubmatch(text); part != nil {
			return p.fileValue(part)
		}
	}
	return "", false
}

// fileValue is what Get-FileHash and Get-Item say of a file, as a whole or one property.
func (p *process) fileValue(part []string) (string, bool) {
	name, ok := p.value(part[2])
	if !ok {
		name = part[2]
	}
	path := p.absolute(name)
	e, ok := p.disk.stat(path)
	if !ok {
		return "", false
	}
	if strings.EqualFold(part[1], "Get-FileHash") {
		algorithm := strings.ToUpper(part[3])
		if algorithm == "" {
			algorithm = "SHA256"
		}
		h := newHash(algorithm)
		if h == nil {
			return "", false
		}
		_, _ = h.Write(e.content)
		sum := strings.ToUpper(hex.EncodeToString(h.Sum(nil)))
		switch strings.ToLower(part[4]) {
		case "hash":
			return sum, true
		case "path":
			return path, true
		case "":
			return fmt.Sprintf("\r\nAlgorithm       Hash                                                                   Path\r\n"+
				"---------       ----                                                                   ----\r\n%-15s %-70s %s\r\n\r\n", algorithm, sum, path), true
		}
		return "", false
	}
	const shown = "1/2/2006   3:04 PM"
	switch strings.ToLower(part[4]) {
	case "length":
		return strconv.Itoa(len(e.content)), true
	case "name":
		return base(e.path), true
	case "fullname":
		return e.path, true
	case "lastwritetimeutc", "lastwritetime":
		return e.modified.UTC().Format("Monday, January 2, 2006 3:04:05 PM"), true
	case "":
		return fmt.Sprintf("\r\n\r\n    Directory: %s\r\n\r\n\r\nMode                 LastWriteTime         Length Name\r\n----                 -------------         ------ ----\r\n"+
			"-a----        %s %14d %s\r\n\r\n", parent(e.path), e.modified.UTC().Format(shown), len(e.content), base(e.path)), true
	}
	return "", false
}

func (p *process) noPath(cmdlet, path string) bool {
	_, _ = fmt.Fprintf(p.psError, "%s : Cannot find path '%s' because it does not exist.\r\n    + CategoryInfo          : ObjectNotFound: (%s:String) [%s], ItemNotFoundException\r\n"+
		"    + FullyQualifiedErrorId : PathNotFound\r\n", cmdlet, path, path, cmdlet)
	return false
}

// unknown is what PowerShell says of a word that it does not know.
func (p *process) unknown(text string) bool {
	word, _ := firstWord(text)
	for _, f := range []*lazyregexp.Regexp{psProperty, psFile} {
		if part := f.FindStringSubmatch(text); part != nil {
			name, _ := p.value(part[2])
			return p.noPath(part[1], p.absolute(name))
		}
	}
	_, _ = fmt.Fprintf(p.psError, "%s : The term '%s' is not recognized as the name of a cmdlet, function, script file, or operable program. "+
		"Check the spelling of the name, or if a path was included, verify that the path is correct and try again.\r\n"+
		"    + CategoryInfo          : ObjectNotFound: (%s:String) [], CommandNotFoundException\r\n    + FullyQualifiedErrorId : CommandNotFoundException\r\n", word, word, word)
	return false
}
