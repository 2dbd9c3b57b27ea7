// Package settings reads fleetmend.yaml, strictly: a key that nobody knows is refused with its line and the nearest known key.
//
// [Load] reads a file, or the first one at the usual places. Paths
// come back absolute: they are relative to the file. A number for which 0 means something is a pointer, nil where the file does
// not say it. The package reads no password and no environment but where the system keeps such files, and it writes nothing.
package settings

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/internal/textfile"
)

// Settings is the file of settings. Paths in it are relative to the file.
type Settings struct {
	State     string    `yaml:"state"` // folder of inventory and journal
	WinRM     WinRM     `yaml:"winrm"`
	Directory Directory `yaml:"directory"`
	Entra     Entra     `yaml:"entra"`
	MSSQL     MSSQL     `yaml:"mssql"`
	Keys      Keys      `yaml:"keys"`
	Kerberos  Kerberos  `yaml:"kerberos"`
	Run       Run       `yaml:"run"`

	Path string `yaml:"-"` // where it was read from, "" for none
}

// Directory says how Active Directory is reached.
type Directory struct {
	Domain       string   `yaml:"domain"` // DNS name
	DC           []string `yaml:"dc"`     // host or host:port; empty: found in DNS
	Bind         string   `yaml:"bind"`   // ldaps, starttls, kerberos-sign, kerberos-seal, kerberos-ldaps or sspi
	User         string   `yaml:"user"`   // user@domain or DOMAIN\user
	PasswordFile string   `yaml:"password-file"`
	Keytab       string   `yaml:"keytab"`
	CCache       string   `yaml:"ccache"`
	CA           string   `yaml:"ca"`   // PEM file of the CAs to trust besides the system's
	Base         string   `yaml:"base"` // DN; default: the whole domain
	OUs          []string `yaml:"ous"`
	Groups       []string `yaml:"groups"` // DNs; members of groups inside them count
	Forest       bool     `yaml:"forest"` // every domain of the forest
}

// WinRM says how running machines are reached.
type WinRM struct {
	Scheme         string        `yaml:"scheme"` // http (5985) or https (5986)
	Port           int           `yaml:"port"`
	Auth           string        `yaml:"auth"`        // ntlm, kerberos, basic or certificate
	User           string        `yaml:"user"`        // DOMAIN\user or user@domain
	Credentials    string        `yaml:"credentials"` // laps: the local administrator of each machine, from the directory
	PasswordFile   string        `yaml:"password-file"`
	Keytab         string        `yaml:"keytab"` // for kerberos, in place of a password
	CCache         string        `yaml:"ccache"` // for kerberos, written by kinit
	CA             string        `yaml:"ca"`     // PEM file of the CAs to trust besides the system's
	Certificate    string        `yaml:"certificate"`
	Key            string        `yaml:"key"`
	ConnectTimeout time.Duration `yaml:"connect-timeout"`
}

// Kerberos says where the domain's Kerberos servers are, for winrm.auth: kerberos.
type Kerberos struct {
	Realm    string   `yaml:"realm"`    // default: the domain of winrm.user or directory.domain
	KDCs     []string `yaml:"kdcs"`     // host or host=address; default: directory.dc, or those that DNS names
	Site     string   `yaml:"site"`     // of Active Directory, whose servers are preferred
	Parallel int      `yaml:"parallel"` // exchanges with one server at the same time; default 8
}

// Run holds defaults for the flags of the same names.
type Run struct {
	Waves          string         `yaml:"waves"`
	Forks          *int           `yaml:"forks"`
	PerSite        *int           `yaml:"per-site"`
	PerSubnet      *int           `yaml:"per-subnet"`
	MaxFail        string         `yaml:"max-fail"`
	MaxUnreachable string         `yaml:"max-unreachable"`
	MaxDenied      string         `yaml:"max-denied"`
	Soak           *time.Duration `yaml:"soak"`
	Retries        *int           `yaml:"retries"`
	SignIns        *int           `yaml:"sign-ins"`
	Timeout        *time.Duration `yaml:"timeout"`
}

// Load reads path, or the first file found at the usual places; no file at all gives the defaults.
func Load(path string) (Settings, error) {
	if path != "" {
		return read(path)
	}
	for _, candidate := range usual() {
		if _, err := os.Stat(candidate); err == nil {
			return read(candidate)
		}
	}
	return Settings{}, nil
}

func usual() []string {
	files := []string{"fleetmend.yaml"}
	if dir, err := os.UserConfigDir(); err == nil {
		files = append(files, filepath.Join(dir, "fleetmend", "fleetmend.yaml"))
	}
	return files
}

