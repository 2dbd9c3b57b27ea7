package cli

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"

	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/internal/textfile"
)

// config is the file of settings. Paths in it are relative to the file.
type config struct {
	State     string          `yaml:"state"` // folder of inventory and journal
	WinRM     winrmConfig     `yaml:"winrm"`
	Directory directoryConfig `yaml:"directory"`
	Entra     entraConfig     `yaml:"entra"`
	MSSQL     mssqlConfig     `yaml:"mssql"`
	Keys      keysConfig      `yaml:"keys"`
	Run       runConfig       `yaml:"run"`

	path string // where it was read from, "" for none
}

// directoryConfig says how Active Directory is reached.
type directoryConfig struct {
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

type winrmConfig struct {
	Scheme         string        `yaml:"scheme"` // http (5985) or https (5986)
	Port           int           `yaml:"port"`
	Auth           string        `yaml:"auth"`        // ntlm, basic or certificate
	User           string        `yaml:"user"`        // DOMAIN\user or user@domain
	Credentials    string        `yaml:"credentials"` // laps: the local administrator of each machine, from the directory
	PasswordFile   string        `yaml:"password-file"`
	CA             string        `yaml:"ca"` // PEM file of the CAs to trust besides the system's
	Certificate    string        `yaml:"certificate"`
	Key            string        `yaml:"key"`
	ConnectTimeout time.Duration `yaml:"connect-timeout"`
}

// runConfig holds defaults for the flags of the same names.
type runConfig struct {
	Waves          string        `yaml:"waves"`
	Forks          int           `yaml:"forks"`
	PerSite        int           `yaml:"per-site"`
	PerSubnet      int           `yaml:"per-subnet"`
	MaxFail        string        `yaml:"max-fail"`
	MaxUnreachable string        `yaml:"max-unreachable"`
	Soak           time.Duration `yaml:"soak"`
	Retries        *int          `yaml:"retries"`
	Timeout        time.Duration `yaml:"timeout"`
}

// loadConfig reads path, or the first file found at the usual places; no file at all gives the defaults.
func loadConfig(path string) (config, error) {
	if path != "" {
		return readConfig(path)
	}
	for _, candidate := range usualConfigs() {
		if _, err := os.Stat(candidate); err == nil {
			return readConfig(candidate)
		}
	}
	return config{}, nil
}

func usualConfigs() []string {
	files := []string{"fleetmend.yaml"}
	if dir, err := os.UserConfigDir(); err == nil {
		files = append(files, filepath.Join(dir, "fleetmend", "fleetmend.yaml"))
	}
	return files
}

func readConfig(path string) (config, error) {
	data, err := textfile.Read(path, 1<<20)
	if err != nil {
		return config{}, hint.Wrap(fmt.Errorf("read the settings: %w", err), "--config names the file of settings; without it fleetmend.yaml in this folder or in your configuration folder is taken")
	}
	var c config
	if err := decodeStrictly(path, []byte(data.Content), &c); err != nil {
		return config{}, err
	}
	c.path, err = filepath.Abs(path)
	if err != nil {
		return config{}, err
	}
	for _, p := range []*string{
		&c.State, &c.WinRM.PasswordFile, &c.WinRM.CA, &c.WinRM.Certificate, &c.WinRM.Key,
		&c.Directory.PasswordFile, &c.Directory.Keytab, &c.Directory.CCache, &c.Directory.CA,
		&c.Entra.SecretFile, &c.Entra.Certificate, &c.Entra.CertificatePassword, &c.Entra.CA, &c.Keys.PassphraseFile, &c.Keys.Identity,
		&c.MSSQL.PasswordFile, &c.MSSQL.CA,
	} {
		if *p != "" && !filepath.IsAbs(*p) {
			*p = filepath.Join(filepath.Dir(c.path), *p)
		}
	}
	return c, c.check()
}

func (c config) check() error {
	oneOf := func(key, value string, words ...string) error {
		if value == "" || slices.Contains(words, value) {
			return nil
		}
		return fmt.Errorf("%s: %s is %q, which is none of %s", c.path, key, value, strings.Join(words, ", "))
	}
	return errors.Join(
		oneOf("winrm.scheme", c.WinRM.Scheme, "http", "https"),
		oneOf("winrm.auth", c.WinRM.Auth, "ntlm", "basic", "certificate"),
		oneOf("winrm.credentials", c.WinRM.Credentials, "laps"),
		oneOf("directory.bind", c.Directory.Bind, "ldaps", "starttls", "kerberos-sign", "kerberos-seal", "kerberos-ldaps", "sspi"),
	)
}

// decodeStrictly decodes YAML into target and refuses keys it does not know, with their line and the nearest known key.
func decodeStrictly(file string, data []byte, target any) error {
	var document yaml.Node
	if err := yaml.Unmarshal(data, &document); err != nil {
		return fmt.Errorf("%s: %s", file, strings.TrimPrefix(err.Error(), "yaml: "))
	}
	if len(document.Content) == 0 {
		return nil
	}
	if err := checkKeys(file, document.Content[0], reflect.TypeOf(target).Elem(), ""); err != nil {
		return err
	}
	if err := document.Content[0].Decode(target); err != nil {
		return fmt.Errorf("%s: %s", file, strings.TrimPrefix(err.Error(), "yaml: "))
	}
	return nil
}

func checkKeys(file string, node *yaml.Node, kind reflect.Type, within string) error {
	if kind.Kind() != reflect.Struct || node.Kind != yaml.MappingNode {
		if kind.Kind() == reflect.Struct {
			return fmt.Errorf("%s:%d:%d: %s must hold keys and values", file, node.Line, node.Column, strings.TrimSuffix(within, "."))
		}
		return nil
	}
	fields := map[string]reflect.Type{}
	for i := range kind.NumField() {
		if tag := kind.Field(i).Tag.Get("yaml"); tag != "" {
			fields[tag] = kind.Field(i).Type
		}
	}
	names := make([]string, 0, len(fields))
	for name := range fields {
		names = append(names, name)
	}
	slices.Sort(names)
	var errs []error
	for i := 0; i+1 < len(node.Content); i += 2 {
		key := node.Content[i]
		field, known := fields[key.Value]
		if !known {
			err := fmt.Errorf("%s:%d:%d: unknown key %q", file, key.Line, key.Column, within+key.Value)
			if near := hint.Nearest(key.Value, names); near != "" {
				err = hint.Wrapf(err, "did you mean %s%s?", within, near)
			} else {
				err = hint.Wrapf(err, "the keys here are %s", strings.Join(names, ", "))
			}
			errs = append(errs, err)
			continue
		}
		errs = append(errs, checkKeys(file, node.Content[i+1], field, within+key.Value+"."))
	}
	return errors.Join(errs...)
}

// stateDir is where inventory and journal live when nothing is said.
func stateDir() (string, error) {
	dir, err := os.Getenv("XDG_STATE_HOME"), error(nil)
	switch {
	case dir != "":
	case runtime.GOOS == "windows":
		dir, err = os.UserCacheDir() // %LocalAppData%
	case runtime.GOOS == "darwin":
		dir, err = os.UserConfigDir() // Library/Application Support
	default:
		dir, err = os.UserHomeDir()
		dir = filepath.Join(dir, ".local", "state")
	}
	if err != nil {
		return "", hint.Wrap(fmt.Errorf("find a folder for the inventory and the journal: %w", err), "give one with --state-dir")
	}
	return filepath.Join(dir, "fleetmend"), nil
}
