package cli

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/binary"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf16"
)

// sqlServer speaks as much of TDS (MS-TDS) as one sign-in and three queries need: PRELOGIN, TLS inside its packets, LOGIN7,
// sp_executesql, result sets and errors. It answers by what a query contains; whether a real SQL Server takes the
// statements is not shown here.
type sqlServer struct {
	net.Listener
	certificate tls.Certificate
	password    string

	mu       sync.Mutex
	queries  []string
	sessions sync.WaitGroup
}

const (
	sqlKeyID    = "4C4B6D8A-1F2E-4D3C-9B8A-0123456789AB"
	sqlPassword = "244442-694309-119746-295625-480249-045804-063217-603053"
)

// startSQL serves until the test ends, and writes the certificate into ca.pem.
func startSQL(t *testing.T, password string) *sqlServer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "sql"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile("ca.pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &sqlServer{Listener: listener, password: password, certificate: tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}}
	s.sessions.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			s.sessions.Go(func() {
				defer conn.Close()
				if err := s.serve(conn); err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, net.ErrClosed) && !strings.Contains(err.Error(), "reset by peer") {
					t.Logf("session: %v", err)
				}
			})
		}
	})
	t.Cleanup(func() { _ = listener.Close(); s.sessions.Wait() })
	return s
}

// message reads the packets of one message.
func message(r io.Reader) (kind byte, data []byte, err error) {
	for {
		var head [8]byte
		if _, err := io.ReadFull(r, head[:]); err != nil {
			return 0, nil, err
		}
		part := make([]byte, binary.BigEndian.Uint16(head[2:])-8)
		if _, err := io.ReadFull(r, part); err != nil {
			return 0, nil, err
		}
		if data = append(data, part...); head[1]&1 != 0 {
			return head[0], data, nil
		}
	}
}

func packet(kind byte, data []byte) []byte {
	head := []byte{kind, 1, 0, 0, 0, 0, 1, 0}
	binary.BigEndian.PutUint16(head[2:], uint16(len(data)+8))
	return append(head, data...)
}

// handshake carries TLS inside packets until it is done.
type handshake struct {
	net.Conn
	rest []byte
	done bool
}

func (h *handshake) Read(p []byte) (int, error) {
	if h.done && len(h.rest) == 0 {
		return h.Conn.Read(p)
	}
	if len(h.rest) == 0 {
		var err error
		if _, h.rest, err = message(h.Conn); err != nil {
			return 0, err
		}
	}
	n := copy(p, h.rest)
	h.rest = h.rest[n:]
	return n, nil
}

func (h *handshake) Write(p []byte) (int, error) {
	if h.done {
		return h.Conn.Write(p)
	}
	_, err := h.Conn.Write(packet(0x12, p))
	return len(p), err
}

func (s *sqlServer) serve(conn net.Conn) error {
	if _, _, err := message(conn); err != nil {
		return err
	}
	options := []byte{0, 0, 11, 0, 6, 1, 0, 17, 0, 1, 0xff, 16, 0, 0, 0, 0, 0, 1} // version; encryption: on
	if _, err := conn.Write(packet(4, options)); err != nil {
		return err
	}
	inner := &handshake{Conn: conn}
	sealed := tls.Server(inner, &tls.Config{Certificates: []tls.Certificate{s.certificate}, MinVersion: tls.VersionTLS12, MaxVersion: tls.VersionTLS12})
	if err := sealed.Handshake(); err != nil {
		return err
	}
	inner.done = true
	_, login, err := message(sealed)
	if err != nil {
		return err
	}
	if user, password := loginField(login, 40, false), loginField(login, 44, true); user != "reader" || password != s.password {
		_, err := sealed.Write(packet(4, append(sqlError(18456, "Login failed for user '"+user+"'."), sqlDone(2)...)))
		return err
	}
	ack := append([]byte{1, 0x74, 0, 0, 4}, shortText("fake SQL Server")...)
	ack = append(ack, 16, 0, 0, 0)
	if _, err := sealed.Write(packet(4, append(token(0xad, ack), sqlDone(0)...))); err != nil {
		return err
	}
	for {
		_, request, err := message(sealed)
		if err != nil {
			return err
		}
		if _, err := sealed.Write(packet(4, s.answer(fromWide(request)))); err != nil {
			return err
		}
	}
}

func (s *sqlServer) answer(query string) []byte {
	s.mu.Lock()
	s.queries = append(s.queries, query)
	s.mu.Unlock()
	switch {
	case strings.Contains(query, "OBJECT_ID"):
		return result(1, 0, 0)
	case strings.Contains(query, "SELECT TOP 1 k.RecoveryKey") && strings.Contains(query, sqlKeyID):
		return result(sqlPassword)
	case strings.Contains(query, "LastUpdateTime >="):
		return result(sqlKeyID, "D0CE6BC4-B991-4961-B87F-4A4D3F3F4072", "PC-7", time.Date(2024, 5, 1, 10, 0, 0, 0, time.UTC))
	}
	return append(sqlError(208, "Invalid object name."), sqlDone(2)...)
}

func loginField(login []byte, at int, hidden bool) string {
	from, n := int(binary.LittleEndian.Uint16(login[at:])), 2*int(binary.LittleEndian.Uint16(login[at+2:]))
	raw := bytes.Clone(login[from : from+n])
	for i := range raw {
		if hidden {
			raw[i] ^= 0xa5
			raw[i] = raw[i]<<4 | raw[i]>>4
		}
	}
	return fromWide(raw)
}

