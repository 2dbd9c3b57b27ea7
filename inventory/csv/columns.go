package csv

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"unicode"

	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/internal/table"
	"github.com/fleetmend/fleetmend/inventory"
)

// columnNames are the headers that are understood, beside the field names themselves. Case, spaces, hyphens,
// underscores and dots do not matter, so that "Serial Number" and "serial_number" are one.
var columnNames = map[string][]string{
	"name": {"Name", "Computer", "ComputerName", "Hostname", "Host", "Machine", "MachineName", "Device", "DeviceName", "DisplayName",
		"NetBIOSName", "CN", "sAMAccountName", "Server", "ServerName", "Rechnername", "Rechner", "Gerätename", "Gerät", "Computernaam",
		"Nom", "NomOrdinateur", "Nombre", "NombreEquipo", "PSComputerName", "VMName", "DeviceDisplayName", "ManagedDeviceName", "NetbiosName0", "Name0", "Computer-Name", "Nom de l'ordinateur", "Nom de l'appareil", "Nombre del equipo", "Nombre de equipo", "Nombre del dispositivo", "Nome computer", "Nome dispositivo", "Nome do computador", "Nome do dispositivo", "Apparaatnaam", "Nazwa komputera", "Nazwa urządzenia"},
	"fqdn":          {"FQDN", "DNSHostName", "DNSName", "FullyQualifiedDomainName", "HostFQDN", "FullyQualifiedHostName"},
	"address":       {"Address", "IP", "IPAddress", "IPv4Address", "IPv4", "Adresse", "IPAdresse", "LocalIP", "PrivateIP", "AnsibleHost", "PrimaryIP", "WiFiIPv4Address", "IPAddresses", "IPAddresses0", "LocalIPAddress", "IPv4-Adresse", "Adresse IP", "Dirección IP", "Indirizzo IP", "Endereço IP", "IP-adres", "Adres IP"}, //nolint:misspell // in other languages
	"domain":        {"Domain", "DNSDomain", "DomainName", "Domäne", "MachineDomain", "FullDomainName0", "ResourceDomainORWorkgr0"},
	"ou":            {"OU", "OrganizationalUnit", "Organisationseinheit"},
	"dn":            {"DistinguishedName", "DN"},
	"site":          {"Site", "Standort", "Location", "Office", "Branch", "Filiale", "SiteName", "ADSiteName", "ADSiteName0", "Site0"},
	"subnet":        {"Subnet", "Subnetz", "Network", "Netz"},
	"class":         {"Class", "Klasse", "MachineClass", "Type", "ProductTypeDesc", "ProductType"},
	"os.name":       {"OS", "OperatingSystem", "Betriebssystem", "OSName", "Platform", "OSPlatform", "DeviceOS", "OperatingSystemNameandVersion", "OperatingSystemNameand0", "Caption", "Système d'exploitation", "Sistema operativo", "Sistema operacional", "Besturingssysteem", "System operacyjny"}, //nolint:misspell // in other languages
	"os.version":    {"OperatingSystemVersion", "OSVersion", "Version", "Betriebssystemversion", "Version du système d'exploitation", "Versión del sistema operativo", "Versione del sistema operativo", "Versão do sistema operacional", "Versie van besturingssysteem"},                               //nolint:misspell // in other languages
	"os.build":      {"Build", "OSBuild", "BuildNumber", "OSBuildNumber", "DeviceOSBuild", "Build01", "Build0"},
	"serial":        {"Serial", "SerialNumber", "Seriennummer", "ServiceTag", "SN", "HardwareSerial", "SerialNumber0", "BIOSSerialNumber", "Numéro de série", "Número de serie", "Numero di serie", "Número de série", "Serienummer", "Numer seryjny"},
	"manufacturer":  {"Manufacturer", "Hersteller", "Vendor", "Make", "SystemManufacturer", "HardwareVendor", "Manufacturer0", "Fabricant", "Fabricante", "Produttore", "Fabrikant", "Producent"},
	"model":         {"Model", "Modell", "SystemProductName", "ComputerModel", "HardwareModel", "Model0", "Modèle", "Modelo", "Modello"},
	"owner":         {"Owner", "Besitzer", "User", "PrimaryUser", "Benutzer", "ManagedBy", "UserPrincipalName", "PrimaryUserUPN", "PrimaryUserS", "RegisteredOwners", "UserName", "UserName0", "LastLogonUser", "Primärer Benutzer (UPN)", "Primärer Benutzer", "Utilisateur", "Usuario", "Utente", "Usuário", "Gebruiker", "Użytkownik"},
	"macs":          {"MAC", "MACs", "MACAddress", "MACAdresse", "WiFiMAC", "EthernetMAC", "PrimaryMAC", "MACAddresses", "MACAddresses0", "HardwareAddress"},
	"priority":      {"Priority", "Priorität"},
	"enabled":       {"Enabled", "Aktiviert", "AccountEnabled", "Active", "Aktiv"},
	"tags":          {"Tags", "Tag", "Labels"},
	"groups":        {"Groups", "Group", "Gruppe", "Gruppen", "MemberOf"},
	"health":        {"Health"},
	"health_reason": {"HealthReason"},
	"last_seen":     {"LastSeen", "LastLogonDate", "LastLogonTimestamp", "LastLogon", "LastCheckIn", "ZuletztGesehen", "ApproximateLastSignInDateTime", "LastSyncDateTime", "SeenTime", "LastActiveTime", "LastLogonTimestamp0", "LastLogonTime", "LastContact", "LastActivity", "Letzte Anmeldung", "Letzter Kontakt", "Letztes Einchecken", "Letzter Check-In", "Zuletzt gesehen am", "Dernière connexion", "Dernière ouverture de session", "Último inicio de sesión", "Última conexión", "Ultimo accesso", "Último logon", "Último acesso", "Laatste aanmelding", "Ostatnie logowanie"},
	"installed": {"InstallDate", "OSInstallDate", "Installationsdatum", "InstalledOn", "ImagedOn", "ReimagedOn", "WhenCreated", "RegistrationDateTime", "RegisteredDateTime",
		"EnrolledDateTime", "EnrollmentDate", "FirstSeen", "LastEnrolledAt", "InstallDate0", "RegistrationTime"},
	"encrypted":              {"IsEncrypted", "Encryption", "EncryptionStatus", "EncryptionState", "BitLocker", "BitLockerStatus", "Verschlüsselt", "Encrypted", "DiskEncryptionEnabled"},
	"claims.sid":             {"SID", "ObjectSID", "SID0"},
	"claims.object_guid":     {"ObjectGUID", "GUID"},
	"claims.entra_device_id": {"EntraDeviceID", "AzureADDeviceID", "DeviceID", "MicrosoftEntraDeviceID", "AADDeviceID"},
	"claims.intune_id":       {"IntuneID", "IntuneDeviceID"},
	"claims.arm_id":          {"ARMID", "AzureResourceID", "ResourceID"},
	"claims.vm_id":           {"VMID"},
	"claims.falcon_aid":      {"FalconAID", "AID", "AgentID", "HostID"},
	"claims.smbios":          {"SMBIOS", "UUID", "SMBIOSUUID", "SystemUUID", "SMBIOSGUID", "SMBIOSGUID0", "SystemEnclosureSMBIOSUUID"},
}

