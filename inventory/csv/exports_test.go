package csv_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fleetmend/fleetmend/internal/table"
	"github.com/fleetmend/fleetmend/inventory"
	"github.com/fleetmend/fleetmend/inventory/csv"
)

// byName gives the records of a reading by the short name.
func byName(records []inventory.Record) map[string]map[string]string {
	out := map[string]map[string]string{}
	for _, r := range records {
		out[r.Fields["name"]] = r.Fields
	}
	return out
}

// The host table of the vendor's console (case 04): a domain controller is one, and what runs no Windows is counted.
func TestConsoleHosts(t *testing.T) {
	records, report := read(t, `Hostname,Last Seen,First Seen,Platform,OS Version,OS Build,Local IP,MAC Address,Machine Domain,OU,Site,Type,Serial Number,Host ID
PAR-WS-7,2024-07-19T04:12:11Z,2021-02-03T10:00:00Z,Windows,Windows 11,22631,10.1.2.3,00-50-56-AA-BB-01,corp.example,Workstations;PAR,PAR,Workstation,VMW-0001,0123456789abcdef0123456789abcdef
par-db-01,2024-07-19T05:12:11Z,2021-02-03T10:00:00Z,Linux,RHEL 8.9,,10.1.2.4,00-50-56-AA-BB-02,,,PAR,Server,VMW-0002,1123456789abcdef0123456789abcdef
Annas-MacBook.local,2024-07-19T05:12:11Z,,Mac,Sonoma (14),,10.1.2.5,00-50-56-AA-BB-03,,,PAR,Workstation,C02XX,2123456789abcdef0123456789abcdef
PAR-DC-01,2024-07-19T05:12:11Z,,Windows,Windows Server 2019,17763,10.1.2.6,00-50-56-AA-BB-04,corp.example,Domain Controllers,PAR,Domain Controller,VMW-0004,3123456789abcdef0123456789abcdef
PAR-FS-01,2024-07-19T05:12:11Z,,Windows,Windows Server 2022,20348,10.1.2.7,00-50-56-AA-BB-05,corp.example,Servers,PAR,Server,VMW-0005,4123456789abcdef0123456789abcdef
`, nil)
	got := byName(records)
	if len(records) != 3 || got["PAR-WS-7"]["class"] != "workstation" || got["PAR-DC-01"]["class"] != "dc" || got["PAR-FS-01"]["class"] != "server" {
		t.Errorf("%v", got)
	}
	if f := got["PAR-DC-01"]; f["os.name"] != "Windows Server 2019" || f["os.build"] != "17763" || f["claims.falcon_aid"] == "" || f["serial"] != "VMW-0004" {
		t.Errorf("%v", f)
	}
	if !maps.Equal(report.Systems, map[string]int{"Linux": 1, "macOS": 1}) || len(report.Other) != 2 || !strings.Contains(report.Other[0], "line 3: par-db-01 runs Linux") {
		t.Errorf("%v, %q", report.Systems, report.Other)
	}
	if len(report.Ignored)+len(report.Problems)+len(report.BadRows) > 0 {
		t.Errorf("%+v", report)
	}
}

