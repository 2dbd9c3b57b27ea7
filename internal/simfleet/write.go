package simfleet

import (
	"bytes"
	"encoding/csv"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/fleetmend/fleetmend/internal/textfile"
)

// Columns are the columns of machines.csv.
var Columns = []string{"name", "fqdn", "address", "site", "ou", "subnet", "os", "build", "class", "serial", "priority"}

// Write leaves in dir what a client needs: fleetmend.yaml (a config that works with this fleet), machines.csv, ca.pem,
// password, client.pem with client-key.pem, ansible.ini, USER.password for each other account of the directory, and
// entra-NAME.secret for each application of the tenant. Call
// it after Start, when the addresses are known. Existing files of these names are replaced. Passwords and key are readable
// by their owner only.
func (f *Fleet) Write(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("write simulated fleet: %w", err)
	}
	certificate, key, err := f.ClientCertificate()
	if err != nil {
		return fmt.Errorf("write simulated fleet: %w", err)
	}
	table, err := f.table()
	if err != nil {
		return fmt.Errorf("write simulated fleet: %w", err)
	}
	for _, file := range []struct {
		name string
		mode os.FileMode
		data []byte
	}{
		{"password", 0o600, []byte(f.options.Password.Reveal())},
		{"ca.pem", 0o644, f.CAPEM()},
		{"client.pem", 0o644, certificate},
		{"client-key.pem", 0o600, key},
		{"machines.csv", 0o644, table},
		{"ansible.ini", 0o644, f.inventory()},
		{"fleetmend.yaml", 0o644, slices.Concat(f.config(), f.directoryConfig(), f.tenantConfig())},
	} {
		if err := replace(filepath.Join(dir, file.name), file.data, file.mode); err != nil {
			return fmt.Errorf("write simulated fleet: %w", err)
		}
	}
	for _, app := range f.tenantApps() {
		if err := replace(filepath.Join(dir, "entra-"+app.name+".secret"), []byte(app.secret.Reveal()), 0o600); err != nil {
			return fmt.Errorf("write simulated fleet: %w", err)
		}
	}
	for _, a := range f.accounts[1:] { // the first is the fleet's own
		if err := replace(filepath.Join(dir, a.User+".password"), []byte(a.Password.Reveal()), 0o600); err != nil {
			return fmt.Errorf("write simulated fleet: %w", err)
		}
	}
	return nil
}

// replace writes a file whole or not at all, with its mode from the first byte on.
func replace(path string, data []byte, mode os.FileMode) error {
	return textfile.Write(path, mode, func(w io.Writer) error {
		_, err := w.Write(data)
		return err
	})
}

func (f *Fleet) config() []byte {
	return fmt.Appendf(nil, `# A configuration for the simulated fleet in this folder. Paths are relative to this file.
state: state
winrm:
  scheme: http        # http or https
  auth: ntlm          # ntlm, basic or certificate
  user: %s\%s
  password-file: password
  ca: ca.pem
`, f.account.domain, f.account.user)
}

// directoryConfig is the section of the directory; empty when it is not served.
func (f *Fleet) directoryConfig() []byte {
	if f.controller == nil {
		return nil
	}
	return fmt.Appendf(nil, `directory:
  domain: %s
  dc: ["%s=%s"]
  bind: ldaps         # %s for starttls
  user: %s@%s
  password-file: password
  ca: ca.pem
`, dnsDomain, f.controllerName(), f.LDAPS(), f.LDAP(), f.account.user, dnsDomain)
}

// tenantConfig is the section of the Entra tenant, for the application that may read keys; empty when it is not served.
func (f *Fleet) tenantConfig() []byte {
	id, _, err := f.TenantApp(TenantReader)
	if f.tenant == nil || err != nil {
		return nil
	}
	return fmt.Appendf(nil, `entra:
  tenant: %s
  client-id: %s
  authority: %s
  graph: %s
  secret-file: entra-%s.secret
  ca: ca.pem
`, f.tenant.TenantID(), id, f.tenant.URL(), f.tenant.URL(), TenantReader)
}

func (f *Fleet) table() ([]byte, error) {
	var b bytes.Buffer
	w := csv.NewWriter(&b)
	_ = w.Write(Columns) // errors are kept for Error
	for _, m := range f.Machines() {
		_ = w.Write([]string{m.Name, m.FQDN, m.Address, m.Site, m.OU, m.Subnet, m.OS, strconv.Itoa(m.Build), m.Class, m.Serial, strconv.Itoa(m.Priority)})
	}
	w.Flush()
	return b.Bytes(), w.Error()
}

// inventory is an Ansible inventory in INI form. The password stays in its own file.
func (f *Fleet) inventory() []byte {
	var b strings.Builder
	b.WriteString("# ansible -i ansible.ini -m ansible.builtin.raw -a hostname fleet\n[fleet]\n")
	for _, m := range f.Machines() {
		host, port, _ := strings.Cut(m.Address, ":")
		fmt.Fprintf(&b, "%s ansible_host=%s ansible_port=%s\n", m.Name, host, port)
	}
	fmt.Fprintf(&b, `
[fleet:vars]
ansible_connection=winrm
ansible_shell_type=powershell
ansible_user='%s\\%s'
ansible_password="{{ lookup('ansible.builtin.file', inventory_dir ~ '/password') }}"
ansible_winrm_scheme=http
ansible_winrm_transport=ntlm
ansible_winrm_ca_trust_path="{{ inventory_dir ~ '/ca.pem' }}"
ansible_winrm_operation_timeout_sec=20
ansible_winrm_read_timeout_sec=30
`, f.account.domain, f.account.user)
	return []byte(b.String())
}