func fromWide(raw []byte) string { // also from the odd bytes of a request, whose frame is of no interest
	var out strings.Builder
	for _, b := range raw {
		if b >= ' ' && b <= '~' {
			out.WriteByte(b)
		}
	}
	return out.String()
}

func wide(text string) (out []byte) {
	for _, unit := range utf16.Encode([]rune(text)) {
		out = binary.LittleEndian.AppendUint16(out, unit)
	}
	return out
}

func shortText(text string) []byte { return append([]byte{byte(len(text))}, wide(text)...) }

func token(kind byte, data []byte) []byte {
	return append(binary.LittleEndian.AppendUint16([]byte{kind}, uint16(len(data))), data...)
}

func sqlError(number uint32, text string) []byte {
	data := append(binary.LittleEndian.AppendUint32(nil, number), 1, 14)
	data = append(binary.LittleEndian.AppendUint16(data, uint16(len(text))), wide(text)...)
	return token(0xaa, append(data, 0, 0, 1, 0, 0, 0))
}

func sqlDone(status byte) []byte { return append([]byte{0xfd, status}, make([]byte, 11)...) }

// result is one row of whole numbers, texts and times.
func result(values ...any) []byte {
	out := binary.LittleEndian.AppendUint16([]byte{0x81}, uint16(len(values)))
	var row []byte
	for i, v := range values {
		out = append(out, 0, 0, 0, 0, 0, 0)
		switch v := v.(type) {
		case int:
			out = append(out, 0x38)
			row = binary.LittleEndian.AppendUint32(row, uint32(v))
		case string:
			out = append(out, 0xe7, 0, 2, 9, 4, 0xd0, 0, 52)
			row = append(binary.LittleEndian.AppendUint16(row, uint16(2*len(v))), wide(v)...)
		case time.Time:
			out = append(out, 0x6f, 8)
			since := v.Sub(time.Date(1900, 1, 1, 0, 0, 0, 0, time.UTC))
			row = binary.LittleEndian.AppendUint32(append(row, 8), uint32(since/(24*time.Hour)))
			row = binary.LittleEndian.AppendUint32(row, uint32(since%(24*time.Hour)/time.Second*300))
		}
		out = append(out, shortText(fmt.Sprintf("c%d", i))...)
	}
	return append(append(append(out, 0xd1), row...), sqlDone(0x10)...)
}

func TestKeysOfSQLServer(t *testing.T) {
	const secretOfLogin = "Pl4nted-SQL-Passw0rd!"
	run := keyDesk(t, "KeyID,RecoveryKey\n9F00A1B2-0001-4D3C-9B8A-0123456789AB,397309-078848-274615-431123-052811-666798-376805-165770\n")
	server := startSQL(t, secretOfLogin)
	configure := func(password, more string) {
		t.Helper()
		text := "mssql:\n  server: " + server.Addr().String() + "\n  database: CM_LON\n  user: reader\n  password-file: sql.password\n" + more
		for name, content := range map[string]string{"config.yaml": text, "sql.password": password + "\n"} {
			if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	quiet := func(out string) string {
		t.Helper()
		if strings.Contains(out, "Pl4nted") {
			t.Errorf("the password of the login is printed:\n%s", out)
		}
		return out
	}
	configure(secretOfLogin, "  ca: ca.pem\n")
	wants(t, quiet(run(0, "keys", "sync", "--from", "mssql")), `mssql:127.0.0.1:\d+/cm_lon: 1 key read \(all\), 1 new`)
	wants(t, run(0, "keys", "find", "PC-7"), sqlKeyID+`.*mssql:`)
	wants(t, quiet(run(0, "keys", "show", "4C4B6D8A", "--reason", "INC-1", "-o", "json")), sqlPassword)
	wants(t, run(0, "audit", "list", "--action", "reveal", "-o", "csv"), `PC-7,`+sqlKeyID+`,INC-1.*mssql:`)
	wants(t, run(0, "keys", "sync", "--passwords", "--reason", "monthly", "--identity", "identity.txt"), "1 password sealed")
	for _, q := range server.queries {
		if strings.Contains(q, "RecoveryKey)") || strings.Contains(q, "INSERT") || strings.Contains(q, "UPDATE") || strings.Contains(q, "Pl4nted") {
			t.Errorf("asked %s", q)
		}
	}
	// Refusals.
	configure("Pl4nted-wrong", "  ca: ca.pem\n")
	wants(t, quiet(run(4, "keys", "sync")), `(?s)the server refused the account or its password: .*Login failed for user 'reader'.*hint: check mssql.user`)
	configure(secretOfLogin, "")
	wants(t, quiet(run(1, "keys", "sync")), `(?s)certificate.*mssql.ca`)
	_ = server.Close()
	wants(t, quiet(run(1, "keys", "sync")), `(?s)refused.*1433`)
	for more, want := range map[string]string{"  ca: nowhere.pem\n": "mssql.ca: .*nowhere.pem", "  databse: x\n": "did you mean mssql.database"} {
		configure(secretOfLogin, more)
		wants(t, run(1, "keys", "sync"), want)
	}
	for text, want := range map[string]string{"mssql:\n  server: x\n": "no key database is configured", "mssql:\n  server: x\n  database: y\n  user: z\n": "set mssql.password-file"} {
		if err := os.WriteFile("config.yaml", []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		wants(t, run(2, "keys", "sync"), want)
	}
}