// What Excel made of a table (case 03) is named with row and column, and not taken for values.
func TestExcelDamage(t *testing.T) {
	text := `Name,Serial,UUID,Last Seen
OSL-WS-1,1.23457E+11,4C4C4544-0042-3510-8052-B4C04F564432,3/4/2026 15:04
OSL-WS-2,1.23457E+11,4C4C4544-0042-3510-8052-B4C04F564433,13/4/2026 15:04
OSL-WS-3,00012345,########,45383.5
OSL-WS-4,"=""00012346""",,3/4/2026 3:04:05 PM
1.00E+05,X,,
`
	records, report := read(t, text, nil)
	got := byName(records)
	for name, want := range map[string][2]string{"OSL-WS-1": {"", ""}, "OSL-WS-2": {"", "2026-04-13T15:04:00Z"}, "OSL-WS-3": {"00012345", "2024-04-01T12:00:00Z"}, "OSL-WS-4": {"00012346", ""}} {
		if f := got[name]; f["serial"] != want[0] || f["last_seen"] != want[1] {
			t.Errorf("%s: %v", name, f)
		}
	}
	said := strings.Join(report.Problems, "\n")
	for _, want := range []string{`lines 2, 3: column "Serial" holds 1.23457E+11, a number that Excel rounded`, `line 4: column "UUID" holds only ###`,
		`line 2: column "Last Seen" "3/4/2026 15:04" can be read with the day or the month first`, `line 5: column "Last Seen" "3/4/2026 3:04:05 PM" can be`} {
		if !strings.Contains(said, want) {
			t.Errorf("%q is not said in\n%s", want, said)
		}
	}
	if len(report.BadRows) != 1 || report.BadRows[0].Line != 6 || !strings.Contains(report.BadRows[0].Reason, `column "Name" holds 1.00E+05`) {
		t.Errorf("%v", report.BadRows)
	}
	if !strings.Contains(report.ReadAs, "2 left out that can be read with the day or the month first") || !strings.Contains(report.ReadAs, "1 as Excel's numbers of days") {
		t.Error(report.ReadAs)
	}
	records, _, err := csv.Read(strings.NewReader(text), csv.Options{Source: "csv:t", SeenAt: seen, DateOrder: table.DayFirst})
	if err != nil || byName(records)["OSL-WS-1"]["last_seen"] != "2026-04-03T15:04:00Z" {
		t.Errorf("%v, %v", byName(records)["OSL-WS-1"], err)
	}
}

func TestLostZeros(t *testing.T) {
	text := "Name,Serial\n"
	for i := range 9 {
		text += fmt.Sprintf("WS%d,8123456%d\n", i, i)
	}
	_, report := read(t, text+"WS10,12345\n", nil)
	if len(report.Problems) != 1 || !strings.Contains(report.Problems[0], `line 11: column "Serial" holds 12345, where others have 8 digits`) {
		t.Errorf("%q", report.Problems)
	}
	if _, report = read(t, text+"WS10,00012345\nWS11,12345\n", nil); len(report.Problems) != 0 {
		t.Errorf("zeros are there: %q", report.Problems)
	}
}

// Get-ADComputer through ConvertTo-Json of Windows PowerShell 5.1 (case 05) is read like its CSV.
func TestPowerShellJSON(t *testing.T) {
	asJSON, report := read(t, `[
    {
        "DistinguishedName":  "CN=OSL-WS-1,OU=Workstations,DC=corp,DC=example",
        "DNSHostName":  "OSL-WS-1.corp.example",
        "Enabled":  true,
        "LastLogonDate":  "\/Date(1721361600000)\/",
        "MemberOf":  ["CN=A,OU=Groups,DC=corp,DC=example", "CN=B,OU=Groups,DC=corp,DC=example"],
        "Name":  "OSL-WS-1",
        "ObjectGUID":  "7f3c8e1e-6a0b-4c8f-9d0e-0a1b2c3d4e5f",
        "OperatingSystem":  "Windows 11 Enterprise",
        "OperatingSystemVersion":  "10.0 (22631)",
        "SID":  {"BinaryLength":  28, "AccountDomainSid":  "S-1-5-21-1-2-3", "Value":  "S-1-5-21-1-2-3-1104"},
        "whenCreated":  {"value":  "\/Date(1612346400000)\/", "DateTime":  "Wednesday, February 3, 2021 10:00:00 AM"}
    }
]`, nil)
	asCSV, _ := read(t, `#TYPE Microsoft.ActiveDirectory.Management.ADComputer
"DistinguishedName","DNSHostName","Enabled","LastLogonDate","MemberOf","Name","ObjectGUID","OperatingSystem","OperatingSystemVersion","SID","whenCreated"
"CN=OSL-WS-1,OU=Workstations,DC=corp,DC=example","OSL-WS-1.corp.example","True","7/19/2024 4:00:00 AM","CN=A,OU=Groups,DC=corp,DC=example;CN=B,OU=Groups,DC=corp,DC=example","OSL-WS-1","7f3c8e1e-6a0b-4c8f-9d0e-0a1b2c3d4e5f","Windows 11 Enterprise","10.0 (22631)","S-1-5-21-1-2-3-1104","2021-02-03 10:00:00"
`, nil)
	a, b := asJSON[0].Fields, asCSV[0].Fields
	a["enabled"], b["enabled"] = strings.ToLower(a["enabled"]), strings.ToLower(b["enabled"])
	if !maps.Equal(a, b) || a["last_seen"] != "2024-07-19T04:00:00Z" || a["installed"] != "2021-02-03T10:00:00Z" || !strings.HasPrefix(report.ReadAs, "JSON in UTF-8") {
		t.Errorf("%s\n%v\n%v", report.ReadAs, a, b)
	}
}

