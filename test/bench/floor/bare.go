//go:build unix

package main

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	"github.com/bodgit/ntlmssp"

	"github.com/fleetmend/fleetmend/remediate/agent"
	"github.com/fleetmend/fleetmend/remediate/playbook"
)

// The bare client: per machine one connection, one NTLM logon, a shell, a command, its input, its output, and the shell is deleted. All
// that is not in the bytes is left out: nothing is checked, decoded, recorded or tried again, and the input is made once for all.

const (
	soapType   = "application/soap+xml;charset=UTF-8"
	sealedType = `multipart/encrypted;protocol="application/HTTP-SPNEGO-session-encrypted";boundary="Encrypted Boundary"`
	shellURI   = "http://schemas.microsoft.com/wbem/wsman/1/windows/shell"
	transfer   = "http://schemas.xmlsoap.org/ws/2004/09/transfer/"
)

// look asks every machine of a simulated fleet's folder, forks at once.
func look(dir string, forks int) error {
	password, err := os.ReadFile(filepath.Join(dir, "password"))
	if err != nil {
		return err
	}
	table, err := os.Open(filepath.Join(dir, "machines.csv"))
	if err != nil {
		return err
	}
	rows, err := csv.NewReader(table).ReadAll()
	_ = table.Close()
	if err != nil {
		return err
	}
	input, err := question()
	if err != nil {
		return err
	}
	addresses := make(chan string)
	failed := make(chan error, forks)
	var all sync.WaitGroup
	for range forks {
		all.Go(func() {
			for address := range addresses {
				if err := one(address, string(password), input); err != nil {
					select {
					case failed <- fmt.Errorf("%s: %w", address, err):
					default:
					}
				}
			}
		})
	}
	for _, row := range rows[1:] {
		addresses <- row[2] // name, fqdn, address
	}
	close(addresses)
	all.Wait()
	select {
	case err := <-failed:
		return err
	default:
		return nil
	}
}

// question is what a dry run of the built-in playbook sends to a machine, in base64.
func question() ([]byte, error) {
	source, err := playbook.Builtin("crowdstrike-channel-file-291")
	if err != nil {
		return nil, err
	}
	bound, err := source.Bind(nil)
	if err != nil {
		return nil, err
	}
	stdin, err := agent.Encode(agent.Request{Run: "20260101-000000-floor0", Nonce: agent.Nonce(), Mode: agent.Detect, Playbook: bound})
	return []byte(base64.StdEncoding.EncodeToString(stdin)), err
}

type conversation struct {
	conn    net.Conn
	reader  *bufio.Reader
	session *ntlmssp.SecuritySession
	address string
	out     []byte
}

func one(address, password string, input []byte) error {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	c := &conversation{conn: conn, reader: bufio.NewReaderSize(conn, 4<<10), address: address}
	if err := c.logon(password); err != nil {
		return err
	}
	reply, err := c.ask(transfer+"Create", "", `<w:OptionSet><w:Option Name="WINRS_NOPROFILE">TRUE</w:Option><w:Option Name="WINRS_CODEPAGE">65001</w:Option></w:OptionSet>`,
		`<rsp:Shell><rsp:InputStreams>stdin</rsp:InputStreams><rsp:OutputStreams>stdout stderr</rsp:OutputStreams><rsp:IdleTimeOut>PT900.000S</rsp:IdleTimeOut></rsp:Shell>`, nil)
	if err != nil {
		return err
	}
	shell := between(reply, "<rsp:ShellId>")
	reply, err = c.ask(shellURI+"/Command", shell, `<w:OptionSet><w:Option Name="WINRS_CONSOLEMODE_STDIN">FALSE</w:Option><w:Option Name="WINRS_SKIP_CMD_SHELL">FALSE</w:Option></w:OptionSet>`,
		`<rsp:CommandLine><rsp:Command>`+agent.CommandLine()+`</rsp:Command></rsp:CommandLine>`, nil)
	if err != nil {
		return err
	}
	command := between(reply, "<rsp:CommandId>")
	if _, err = c.ask(shellURI+"/Send", shell, "", `<rsp:Send><rsp:Stream Name="stdin" CommandId="`+command+`" End="TRUE">@</rsp:Stream></rsp:Send>`, input); err != nil {
		return err
	}
	for {
		reply, err = c.ask(shellURI+"/Receive", shell, "", `<rsp:Receive><rsp:DesiredStream CommandId="`+command+`">stdout stderr</rsp:DesiredStream></rsp:Receive>`, nil)
		if err != nil {
			return err
		}
		if bytes.Contains(reply, []byte("CommandState/Done")) {
			break
		}
	}
	_, err = c.ask(transfer+"Delete", shell, "", "", nil)
	return err
}

func between(reply []byte, tag string) string {
	_, rest, _ := bytes.Cut(reply, []byte(tag))
	text, _, _ := bytes.Cut(rest, []byte("<"))
	return string(text)
}

