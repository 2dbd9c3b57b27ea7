package csv

import (
	"errors"
	"slices"
	"strings"
	"sync"
	"unicode"

	"github.com/fleetmend/fleetmend/bitlocker"
	"github.com/fleetmend/fleetmend/internal/hint"
)

// columnNames are the headers that are understood. Case, spaces and punctuation do not matter. Earlier ones win where a
// table has several of one field.
var columnNames = map[string][]string{
	"key": {"KeyID", "RecoveryKeyID", "BitLockerKeyID", "RecoveryGuid", "msFVE-RecoveryGuid", "PasswordID", "RecoveryPasswordID", "KeyProtectorID", "ProtectorID",
		"BitLockerRecoveryKeyID", "Schlüssel-ID", "Wiederherstellungsschlüssel-ID", "RecoveryKeyIdentifier", "ID"},
	"password": {"RecoveryPassword", "msFVE-RecoveryPassword", "RecoveryKey", "BitLockerRecoveryKey", "BitLockerKey", "BitLockerRecoveryPassword", "NumericalPassword",
		"Key", "Password", "Wiederherstellungsschlüssel", "Wiederherstellungskennwort", "DecryptedValue", "DiskEncryptionKey"},
	"name": {"Computer", "ComputerName", "Hostname", "Host", "Machine", "MachineName", "Device", "DeviceName", "DisplayName", "DeviceDisplayName", "Rechnername",
		"Gerätename", "NetBIOSName", "PSComputerName", "Name"},
	"fqdn":     {"FQDN", "DNSHostName", "DNSName"},
	"serial":   {"Serial", "SerialNumber", "Seriennummer", "ServiceTag", "HardwareSerial"},
	"device":   {"DeviceID", "AzureADDeviceID", "MicrosoftEntraDeviceID", "EntraDeviceID", "AADDeviceID"},
	"guid":     {"ObjectGUID", "ComputerGUID"},
	"dn":       {"DistinguishedName", "DN", "ComputerDN"},
	"created":  {"Created", "WhenCreated", "CreatedDateTime", "CreatedDateAndTime", "CreationDate", "LastUpdateTime", "LastUpdate", "BackupDate", "BackedUp", "BackupTime", "Date", "Erstellt", "UpdatedAt"},
	"volume":   {"Volume", "VolumeType", "DriveType", "Drive", "VolumeTypeID", "Laufwerkstyp", "MountPoint"},
	"volumeid": {"VolumeID", "VolumeGuid", "msFVE-VolumeGuid"},
	// Known, and of no use here: nothing is said of them.
	"nothing": {"ObjectClass", "DomainName", "ComputerType", "OperatingSystem", "RecoveryKeyDisclosed", "Disclosed", "PropertyNames", "AddedProperties", "RemovedProperties",
		"ModifiedProperties", "PropertyCount", "ID0", "DomainNetBIOSName", "KeyType", "OdataType"},
}

var fieldOfHeader = sync.OnceValue(func() map[string]string {
	m := map[string]string{}
	for field, headers := range columnNames {
		for _, h := range headers {
			m[plain(h)] = field
		}
	}
	return m
})

func plain(header string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsLetter(r) || unicode.IsDigit(r) {
			return unicode.ToLower(r)
		}
		return -1
	}, header)
}

func (o Options) field(header string) string {
	for h, f := range o.Map {
		if plain(h) == plain(header) {
			return f
		}
	}
	return fieldOfHeader()[plain(header)]
}

// errNoColumn is a table, or what looks like one, without anything of keys.
var errNoColumn = errors.New("no column with key IDs or recovery passwords is known by its name")

// places are the columns of each field, the best first.
type places map[string][]int

// columns finds for each field its places. A header that is itself a password, as in a table without header, is not
// repeated.
func (o Options) columns(headers []string, report *Report) (places, error) {
	at := places{}
	rank := func(field, header string) int {
		return slices.IndexFunc(columnNames[field], func(n string) bool { return plain(n) == plain(header) })
	}
	for i, h := range headers {
		field := o.field(h)
		if _, known := columnNames[field]; !known {
			if h = strings.TrimSpace(h); h != "" && len(h) < 40 && strings.IndexFunc(h, unicode.IsLetter) >= 0 {
				report.Ignored = append(report.Ignored, h)
			}
			continue
		}
		at[field] = append(at[field], i)
	}
	for field, columns := range at {
		slices.SortStableFunc(columns, func(a, b int) int { return rank(field, headers[a]) - rank(field, headers[b]) })
		if field != "nothing" {
			report.Columns[field] = strings.TrimSpace(headers[columns[0]])
		}
	}
	has := func(fields ...string) bool {
		return slices.ContainsFunc(fields, func(f string) bool { return len(at[f]) > 0 })
	}
	switch {
	case !has("key", "dn") && !has("password"):
		return nil, hint.Wrap(errNoColumn,
			"the table needs a header such as KeyID,RecoveryKey; name other headers with --map HEADER=key")
	case !has("key", "dn", "name", "fqdn", "serial", "device", "guid"): // a password that is nobody's opens nothing
		return nil, hint.Wrap(errors.New("no column with key IDs or machines is known by its name"),
			"the table needs a header such as KeyID,RecoveryKey, or Host,RecoveryKey; name other headers with --map HEADER=key")
	}
	return at, nil
}

// volume knows the words of the exports: Graph's names and numbers, MBAM's, a drive letter.
func volume(s string) bitlocker.Volume {
	switch w := plain(s); {
	case w == "1", strings.Contains(w, "operatingsystem"), strings.HasPrefix(w, "os"), w == "c", strings.Contains(w, "betriebssystem"):
		return bitlocker.VolumeOS
	case w == "2", strings.Contains(w, "fixed"), strings.Contains(w, "data"):
		return bitlocker.VolumeFixed
	case w == "3", strings.Contains(w, "removable"):
		return bitlocker.VolumeRemovable
	}
	return bitlocker.VolumeUnknown
}