// A list that PowerShell wrote as the name of its type is no group.
func TestTypeNames(t *testing.T) {
	records, report := read(t, `"Name","MemberOf","SID","ManagedBy"
"OSL-WS-1","Microsoft.ActiveDirectory.Management.ADPropertyValueCollection","System.Object[]",""
"OSL-WS-2","Microsoft.ActiveDirectory.Management.ADPropertyValueCollection","S-1-5-21-1-2-3-4","CN=Anna,DC=corp,DC=example"
`, nil)
	got := byName(records)
	if len(records) != 2 || got["OSL-WS-1"]["groups"] != "" || got["OSL-WS-1"]["claims.sid"] != "" || got["OSL-WS-2"]["claims.sid"] == "" || got["OSL-WS-2"]["owner"] == "" {
		t.Errorf("%v", got)
	}
	if said := strings.Join(report.Problems, "\n"); !strings.Contains(said, `lines 2, 3: column "MemberOf" holds the name of a type`) || !strings.Contains(said, `line 2: column "SID" holds the name of a type (System.Object[])`) {
		t.Errorf("%q", report.Problems)
	}
}

// One machine, in whichever form its name stands (case 24).
func TestNameForms(t *testing.T) {
	records, report := read(t, `Name,Site
CORP\OSL-WS-1,OSL
OSL-WS-1$,OSL
osl-ws-1.corp.example.,OSL
CORP\OSL-WS-1$,
\\OSL-WS-1,BER
OSL_WS_2,OSL
10.1.2.3,OSL
MÜNCHEN-1,MUC
"OSL-WS-3 ",OSL
"OSL-WS-4
OSL-WS-5",OSL
http://osl-ws-6/,OSL
OTHER\OSL-WS-1,OSL
`, nil)
	var one []inventory.Record
	for _, r := range records {
		if r.Fields["name"] == "OSL-WS-1" {
			one = append(one, r)
		}
	}
	if len(one) != 2 || one[0].Fields["fqdn"] != "osl-ws-1.corp.example" || one[0].Fields["site"] != "OSL" || len(report.Duplicates) != 5 {
		t.Errorf("%v, %q", one, report.Duplicates)
	}
	if i := slices.IndexFunc(records, func(r inventory.Record) bool { return r.Fields["address"] == "10.1.2.3" }); i < 0 || records[i].SourceKey != "10.1.2.3" || records[i].Fields["name"] != "" {
		t.Errorf("%v", records)
	}
	if len(report.BadRows) != 2 || report.BadRows[0].Line != 11 || report.BadRows[1].Line != 13 ||
		report.BadRows[1].Reason != `column "Name": name "http://osl-ws-6/" is no host name (character ':') (write the name of one machine, as WS1, CORP\WS1 or ws1.corp.example)` {
		t.Errorf("%v", report.BadRows)
	}
}