func read(path string) (Settings, error) {
	data, err := textfile.Read(path, 1<<20)
	if err != nil {
		return Settings{}, hint.Wrap(fmt.Errorf("read the settings: %w", err), "--config names the file of settings; without it fleetmend.yaml in this folder or in your configuration folder is taken")
	}
	var c Settings
	if err := decodeStrictly(path, []byte(data.Content), &c); err != nil {
		return Settings{}, err
	}
	c.Path, err = filepath.Abs(path)
	if err != nil {
		return Settings{}, err
	}
	for _, p := range []*string{
		&c.State, &c.WinRM.PasswordFile, &c.WinRM.Keytab, &c.WinRM.CA, &c.WinRM.Certificate, &c.WinRM.Key,
		&c.Directory.PasswordFile, &c.Directory.Keytab, &c.Directory.CA,
		&c.Entra.SecretFile, &c.Entra.Certificate, &c.Entra.CertificatePassword, &c.Entra.CA, &c.Keys.PassphraseFile, &c.Keys.Identity,
		&c.MSSQL.PasswordFile, &c.MSSQL.CA,
	} {
		if *p != "" && !filepath.IsAbs(*p) {
			*p = filepath.Join(filepath.Dir(c.Path), *p)
		}
	}
	for _, p := range []*string{&c.WinRM.CCache, &c.Directory.CCache} {
		path, file := strings.CutPrefix(*p, "FILE:")
		if kind, _, ok := strings.Cut(path, ":"); path != "" && !filepath.IsAbs(path) && (file || !ok || len(kind) < 2) { // KCM:1000 is no path
			*p = filepath.Join(filepath.Dir(c.Path), path)
		}
	}
	return c, c.check()
}

func (c Settings) check() error {
	oneOf := func(key, value string, words ...string) error {
		if value == "" || slices.Contains(words, value) {
			return nil
		}
		return fmt.Errorf("%s: %s is %q, which is none of %s", c.Path, key, value, strings.Join(words, ", "))
	}
	return errors.Join(
		oneOf("winrm.scheme", c.WinRM.Scheme, "http", "https"),
		oneOf("winrm.auth", c.WinRM.Auth, "ntlm", "kerberos", "basic", "certificate"),
		c.checkKerberos(),
		oneOf("winrm.credentials", c.WinRM.Credentials, "laps"),
		oneOf("directory.bind", c.Directory.Bind, "ldaps", "starttls", "kerberos-sign", "kerberos-seal", "kerberos-ldaps", "sspi"),
	)
}

// checkKerberos refuses what cannot be signed in with, before anything is asked or sent.
func (c Settings) checkKerberos() error {
	w := c.WinRM
	switch kerberos := w.Auth == "kerberos"; {
	case kerberos && w.Credentials == "laps":
		return hint.Wrap(fmt.Errorf("%s: winrm.auth: kerberos knows no local accounts, which winrm.credentials: laps uses", c.Path), "write auth: ntlm under winrm:, or take an account of the domain")
	case !kerberos && (w.Keytab != "" || w.CCache != ""):
		return hint.Wrap(fmt.Errorf("%s: winrm.keytab and winrm.ccache are for Kerberos", c.Path), "write auth: kerberos under winrm:")
	case c.Kerberos.Parallel < 0:
		return fmt.Errorf("%s: kerberos.parallel is %d, which is less than nothing", c.Path, c.Kerberos.Parallel)
	}
	return nil
}

// Entra says how the Entra tenant is reached.
type Entra struct {
	Tenant              string `yaml:"tenant"`    // directory ID or a domain of the tenant
	ClientID            string `yaml:"client-id"` // of the app registration
	Cloud               string `yaml:"cloud"`     // public, or the name of another cloud of Microsoft
	Authority           string `yaml:"authority"` // in place of cloud: where to sign in
	Graph               string `yaml:"graph"`     // in place of cloud: the endpoint of Graph
	SecretFile          string `yaml:"secret-file"`
	Certificate         string `yaml:"certificate"` // with its private key: PEM or PKCS #12
	CertificatePassword string `yaml:"certificate-password-file"`
	DeviceCode          bool   `yaml:"device-code"` // a user signs in with a code in a browser
	CA                  string `yaml:"ca"`          // PEM file of the CAs to trust besides the system's
}

// MSSQL says where Configuration Manager or MBAM keep their keys.
type MSSQL struct {
	Server       string `yaml:"server"`   // host, host:port or host\instance
	Database     string `yaml:"database"` // CM_XYZ, or MBAM's
	User         string `yaml:"user"`     // a login of the server or DOMAIN\user; empty on Windows: who is logged on
	PasswordFile string `yaml:"password-file"`
	CA           string `yaml:"ca"` // PEM file of the CA of the server's certificate
}

// Keys holds defaults for the flags of the same names.
type Keys struct {
	PassphraseFile string `yaml:"passphrase-file"`
	Identity       string `yaml:"identity"` // age identity file
}