func (c *conversation) logon(password string) error {
	client, err := ntlmssp.NewClient(ntlmssp.SetCompatibilityLevel(5), ntlmssp.SetUserInfo("admin", password), ntlmssp.SetDomain("FLEET"),
		ntlmssp.SetVersion(&ntlmssp.Version{ProductMajorVersion: 10, ProductBuild: 19041, NTLMRevisionCurrent: ntlmssp.NTLMSSPRevisionW2K3}))
	if err != nil {
		return err
	}
	first, err := client.Authenticate(nil, nil)
	if err != nil {
		return err
	}
	_, challenge, err := c.post(soapType, first, nil)
	if err != nil {
		return err
	}
	third, err := client.Authenticate(challenge, nil)
	if err != nil {
		return err
	}
	c.session = client.SecuritySession()
	_, _, err = c.post(soapType, third, nil)
	return err
}

// ask sends one sealed envelope and opens the answer. input takes the place of the first @.
func (c *conversation) ask(action, shell, options, body string, input []byte) ([]byte, error) {
	if shell != "" {
		shell = `<w:SelectorSet><w:Selector Name="ShellId">` + shell + `</w:Selector></w:SelectorSet>`
	}
	envelope := []byte(`<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope" xmlns:a="http://schemas.xmlsoap.org/ws/2004/08/addressing" xmlns:w="http://schemas.dmtf.org/wbem/wsman/1/wsman.xsd" ` +
		`xmlns:rsp="http://schemas.microsoft.com/wbem/wsman/1/windows/shell"><s:Header><a:To>http://` + c.address + `/wsman</a:To><a:ReplyTo><a:Address>http://schemas.xmlsoap.org/ws/2004/08/addressing/role/anonymous</a:Address></a:ReplyTo>` +
		`<a:Action>` + action + `</a:Action><a:MessageID>uuid:11111111-2222-3333-4444-555555555555</a:MessageID><w:MaxEnvelopeSize>153600</w:MaxEnvelopeSize>` +
		`<w:ResourceURI>` + shellURI + `/cmd</w:ResourceURI><w:OperationTimeout>PT20S</w:OperationTimeout>` + shell + options + `</s:Header><s:Body>` + body + `</s:Body></s:Envelope>`)
	if input != nil {
		envelope = bytes.Replace(envelope, []byte("@"), input, 1)
	}
	sealed, signature, err := c.session.Wrap(envelope)
	if err != nil {
		return nil, err
	}
	b := append(c.out[:0], "--Encrypted Boundary\r\n\tContent-Type: application/HTTP-SPNEGO-session-encrypted\r\n\tOriginalContent: type="+soapType+";Length="...)
	b = strconv.AppendInt(b, int64(len(envelope)), 10)
	b = append(b, "\r\n--Encrypted Boundary\r\n\tContent-Type: application/octet-stream\r\n"...)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(signature)))
	b = append(append(append(b, signature...), sealed...), "--Encrypted Boundary--\r\n"...)
	c.out = b
	reply, _, err := c.post(sealedType, nil, b)
	if err != nil {
		return nil, err
	}
	_, part, ok := bytes.Cut(reply, []byte("application/octet-stream\r\n"))
	part = bytes.TrimSuffix(part, []byte("--Encrypted Boundary--\r\n"))
	if !ok || len(part) < 20 {
		return nil, errors.New("the answer is not sealed")
	}
	plain, err := c.session.Unwrap(part[20:], part[4:20])
	if err == nil && bytes.Contains(plain, []byte("<s:Fault>")) {
		return nil, fmt.Errorf("%s", plain)
	}
	return plain, err
}

// post sends a request and reads the answer, and the token in it.
func (c *conversation) post(contentType string, token, body []byte) (reply, answered []byte, err error) {
	b := append([]byte("POST /wsman HTTP/1.1\r\nHost: "+c.address+"\r\nUser-Agent: floor\r\nContent-Type: "+contentType+"\r\nContent-Length: "), strconv.Itoa(len(body))...)
	if token != nil {
		b = append(b, "\r\nAuthorization: Negotiate "+base64.StdEncoding.EncodeToString(token)...)
	}
	b = append(b, "\r\n\r\n"...)
	if _, err = c.conn.Write(append(b, body...)); err != nil {
		return nil, nil, err
	}
	length := 0
	for {
		line, err := c.reader.ReadSlice('\n')
		if err != nil {
			return nil, nil, err
		}
		text := strings.TrimRight(string(line), "\r\n")
		if text == "" {
			break
		}
		switch name, value, _ := strings.Cut(text, ": "); {
		case strings.EqualFold(name, "Content-Length"):
			if length, err = strconv.Atoi(value); err != nil {
				return nil, nil, err
			}
		case strings.EqualFold(name, "WWW-Authenticate"):
			if _, token, ok := strings.Cut(value, " "); ok {
				if answered, err = base64.StdEncoding.DecodeString(token); err != nil {
					return nil, nil, err
				}
			}
		}
	}
	reply = make([]byte, length)
	_, err = io.ReadFull(c.reader, reply)
	return reply, answered, err
}