// softHeaders are columns of other things as well: a value that does not fit is left alone.
var softHeaders = map[string]func(value string) bool{
	"type":        isClassWord,
	"producttype": isClassWord,
	"resourceid":  func(v string) bool { return strings.HasPrefix(v, "/") },      // a number in Configuration Manager
	"managedby":   func(v string) bool { return strings.ContainsAny(v, `=\\@`) }, // "Intune" in Intune, a person in AD
	"version":     func(v string) bool { return strings.ContainsFunc(v, unicode.IsDigit) },
	"username":    func(v string) bool { return strings.ContainsAny(v, `\\@`) },
	"platform":    func(v string) bool { return strings.ContainsFunc(v, unicode.IsLetter) && !strings.HasPrefix(v, "x") },
	"vmid":        isGUID,
	"deviceid":    isGUID,
	"guid":        isGUID,
	"uuid":        isGUID,
}

func isClassWord(v string) bool {
	return slices.Contains(inventory.Classes(), inventory.Class(classWord(v)))
}

func isGUID(v string) bool { return inventory.CheckField("claims.smbios", v) == nil }

// dnField is the column of a whole distinguished name, of which the parent is the OU.
const dnField = "dn"

// ignoreField in a mapping leaves a column out.
const ignoreField = "-"

var fieldOfHeader = sync.OnceValue(func() map[string]string {
	m := map[string]string{}
	for _, f := range inventory.RecordFields() {
		m[plain(f)] = f
		if _, last, ok := strings.Cut(f, "claims."); ok {
			m[plain(last)] = f
		}
	}
	for field, names := range columnNames {
		for _, n := range names {
			m[plain(n)] = field
		}
	}
	return m
})