// The exports of other consoles, by their public descriptions; docs/tables.md lists them.
func TestConsoles(t *testing.T) {
	for name, c := range map[string]struct {
		text  string
		want  map[string]string
		other int
	}{
		"Intune, devices": {`Device ID,Device name,Enrollment date,Last check-in,Azure AD Device ID,OS version,Azure AD registered,EAS activation ID,Serial number,Manufacturer,Model,Managed by,Ownership,Compliance,Primary user UPN,Wi-Fi MAC,Encrypted,OS,SkuFamily,JoinType,EthernetMAC
3fb2c0de-0001-4000-8000-000000000001,OSL-WS-1,2023-01-02 03:04:05.0000000,2024-07-19 04:00:00.0000000,7f3c8e1e-0001-4000-8000-000000000001,10.0.22631.3880,True,,5CG1,HP,EliteBook,Intune,Corporate,Compliant,anna@corp.example,A0B1C2D3E4F5,True,Windows,Enterprise,Hybrid,
3fb2c0de-0001-4000-8000-000000000002,iPad,2023-01-02 03:04:05,2024-07-19 04:00:00,7f3c8e1e-0001-4000-8000-000000000002,17.5,False,,DMP1,Apple,iPad,Intune,Personal,Compliant,,,True,iPadOS,,,
`, map[string]string{"claims.intune_id": "3fb2c0de-0001-4000-8000-000000000001", "claims.entra_device_id": "7f3c8e1e-0001-4000-8000-000000000001", "owner": "anna@corp.example",
			"last_seen": "2024-07-19T04:00:00Z", "installed": "2023-01-02T03:04:05Z", "os.version": "10.0.22631.3880", "encrypted": "True", "serial": "5CG1"}, 1},
		"Entra, devices": {`displayName,accountEnabled,operatingSystem,operatingSystemVersion,joinType (trustType),registeredOwners,userNames,mdmDisplayName,isCompliant,registrationTime,approximateLastSignInDateTime,deviceId,isManaged,objectId,profileType,systemLabels,model
OSL-WS-1,TRUE,Windows,10.0.22631.3880,Hybrid Azure AD joined,,,Microsoft Intune,TRUE,2023-01-02T03:04:05Z,2024-07-19T04:00:00Z,7f3c8e1e-0001-4000-8000-000000000001,TRUE,9f3c8e1e-0001-4000-8000-000000000001,RegisteredDevice,,X1
`, map[string]string{"claims.entra_device_id": "7f3c8e1e-0001-4000-8000-000000000001", "claims.object_guid": "", "last_seen": "2024-07-19T04:00:00Z", "enabled": "TRUE"}, 0},
		"Graph, managedDevices": {`{"@odata.context":"https://graph.microsoft.com/v1.0/$metadata#deviceManagement/managedDevices","value":[{"id":"3fb2c0de-0001-4000-8000-000000000001","deviceName":"OSL-WS-1","azureADDeviceId":"7f3c8e1e-0001-4000-8000-000000000001","operatingSystem":"Windows","osVersion":"10.0.22631.3880","serialNumber":"5CG1","lastSyncDateTime":"2024-07-19T04:00:00Z","userPrincipalName":"anna@corp.example","isEncrypted":true}]}`,
			map[string]string{"claims.entra_device_id": "7f3c8e1e-0001-4000-8000-000000000001", "serial": "5CG1", "owner": "anna@corp.example", "encrypted": "true", "last_seen": "2024-07-19T04:00:00Z"}, 0},
		"Configuration Manager, Get-CMDevice": {`"Name","ADSiteName","DeviceOS","DeviceOSBuild","Domain","LastActiveTime","MACAddress","PrimaryUser","ResourceID","SerialNumber","SiteCode","SMBIOSGUID","UserName"
"OSL-WS-1","OSL","Microsoft Windows NT Workstation 10.0","10.0.22631.3880","CORP","7/19/2024 4:00:00 AM","00:50:56:AA:BB:01","CORP\anna","16777220","5CG1","P01","4C4C4544-0042-3510-8052-B4C04F564432","anna"
`, map[string]string{"site": "OSL", "claims.arm_id": "", "claims.smbios": "4C4C4544-0042-3510-8052-B4C04F564432", "owner": `CORP\anna`, "last_seen": "2024-07-19T04:00:00Z", "os.build": "10.0.22631.3880"}, 0},
		"Configuration Manager, SQL view": {"Netbios_Name0;Full_Domain_Name0;AD_Site_Name0;Operating_System_Name_and0;Build01;SMBIOS_GUID0;Last_Logon_Timestamp0\nOSL-WS-1;corp.example;OSL;Microsoft Windows NT Workstation 10.0;10.0.22631;4C4C4544-0042-3510-8052-B4C04F564432;2024-07-19 04:00:00.000\n",
			map[string]string{"domain": "corp.example", "site": "OSL", "last_seen": "2024-07-19T04:00:00Z", "claims.smbios": "4C4C4544-0042-3510-8052-B4C04F564432"}, 0},
		"Fleet, hosts": {`id,hostname,uuid,platform,os_version,build,hardware_vendor,hardware_model,hardware_serial,computer_name,primary_ip,primary_mac,seen_time,last_enrolled_at
12,OSL-WS-1,4c4c4544-0042-3510-8052-b4c04f564432,windows,Windows 11 Pro 23H2 10.0.22631.3880,22631,HP,EliteBook,5CG1,OSL-WS-1,10.1.2.3,00:50:56:aa:bb:01,2024-07-19T04:00:00Z,2023-01-02T03:04:05Z
13,annas-mac,5c4c4544-0042-3510-8052-b4c04f564432,darwin,macOS 14.5,23F79,Apple,Mac,C02,Annas Mac,10.1.2.4,00:50:56:aa:bb:02,2024-07-19T04:00:00Z,2023-01-02T03:04:05Z
14,db-1,6c4c4544-0042-3510-8052-b4c04f564432,ubuntu,Ubuntu 22.04.4 LTS,,,,,db-1,10.1.2.5,00:50:56:aa:bb:03,2024-07-19T04:00:00Z,2023-01-02T03:04:05Z
`, map[string]string{"os.name": "Windows 11 Pro 23H2 10.0.22631.3880", "os.version": "10.0.22631.3880", "serial": "5CG1", "address": "10.1.2.3", "claims.smbios": "4c4c4544-0042-3510-8052-b4c04f564432", "last_seen": "2024-07-19T04:00:00Z"}, 2},
	} {
		t.Run(name, func(t *testing.T) {
			records, report := read(t, c.text, nil)
			if len(records) != 1 || len(report.Other) != c.other || len(report.BadRows)+len(report.Problems) > 0 {
				t.Fatalf("%v, %+v", records, report)
			}
			f := records[0].Fields
			if f["name"] != "OSL-WS-1" {
				t.Errorf("name %q", f["name"])
			}
			for field, want := range c.want {
				if f[field] != want {
					t.Errorf("%s: %q, want %q", field, f[field], want)
				}
			}
		})
	}
}

