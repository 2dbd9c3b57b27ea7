package agent

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/internal/textfile"
)

// Exported is one file of what an administrator allow-lists and signs.
type Exported struct {
	Name    string
	Content string
}

// Export returns the agent in the very bytes that travel, are kept and are run, the two texts that start it, and a sheet that says what each is
// for, with the SHA-256 of each. The forms of the allow lists are Microsoft's (AppLocker, App Control for Business).
func Export() []Exported {
	files := []Exported{{"agent.ps1", agentText}, {"bootstrap.ps1", bootstrapText}, {"kept.ps1", keptText}, {"command-lines.txt", commandLine + "\n" + keptCommandLine + "\n"}}
	var sums strings.Builder
	for _, f := range files {
		fmt.Fprintf(&sums, "%s  %s\n", hashOf(f.Content), f.Name)
	}
	sheet := strings.NewReplacer("@HASH@", Digest()).Replace(exportSheet)
	return append(files, Exported{"SHA256SUMS", sums.String()}, Exported{"README.txt", sheet})
}

// ExportTo writes them into a folder that it makes: what is there already is left alone.
func ExportTo(folder string) error {
	err := os.Mkdir(folder, 0o755) //nolint:gosec // nothing in it is secret, and others are to read it
	if errors.Is(err, fs.ErrExist) {
		return hint.Wrap(fmt.Errorf("%s is there already", folder), "name a folder that is not there; nothing is overwritten")
	}
	if err != nil {
		return fmt.Errorf("make the folder: %w", err)
	}
	for _, f := range Export() {
		name := filepath.Join(folder, f.Name)
		if err := textfile.Write(name, 0o644, func(w io.Writer) error {
			_, err := io.WriteString(w, f.Content)
			return err
		}); err != nil {
			return fmt.Errorf("write %s: %w", name, err)
		}
	}
	return nil
}

const exportSheet = `The agent of fleetmend, as this version of the program sends it.

agent.ps1          what is run on machines: sent, packed, over standard input, or kept there as
                   %ProgramData%\fleetmend\agent\@HASH@.ps1
                   where only SYSTEM and administrators may write. Its name is its SHA-256, and it is checked before it is run.
bootstrap.ps1      what unpacks it. It is the argument of -EncodedCommand, in UTF-16 and base64.
kept.ps1           the same for an agent that a machine has kept.
command-lines.txt  the two command lines. They are the same for every machine and every playbook, and hold nothing secret.
SHA256SUMS         the SHA-256 of each: sha256sum -c SHA256SUMS

Do not sign agent.ps1 itself: a signature changes its bytes, and then it is not what travels. Sign a catalogue of it:

    New-FileCatalog -Path agent.ps1 -CatalogFilePath fleetmend.cat -CatalogVersion 2.0
    Set-AuthenticodeSignature fleetmend.cat -Certificate $certificate -TimestampServer $url

AppLocker, a hash rule made by Windows itself:

    Get-AppLockerFileInformation -Path .\agent.ps1 | New-AppLockerPolicy -RuleType Hash -User S-1-5-32-544 -Xml > fleetmend.xml

App Control for Business (WDAC):

    New-CIPolicyRule -DriverFilePath .\agent.ps1 -Level Hash | ForEach-Object { $rules += $_ }
    New-CIPolicy -Rules $rules -FilePath fleetmend.xml -UserPEs

Neither is needed for playbooks without script steps: the agent is written for Constrained Language Mode, which is what unsigned text runs in
under both. What needs a rule is the body of a script step, which is a file of its own for a moment
(%ProgramData%\fleetmend\runs\RUN\script-*.ps1 or .cmd): under AppLocker a path rule for that folder, which only SYSTEM and
administrators may write; where a policy lets signed scripts run only, such a step is refused before anything is changed.

Antivirus: exclude the kept file by its SHA-256, not the folder.
`