// plain gives a header in the form it is compared in.
func plain(header string) string {
	return strings.Map(func(r rune) rune {
		switch r {
		case ' ', '_', '-', '.', '\'', '’', '\u00a0', '\ufeff', '\t', '\n', '\r', '(', ')', '#', ':':
			return -1
		}
		return r
	}, strings.ToLower(header))
}

// Headers are the headers that are taken for a field, beside the field's own name; for help texts and manuals.
func Headers(field string) []string { return slices.Clone(columnNames[field]) }

// NameColumns are the headers of which a table needs one.
func NameColumns() []string {
	return append(slices.Clone(columnNames["name"]), columnNames["fqdn"]...)
}

// Column is a column of a table and the field it was taken for; the field is empty for a column that is ignored.
type Column struct {
	Header string                  `json:"header"`
	Field  string                  `json:"field,omitempty"`
	soft   func(value string) bool // whether a value fits, for a column of other things as well
}

// WrongColumnsError is a table without a column that names machines.
type WrongColumnsError struct {
	Found []string
}

func (e *WrongColumnsError) Error() string {
	return fmt.Sprintf("no column holds the names of machines; columns found: %s", table.Headers(e.Found))
}

// columns decides what each header means. The mapping (header -> field) stands above the guesses.
func columns(headers []string, mapping map[string]string) ([]Column, error) {
	valid := append(inventory.RecordFields(), dnField, ignoreField)
	used := map[string]bool{}
	out := make([]Column, len(headers))
	for i, h := range headers {
		h = strings.TrimSpace(h)
		out[i] = Column{Header: h, Field: fieldOfHeader()[plain(h)], soft: softHeaders[plain(h)]}
		for from, to := range mapping {
			if plain(from) != plain(h) {
				continue
			}
			used[from] = true
			if !slices.Contains(valid, to) {
				err := fmt.Errorf("column %q: unknown field %q", h, to)
				if near := hint.Nearest(to, valid); near != "" {
					err = fmt.Errorf("column %q: unknown field %q, did you mean %q?", h, to, near)
				}
				return nil, hint.Wrapf(err, "fields: %s", strings.Join(valid, ", "))
			}
			if out[i].Field, out[i].soft = to, nil; to == ignoreField {
				out[i].Field = ""
			}
		}
	}
	for from := range mapping {
		if !used[from] {
			err := fmt.Errorf("there is no column %q", from)
			return nil, hint.Wrapf(err, "columns found: %s", table.Headers(headers))
		}
	}
	// Intune calls its own ID "Device ID", and Entra's "Azure AD Device ID".
	if own := slices.IndexFunc(out, func(c Column) bool { return plain(c.Header) == "deviceid" && c.soft != nil }); own >= 0 &&
		slices.ContainsFunc(out, func(c Column) bool { return c.Field == "claims.entra_device_id" && plain(c.Header) != "deviceid" }) {
		out[own].Field = "claims.intune_id"
	}
	if !slices.ContainsFunc(out, func(c Column) bool { return c.Field == "name" || c.Field == "fqdn" }) {
		return nil, hint.Wrapf(&WrongColumnsError{Found: headers},
			"name a column one of %s, or say which it is with --map COLUMN=name", strings.Join(NameColumns(), ", "))
	}
	return out, nil
}