// The consoles of other languages call the usual columns by their own words.
func TestHeadersOfOtherLanguages(t *testing.T) {
	for language, header := range map[string]string{
		"German":              "Computername;Betriebssystem;Seriennummer;Hersteller;Letzte Anmeldung",
		"French":              "Nom de l'ordinateur;Système d'exploitation;Numéro de série;Fabricant;Dernière connexion",
		"French, typographic": "Nom de l’ordinateur;Système d’exploitation;Numéro de série;Fabricant;Dernière connexion",
		"Spanish":             "Nombre del equipo;Sistema operativo;Número de serie;Fabricante;Último inicio de sesión",
		"Italian":             "Nome computer;Sistema operativo;Numero di serie;Produttore;Ultimo accesso",
		"Portuguese":          "Nome do computador;Sistema operacional;Número de série;Fabricante;Último logon",
		"Dutch":               "Computernaam;Besturingssysteem;Serienummer;Fabrikant;Laatste aanmelding",
		"Polish":              "Nazwa komputera;System operacyjny;Numer seryjny;Producent;Ostatnie logowanie",
	} {
		records, report := read(t, header+"\nOSL-WS-1;Windows 11 Pro;5CG1;HP;19.07.2024 04:09\n", nil)
		if len(records) != 1 {
			t.Errorf("%s: %+v", language, report)
			continue
		}
		f := records[0].Fields
		if f["name"] != "OSL-WS-1" || f["os.name"] != "Windows 11 Pro" || f["serial"] != "5CG1" || f["manufacturer"] != "HP" || f["last_seen"] != "2024-07-19T04:09:00Z" {
			t.Errorf("%s: %v; nothing known of %q", language, f, report.Ignored)
		}
	}
}

