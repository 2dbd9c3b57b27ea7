// Command managebde stands in for manage-bde.exe in tests: it keeps protectors in a file and fails where it is told to.
// Its words are German, as those of many real machines are not English.
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// failure is what manage-bde answers with when something is wrong: an HRESULT.
const failure = -2147024809

func main() { os.Exit(run(os.Args[1:])) }

func run(args []string) int {
	self, err := os.Executable()
	if err != nil {
		return failure
	}
	state := filepath.Join(filepath.Dir(self), "managebde")
	record, err := os.OpenFile(state+".log", os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return failure
	}
	_, _ = fmt.Fprintln(record, strings.Join(args, " "))
	_ = record.Close()
	if len(args) < 3 || args[0] != "-protectors" || args[2] != "C:" {
		fmt.Println("FEHLER: Unbekanntes Argument {Parameter}")
		return failure
	}
	if fail, err := os.ReadFile(state + ".fail"); err == nil && strings.TrimSpace(string(fail)) == args[1] {
		fmt.Println("FEHLER: Ein Fehler ist aufgetreten (Code 0x80070005):")
		return failure
	}
	raw, _ := os.ReadFile(state + ".txt")
	ids := strings.Fields(string(raw))
	switch args[1] {
	case "-get":
		if len(ids) == 0 {
			fmt.Println("FEHLER: Es wurden keine Schlüsselschutzvorrichtungen gefunden.")
			return failure
		}
		fmt.Print("BitLocker-Laufwerkverschlüsselung: Konfigurationstool, Version 10.0\r\nVolume \"C:\" []\r\nAlle Schlüsselschutzvorrichtungen vom Typ \"Numerisches Kennwort\"\r\n\r\n")
		for i, id := range ids {
			fmt.Printf("    Numerisches Kennwort:\r\n      ID: {%s}\r\n      Kennwort:\r\n        000011-000022-000033-000044-000055-000066-000077-%06d\r\n\r\n", id, 11*(i+1))
		}
		return 0
	case "-add":
		id := fmt.Sprintf("0A1B2C3D-0000-4000-8000-%012X", 0xA000+len(raw))
		ids = append(ids, id)
		fmt.Printf("Hinzugefügt:\r\n      ID: {%s}\r\n      Kennwort:\r\n        000011-000022-000033-000044-000055-000066-000077-000088\r\n", id)
	case "-delete":
		i := slices.Index(ids, strings.Trim(args[len(args)-1], "{}"))
		if i < 0 {
			return failure
		}
		ids = slices.Delete(ids, i, i+1)
	case "-adbackup", "-aadbackup":
		if !slices.Contains(ids, strings.Trim(args[len(args)-1], "{}")) {
			return failure
		}
		return 0
	}
	if os.WriteFile(state+".txt", []byte(strings.Join(ids, "\n")), 0o600) != nil {
		return failure
	}
	return 0
}