// A recovery password in a row where a cell is missing is no host name, and is neither stored nor repeated.
func TestMisplacedPassword(t *testing.T) {
	const password = "111111-222222-333333-444444-555555-666666-000011-000022"
	bare := strings.ReplaceAll(password, "-", "")
	records, report := read(t, "Hostname,OS,Serial,Owner,MAC\nPC-1,Windows 11,"+bare+",joe,\n"+password+",Windows 11,S2,bob,\n"+
		password+" (old),Windows 11,S3,bob,\nPC-4,Windows 11,S4,"+password+",001122334455;001122334466;001122334477;001122334488\n", nil)
	if len(records) != 2 || records[0].Fields["serial"] != "" || records[1].Fields["owner"] != "" || records[1].Fields["macs"] == "" {
		t.Errorf("%v", records)
	}
	if len(report.BadRows) != 2 || report.BadRows[0].Line != 3 || !strings.Contains(report.BadRows[0].Reason, "column \"Hostname\" holds what looks like a recovery password") {
		t.Errorf("%+v", report.BadRows)
	}
	if said := fmt.Sprint(records, report); strings.Contains(said, "222222") || strings.Contains(said, bare[6:18]) {
		t.Errorf("repeated: %s", said)
	}
	_, _, err := csv.ReadJSON(strings.NewReader(`[{"source_key":"x","fields":{"name":"`+password+`"}}]`), csv.Options{SeenAt: time.Now()})
	if err == nil || strings.Contains(err.Error(), "222222") {
		t.Errorf("in a record of our own: %v", err)
	}
}

// Everything that a person is to know about how a table was read stands in one line.
func TestReadAs(t *testing.T) {
	_, report := read(t, "Name;Last Seen\nWS1;19/07/2024 04:09\n", nil)
	if report.ReadAs != "CSV in UTF-8, cells parted by semicolons, dates with the day first" {
		t.Error(report.ReadAs)
	}
	_, report = read(t, "\ufeff[{\"name\":\"WS1\"}]", nil)
	if report.ReadAs != "fleetmend's own JSON in UTF-8" {
		t.Error(report.ReadAs)
	}
	_, _, err := csv.Read(strings.NewReader("Name,Site\nMUC-1,M\x81nchen\n"), csv.Options{SeenAt: time.Now()})
	if err == nil || !strings.Contains(err.Error(), "neither UTF-8") {
		t.Error(err)
	}
	records, _, err := csv.Read(strings.NewReader("Name,Site\nMUC-1,M\x81nchen\n"), csv.Options{SeenAt: time.Now(), Encoding: "850"})
	if err != nil || records[0].Fields["site"] != "München" {
		t.Errorf("%v, %v", records, err)
	}
}
